"""Defines what a shared-budget rule is asked and what it answers.

A rule sees what every tier's autoscaler wishes, and says how many replicas each may have of one number of GPUs. It is
run at every tick, after the autoscalers. What it grants beyond the present number is created; what it takes is removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Ask:
    """One tier. `current` are the replicas that hold GPUs: ready, starting and draining ones.

    `floor` and `demand` are in GPUs; `demand` is what the load needs, whatever the bounds (None: what is wished).
    `priority` weighs tiers against each other. `spare` is the share of KV memory that is free, `queue` the number of
    waiting requests: what single rules order by.
    """

    tier: str
    wish: int
    current: int
    gpus: int = 1
    floor: int = 0
    priority: float = 1.0
    demand: float | None = None
    minimum: int = 0
    maximum: int = 10**6
    spare: float = 1.0
    queue: float = 0.0
    cost: float = 1.0

    @property
    def demand_gpus(self) -> float:
        """The demand in GPUs."""
        return float(self.wish * self.gpus) if self.demand is None else self.demand


@dataclass(frozen=True, slots=True)
class Grants:
    """Replicas by tier; and of those taken, how many were preempted: deleted while they served, not drained."""

    replicas: Mapping[str, int]
    preempted: Mapping[str, int] = field(default_factory=dict)


class BudgetRule(Protocol):
    """A rule for one run. Some remember, so a new run needs a new one."""

    def __call__(self, asks: Sequence[Ask], budget: int) -> Grants:
        """What each tier may have of `budget` GPUs. The order of `asks` is the order in which the tiers ask."""
        ...


def used(asks: Sequence[Ask]) -> int:
    """The GPUs that the tiers hold now."""
    return sum(ask.current * ask.gpus for ask in asks)


def grow_into(asks: Sequence[Ask], targets: Mapping[str, int], free: int) -> dict[str, int]:
    """Lower every tier to its target at once; raise the tiers in the order given by as many replicas as fit into the
    GPUs that are free now. What a draining replica holds is free only later."""
    granted = {}
    for ask in asks:
        target = targets[ask.tier]
        if target > ask.current:
            more = min(target - ask.current, max(0, free) // ask.gpus)
            free -= more * ask.gpus
            target = ask.current + more
        granted[ask.tier] = target
    return granted
