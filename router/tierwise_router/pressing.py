"""Moves the share of the reference tier down while that tier is full and cannot grow: looks once a second.

Every router does it alone, with its own arrivals and what its own requests find: shares need no agreement, since each
router's part of the capacity goes with its part of the arrivals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tierwise.routing.pressure import DELAY_SECONDS, Bounds, Capacity, Load, Rate, next_limit
from tierwise_router.router_state import RouterState
from tierwise_router.tier import Tier

PERIOD_SECONDS = 1.0


class Pressing:
    """Of one router."""

    def __init__(self, state: RouterState, queued: Callable[[Tier], float] | None = None) -> None:
        """`queued`: how many requests wait for a tier."""
        self._state = state
        self._queued = queued or queue_of
        self._arrivals, self._fixed, self._capacity = Rate(), Rate(), Capacity()
        self._before: tuple[str, float, int, int, int] | None = None

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            self.look()

    def look(self) -> None:
        """Count what has come since the last look, and set the share."""
        state, content = self._state, self._state.content
        added = state.route.added_share
        content.quality = content.active.needed_share + added if added and content.active is not None else None
        limits, share, tier = state.route.pressure, content.share, state.tiers.get(state.route.reference.name)
        if limits is None or share is None or tier is None:
            self._before = content.load = content.pressure = None
            return
        now = state.monotonic()
        decided, to_reference, wanted = content.decided, content.to_reference, tier.counts.wanted
        completed = tier.completed
        before, self._before = self._before, (tier.spec.name, now, decided, wanted - to_reference, completed)
        if before is None or before[0] != tier.spec.name or now <= before[1]:
            return
        seconds = now - before[1]
        queued = self._queued(tier)
        replicas = sum(not one.draining for one in tier.replicas)
        self._arrivals.add(decided - before[2], seconds)
        self._fixed.add(wanted - to_reference - before[3], seconds)
        left = state.saturated().get(tier.spec.name, False) and not tier.resting(now)
        self._capacity.look(completed - before[4], seconds, queued, replicas, left=left)
        content.load = None
        if tier.spec.capped and (queued > 0 or content.pressure is not None):
            capacity = self._capacity.per_second(replicas)
            rates = self._arrivals.per_second, self._fixed.per_second
            content.load = Load(rates[0], queued, DELAY_SECONDS, capacity, rates[1], self._arrivals.error)
        most = min(share.wanted, float(limits.most))
        limit = next_limit(content.pressure, most, content.load, Bounds(limits.least, limits.most), seconds)
        content.pressure = limit if limit is not None else float(limits.most) if limits.most < share.wanted else None


def queue_of(tier: Tier) -> float:
    """Requests of this router that wait: here, and in the engines."""
    return tier.waiting + sum(max(0, one.waiting - one.strangers) for one in tier.replicas)
