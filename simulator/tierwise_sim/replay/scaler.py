"""Defines the seam behind which replicas are decided: what a scaler may look at, and what it answers.

Our own operator, the autoscalers of others and a fixed number are asked in the same way, so a comparison differs in
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tierwise_sim.replay.fleet import GpuStock, TierFleet
from tierwise_sim.replay.prometheus import Prometheus
from tierwise_sim.replay.recent import Recent
from tierwise_sim.replay.router import SimRouter
from tierwise_sim.replay.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Order:
    """Replicas for one tier. `costs`: which end first (pod, cost); `limited_by`: why it is not what the load asks for;
    `at_budget`: the GPUs for more were given to others; `preempted`: so many of those that end are deleted while they
    serve, and finish nothing."""

    tier: str
    replicas: int
    limited_by: str = ""
    at_budget: bool = False
    costs: Mapping[str, int] = field(default_factory=dict)
    preempted: int = 0


@dataclass(slots=True)
class World:
    """What there is. Scalers read it and change nothing."""

    scenario: Scenario
    fleets: Mapping[str, TierFleet]
    prometheus: Prometheus
    routers: Sequence[SimRouter]
    recent: Mapping[str, Recent]
    stock: GpuStock
    epoch: float


class Scaler(Protocol):
    """Decides replicas. One for one run: it keeps what it remembers."""

    @property
    def period_seconds(self) -> float:
        """Seconds between two decisions."""
        ...

    @property
    def instant(self) -> bool:
        """Whether its replicas are ready at once: only an oracle's are."""
        ...

    @property
    def wakes_at_once(self) -> bool:
        """Whether a request for a tier without replicas starts one without waiting for the next decision."""
        ...

    def orders(self, world: World, now: float) -> Sequence[Order]:
        """The replicas that are to be, for the tiers for which that is said. `now`: seconds of the simulation."""
        ...
