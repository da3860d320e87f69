"""Encodes the state of a decision into the status, and restores it after a restart.

A restarted operator must decide at least as many replicas as one that ran on. The window of recommendations and the
learned capacity are therefore kept in the status. A status is written seconds after the decision, so the last
recommendations before a restart may be missing from it, among them one as high as the replicas that run. So a restored
state is marked `resumed`, and the first decision counts the replicas that it finds as recommended at that moment:
after a restart replicas may rise at once, and fall only when a window has been observed.
"""

from __future__ import annotations

from tierwise.api.modeltier_status import ModelTierStatus, PeakStatus, ScalingMemory
from tierwise.times import rfc3339, seconds
from tierwise.types import Peak, TierState


def restore(status: ModelTierStatus, now: float) -> TierState:
    """The memory that a status holds, for the first decision after a start. What cannot be read counts as now (a time)
    or as not learned (a number)."""
    kept = status.scaling.memory
    peaks = (Peak(peak.replicas, min(now, _or(seconds(peak.time), now))) for peak in kept.peaks)
    return TierState(
        recommended=kept.recommended,
        peaks=tuple(sorted(peaks, key=lambda peak: -peak.replicas)),
        requests_per_replica=_number(kept.requests_per_replica),
        learned_for=kept.learned_for,
        resumed=True,
    )


def remember(memory: TierState) -> ScalingMemory:
    """`memory` in the form that is written into the status. Equal memories give equal bytes."""
    learned = memory.requests_per_replica
    return ScalingMemory(
        recommended=memory.recommended,
        peaks=[PeakStatus(replicas=peak.replicas, time=rfc3339(peak.at)) for peak in memory.peaks],
        requests_per_replica=None if learned is None else f"{learned:.1f}",
        learned_for="" if learned is None else memory.learned_for,
    )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _number(text: str | None) -> float | None:
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if 1.0 <= found < float("inf") else None
