"""Says whether a tier is full, without saying so in turn every second.

A tier is left when it is full and used again when it is clearly not (100 and 70 percent unless the route says
otherwise): around one threshold every second request would go to another model.
"""

from __future__ import annotations

from collections.abc import Sequence

from tierwise.routing.replica import Replica
from tierwise.routing.route import Overflow

WAITING_FULL = 5.0  # requests waiting in an engine at which it is full, as llm-d counts
KV_FULL = 0.95


def saturation(replicas: Sequence[Replica], concurrency: int) -> float:
    """How full a tier is: 1.0 is full. A tier without a replica is full."""
    ready = [one for one in replicas if not one.draining]
    if not ready:
        return float("inf")
    total = sum(
        max(one.in_flight / concurrency, one.waiting / WAITING_FULL, one.kv_usage / KV_FULL if one.waiting else 0.0)
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
