"""Simulates one fleet on a part of a trace, and counts what falls into the part that is judged.

A run begins some minutes before that part, with as many replicas as a static fleet needs, and for most of them keeps at
least those: engines begin empty and autoscalers without a history, which would shrink every fleet at once, just before
the load is there. What is counted is the difference between two moments of one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from tierwise_sim.replay import autoscalers, manifests
from tierwise_sim.replay.live import ANSWERED, Job
from tierwise_sim.replay.result import Targets
from tierwise_sim.replay.run import Simulation
from tierwise_sim.replay.scaler import Order, Scaler, World
from tierwise_sim.replay.scenario import DEFAULT_TARGETS, STARTUP_SECONDS, Scenario, ServedTier, Tier
from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_source import step_source
from tierwise_sim.step_time import StepSource
from tierwise_sim.traces.arrival import Trace
from tools.bill.drafting import with_drafts
from tools.bill.fleets import SMALL, Fleet

OURS = autoscalers.OURS
ACCEPTANCE = 0.7
"""Of a drafted token, declared: what EAGLE-3 is reported to reach on chat (tierwise_sim.speculation)."""
SEED = 20261129
HELD = 0.8
"""The part of the time before what is judged in which no replica is removed."""
Told = Callable[[float, float], None]


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks, as far as its quality goes: whether either model answers it rightly."""

    small: float
    large: float


@dataclass(frozen=True, slots=True)
class Load:
    """The requests of a run. Those from `begin` (seconds) on are judged; `questions`: what each request asks, empty
    where nobody knows."""

    trace: Trace
    begin: float = 0.0
    questions: Sequence[Question] = ()
    targets: Targets = DEFAULT_TARGETS

    @property
    def seconds(self) -> float:
        """How long is judged."""
        return self.trace.duration - self.begin


@dataclass(frozen=True, slots=True)
class TierCount:
    """One tier in the part that is judged: US dollars of its GPUs or tokens, GPU-seconds, requests."""

    dollars: Decimal
    gpu_seconds: float
    replicas: float
    answered: int
    judged: int
    met: int

    @property
    def attainment(self) -> float:
        """Share of the judged requests that met both targets; 1 of none."""
        return self.met / self.judged if self.judged else 1.0


@dataclass(frozen=True, slots=True)
class Counted:
    """What a run found in the part that is judged. `right` and `right_large`: how many of the answered requests were
    answered rightly, and would have been by the large model alone; None where nobody knows. `steps`: per served tier,
    the word for where its step times come from."""

    seconds: float
    requests: int
    judged: int
    met: int
    met_ttft: int
    met_inter_token: int
    tiers: Mapping[str, TierCount]
    right: float | None
    right_large: float | None
    steps: Mapping[str, str]

    @property
    def dollars(self) -> Decimal:
        """Of all tiers."""
        return sum((tier.dollars for tier in self.tiers.values()), Decimal(0))

    @property
    def gpu_hours(self) -> float:
        """Of all tiers."""
        return sum(tier.gpu_seconds for tier in self.tiers.values()) / 3600

    @property
    def attainment(self) -> float:
        """Share of the judged requests that met both targets."""
        return self.met / self.judged if self.judged else 1.0

    @property
    def quality(self) -> float | None:
        """Right answers, as a share of those that the large model alone would have given."""
        return None if self.right is None or not self.right_large else self.right / self.right_large


def tiers_of(fleet: Fleet) -> tuple[Tier, ...]:
    """The tiers as they are simulated. Raises Invalid where an engine would not start."""
    return _read(fleet).tiers


def _read(fleet: Fleet) -> manifests.Manifests:
    assumed = manifests.Assumed(startup_seconds=STARTUP_SECONDS, acceptance=ACCEPTANCE, steps=_steps)
    return manifests.read(fleet.documents(), assumed)


def _steps(tier: str, settings: EngineSettings) -> StepSource:
    """The best step times that there are for an engine, with the passes of its draft model."""
    return with_drafts(step_source(settings), settings)


def scenario(fleet: Fleet, load: Load, share: float | None, initial: Mapping[str, int]) -> Scenario:
    """The simulation of a fleet. `share`: percent of the requests that go to the large tier; `initial`: replicas that
    answer at the start, of tiers that are not pinned."""
    found = _read(fleet)

    def started(tier: Tier) -> Tier:
        if isinstance(tier, ServedTier) and tier.spec.replicas is None and tier.name in initial:
            return replace(tier, initial=initial[tier.name])
        return tier

    return Scenario(
        tiers=tuple(started(tier) for tier in found.tiers),
        route_name=found.route_name,
        route=found.route,
        trace=load.trace,
        targets=load.targets,
        seed=SEED,
        share=share if fleet.routed else None,
    )


def simulate(given: Scenario, load: Load, autoscaler: str = OURS, told: Told | None = None) -> Counted:
    """Run it to its end, and count from `load.begin` on."""
    done = _Watched(given, autoscaler, load)
    before: _Marks | None = _marks(done) if load.begin <= 0 else None
    for at in done.run():
        done.collect()
        if before is None and at >= load.begin:
            before = _marks(done)
        if told is not None:
            told(at, given.seconds)
    return _counted(done, load, before or _marks(done), _marks(done))


@dataclass(frozen=True, slots=True)
class Held:
    """Another scaler, which looks on but removes nothing until a time: no tier has fewer than `least` before it."""

    inner: Scaler
    least: Mapping[str, int]
    until: float

    @property
    def period_seconds(self) -> float:
        """That of the other."""
        return self.inner.period_seconds

    @property
    def instant(self) -> bool:
        """As the other's."""
        return self.inner.instant

    @property
    def wakes_at_once(self) -> bool:
        """As the other's."""
        return self.inner.wakes_at_once

    def orders(self, world: World, now: float) -> Sequence[Order]:
        """What the other orders; before the time at least what was there at the start."""
        found = self.inner.orders(world, now)
        if now >= self.until:
            return found
        return [replace(order, replicas=max(order.replicas, self.least[order.tier])) for order in found]


class _Watched(Simulation):
    """A simulation that notes which tier answered each request, and lets go of requests that are over."""

    def __init__(self, given: Scenario, autoscaler: str, load: Load) -> None:
        super().__init__(given, autoscalers.make(autoscaler, given))
        started = {name: tier.initial for name, tier in given.served.items()}
        self.scaler = Held(self.scaler, started, HELD * load.begin)
        self.right = self.right_large = 0.0
        self.requests = 0
        self._load = load
        self._open: list[Job] = []

    def _arrive(self, number: int, now: float) -> None:
        super()._arrive(number, now)
        if now >= self._load.begin:
            self.requests += 1
            job = self.traffic.open.get(number)
            if job is not None:
                self._open.append(job)

    def collect(self) -> None:
        """Count the requests that are over."""
        still: list[Job] = []
        for job in self._open:
            if not job.outcome:
                still.append(job)
            elif job.outcome == ANSWERED and self._load.questions:
                asked = self._load.questions[job.number]
                self.right += asked.small if job.tier == SMALL else asked.large
                self.right_large += asked.large
        self._open = still


@dataclass(frozen=True, slots=True)
class _Marks:
    """All counters of a run at one moment."""

    counts: Mapping[str, tuple[int, int, int, int, int]]
    dollars: Mapping[str, Decimal]
    gpu_seconds: Mapping[str, float]


def _marks(done: Simulation) -> _Marks:
    for fleet in done.fleets.values():
        fleet.account(done.events.now)
    return _Marks(
        {
            name: (each.answered, each.judged, each.met, each.met_ttft, each.met_inter_token)
            for name, each in done.account.tiers.items()
        },
        {name: each.dollars for name, each in done.account.tiers.items()},
        {name: fleet.gpu_seconds.total for name, fleet in done.fleets.items()},
    )


def _counted(done: _Watched, load: Load, before: _Marks, after: _Marks) -> Counted:
    sums = [0, 0, 0, 0, 0]
    tiers: dict[str, TierCount] = {}
    served = done.scenario.served
    for name, last in after.counts.items():
        answered, judged, met, met_ttft, met_inter = (
            late - early for late, early in zip(last, before.counts[name], strict=True)
        )
        sums = [total + one for total, one in zip(sums, (answered, judged, met, met_ttft, met_inter), strict=True)]
        tier = served.get(name)
        if tier is None:
            dollars, seconds, replicas = after.dollars[name] - before.dollars[name], 0.0, 0.0
        else:
            seconds = after.gpu_seconds[name] - before.gpu_seconds[name]
            dollars = Decimal(str(round(seconds, 3))) * (tier.gpu_hour or Decimal(0)) / 3600
            replicas = seconds / tier.gpus / load.seconds
        tiers[name] = TierCount(dollars, seconds, replicas, answered, judged, met)
    asked = bool(load.questions)
    return Counted(
        seconds=load.seconds,
        requests=done.requests,
        judged=sums[1],
        met=sums[2],
        met_ttft=sums[3],
        met_inter_token=sums[4],
        tiers=tiers,
        right=done.right if asked else None,
        right_large=done.right_large if asked else None,
        steps={name: tier.steps.source for name, tier in served.items()},
    )
