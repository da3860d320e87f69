"""The budget rules of Dynamo, WVA and llm-d's coordinator.

After ai-dynamo/dynamo: components/src/dynamo/planner/core/budget.py and its GlobalPlanner; llm-d's workload variant
autoscaler: internal/engines/pipeline (greedy), pull requests 1452 and 1489 (rescale), and its coordinator. No rule here
grants growth beyond the GPUs that are free: where the original would ask for more, its pods would stay Pending.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tierwise_sim.policies.budget import Ask, Grants, grow_into, used

_ROUNDING = 1e-9
LOWER_AFTER_TICKS = 4  # the coordinator lowers a ceiling after so many equal answers in a row


def unlimited(asks: Sequence[Ask], budget: int) -> Grants:
    """No budget at all: what is wished. For a comparison without contention."""
    return Grants({ask.tier: ask.wish for ask in asks})


def first_come(asks: Sequence[Ask], budget: int) -> Grants:
    """Dynamo's GlobalPlanner: an ask that fits is granted, one that does not is rejected as a whole."""
    total = used(asks)
    granted = {}
    for ask in asks:
        more = (ask.wish - ask.current) * ask.gpus
        if more <= 0:
            granted[ask.tier] = ask.wish  # its GPUs are free once it is drained
        elif total + more <= budget:
            granted[ask.tier] = ask.wish
            total += more
        else:
            granted[ask.tier] = ask.current
    return Grants(granted)


def greedy(asks: Sequence[Ask], budget: int) -> Grants:
    """WVA's limiter: the most saturated first (least spare KV memory), then the cheapest; as much as fits."""
    order = sorted(asks, key=lambda ask: (ask.spare, ask.cost, ask.tier))
    return Grants(grow_into(order, {ask.tier: ask.wish for ask in asks}, budget - used(asks)))


def rescale(asks: Sequence[Ask], budget: int) -> Grants:
    """WVA's rescale: when the demands exceed the budget, floors, and the rest by priority times demand.

    Shares are capped at the demand and the maximum, what is left is divided again, whole replicas go by largest
    remainder. Without contention every wish is granted. Growth waits for free GPUs.
    """
    targets = {ask.tier: ask.wish for ask in asks}
    if math.fsum(ask.demand_gpus for ask in asks) > budget + _ROUNDING:
        targets = _whole_replicas(asks, _shares(asks, budget), budget)
    order = sorted(asks, key=lambda ask: (-ask.priority, ask.tier))
    return Grants(grow_into(order, targets, budget - used(asks)))


def _shares(asks: Sequence[Ask], budget: int) -> dict[str, float]:
    """GPUs by tier, fractions included."""
    caps = {ask.tier: min(ask.demand_gpus, float(ask.maximum * ask.gpus)) for ask in asks}
    floors = {ask.tier: float(ask.floor) for ask in asks}
    shares = {ask.tier: min(floors[ask.tier], caps[ask.tier]) for ask in asks}
    if sum(floors.values()) >= budget:
        return shares
    left = budget - math.fsum(shares.values())
    while left > _ROUNDING:
        weights = {
            ask.tier: ask.priority * ask.demand_gpus for ask in asks if shares[ask.tier] < caps[ask.tier] - _ROUNDING
        }
        total = math.fsum(weights.values())
        if total <= 0:
            break
        for tier, weight in weights.items():
            shares[tier] = min(caps[tier], shares[tier] + left * weight / total)
        left = budget - math.fsum(shares.values())
    return shares


def _whole_replicas(asks: Sequence[Ask], shares: Mapping[str, float], budget: int) -> dict[str, int]:
    """Whole replicas of these shares: rounded down, then one more by largest remainder while GPUs are left."""
    order = sorted(asks, key=lambda ask: (-ask.priority, ask.tier))
    left = budget
    replicas = {}
    for ask in order:
        replicas[ask.tier] = min(math.floor(shares[ask.tier] / ask.gpus + _ROUNDING), left // ask.gpus)
        left -= replicas[ask.tier] * ask.gpus
    remainders = {ask.tier: shares[ask.tier] / ask.gpus - replicas[ask.tier] for ask in order}
    for ask in sorted(order, key=lambda ask: -remainders[ask.tier]):
        if remainders[ask.tier] > _ROUNDING and ask.gpus <= left and replicas[ask.tier] < ask.maximum:
            replicas[ask.tier] += 1
            left -= ask.gpus
    return replicas


class Coordinator:
    """llm-d's coordinator: a ceiling per tier by its share of all that waits, above the minima.

    It takes every replica for one GPU. A ceiling rises at once, and falls after four equal answers in a row.
    """

    def __init__(self) -> None:
        self._ceilings: dict[str, int] = {}
        self._lower: dict[str, tuple[int, int]] = {}  # a lower ceiling, and how often in a row

    def __call__(self, asks: Sequence[Ask], budget: int) -> Grants:
        """What each tier may have."""
        for tier, ceiling in self._computed(asks, budget).items():
            candidate, times = self._lower.get(tier, (ceiling, 0))
            times = times + 1 if candidate == ceiling else 1
            if ceiling >= self._ceilings.get(tier, 0) or times >= LOWER_AFTER_TICKS:
                self._ceilings[tier] = ceiling
                times = 0
            self._lower[tier] = (ceiling, times)
        targets = {ask.tier: min(ask.wish, self._ceilings.get(ask.tier, ask.wish)) for ask in asks}
        return Grants(grow_into(asks, targets, budget - used(asks)))

    def _computed(self, asks: Sequence[Ask], budget: int) -> dict[str, int]:
        """The ceilings of this tick; none while nothing waits anywhere."""
        queue = math.fsum(ask.queue for ask in asks)
        if not queue > 0:
            return {}
        spread = max(0, budget - sum(ask.minimum for ask in asks))
        ceilings = {ask.tier: ask.minimum + math.floor(ask.queue / queue * spread + _ROUNDING) for ask in asks}
        largest = max(asks, key=lambda ask: ask.queue)
        ceilings[largest.tier] += spread - sum(ceilings[ask.tier] - ask.minimum for ask in asks)
        return ceilings
