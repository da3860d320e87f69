"""Lets things go wrong at the planned times: what a fault does to replicas and to Prometheus, and when it is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tierwise_sim.replay.cluster import Cluster
from tierwise_sim.replay.events import Event, Events
from tierwise_sim.replay.fleet import TierFleet
from tierwise_sim.replay.live import Phase, SimReplica
from tierwise_sim.replay.prometheus import Prometheus
from tierwise_sim.replay.scenario import Fault, FaultKind, Scenario


class Faults:
    """The faults of one simulation. Each is of the tier's oldest replica that receives requests when it begins."""

    def __init__(
        self,
        scenario: Scenario,
        events: Events,
        fleets: Mapping[str, TierFleet],
        prometheus: Prometheus,
        cluster: Cluster,
    ) -> None:
        self._scenario = scenario
        self._events = events
        self._fleets = fleets
        self._prometheus = prometheus
        self._cluster = cluster
        self._active: dict[Fault, str] = {}

    def plan(self) -> None:
        """Plan their beginnings and ends."""
        for fault in sorted(self._scenario.faults):
            self._events.after(fault.at, self._begin(fault))
            self._events.after(fault.until, self._over(fault))

    def of(self, one: SimReplica) -> Iterator[Fault]:
        """What is wrong with a replica now."""
        return (fault for fault, name in self._active.items() if name == one.name)

    def silent(self, one: SimReplica) -> bool:
        """Whether its metrics cannot be read."""
        return any(fault.kind is FaultKind.POD_SILENT for fault in self.of(one))

    def _begin(self, fault: Fault) -> Event:
        def begin(now: float) -> None:
            if fault.kind is FaultKind.PROMETHEUS_AWAY:
                self._prometheus.away = True
                return
            fleet = self._fleets[fault.tier or next(iter(self._fleets))]
            one = next(iter(fleet.ready), None)
            if one is None:
                return
            self._active[fault] = one.name
            if fault.kind is FaultKind.FROZEN_SERIES:
                self._cluster.frozen.add(one.name)
                self._dies(fleet, one, Phase.GONE, now)
            elif fault.kind is FaultKind.NODE_LOST:
                self._dies(fleet, one, Phase.LOST, now)
                self._events.after(now + self._scenario.timing.eviction, lambda at: self._evicted(fleet, one, at))

        return begin

    def _dies(self, fleet: TierFleet, one: SimReplica, phase: Phase, now: float) -> None:
        self._cluster.out_of_endpoints(one)
        self._cluster.kill(one, now)
        self._cluster.gone(one, now, phase=phase)
        self._cluster.heal(fleet, now)

    def _evicted(self, fleet: TierFleet, one: SimReplica, now: float) -> None:
        self._cluster.gone(one, now)
        self._cluster.heal(fleet, now)

    def _over(self, fault: Fault) -> Event:
        def over(_: float) -> None:
            if fault.kind is FaultKind.PROMETHEUS_AWAY:
                self._prometheus.away = False
            name = self._active.pop(fault, None)
            if name is not None and fault.kind is FaultKind.FROZEN_SERIES:
                self._prometheus.thaw(name)

        return over
