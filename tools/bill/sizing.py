"""Chooses what a person chooses before the first request: how many requests a replica decodes together, how many tokens
are drafted, how many replicas a static fleet has, which threshold another autoscaler gets.

The rules are the same for every row, the reference included, and look at nothing that is judged: the closed form of the
engine model at the mean lengths of the first half of the trace, or a simulation of the first half. Only the static
fleets know the busiest minutes of the whole trace, which nobody would: that favours them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tierwise_sim.capacity import Workload, at_running
from tierwise_sim.replay.scenario import ServedTier
from tierwise_sim.speculation import Speculation
from tierwise_sim.traces.arrival import Trace
from tools.bill.drafting import with_drafts
from tools.bill.fleets import Fleet, Served, Step
from tools.bill.run import Counted, tiers_of

BATCHES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
MOST_DRAFTED = 4
LEAST = 0.99
"""The share of the requests that is to meet both targets."""
HEADROOM = 0.8
"""The closed form is a mean: at this part of the inter-token target the slower answers are still inside of it."""
THRESHOLDS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
"""Running requests per replica that the KEDA blueprint is swept over; its own default is 16."""
MOST_REPLICAS = 64


def workload(trace: Trace) -> Workload:
    """The mean request of a trace."""
    count = len(trace.arrivals)
    return Workload(
        sum(each.prompt_tokens for each in trace.arrivals) / count,
        sum(each.output_tokens for each in trace.arrivals) / count,
    )


def engine_of(served: Served) -> ServedTier:
    """The engine of a tier by itself. Raises Invalid where it would not start."""
    (tier,) = tiers_of(Fleet((served,)))
    assert isinstance(tier, ServedTier)  # noqa: S101
    return tier


def sequences(served: Served, mean: Workload, inter_token: float) -> int:
    """The largest batch whose mean time between tokens stays under `HEADROOM` of the target."""
    tier = engine_of(replace(served, sequences=BATCHES[-1]))
    allowed = [
        batch
        for batch in BATCHES
        if at_running(tier.settings, mean, batch, tier.steps.step_time).token_seconds <= HEADROOM * inter_token
    ]
    return allowed[-1] if allowed else BATCHES[0]


def rate(served: Served, mean: Workload) -> float:
    """Requests per second that a full replica answers, by the closed form."""
    tier = engine_of(served)
    return at_running(tier.settings, mean, served.sequences, tier.steps.step_time).requests_per_second


def schedule(served: Served, mean: Workload) -> tuple[Step, ...]:
    """How many tokens to draft from which batch size on: at each size what answers most requests; empty where no
    drafting ever pays."""
    probe = replace(served, drafts=(Step(1, MOST_DRAFTED),), sequences=BATCHES[-1])
    tier = engine_of(probe)
    spoken = tier.settings.speculation
    assert spoken is not None  # noqa: S101
    steps: list[Step] = []
    for batch in BATCHES:
        best = max(range(MOST_DRAFTED + 1), key=lambda tokens: (_rate_with(tier, spoken, tokens, mean, batch), -tokens))
        if not steps or steps[-1].tokens != best:
            steps.append(Step(batch, best))
    return tuple(steps[:8]) if any(step.tokens for step in steps) else ()


def _rate_with(tier: ServedTier, spoken: Speculation, tokens: int, mean: Workload, batch: int) -> float:
    settings = replace(tier.settings, speculation=replace(spoken, tokens=tokens, schedule=()) if tokens else None)
    return at_running(settings, mean, batch, with_drafts(tier.steps, settings).step_time).requests_per_second


def least_replicas(run: Callable[[int], Counted], guess: int) -> int:
    """The fewest replicas with which enough requests meet both targets: from a guess up or down, one at a time."""
    tried: dict[int, bool] = {}

    def enough(replicas: int) -> bool:
        if replicas not in tried:
            tried[replicas] = run(replicas).attainment >= LEAST
        return tried[replicas]

    replicas = min(max(1, guess), MOST_REPLICAS)
    while not enough(replicas) and replicas < MOST_REPLICAS:
        replicas += 1
    while replicas > 1 and enough(replicas - 1):
        replicas -= 1
    return replicas


def highest(values: Sequence[int], good: Callable[[int], bool]) -> int | None:
    """The last of ordered values that is good, found by halving: where one is not, no later one is asked. None: not
    even the first."""
    low, high = -1, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        if good(values[middle]):
            low = middle
        else:
            high = middle
    return None if low < 0 else values[low]
