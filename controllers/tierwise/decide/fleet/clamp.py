"""Keeps a tier from asking again and again for replicas that no node takes.

GPUs can be free and of no use: four free ones on four nodes hold no replica of four, a taint or missing memory keeps a
pod away. Pods that wait for such GPUs would hold them against tiers that could use them. So what could not be scheduled
is given up, the tier is clamped to what was, and one replica more is tried later: after a minute, then after twice as
long each time.
"""

from __future__ import annotations

from dataclasses import dataclass

PATIENCE_SECONDS = 60.0
"""How long the scheduler may call a pod unschedulable before it counts as stuck: a node may be about to join."""
FIRST_SECONDS, LONGEST_SECONDS = 60.0, 1800.0
"""Until the first try, and the most between two."""


@dataclass(frozen=True, slots=True)
class Clamp:
    """The most replicas of a tier that a pool took; since when (seconds since the epoch), and after how many tries."""

    replicas: int
    since: float
    tries: int = 1


def observed(clamp: Clamp | None, *, scheduled: int, stuck: int, now: float) -> Clamp | None:
    """The clamp after a look at the pods. `scheduled`: those that a node runs; `stuck`: those that were unschedulable
    for PATIENCE_SECONDS. None: nothing speaks against more."""
    if stuck:
        if clamp is None:
            return Clamp(scheduled, now)
        if now < _next_try(clamp, now):
            return Clamp(scheduled, min(clamp.since, now), clamp.tries)
        return Clamp(scheduled, now, clamp.tries + 1)
    if clamp is None or scheduled > clamp.replicas:
        return None
    # Nobody has asked for more for a long time: what was learned then says nothing any more.
    return None if now >= min(clamp.since, now) + 2 * LONGEST_SECONDS else clamp


def most(clamp: Clamp | None, now: float) -> int | None:
    """The most replicas that may be asked for, as `Place.clamp`: one more than could be scheduled when it is time to
    try. None: any number."""
    if clamp is None:
        return None
    return clamp.replicas + (1 if now >= _next_try(clamp, now) else 0)


def _next_try(clamp: Clamp, now: float) -> float:
    """When the next try is due. A time in the future (a clock that was set back) counts as now."""
    doublings = min(clamp.tries - 1, 10)
    return min(clamp.since, now) + min(FIRST_SECONDS * 2.0**doublings, LONGEST_SECONDS)
