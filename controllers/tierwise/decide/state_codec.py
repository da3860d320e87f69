"""Encodes the state of a decision into the status, and restores it after a restart.

A restarted operator must decide at least as many replicas as one that ran on. The window of recommendations and the
learned capacity are therefore kept in the status. A status is written seconds after the decision, so the last
recommendations before a restart may be missing from it, among them one as high as the replicas that run. So a restored
state is marked `resumed`, and the first decision counts the replicas that it finds as recommended at that moment:
after a restart replicas may rise at once, and fall only when a window has been observed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypedDict

from tierwise import reasons
from tierwise.api.modeltier_status import (
    CapacityStatus,
    ClampStatus,
    ModelTierStatus,
    PeakStatus,
    RateStatus,
    RolloutStatus,
    ScalingMemory,
)
from tierwise.times import rfc3339, seconds
from tierwise.types import LengthCapacity, Peak, PoolClamp, PoolRate, TierState


class _Written(TypedDict):
    """What counts only once the status has it."""

    rollout: RolloutStatus
    rollouts: tuple[tuple[str, RolloutStatus], ...]
    accepted: tuple[int, bool] | None
    advised: tuple[str, ...]
    advised_for: int
    scaled_at: float | None
    slept: bool


def restore(status: ModelTierStatus, now: float) -> TierState:
    """The memory that a status holds, for the first decision after a start. What cannot be read counts as now (a time)
    or as not learned (a number)."""
    kept = status.scaling.memory
    peaks = (Peak(peak.replicas, min(now, _or(seconds(peak.time), now))) for peak in kept.peaks)
    return TierState(
        recommended=kept.recommended,
        peaks=tuple(sorted(peaks, key=lambda peak: -peak.replicas)),
        requests_per_replica=_number(kept.requests_per_replica),
        capacities=tuple(found for each in kept.capacities if (found := _capacity(each)) is not None),
        startup_seconds=None if kept.startup_seconds is None else float(kept.startup_seconds),
        learned_for=kept.learned_for,
        clamps=tuple(
            PoolClamp(each.pool, each.replicas, min(now, _or(seconds(each.time), now)), each.tries)
            for each in kept.clamps
        ),
        rates=tuple(
            PoolRate(each.pool, rate, each.learned_for)
            for each in kept.rates
            if (rate := _number(each.tokens_per_second)) is not None
        ),
        resumed=True,
        **_written(status),
    )


def resume(state: TierState | None, status: ModelTierStatus, now: float) -> TierState:
    """The state of a tier for the next decision: this process's own, with what counts only once it is written taken
    from the status. Without a state of its own (after a start), everything is from the status."""
    if state is None:
        return restore(status, now)
    return replace(state, **_written(status))


def _written(status: ModelTierStatus) -> _Written:
    accepted = next((each for each in status.conditions if each.type == reasons.ACCEPTED), None)
    changes = status.scaling.decisions
    return _Written(
        rollout=status.rollout,
        rollouts=tuple((each.name, each.rollout) for each in status.inference_services if each.rollout is not None),
        accepted=None if accepted is None else (accepted.observed_generation, accepted.status == "True"),
        advised=tuple(sorted(each.reason for each in status.advice)),
        advised_for=status.observed_generation,
        # A time that cannot be read counts as after everything: what may have been done is not done again.
        scaled_at=_or(seconds(changes[0].time), math.inf) if changes else None,
        slept=bool(changes) and changes[0].to_replicas == 0,
    )


def remember(state: TierState) -> ScalingMemory:
    """`state` in the form that is written into the status. Equal states give equal bytes."""
    learned = state.requests_per_replica
    lengths = [_encoded(each) for each in state.capacities]
    return ScalingMemory(
        recommended=state.recommended,
        peaks=[PeakStatus(replicas=peak.replicas, time=rfc3339(peak.at)) for peak in state.peaks],
        requests_per_replica=None if learned is None else f"{learned:.1f}",
        capacities=lengths,
        startup_seconds=None if state.startup_seconds is None else math.ceil(state.startup_seconds),
        learned_for="" if learned is None and not lengths else state.learned_for,
        clamps=[
            ClampStatus(pool=each.pool, replicas=each.replicas, time=rfc3339(each.since), tries=each.tries)
            for each in state.clamps
        ],
        rates=[
            RateStatus(pool=each.pool, tokens_per_second=f"{each.tokens_per_second:.1f}", learned_for=each.learned_for)
            for each in state.rates
        ],
    )


def _encoded(capacity: LengthCapacity) -> CapacityStatus:
    """Rounded down, so that a restart never promises more of a replica."""
    places = 2 - math.floor(math.log10(capacity.rate))
    return CapacityStatus(
        prompt=capacity.prompt,
        answer=capacity.answer,
        requests_per_second=f"{math.floor(capacity.rate * 10**places) / 10**places:.3g}",
        share_percent=math.floor(100 * capacity.share),
    )


def _capacity(kept: CapacityStatus) -> LengthCapacity | None:
    try:
        rate = float(kept.requests_per_second)
    except ValueError:
        return None
    if not 0 < rate < math.inf:
        return None
    return LengthCapacity(kept.prompt, kept.answer, rate, kept.share_percent / 100)


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _number(text: str | None) -> float | None:
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if 1.0 <= found < float("inf") else None
