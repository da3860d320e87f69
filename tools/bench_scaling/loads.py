"""Makes the requests of a case, and says from when on they count.

A recorded trace is judged on its second half; its rate is scaled so that a mean minute needs `REPLICAS` full replicas
of the tier at hand, since a fleet of one replica has nothing to decide. Generated loads have the same mean. What comes
before the part that is judged only gives every autoscaler its history.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from operator import attrgetter
from random import Random

from tierwise_sim.capacity import Workload
from tierwise_sim.replay.result import Targets
from tierwise_sim.replay.scenario import DEFAULT_TARGETS
from tierwise_sim.traces import azure, mooncake, transform
from tierwise_sim.traces.arrival import Arrival, Trace
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.gathering import Window
from tierwise_sim.traces.generators import Draw, Peaks, Ramp, Shape, Sine, Step, generate
from tierwise_sim.workloads import AZURE_CONVERSATION, MOONCAKE_CONVERSATION, data_folder
from tools.bench_scaling import shapes
from tools.bench_scaling.cases import AZURE, CONTENTION, MOONCAKE, OUTAGES, POOL, TOGETHER, Case
from tools.bench_scaling.shapes import KINDS, Ask

REPLICAS = 3.0
WARM_SECONDS = 420.0
"""Before what is judged: more than one scale-down window of an HPA."""
JUDGED_SECONDS = 1800.0
SEED = 20261130
"""Of what is judged. Nothing was chosen on requests of this seed."""
BUDGET = 8
"""GPUs that the tiers of a pool share."""
SWING = 0.8
FAULT_AFTER, FAULT_SECONDS, FAULT_AFTER_SECONDS = 600.0, 600.0, 180.0
LONG_TARGETS = Targets(ttft=10.0, inter_token=0.15)
"""For prompts of ten thousand tokens, which are read for seconds: no replica here meets 2.5 s with them."""
CONTEXT, LONG_CONTEXT = 16384, 131072
LONG_CACHED = 0.36
"""The part of the prompt tokens of Mooncake's conversations that a cache without bounds finds (`tierwise` summary)."""
CONVERSATION = Workload(1155, 211)
"""The mean request of generated loads, whose lengths are drawn from Azure's conversation trace."""
STEPS = (2.0, 2.0, 4.0, 6.0, 8.0, 10.0, 4.0, 1.0)
"""llm-d's ramp, its first step once more before what is judged."""
PEAK_STEP_REPLICAS = 6.0


@dataclass(frozen=True, slots=True)
class Load:
    """The requests of a run; those from `begin` (seconds) on are judged. `needed`: full replicas by tier that the time
    before needs; `budget`: GPUs that tiers share, 0 for no limit."""

    trace: Trace
    begin: float
    ask: Ask
    needed: Mapping[str, float]
    budget: int = 0

    @property
    def targets(self) -> Targets:
        """The service level."""
        return self.ask.targets


def ask_of(case: Case) -> Ask:
    """What the tiers of a case are for."""
    if case.load == MOONCAKE:
        mean = _mean(recorded(MOONCAKE))
        long = Workload(mean.prompt_tokens, mean.output_tokens, LONG_CACHED)
        return Ask(long, LONG_TARGETS, LONG_CONTEXT, case.startup)
    mean = _mean(recorded(AZURE)) if case.load == AZURE else CONVERSATION
    return Ask(mean, DEFAULT_TARGETS, CONTEXT, case.startup)


def load(case: Case) -> Load:
    """The requests of a case. Raises TraceError without the trace."""
    ask = ask_of(case)
    return _load(replace(case, scaler="", rule="", floors="", fault=""), ask)


@cache
def _load(case: Case, ask: Ask) -> Load:
    rates = shapes.rates(case.shape, ask)
    if case.part == CONTENTION:
        trace, begin = _contention(case, rates), WARM_SECONDS
        return Load(trace, begin, ask, _needed(trace, begin, rates), BUDGET)
    traces, begin = [], WARM_SECONDS
    for place, (name, rate) in enumerate(rates.items()):
        trace, begin = _one(case, REPLICAS * rate, SEED + place)
        traces.append((name if len(rates) > 1 else "", trace))
    trace = _merged(traces)
    return Load(trace, begin, ask, _needed(trace, begin, rates))


def _one(case: Case, rate: float, seed: int) -> tuple[Trace, float]:
    """The load of one tier, at this many requests per second on average, and when it begins to count."""
    if case.load in (AZURE, MOONCAKE):
        whole = recorded(case.load)
        middle = whole.duration / 2
        part = transform.cut(whole, Window(middle - WARM_SECONDS, whole.duration))
        return transform.scale(part, round(rate / whole.rate, 2), seed), WARM_SECONDS
    shape, begin = _generated(case, rate)
    return generate(case.load, shape, Draw(seed=seed)), begin


def _generated(case: Case, rate: float) -> tuple[Shape, float]:
    seconds = WARM_SECONDS + JUDGED_SECONDS
    if case.part == OUTAGES:  # from its valley to its peak while something is wrong: nobody has a reason to remove any
        seconds = WARM_SECONDS + FAULT_AFTER + FAULT_SECONDS + FAULT_AFTER_SECONDS
        return Sine(mean=rate, swing=0.6, period=2 * seconds, seconds=seconds), WARM_SECONDS
    if case.load == "step":
        return Step(before=0.4 * rate, after=1.4 * rate, at=WARM_SECONDS + 600, seconds=seconds), WARM_SECONDS
    if case.load == "ramp":
        each = PEAK_STEP_REPLICAS / REPLICAS * rate / max(STEPS)
        stage = JUDGED_SECONDS / (len(STEPS) - 1)
        return Ramp(steps=tuple(each * step for step in STEPS), stage=stage), stage
    return Sine(mean=rate, swing=0.6, period=JUDGED_SECONDS, seconds=seconds, bursts=4, burst_factor=2), WARM_SECONDS


def _contention(case: Case, rates: Mapping[str, float]) -> Trace:
    """One wave per tier. What they need at most, all together, is `case.factor` times the budget, in equal parts."""
    together = case.load == TOGETHER
    part = case.factor * BUDGET / len(rates) / ((1 + SWING) if together else 1)  # GPUs on average
    gpus = {kind.name: kind.gpus for kind in KINDS[POOL]}
    means = {name: part / gpus[name] * rate for name, rate in rates.items()}
    most = max(means.values())
    seconds = WARM_SECONDS + JUDGED_SECONDS
    shape = Peaks(
        models=tuple(means), together=together, mean=most, swing=SWING, period=JUDGED_SECONDS, seconds=seconds
    )
    made = generate(case.load, shape, Draw(seed=SEED))
    rng = Random(SEED)  # noqa: S311 - a repeatable workload, no secret
    kept = tuple(each for each in made.arrivals if rng.random() < means[each.model] / most)
    return replace(made, arrivals=kept)


def _merged(traces: list[tuple[str, Trace]]) -> Trace:
    first = traces[0][1]
    if len(traces) == 1:
        return first
    named: list[Arrival] = [replace(each, model=name) for name, trace in traces for each in trace.arrivals]
    return replace(first, arrivals=tuple(sorted(named, key=attrgetter("at"))))


def _needed(trace: Trace, begin: float, rates: Mapping[str, float]) -> dict[str, float]:
    def rate(name: str) -> float:
        mine = [each for each in trace.arrivals if each.at < begin and (each.model == name or len(rates) == 1)]
        return len(mine) / begin

    return {name: rate(name) / each for name, each in rates.items()}


@cache
def recorded(name: str) -> Trace:
    """A published trace. Raises TraceError where TIERWISE_DATA has none."""
    folder = data_folder(os.environ)
    if folder is None:
        raise TraceError(f"{name}: TIERWISE_DATA names no folder; set it to the one that holds the published traces")
    if name == AZURE:
        return azure.read(folder / AZURE_CONVERSATION)
    return mooncake.read(folder / MOONCAKE_CONVERSATION)


def _mean(trace: Trace) -> Workload:
    half = transform.first_half(trace).arrivals
    return Workload(
        sum(each.prompt_tokens for each in half) / len(half), sum(each.output_tokens for each in half) / len(half)
    )
