"""Holds one request on its way: where it may be answered, where it is, and what has become of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierwise.routing.replica import Pick, Replica
from tierwise.routing.tier_choice import Candidate
from tierwise_sim.sequence import Sequence
from tierwise_sim.traces.arrival import Arrival

if TYPE_CHECKING:
    from decimal import Decimal

    from tierwise.routing.replica import Mark
    from tierwise_sim.replay.replica import SimReplica
    from tierwise_sim.replay.router import SimRouter

ANSWERED = "answered"


@dataclass(slots=True, eq=False)
class Job:
    """One request. `until`: when its client has waited for long enough; `outcome`: empty while it is open, `ANSWERED`,
    or why it was refused. `wanted`: the tier that was chosen first, `tier` where it is or was answered.

    `waits` tells one wait in a queue from another, so that a timer that comes too late is known."""

    number: int
    arrival: Arrival
    at: float
    router: SimRouter
    until: float = 0.0
    blocks: tuple[int, ...] = ()
    candidates: list[Candidate] = field(default_factory=list)
    position: int = 0
    wanted: str = ""
    first: str = ""
    tier: str = ""
    waits: int = 0
    waiting: bool = False
    pick: Pick | None = None
    mark: Mark | None = None
    replica: SimReplica | None = None
    sequence: Sequence | None = None
    sent_at: float = 0.0
    begun: bool = False
    tried: list[Replica] = field(default_factory=list)
    why: str = ""
    outcome: str = ""
    spill: Decimal | None = None
