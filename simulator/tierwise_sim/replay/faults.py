"""Lets things go wrong at the planned times: what each fault does to replicas and to Prometheus, and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from tierwise_sim.replay.fleet import TierFleet
from tierwise_sim.replay.prometheus import Prometheus
from tierwise_sim.replay.live import Phase, SimReplica
from tierwise_sim.replay.scenario import Fault, FaultKind, Scenario

Event = Callable[[float], None]


class Loop(Protocol):
    """What faults need of a simulation."""

    scenario: Scenario
    fleets: dict[str, TierFleet]
    prometheus: Prometheus

    def after(self, at: float, event: Event) -> None:
        """Plan an event."""
        ...

    def out_of_endpoints(self, one: SimReplica) -> None:
        """Nothing is sent to a replica any more."""
        ...

    def kill(self, one: SimReplica, now: float) -> None:
        """What is on a replica ends without an answer."""
        ...

    def gone(self, one: SimReplica, now: float, *, phase: Phase = Phase.GONE) -> None:
        """A replica frees its GPUs."""
        ...

    def heal(self, fleet: TierFleet, now: float) -> None:
        """Start what is missing."""
        ...


class Faults:
    """The faults of one simulation. Each is of the tier's oldest replica that receives requests when it begins."""

    def __init__(self, faults: Iterable[Fault], loop: Loop) -> None:
        self._faults = sorted(faults)
        self._loop = loop
        self._active: dict[Fault, str] = {}
        self._frozen: set[str] = set()

    def plan(self) -> None:
        """Plan their beginnings and ends."""
        for fault in self._faults:
            self._loop.after(fault.at, self._begin(fault))
            self._loop.after(fault.until, self._over(fault))

    def of(self, one: SimReplica) -> Iterator[Fault]:
        """What is wrong with a replica now."""
        return (fault for fault, name in self._active.items() if name == one.name)

    def silent(self, one: SimReplica) -> bool:
        """Whether its metrics cannot be read."""
        return any(fault.kind is FaultKind.POD_SILENT for fault in self.of(one))

    def freezes(self, one: SimReplica) -> bool:
        """Whether its series outlive it."""
        return one.name in self._frozen

    def _begin(self, fault: Fault) -> Event:
        def begin(now: float) -> None:
            if fault.kind is FaultKind.PROMETHEUS_AWAY:
                self._loop.prometheus.away = True
                return
            fleet = self._loop.fleets[fault.tier or next(iter(self._loop.fleets))]
            one = next(iter(fleet.ready), None)
            if one is None:
                return
            self._active[fault] = one.name
            if fault.kind is FaultKind.FROZEN_SERIES:
                self._frozen.add(one.name)
                self._dies(fleet, one, Phase.GONE, now)
            elif fault.kind is FaultKind.NODE_LOST:
                self._dies(fleet, one, Phase.LOST, now)
                self._loop.after(now + self._loop.scenario.timing.eviction, lambda at: self._evicted(fleet, one, at))

        return begin

    def _dies(self, fleet: TierFleet, one: SimReplica, phase: Phase, now: float) -> None:
        self._loop.out_of_endpoints(one)
        self._loop.kill(one, now)
        self._loop.gone(one, now, phase=phase)
        self._loop.heal(fleet, now)

    def _evicted(self, fleet: TierFleet, one: SimReplica, now: float) -> None:
        self._loop.gone(one, now)
        self._loop.heal(fleet, now)

    def _over(self, fault: Fault) -> Event:
        def over(_: float) -> None:
            if fault.kind is FaultKind.PROMETHEUS_AWAY:
                self._loop.prometheus.away = False
            name = self._active.pop(fault, None)
            if name is not None and fault.kind is FaultKind.FROZEN_SERIES:
                self._loop.prometheus.thaw(name)

        return over
