"""Says whether a tier is full, without saying so in turn every second.

A tier is left when it is full and used again when it is clearly not (100 and 70 percent unless the route says
otherwise): around one threshold every second request would go to another model.
"""

from __future__ import annotations

from collections.abc import Sequence

from tierwise.routing.replica import Replica
from tierwise.routing.route import Overflow, RouteTier

WAITING_FULL, WAITING_SHARE = 5.0, 0.25
"""Requests that wait for a replica, in it and in routers, at which it is full: five, as llm-d counts in the engine, or
a quarter of those that it works on, if that is more: who comes then waits for a quarter of an answer. Of one that works
on fewer than five, as many as it works on: who waits longer than an answer takes is better answered elsewhere."""
KV_FULL = 0.95
PLACES_FULL = 0.5
"""So full is a tier whose places are all used while nobody waits."""


def saturation(replicas: Sequence[Replica], tier: RouteTier, waiting: int = 0) -> float:
    """How full a tier is: 1.0 is full. A tier without a replica is full. `waiting`: requests in this router."""
    ready = [one for one in replicas if not one.draining]
    if not ready:
        return float("inf")
    queued = waiting * tier.routers / len(ready)
    full = min(tier.concurrency, max(WAITING_FULL, WAITING_SHARE * tier.concurrency))
    total = sum(
        max(
            PLACES_FULL * min(1.0, (one.in_flight + one.others) / tier.concurrency),
            (one.waiting + queued) / full,
            one.kv_usage / KV_FULL if one.waiting else 0.0,
        )
        for one in ready
    )
    return total / len(ready)


class Spill:
    """Whether a tier is left now; it remembers that it was."""

    __slots__ = ("active",)

    def __init__(self) -> None:
        self.active = False

    def update(self, fullness: float, overflow: Overflow) -> bool:
        """The same question again, with what is seen now."""
        percent = overflow.stop_percent if self.active else overflow.start_percent
        self.active = 100.0 * fullness >= percent
        return self.active
