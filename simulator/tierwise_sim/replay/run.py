"""Runs one scenario: the loop in virtual time, and who looks at what how often.

What happens is elsewhere: requests in `traffic`, replicas in `cluster`, choices in `router`, decisions behind `scaler`.
Here they meet, in the order of time, so that a run can be repeated to the last byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from tierwise_sim.replay.account import Account
from tierwise_sim.replay.cluster import Cluster
from tierwise_sim.replay.content import SimClassifier
from tierwise_sim.replay.events import Event, Events
from tierwise_sim.replay.faults import Faults
from tierwise_sim.replay.fleet import GpuStock, TierFleet
from tierwise_sim.replay.live import Phase, SimReplica
from tierwise_sim.replay.operator import OperatorScaler
from tierwise_sim.replay.prometheus import Prometheus, RouterScrape
from tierwise_sim.replay.recent import Recent
from tierwise_sim.replay.router import SimRouter
from tierwise_sim.replay.scaler import Scaler, World
from tierwise_sim.replay.scenario import Scenario
from tierwise_sim.replay.traffic import Traffic

EPOCH = 1_700_000_000.0
"""The time of day at which every simulation begins. Nothing depends on it but dates in messages."""
SHOWN_SECONDS = 10.0
MOST_POINTS = 2000


class Simulation:
    """One run of one scenario. `scaler`: who decides the replicas; default: the operator."""

    def __init__(self, scenario: Scenario, scaler: Scaler | None = None) -> None:
        self.scenario = scenario
        self.events = Events()
        self.stock = GpuStock(scenario.budget)
        self.operator = OperatorScaler(scenario)
        self.scaler = self.operator if scaler is None else scaler
        self.prometheus = Prometheus(scenario.timing, EPOCH)
        self.account = Account((tier.name for tier in scenario.tiers), scenario.targets)
        self.recent = {tier.name: Recent() for tier in scenario.tiers}
        self.fleets = {
            name: TierFleet(tier, self.stock, scenario.seed, self._waiting_for(name))
            for name, tier in scenario.served.items()
        }
        self.cluster = Cluster(
            scenario, self.events, self.fleets, self.prometheus, self._started, instant=self.scaler.instant
        )
        self.traffic = Traffic(scenario, self.events, self.fleets, self.account, self.recent, self.cluster.drained)
        self.cluster.carries(self.traffic)
        self.faults = Faults(scenario, self.events, self.fleets, self.prometheus, self.cluster)
        self.world = World(scenario, self.fleets, self.prometheus, self.traffic.routers, self.recent, self.stock, EPOCH)
        self._offsets = Random(f"{scenario.seed}/scrapes")  # noqa: S311
        self._classifiers = [
            SimClassifier(scenario, f"{scenario.seed}/content/{number}") for number in range(scenario.route.replicas)
        ]

    @property
    def routers(self) -> Sequence[SimRouter]:
        """All of them."""
        return self.traffic.routers

    def _waiting_for(self, name: str) -> Callable[[], int]:
        return lambda: sum(router.tiers[name].waiting for router in self.traffic.routers)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def run(self) -> Iterator[float]:
        """All of it; yields the time now and then, for whoever shows how far it is."""
        self._begin()
        end, events, arrivals = self.scenario.seconds, self.events, self.scenario.trace.arrivals
        following, count, shown = 0, len(arrivals), 0.0
        while True:
            arrives = arrivals[following].at if following < count else end
            if events.next_at() < arrives:
                events.step()
            elif following < count:
                events.now = arrives
                self._arrive(following, arrives)
                following += 1
            else:
                break
            if events.now - shown >= SHOWN_SECONDS:
                shown = events.now
                yield shown
        self._end(end)
        yield end

    def _begin(self) -> None:
        timing, events = self.scenario.timing, self.events
        for name, fleet in self.fleets.items():
            fleet.desired = self.scenario.served[name].initial
            for _ in range(fleet.desired):
                one = self.cluster.make(fleet, 0.0)
                if one.phase is Phase.STARTING:
                    fleet.enter(one, Phase.READY, 0.0)
            fleet.note(0.0)
        route = self.operator.route(self.world, 0.0)
        for number, classifier in enumerate(self._classifiers):
            router = SimRouter(f"{route.name}-router-{number}", route, self.traffic, classifier.choose)
            for name, tier in router.tiers.items():
                if tier.spec.external:
                    tier.add(name, float("-inf"))
                else:
                    for one in self.fleets[name].ready:
                        self.cluster.known(tier, one, float("-inf"))
            self.traffic.routers.append(router)
            events.every(timing.scrape, self._offsets.uniform(0, timing.scrape), self._scraped_router(router))
        events.every(timing.poll, timing.poll, self._poll)
        events.every(self.scaler.period_seconds, self.scaler.period_seconds, self._scale)
        events.every(timing.decide, timing.decide, self._resolve)
        sample = max(timing.sample, round(self.scenario.seconds / MOST_POINTS, -1))
        events.every(sample, sample, self._note)
        self.faults.plan()

    def _end(self, end: float) -> None:
        self.events.now = end
        for fleet in self.fleets.values():
            fleet.account(end)
            for one in fleet.replicas:
                if one.alive:
                    self.traffic.pump(one, end, exact=True)
            fleet.note(end)
        for job in list(self.traffic.open.values()):
            self.account.still_open(job, end)

    def _arrive(self, number: int, now: float) -> None:
        job = self.traffic.arrive(number, now)
        fleet = self.fleets.get(job.wanted)
        if fleet is not None and not fleet.desired and self.scaler.wakes_at_once:
            fleet.scale(1, now)
            self.cluster.heal(fleet, now)

    # --- deciding ---------------------------------------------------------------------------------------------------

    def _resolve(self, now: float) -> None:
        route = self.operator.route(self.world, now)
        if route is not self.routers[0].route:
            for router in self.routers:
                router.follow(route)

    def _scale(self, now: float) -> None:
        for order in self.scaler.orders(self.world, now):
            fleet = self.fleets[order.tier]
            fleet.decided(now, order.limited_by, at_budget=order.at_budget)
            fleet.scale(order.replicas, now)
            self.cluster.heal(fleet, now, order)

    # --- looking ----------------------------------------------------------------------------------------------------

    def _note(self, now: float) -> None:
        for fleet in self.fleets.values():
            fleet.note(now)

    def _started(self, one: SimReplica, now: float) -> None:
        """A replica has got its GPUs: Prometheus finds it, and reads it at a moment of its own."""
        self.events.after(
            now + self._offsets.uniform(0, self.scenario.timing.scrape), lambda at: self._scraped(one, at)
        )

    def _scraped(self, one: SimReplica, now: float) -> None:
        """Prometheus reads a replica."""
        if one.phase in (Phase.GONE, Phase.LOST):
            return
        if one.alive and not self.prometheus.away:
            self.traffic.pump(one, now, exact=True)
            self.prometheus.read(one.name, one.engine, now, self.faults.of(one))
            self.traffic.pump(one, now)
        self.events.after(now + self.scenario.timing.scrape, lambda at: self._scraped(one, at))

    def _scraped_router(self, router: SimRouter) -> Event:
        def read(now: float) -> None:
            if self.prometheus.away:
                return
            for name in self.fleets:
                tier = router.tiers[name]
                said = RouterScrape(now, tier.wanted, tier.waiting, tier.in_flight, tier.no_room)
                self.prometheus.read_router(router.name, name, said)

        return read

    def _poll(self, now: float) -> None:
        """Each router asks each replica how full it is."""
        ready: Sequence[SimReplica] = [one for fleet in self.fleets.values() for one in fleet.ready]
        silent = {one.name for one in ready if self.faults.silent(one)}
        for router, classifier in zip(self.routers, self._classifiers, strict=True):
            for one in ready:
                seen = router.tiers[one.tier].replicas[one.name]
                if one.name in silent:
                    seen.said(0, 0.0)
                    seen.shared_with(now, 0)
                    continue
                seen.said(one.waiting, one.engine.kv_usage)
                seen.shared_with(now, max(0, one.waiting + one.running - seen.in_flight))
            classifier.look(router, now)
