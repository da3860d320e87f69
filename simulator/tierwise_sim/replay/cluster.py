"""Plays the cluster: starts the replicas that are asked for where GPUs are free, ends those that are too many.

What ends leaves the endpoints, then answers what it has, then frees its GPUs; whoever waits for a GPU takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tierwise.routing.failover import Failure
from tierwise_sim.replay.events import Events
from tierwise_sim.replay.fleet import TierFleet
from tierwise_sim.replay.live import Phase, SimReplica
from tierwise_sim.replay.prometheus import Prometheus
from tierwise_sim.replay.router_tier import RouterTier
from tierwise_sim.replay.scaler import Order
from tierwise_sim.replay.scenario import Scenario
from tierwise_sim.replay.traffic import Traffic


class Cluster:
    """The replicas of all tiers. `started` is told of each that has got its GPUs; `instant`: they answer at once."""

    def __init__(
        self,
        scenario: Scenario,
        events: Events,
        fleets: Mapping[str, TierFleet],
        prometheus: Prometheus,
        started: Callable[[SimReplica, float], None],
        *,
        instant: bool,
    ) -> None:
        self.frozen: set[str] = set()
        """Replicas whose series outlive them."""
        self._scenario = scenario
        self._events = events
        self._fleets = fleets
        self._prometheus = prometheus
        self._started = started
        self._instant = instant
        self._traffic: Traffic

    def carries(self, traffic: Traffic) -> None:
        """Whose requests are on the replicas."""
        self._traffic = traffic

    def heal(self, fleet: TierFleet, now: float, order: Order | None = None) -> None:
        """Start the replicas that are missing, and end those that are too many, in the order that was given."""
        for _ in range(fleet.missing()):
            self.make(fleet, now)
        preempted = 0 if order is None else order.preempted
        for one in fleet.surplus({} if order is None else order.costs):
            if one.phase is not Phase.READY:
                self.gone(one, now)
                continue
            self._drain(fleet, one, now)
            if preempted > 0:
                preempted -= 1
                self.kill(one, now)

    def make(self, fleet: TierFleet, now: float) -> SimReplica:
        """One more replica, which starts when a GPU is free."""
        one = fleet.make(now)
        self._start(fleet, one, now)
        return one

    def _start(self, fleet: TierFleet, one: SimReplica, now: float) -> None:
        if one.phase is not Phase.PENDING or not fleet.start(one, now):
            return
        self._prometheus.found(one.name, one.tier, fleet.tier.settings.kv_tokens)
        startup = 0.0 if self._instant else fleet.tier.startup_seconds
        self._events.after(now + startup, lambda at: self._ready(fleet, one, at))
        self._started(one, now)

    def _ready(self, fleet: TierFleet, one: SimReplica, now: float) -> None:
        if one.phase is not Phase.STARTING:
            return
        fleet.enter(one, Phase.READY, now)
        for router in self._traffic.routers:
            tier = router.tiers[one.tier]
            self.known(tier, one, now)
            router.wake(tier, now)

    @staticmethod
    def known(tier: RouterTier, one: SimReplica, since: float) -> None:
        """A router knows of a replica. `since` minus infinity: it is not new."""
        tier.add(one.name, since)
        tier.index.resize(one.name, one.engine.settings.kv_tokens)

    def _drain(self, fleet: TierFleet, one: SimReplica, now: float) -> None:
        fleet.enter(one, Phase.DRAINING, now)
        self.out_of_endpoints(one)
        timing = self._scenario.timing
        self._events.after(now + timing.drain_least, lambda at: self.drained(one, at))
        allowed = timing.drain_least + fleet.tier.spec.drain_seconds
        self._events.after(now + allowed, lambda at: self.kill(one, at))

    def out_of_endpoints(self, one: SimReplica) -> None:
        """No router sends anything to a replica any more."""
        for router in self._traffic.routers:
            router.tiers[one.tier].remove(one.name)

    def drained(self, one: SimReplica, now: float) -> None:
        """A replica that drains has nothing left to do: its process ends."""
        if one.phase is not Phase.DRAINING or one.ended_at is None or one.engine.unfinished:
            return
        if now >= one.ended_at + self._scenario.timing.drain_least:
            self._events.after(now + self._scenario.timing.teardown, lambda at: self.gone(one, at))

    def kill(self, one: SimReplica, now: float) -> None:
        """What is still on a replica ends without an answer."""
        if not one.alive:
            return
        self._traffic.pump(one, now, exact=True)
        for sequence, job in list(one.jobs.items()):
            one.engine.abort(sequence, now)
            self._traffic.dropped(job, Failure.RESET, now)
        self.drained(one, now)

    def gone(self, one: SimReplica, now: float, *, phase: Phase = Phase.GONE) -> None:
        """A replica frees its GPUs; those that wait for some may start."""
        if one.phase is Phase.GONE:
            return
        self._fleets[one.tier].enter(one, phase, now)
        one.wake_at = None
        self._prometheus.lost(one.name, frozen=one.name in self.frozen)
        pending = [
            (each.created_at, each.name, fleet, each)
            for fleet in self._fleets.values()
            for each in fleet.replicas
            if each.phase is Phase.PENDING
        ]
        for _, _, fleet, each in sorted(pending, key=lambda found: found[:2]):
            self._start(fleet, each, now)
