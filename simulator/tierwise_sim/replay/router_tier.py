"""Holds one tier as one router sees it: its replicas, and the requests that wait for one.

The rules are the router's (`tierwise_router.tier`), in virtual time instead of an event loop; who gets a place is
decided by the same pure code (`tierwise.routing.replica`).
"""

from __future__ import annotations

from collections.abc import Collection

from tierwise.routing.prefix import PrefixIndex
from tierwise.routing.replica import Pick, Replica, open_replicas, pick, work
from tierwise.routing.route import QueueLimits, RouteTier
from tierwise.routing.saturation import saturation
from tierwise.routing.waiting_line import Pace, WaitingLine, most_waiting
from tierwise_sim.replay.live import Job

NO_ROOM = ("queue_full", "queue_timeout", "displaced", "spilled")
"""Refusals that the operator counts as demand."""


class RouterTier:
    """One tier of one router."""

    def __init__(self, spec: RouteTier) -> None:
        self.spec = spec
        self.index = PrefixIndex()
        self.replicas: dict[str, Replica] = {}
        self.queue: WaitingLine[Job] = WaitingLine()
        self.pace = Pace()
        self.wanted = 0
        self.completed = 0
        self.refused: dict[str, int] = {}
        self._turn = 0

    @property
    def waiting(self) -> int:
        """Requests that wait for a replica."""
        return len(self.queue)

    @property
    def in_flight(self) -> int:
        """Requests that replicas work on."""
        return sum(one.in_flight for one in self.replicas.values())

    @property
    def ready(self) -> bool:
        """Whether there is a replica that takes requests."""
        return any(not one.draining for one in self.replicas.values())

    @property
    def no_room(self) -> int:
        """Requests that were not taken for want of room."""
        return sum(self.refused.get(reason, 0) for reason in NO_ROOM)

    def refuse(self, reason: str) -> None:
        """One request was refused."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def resting(self, now: float) -> bool:
        """Whether it is a provider that fails."""
        return self.spec.external and not any(one.breaker.allows(now) for one in self.replicas.values())

    def fullness(self, limits: QueueLimits, now: float) -> float:
        """1.0 is full (`tierwise.routing.saturation`); infinite where nobody else may have a place or wait."""
        replicas = list(self.replicas.values())
        if self.waiting >= most_waiting(limits, self.places) and not open_replicas(replicas, self.spec, now):
            return float("inf")
        return saturation(replicas, self.spec, self.waiting)

    @property
    def places(self) -> int:
        """Requests that its replicas work on at a time."""
        return self.spec.concurrency * sum(not one.draining for one in self.replicas.values())

    # --- replicas ---------------------------------------------------------------------------------------------------

    def add(self, key: str, since: float) -> None:
        """A replica takes requests; `since` minus infinity: it is not new, and needs no slow start."""
        self.replicas[key] = Replica(key, key, since)
        self.replicas = dict(sorted(self.replicas.items()))

    def remove(self, key: str) -> None:
        """A replica is out of the endpoints: it takes no new request; open answers end."""
        gone = self.replicas.pop(key, None)
        if gone is not None:
            gone.draining = True
            self.index.keep_only(self.replicas)

    # --- places -----------------------------------------------------------------------------------------------------

    def take(self, job: Job, now: float) -> Pick | None:
        """A place on the best replica that is free now."""
        without: Collection[Replica] = job.tried
        spec = self.spec
        candidates = open_replicas(list(self.replicas.values()), spec, now, without)
        self._turn += 1
        picked = pick(candidates, self.index, job.blocks, spec.concurrency, self._turn, spec.routers)
        if picked is None:
            return None
        if job.blocks:
            self.index.add(picked.replica.key, job.blocks)
        tokens = 0 if spec.external else work(picked, job.blocks)
        job.pick, job.mark = picked, picked.replica.begin(now, tokens)
        return picked

    def others(self, job: Job) -> bool:
        """Whether there is a replica that this request has not tried."""
        return any(not one.draining and one not in job.tried for one in self.replicas.values())
