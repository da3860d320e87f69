"""Says whether a tier is full, without saying so in turn every second.

A tier is left when it is full and used again when it is clearly not (100 and 70 percent unless the route says
otherwise): around one threshold every second request would go to another model.
"""

from __future__ import annotations

from collections.abc import Sequence

from tierwise.routing.replica import Replica
from tierwise.routing.route import Overflow, RouteTier
from tierwise.routing.waiting_line import LONG_SECONDS

WAITING_FULL = 5.0
"""Requests that wait within an engine, for memory, at which it is full, as llm-d counts. Of one that works on fewer, as
many as it works on: who waits longer than an answer takes is better answered elsewhere."""
KV_FULL = 0.95
PLACES_FULL = 0.5
"""So full is a tier whose places are all used while nobody waits."""


def saturation(replicas: Sequence[Replica], tier: RouteTier, wait_seconds: float = 0.0) -> float:
    """How full a tier is: 1.0 is full. A tier without a replica is full.

    `wait_seconds`: what a request that comes now will wait for in this router (`waiting_line.Pace.wait_seconds`). Time
    and not a number: five requests before a replica that works on 128 are gone in less than a second, and before one
    that works on four in several."""
    ready = [one for one in replicas if not one.draining]
    if not ready:
        return float("inf")
    full = min(WAITING_FULL, tier.concurrency)
    total = sum(
        max(
            PLACES_FULL * min(1.0, (one.in_flight + one.others) / tier.concurrency),
            one.waiting / full,
            one.kv_usage / KV_FULL if one.waiting else 0.0,
        )
        for one in ready
    )
    return max(total / len(ready), wait_seconds / LONG_SECONDS)


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
