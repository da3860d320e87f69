"""Limits how far a target may fall.

Three rules hold it up, each against another mistake:

- the window: only to the highest recommendation of the last minutes, so that a pause in the load costs nothing;
- headroom: only as far as the remaining replicas stay under 80 % of their share, so that the target does not rise again
  at the next ripple. With a tolerance of 10 % upwards, a load that varies by 10 % moves nothing;
- observed time only: while nothing was measured, the window's clock stands.

The window is a value: the present recommendation, and the higher ones before it with the time when each was last made.
While the recommendation stays the same nothing in it changes, so a tier at rest is not written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from tierwise.decide.demand import whole
from tierwise.types import Peak, TierState

HEADROOM = 0.8
MOST_PEAKS = 32  # what the status has room for
# Time without complete metrics counts up to three intervals in which a value can be new; beyond that the clock stands.
_GAP_INTERVALS = 3.0


def standing(peaks: Iterable[Peak], now: float, window: float) -> tuple[Peak, ...]:
    """The peaks that still count, highest first. A time in the future (a clock that was set back) counts as now."""
    told = [replace(peak, at=min(_up(peak.at), _up(now))) for peak in peaks]
    return tuple(sorted((peak for peak in told if now < peak.at + window), key=lambda peak: -peak.replicas))


def remembered(memory: TierState, recommended: int, now: float, window: float, *, interval: float = 10.0) -> TierState:
    """`memory` after a recommendation from complete metrics, which can be new every `interval` seconds."""
    peaks: tuple[Peak, ...] = memory.peaks
    unseen = 0.0 if memory.observed_at is None else now - memory.observed_at - _GAP_INTERVALS * interval
    if unseen > 0:
        peaks = tuple(replace(peak, at=peak.at + unseen) for peak in peaks)
    peaks = (*peaks, Peak(memory.recommended or 0, _up(now)))
    return replace(memory, recommended=recommended, peaks=_higher(peaks, recommended, now, window), observed_at=now)


def raised(memory: TierState, recommended: int, now: float, window: float) -> TierState:
    """`memory` after a recommendation from incomplete metrics: only a higher one counts."""
    if memory.recommended is not None and recommended <= memory.recommended:
        return memory
    return replace(memory, recommended=recommended, peaks=_higher(memory.peaks, recommended, now, window))


def held(memory: TierState, replicas: int, now: float, window: float) -> TierState:
    """`memory` as if this many replicas had been recommended just now, and the recommendation fallen since."""
    recommended = min(memory.recommended if memory.recommended is not None else replicas, replicas)
    peaks = (*memory.peaks, Peak(replicas, _up(now)))
    return replace(memory, recommended=recommended, peaks=_higher(peaks, recommended, now, window))


def floor(memory: TierState, now: float, window: float) -> Peak | None:
    """The highest recommendation that still counts, if it is above the standing one."""
    peaks = standing(memory.peaks, now, window)
    return peaks[0] if peaks else None


def with_headroom(load: float) -> int:
    """The fewest replicas that carry `load` (in replicas) below the headroom."""
    return whole(load / HEADROOM)


def _higher(peaks: Iterable[Peak], recommended: int, now: float, window: float) -> tuple[Peak, ...]:
    """The peaks above `recommended`, highest first, each later than the one before it: a peak that is both lower and
    older than another says nothing."""
    kept: list[Peak] = []
    for peak in sorted(standing(peaks, now, window), key=lambda peak: (-peak.replicas, -peak.at)):
        if peak.replicas > recommended and (not kept or peak.at > kept[-1].at):
            kept.append(peak)
    while len(kept) > MOST_PEAKS:
        _merge(kept)
    return tuple(kept)


def _merge(peaks: list[Peak]) -> None:
    """Join the two peaks that are closest in time into one that holds as high as the higher, as long as the later."""
    first = min(range(len(peaks) - 1), key=lambda index: peaks[index + 1].at - peaks[index].at)
    peaks[first : first + 2] = [Peak(peaks[first].replicas, peaks[first + 1].at)]


def _up(at: float) -> float:
    """Whole seconds, as the status keeps them; up, so that a restart never shortens a window."""
    return float(math.ceil(at))
