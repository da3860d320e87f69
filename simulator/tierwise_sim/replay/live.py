"""Holds what lives while a simulation runs: requests on their way, and the replicas that they are on."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

from tierwise.routing.replica import Mark, Pick, Replica
from tierwise.routing.tier_choice import Candidate
from tierwise_sim.engine import Engine
from tierwise_sim.sequence import Sequence
from tierwise_sim.traces.arrival import Arrival

ANSWERED = "answered"


@dataclass(slots=True, eq=False)
class Job:
    """One request. `until`: when its client has waited for long enough; `outcome`: empty while it is open, `ANSWERED`,
    or why it was refused. `wanted`: the tier that was chosen first, `tier` where it is or was answered.

    `router`: the place of the one that it came to. `waits` tells one wait in a queue from another, so that a timer that
    comes too late is known."""

    number: int
    arrival: Arrival
    at: float
    router: int
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


class Phase(Enum):
    """What a replica does. It is paid for while it starts, answers and drains."""

    PENDING = "pending"
    """No GPU is free for it."""
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    LOST = "lost"
    """Its node is gone, and the cluster waits for it to come back."""
    GONE = "gone"


@dataclass(slots=True, eq=False)
class SimReplica:
    """One replica of a tier. Its engine exists from the beginning and has nothing to do before it is ready; its last
    request came at `submitted_at`, `gap` seconds after the one before it on average.

    `ready_at` is None until it is; `wake_at` is when its engine has something to tell, None when it has nothing;
    `ended_at` is since when it drains."""

    name: str
    tier: str
    engine: Engine
    created_at: float
    phase: Phase = Phase.PENDING
    ready_at: float | None = None
    ended_at: float | None = None
    wake_at: float | None = None
    submitted_at: float = 0.0
    gap: float = 1.0
    jobs: dict[Sequence, Job] = field(default_factory=dict)
    unbegun: list[Job] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether its engine answers."""
        return self.phase in (Phase.READY, Phase.DRAINING)

    @property
    def running(self) -> int:
        """Requests that its engine works on."""
        return len(self.engine.running)

    @property
    def waiting(self) -> int:
        """Requests that wait in its engine."""
        return len(self.engine.waiting)
