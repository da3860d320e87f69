"""Holds one replica while it starts, answers, drains and is gone."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from tierwise_sim.engine import Engine
from tierwise_sim.replay.job import Job
from tierwise_sim.sequence import Sequence


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
    """One replica of a tier. Its engine exists from the beginning and has nothing to do before it is ready.

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
