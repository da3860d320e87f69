"""Runs one scenario: the loop of events in virtual time.

What happens is in four places (`router`, `fleet`, `prometheus`, a scaler); here they meet, in the order of time. Of two
events of one moment the one that was planned first comes first, and arrivals before both, so a run can be repeated to
the last byte.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from random import Random

from tierwise.routing.failover import Failure
from tierwise_sim.replay.account import Account
from tierwise_sim.replay.content import SimClassifier
from tierwise_sim.replay.faults import Faults
from tierwise_sim.replay.fleet import GpuStock, TierFleet
from tierwise_sim.replay.live import ANSWERED, Job, Phase, SimReplica
from tierwise_sim.replay.operator import OperatorScaler
from tierwise_sim.replay.prometheus import Prometheus, RouterScrape
from tierwise_sim.replay.recent import Recent
from tierwise_sim.replay.router import SimRouter
from tierwise_sim.replay.router_tier import RouterTier
from tierwise_sim.replay.scaler import Order, Scaler, World
from tierwise_sim.replay.scenario import ExternalTier, Scenario
from tierwise_sim.sequence import Rejection, Request

EPOCH = 1_700_000_000.0
"""The time of day at which every simulation begins. Nothing depends on it but dates in messages."""
AHEAD_SECONDS = 1.0
"""An engine plans its steps for so long, if nobody comes."""
SWEEP_SECONDS = 0.25
Event = Callable[[float], None]


class Simulation:
    """One run of one scenario. `scaler`: who decides the replicas; default: the operator."""

    def __init__(self, scenario: Scenario, scaler: Scaler | None = None) -> None:
        self.scenario = scenario
        self.now = 0.0
        self._events: list[tuple[float, int, Event]] = []
        self._planned = 0
        self._open: dict[int, Job] = {}
        self._swept: set[str] = set()
        self.stock = GpuStock(scenario.budget)
        self.operator = OperatorScaler(scenario)
        self.scaler = self.operator if scaler is None else scaler
        self.prometheus = Prometheus(scenario.timing, EPOCH)
        self.account = Account((tier.name for tier in scenario.tiers), scenario.targets)
        self.recent = {tier.name: Recent() for tier in scenario.tiers}
        self.routers: list[SimRouter] = []
        self.fleets = {
            name: TierFleet(tier, self.stock, scenario.seed, self._waiting_for(name))
            for name, tier in scenario.served.items()
        }
        self.faults = Faults(scenario.faults, self)
        self._external = {tier.name: tier for tier in scenario.tiers if isinstance(tier, ExternalTier)}
        self._chance = Random(f"{scenario.seed}/clients")  # noqa: S311
        self._offsets = Random(f"{scenario.seed}/scrapes")  # noqa: S311
        self.world = World(
            scenario, self.fleets, self.prometheus, self.routers, self.recent, self.stock, EPOCH
        )
        self._classifiers = [
            SimClassifier(scenario, f"{scenario.seed}/content/{number}") for number in range(scenario.route.replicas)
        ]

    def _waiting_for(self, name: str) -> Callable[[], int]:
        return lambda: sum(router.tiers[name].waiting for router in self.routers)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def run(self) -> Iterator[float]:
        """All of it; yields the time now and then, for whoever shows how far it is."""
        self._begin()
        end, events = self.scenario.seconds, self._events
        arrivals = iter(enumerate(self.scenario.trace.arrivals))
        following = next(arrivals, None)
        shown = 0.0
        while True:
            at = end if following is None else following[1].at
            if events and events[0][0] < at:
                at, _, event = heapq.heappop(events)
                if at >= end:
                    break
                self.now = at
                event(at)
            elif following is None:
                break
            else:
                self.now = at
                self._arrive(following[0], at)
                following = next(arrivals, None)
            if at - shown >= SWEEP_SECONDS * 40:
                shown = at
                yield at
        self._end(end)
        yield end

    def after(self, at: float, event: Event) -> None:
        """Plan an event."""
        self._planned += 1
        heapq.heappush(self._events, (at, self._planned, event))

    def _every(self, seconds: float, first: float, event: Event) -> None:
        def again(now: float) -> None:
            event(now)
            self.after(now + seconds, again)

        self.after(first, again)

    def _begin(self) -> None:
        timing = self.scenario.timing
        for name, fleet in self.fleets.items():
            fleet.desired = self.scenario.served[name].initial
            for _ in range(fleet.desired):
                one = self._make(fleet, 0.0)
                if one.phase is Phase.STARTING:
                    fleet.enter(one, Phase.READY, 0.0)
                    one.ready_at = -1.0
            fleet.note(0.0)
        route = self.operator.route(self.world, 0.0)
        for number, classifier in enumerate(self._classifiers):
            router = SimRouter(f"{route.name}-router-{number}", route, self, classifier.choose)
            for name, tier in router.tiers.items():
                if tier.spec.external:
                    tier.add(name, float("-inf"))
                else:
                    for one in self.fleets[name].ready:
                        self._known(tier, one, float("-inf"))
            self.routers.append(router)
            self._every(timing.scrape, self._offsets.uniform(0, timing.scrape), self._scraped_router(router))
        self._every(timing.poll, timing.poll, self._poll)
        self._every(self.scaler.period_seconds, self.scaler.period_seconds, self._scale)
        self._every(timing.decide, timing.decide, self._resolve)
        sample = max(timing.sample, round(self.scenario.seconds / 2000, -1))
        self._every(sample, sample, self._note)
        self.faults.plan()

    def _end(self, end: float) -> None:
        self.now = end
        for fleet in self.fleets.values():
            fleet.account(end)
            for one in fleet.replicas:
                if one.alive:
                    self.pump(one, end, exact=True)
            fleet.note(end)
        for job in list(self._open.values()):
            self.account.still_open(job, end)

    def _note(self, now: float) -> None:
        for fleet in self.fleets.values():
            fleet.note(now)

    # --- requests ---------------------------------------------------------------------------------------------------

    def _arrive(self, number: int, now: float) -> None:
        arrival = self.scenario.trace.arrivals[number]
        place = self._chance.randrange(len(self.routers)) if len(self.routers) > 1 else 0
        job = Job(number, arrival, now, place)
        self._open[number] = job
        self.routers[place].arrive(job, now)
        if job.wanted:
            self.recent[job.wanted].arrivals += 1
            fleet = self.fleets.get(job.wanted)
            if fleet is not None and not fleet.desired and self.scaler.wakes_at_once:
                fleet.scale(1, now)
                self.heal(fleet, now)

    def send(self, job: Job, tier: RouterTier, now: float) -> bool:
        """A router sends a request to the place that it has got (`router.Network`)."""
        job.sent_at = now
        external = self._external.get(tier.spec.name)
        if external is not None:
            self._ask_provider(job, external, now)
            return True
        assert job.pick is not None  # noqa: S101
        replica = next(one for one in self.fleets[tier.spec.name].replicas if one.name == job.pick.replica.key)
        return self._submit(job, replica, now)

    def _submit(self, job: Job, replica: SimReplica, now: float) -> bool:
        settings, arrival = replica.engine.settings, job.arrival
        room = settings.max_model_len - arrival.prompt_tokens
        if room < 1:
            self.after(now, lambda at: self._too_long(job, at))
            return True
        self.pump(replica, now, exact=True)
        request = Request(
            id=str(job.number),
            prompt_tokens=arrival.prompt_tokens,
            output_tokens=min(arrival.output_tokens, room),
            block_hashes=hashes_of(arrival.prefix, arrival.block_tokens, settings.block_size),
        )
        taken = replica.engine.submit(request, now)
        if isinstance(taken, Rejection):
            return False
        job.sequence, job.replica, job.begun = taken, replica, False
        replica.jobs[taken] = job
        replica.unbegun.append(job)
        self._plan_wake(replica)
        limit = self.scenario.route.deadlines.first_token_seconds
        self.after(min(job.until, now + limit), lambda at: self._no_token(job, taken, at))
        return True

    def _too_long(self, job: Job, now: float) -> None:
        self.routers[job.router].give_back(job, now)
        self.ended(job, "context_too_long", now)

    def _no_token(self, job: Job, sequence: object, now: float) -> None:
        """The time for a first token is over, or that of the whole request."""
        if job.sequence is not sequence or job.outcome:
            return
        replica = job.replica
        if replica is None or (job.begun and now < job.until):
            if replica is not None:
                self.after(job.until, lambda at: self._no_token(job, sequence, at))
            return
        self.pump(replica, now, exact=True)
        if job.outcome or job.sequence is None or (job.begun and now < job.until):
            return
        replica.engine.abort(job.sequence, now)
        self._dropped(job, Failure.DEADLINE if now >= job.until else Failure.TIMEOUT, now)
        self._plan_wake(replica)
        self._drained(replica, now)

    def _dropped(self, job: Job, failure: Failure, now: float) -> None:
        """A request is on no replica any more, and has no answer."""
        replica, sequence = job.replica, job.sequence
        if replica is not None and sequence is not None:
            replica.jobs.pop(sequence, None)
            if job in replica.unbegun:
                replica.unbegun.remove(job)
        job.replica = job.sequence = None
        self.routers[job.router].give_back(job, now)
        self.routers[job.router].failed(job, failure, now)

    def _ask_provider(self, job: Job, tier: ExternalTier, now: float) -> None:
        seconds = tier.first_token_seconds + tier.token_seconds * (job.arrival.output_tokens - 1)
        self.after(now + seconds, lambda at: self._provided(job, tier, at))

    def _provided(self, job: Job, tier: ExternalTier, now: float) -> None:
        ttft = job.sent_at + tier.first_token_seconds - job.at
        inter = tier.token_seconds if job.arrival.output_tokens > 1 else None
        self._answered(job, ttft, inter, 0, now)

    def wait(self, job: Job, until: float) -> None:
        """A request waits in a queue (`router.Network`)."""
        wait = job.waits

        def late(now: float) -> None:
            if job.waiting and job.waits == wait:
                self.routers[job.router].late(job, now)

        self.after(until, late)

    def sweep(self, router: SimRouter) -> None:
        """Somebody waits: places may become free by time alone (`router.Network`)."""
        if router.name in self._swept:
            return
        self._swept.add(router.name)

        def again(now: float) -> None:
            router.wake_all(now)
            if any(tier.queue for tier in router.tiers.values()):
                self.after(now + SWEEP_SECONDS, again)
            else:
                self._swept.discard(router.name)

        self.after(self.now + SWEEP_SECONDS, again)

    def ended(self, job: Job, outcome: str, now: float) -> None:
        """A request is over (`router.Network`)."""
        job.outcome = outcome
        del self._open[job.number]
        if outcome != ANSWERED:
            self.account.refused(job)

    def _answered(self, job: Job, ttft: float, inter_token: float | None, cached: int, now: float) -> None:
        used = self.routers[job.router].give_back(job, now)
        tariff = self.routers[job.router].tiers[job.tier].spec.tariff
        dollars = self.account.answered(job, ttft, inter_token, cached, used, tariff, now)
        self.recent[job.tier].answered(now, inter_token, job.arrival.prompt_tokens, job.arrival.output_tokens)
        self.routers[job.router].answered(job, cached, dollars, now)

    # --- engines ----------------------------------------------------------------------------------------------------

    def pump(self, replica: SimReplica, now: float, *, exact: bool = False) -> None:
        """Let an engine work until now. `exact`: it is about to be given something, or measured."""
        done = replica.engine.advance(now, 0.0 if exact else AHEAD_SECONDS)
        if replica.unbegun:
            self._begun(replica)
        for sequence in done:
            job = replica.jobs.pop(sequence, None)
            first = sequence.first_token_at
            if job is None or first is None:
                continue
            count = sequence.generated
            inter = (sequence.last_token_at - first) / (count - 1) if count > 1 else None
            self._answered(job, first - job.at, inter, sequence.cached_tokens, sequence.last_token_at)
        if done:
            self._drained(replica, now)
        self._plan_wake(replica)

    def _begun(self, replica: SimReplica) -> None:
        begun = [job for job in replica.unbegun if job.sequence is not None and job.sequence.first_token_at is not None]
        if not begun:
            return
        for job in begun:
            at = job.sequence.first_token_at if job.sequence is not None else None
            if at is not None:
                self.routers[job.router].begun(job, at)
                self.recent[replica.tier].began(at, at - job.at)
        replica.unbegun = [job for job in replica.unbegun if not job.begun]

    def _plan_wake(self, replica: SimReplica) -> None:
        at = replica.engine.next_event
        if at is None:
            replica.wake_at = None
        elif at != replica.wake_at:
            replica.wake_at = at
            self.after(at, lambda now: self._wake(replica, now))

    def _wake(self, replica: SimReplica, now: float) -> None:
        if replica.wake_at == now and replica.alive:
            replica.wake_at = None
            self.pump(replica, now)

    # --- replicas ---------------------------------------------------------------------------------------------------

    def _resolve(self, now: float) -> None:
        route = self.operator.route(self.world, now)
        if route is not self.routers[0].route:
            for router in self.routers:
                router.follow(route)

    def _scale(self, now: float) -> None:
        for order in self.scaler.orders(self.world, now):
            self._obey(order, now)

    def _obey(self, order: Order, now: float) -> None:
        fleet = self.fleets[order.tier]
        fleet.decided(now, order.limited_by, at_budget=order.at_budget)
        fleet.scale(order.replicas, now)
        self.heal(fleet, now, order)

    def heal(self, fleet: TierFleet, now: float, order: Order | None = None) -> None:
        """Start the replicas that are missing, and end those that are too many, in the order that was given."""
        for _ in range(fleet.missing()):
            self._make(fleet, now)
        preempted = 0 if order is None else order.preempted
        for one in fleet.surplus({} if order is None else order.costs):
            if one.phase is not Phase.READY:
                self.gone(one, now)
                continue
            self._drain(fleet, one, now)
            if preempted > 0:
                preempted -= 1
                self.kill(one, now)

    def _make(self, fleet: TierFleet, now: float) -> SimReplica:
        one = fleet.make(now)
        self._start(fleet, one, now)
        return one

    def _start(self, fleet: TierFleet, one: SimReplica, now: float) -> None:
        if one.phase is not Phase.PENDING or not fleet.start(one, now):
            return
        self.prometheus.found(one.name, one.tier, fleet.tier.settings.kv_tokens)
        startup = 0.0 if self.scaler.instant else fleet.tier.startup_seconds
        self.after(now + startup, lambda at: self._ready(fleet, one, at))
        timing = self.scenario.timing
        self.after(now + self._offsets.uniform(0, timing.scrape), lambda at: self._scraped(one, at))

    def _ready(self, fleet: TierFleet, one: SimReplica, now: float) -> None:
        if one.phase is not Phase.STARTING:
            return
        fleet.enter(one, Phase.READY, now)
        for router in self.routers:
            tier = router.tiers[one.tier]
            self._known(tier, one, now)
            router.wake(tier, now)

    @staticmethod
    def _known(tier: RouterTier, one: SimReplica, since: float) -> None:
        tier.add(one.name, since)
        tier.index.resize(one.name, one.engine.settings.kv_tokens)

    def _drain(self, fleet: TierFleet, one: SimReplica, now: float) -> None:
        fleet.enter(one, Phase.DRAINING, now)
        self.out_of_endpoints(one)
        timing = self.scenario.timing
        self.after(now + timing.drain_least, lambda at: self._drained(one, at))
        allowed = timing.drain_least + fleet.tier.spec.drain_seconds
        self.after(now + allowed, lambda at: self.kill(one, at))

    def out_of_endpoints(self, one: SimReplica) -> None:
        """No router sends anything to a replica any more."""
        for router in self.routers:
            router.tiers[one.tier].remove(one.name)

    def _drained(self, one: SimReplica, now: float) -> None:
        """A replica that drains has nothing left to do: its process ends."""
        if one.phase is not Phase.DRAINING or one.ended_at is None or one.engine.unfinished:
            return
        if now >= one.ended_at + self.scenario.timing.drain_least:
            self.after(now + self.scenario.timing.teardown, lambda at: self.gone(one, at))

    def kill(self, one: SimReplica, now: float) -> None:
        """What is still on a replica ends without an answer."""
        if not one.alive:
            return
        self.pump(one, now, exact=True)
        for sequence, job in list(one.jobs.items()):
            one.engine.abort(sequence, now)
            self._dropped(job, Failure.RESET, now)
        self._drained(one, now)

    def gone(self, one: SimReplica, now: float, *, phase: Phase = Phase.GONE) -> None:
        """A replica frees its GPUs; those that wait for some may start."""
        if one.phase is Phase.GONE:
            return
        self.fleets[one.tier].enter(one, phase, now)
        one.wake_at = None
        self.prometheus.lost(one.name, frozen=self.faults.freezes(one))
        pending = [
            (each.created_at, each.name, fleet, each)
            for fleet in self.fleets.values()
            for each in fleet.replicas
            if each.phase is Phase.PENDING
        ]
        for _, _, fleet, each in sorted(pending, key=lambda found: found[:2]):
            self._start(fleet, each, now)

    # --- looking ----------------------------------------------------------------------------------------------------

    def _scraped(self, one: SimReplica, now: float) -> None:
        """Prometheus reads a replica."""
        if one.phase in (Phase.GONE, Phase.LOST):
            return
        if one.alive and not self.prometheus.away:
            self.pump(one, now, exact=True)
            self.prometheus.read(one.name, one.engine, now, self.faults.of(one))
            self.pump(one, now)
        self.after(now + self.scenario.timing.scrape, lambda at: self._scraped(one, at))

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


def hashes_of(prefix: tuple[int, ...], block_tokens: int, block_size: int) -> tuple[int, ...]:
    """The prefix of a trace in the engine's blocks: hashes that are equal exactly where the prompts are."""
    if not prefix:
        return ()
    if block_tokens <= block_size:
        step = max(1, block_size // block_tokens)
        return prefix[step - 1 :: step]
    each = block_tokens // block_size
    return tuple(block * each + part for block in prefix for part in range(each))
