"""Simulates one case and counts what falls into the part that is judged.

For most of the time before that part nobody removes a replica (`tools.bill.run.Held`): autoscalers begin without a
history, and would shrink every fleet at once. What is counted is the difference between two moments of one run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tierwise_sim.policies.registry import parse
from tierwise_sim.replay import autoscalers
from tierwise_sim.replay.account import distribution
from tierwise_sim.replay.result import GpuSeconds
from tierwise_sim.replay.run import Simulation
from tierwise_sim.replay.scenario import Fault, FaultKind, Scenario, ServedTier
from tierwise_sim.replay.summary import changes
from tools.bench_scaling import loads, shapes
from tools.bench_scaling.cases import HALF, NO_FAULT, OUTAGES, Case, family
from tools.bench_scaling.loads import BUDGET, SEED, Load
from tools.bench_scaling.shapes import KINDS, MOST_REPLICAS, Bounds
from tools.bill.run import HELD, Held

SPARE = 1.25
"""So many times the replicas that the time before needs answer when it begins."""
AFTER_FAULT = 60.0
"""A decision about what was seen during a fault may come so much later."""


@dataclass(frozen=True, slots=True)
class TierFigures:
    """One tier: requests that count and that met both targets, GPU-seconds, replicas on average."""

    judged: int
    met: int
    gpu_seconds: float
    replicas: float

    @property
    def attainment(self) -> float:
        """Share of the judged requests that met both targets; 1 of none."""
        return self.met / self.judged if self.judged else 1.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What one case came to in the part that is judged. GPU-seconds by what the replicas did; `removed`: replicas that
    were asked to end while something was wrong, in `removals` steps; `steps`: where step times come from."""

    seconds: float
    requests: int
    judged: int
    met: int
    met_ttft: int
    met_inter_token: int
    refused: int
    ttft_p50: float
    ttft_p99: float
    dollars: float
    ready: float
    starting: float
    draining: float
    changes_per_hour: float
    reversals_per_hour: float
    seconds_at_budget: float
    seconds_at_maximum: float
    tiers: Mapping[str, TierFigures]
    removals: int = 0
    removed: int = 0
    steps: str = ""
    failures: int = 0

    @property
    def attainment(self) -> float:
        """Share of the judged requests that met both targets."""
        return self.met / self.judged if self.judged else 1.0

    @property
    def gpu_seconds(self) -> float:
        """All that is paid: start and drain included."""
        return self.ready + self.starting + self.draining

    @property
    def worst(self) -> tuple[str, float]:
        """The tier with the lowest attainment, and that."""
        name = min(self.tiers, key=lambda each: (self.tiers[each].attainment, each))
        return name, self.tiers[name].attainment


def measure(case: Case) -> Figures:
    """Run a case. Raises TraceError without its trace, Invalid where an engine would not start."""
    load = loads.load(case)
    done = _Run(case, _scenario(case, load), load)
    before: _Marks | None = None
    for at in done.run():
        if before is None and at >= load.begin:
            before = _marks(done)
    return _figures(done, case, load, before or _marks(done), _marks(done))


class _Run(Simulation):
    """A simulation in which nobody removes replicas at first, and which counts the requests that are judged."""

    def __init__(self, case: Case, given: Scenario, load: Load) -> None:
        super().__init__(given, autoscalers.make(case.scaler, given, case.rule))
        started = {name: tier.initial for name, tier in given.served.items()}
        self.scaler = Held(self.scaler, started, HELD * load.begin)
        self.requests = 0
        self._begin_at = load.begin

    def _arrive(self, number: int, now: float) -> None:
        super()._arrive(number, now)
        self.requests += now >= self._begin_at


def _scenario(case: Case, load: Load) -> Scenario:
    found = shapes.read(case.shape, load.ask, _bounds(case, load))
    fault: tuple[Fault, ...] = ()
    if case.part == OUTAGES and case.fault != NO_FAULT:
        fault = (Fault(load.begin + loads.FAULT_AFTER, FaultKind(case.fault), loads.FAULT_SECONDS),)
    products = {tier.gpu for tier in found.tiers if isinstance(tier, ServedTier)}
    return Scenario(
        tiers=found.tiers,
        route_name=found.route_name,
        route=found.route,
        trace=load.trace,
        targets=load.targets,
        seed=SEED,
        budget=dict.fromkeys(products, load.budget) if load.budget else {},
        faults=fault,
    )


def _bounds(case: Case, load: Load) -> dict[str, Bounds]:
    """Replicas of each tier, the same for whoever decides; a fixed fleet has its number from the start."""
    fixed = round(parse(case.scaler).overrides.get("replicas", 1)) if family(case.scaler) == "static" else None
    kinds, found = KINDS[case.shape], {}
    for kind in kinds:
        least = max(1, BUDGET // len(kinds) // 2 // kind.gpus) if case.floors == HALF else 1
        most = BUDGET // kind.gpus if load.budget else MOST_REPLICAS
        initial = fixed or math.ceil(SPARE * load.needed[kind.name])
        found[kind.name] = Bounds(least, most, min(most, max(least, initial)))
    if load.budget:
        found = _fitted(found, {kind.name: kind.gpus for kind in kinds}, load.budget)
    return found


def _fitted(bounds: Mapping[str, Bounds], gpus: Mapping[str, int], budget: int) -> dict[str, Bounds]:
    """With no more replicas at the start than there are GPUs: the tier with most of them has fewer."""
    initial = {name: each.initial for name, each in bounds.items()}
    while sum(initial[name] * gpus[name] for name in initial) > budget:
        most = max(initial, key=lambda name: (initial[name] > bounds[name].least, initial[name] * gpus[name], name))
        initial[most] -= 1
    return {name: Bounds(each.least, each.most, initial[name]) for name, each in bounds.items()}


# --- counting ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Marks:
    """All counters of a run at one moment. `counts`: judged, met, met TTFT, met inter-token, refused."""

    at: float
    counts: Mapping[str, tuple[int, int, int, int, int]]
    gpu_seconds: Mapping[str, GpuSeconds]
    at_budget: float
    at_maximum: float
    ttft: Mapping[str, int] = field(default_factory=dict)


def _marks(done: Simulation) -> _Marks:
    now = done.events.now
    for fleet in done.fleets.values():
        fleet.account(now)
    return _Marks(
        at=now,
        counts={
            name: (each.judged, each.met, each.met_ttft, each.met_inter_token, sum(each.refused.values()))
            for name, each in done.account.tiers.items()
        },
        gpu_seconds={name: fleet.gpu_seconds for name, fleet in done.fleets.items()},
        at_budget=sum(fleet.seconds_at_budget for fleet in done.fleets.values()),
        at_maximum=sum(fleet.seconds_at_maximum for fleet in done.fleets.values()),
        ttft={name: len(each.ttft) for name, each in done.account.tiers.items()},
    )


def _figures(done: _Run, case: Case, load: Load, before: _Marks, after: _Marks) -> Figures:
    seconds = after.at - before.at
    served = done.scenario.served
    counts = {name: _less(late, before.counts[name]) for name, late in after.counts.items()}
    spent = {name: _spent(late, before.gpu_seconds[name]) for name, late in after.gpu_seconds.items()}
    ttft = distribution(at for name, each in done.account.tiers.items() for at in each.ttft[before.ttft[name] :])
    made = [changes([one for one in fleet.changes if one[0] >= before.at], seconds) for fleet in done.fleets.values()]
    removals, removed = (
        _removed((fleet.changes for fleet in done.fleets.values()), load) if case.part == OUTAGES else (0, 0)
    )
    total = [sum(each) for each in zip(*counts.values(), strict=True)]
    return Figures(
        seconds=round(seconds, 3),
        requests=done.requests,
        judged=total[0],
        met=total[1],
        met_ttft=total[2],
        met_inter_token=total[3],
        refused=total[4],
        ttft_p50=0.0 if ttft is None else ttft.p50,
        ttft_p99=0.0 if ttft is None else ttft.p99,
        dollars=round(sum(each.total * float(served[name].gpu_hour or 0) / 3600 for name, each in spent.items()), 4),
        ready=round(sum(each.ready for each in spent.values()), 1),
        starting=round(sum(each.starting for each in spent.values()), 1),
        draining=round(sum(each.draining for each in spent.values()), 1),
        changes_per_hour=round(sum(each.per_hour for each in made), 2),
        reversals_per_hour=round(sum(each.reversals_per_hour for each in made), 2),
        seconds_at_budget=round(after.at_budget - before.at_budget, 1),
        seconds_at_maximum=round(after.at_maximum - before.at_maximum, 1),
        tiers={
            name: TierFigures(
                counts[name][0],
                counts[name][1],
                round(each.total, 1),
                round(each.total / served[name].gpus / seconds, 3),
            )
            for name, each in spent.items()
        },
        removals=removals,
        removed=removed,
        steps=", ".join(sorted({tier.steps.source for tier in served.values()})),
        failures=len(done.operator.failures),
    )


def _less(late: tuple[int, int, int, int, int], early: tuple[int, int, int, int, int]) -> tuple[int, ...]:
    return tuple(after - before for after, before in zip(late, early, strict=True))


def _spent(late: GpuSeconds, early: GpuSeconds) -> GpuSeconds:
    return GpuSeconds(late.ready - early.ready, late.starting - early.starting, late.draining - early.draining)


def _removed(changes: Iterable[Iterable[tuple[float, int, int]]], load: Load) -> tuple[int, int]:
    """How often replicas were asked to end while something was wrong, and how many. `changes` of each tier: (time,
    before, after)."""
    begin = load.begin + loads.FAULT_AFTER
    during = [
        before - after
        for made in changes
        for at, before, after in made
        if begin <= at <= begin + loads.FAULT_SECONDS + AFTER_FAULT and after < before
    ]
    return len(during), sum(during)
