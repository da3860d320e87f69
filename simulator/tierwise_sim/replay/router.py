"""Plays one router: chooses tier and replica for each request, lets requests wait, and tries again what fails.

All choices are those of `tierwise.routing`, which a real router runs; here is what stands around them: the order in
which tiers are tried, the queue and its limits, and what follows a failure (`tierwise_router.relay`, `tier_attempts`).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

from tierwise.routing.breaker import RetryBudget
from tierwise.routing.budget import HourlyCap
from tierwise.routing.cost import estimate
from tierwise.routing.failover import Failure, Next, after_failure
from tierwise.routing.prefix import BLOCK_TOKENS
from tierwise.routing.request import RequestFacts
from tierwise.routing.route import Route
from tierwise.routing.saturation import Spill
from tierwise.routing.tier_choice import CLASSIFIED, DIRECT, FALLBACK, SPILL, Candidate, ContentChoice, choose_tiers
from tierwise.routing.waiting_line import most_waiting
from tierwise_sim.replay.live import Job
from tierwise_sim.replay.router_tier import RouterTier

SATURATION_SECONDS = 0.005
"""For so long nobody looks again at how full the tiers are."""


class Network(Protocol):
    """What a router reaches."""

    def send(self, job: Job, tier: RouterTier, now: float) -> bool:
        """Send a request to the place that it has got; False where the engine does not take it."""
        ...

    def wait(self, job: Job, until: float) -> None:
        """Call `late` at this time, unless the request has got a place by then."""
        ...

    def ended(self, job: Job, outcome: str, now: float) -> None:
        """A request is answered or refused."""
        ...

    def sweep(self, router: SimRouter) -> None:
        """Call `wake_all` soon: somebody waits, and a place may be free by time alone."""
        ...


class SimRouter:
    """One router. `choose` says what the content of a request asks for."""

    def __init__(
        self, name: str, route: Route, network: Network, choose: Callable[[Job, Route], ContentChoice | None]
    ) -> None:
        self.name = name
        self.route = route
        self.tiers = {spec.name: RouterTier(spec) for spec in route.tiers}
        self.retries = RetryBudget()
        self.cap = HourlyCap()
        self.decided = self.to_reference = 0
        self._network = network
        self._choose = choose
        self._spills = {spec.name: Spill() for spec in route.tiers}
        self._saturated: dict[str, bool] = {}
        self._saturated_at = float("-inf")

    def follow(self, route: Route) -> None:
        """The operator says something else of the tiers."""
        self.route = route
        for spec in route.tiers:
            self.tiers[spec.name].spec = spec
        self._saturated_at = float("-inf")

    # --- requests ---------------------------------------------------------------------------------------------------

    def arrive(self, job: Job, now: float) -> None:
        """A request has come."""
        route, arrival = self.route, job.arrival
        self.retries.request()
        job.until = now + route.deadlines.request_seconds
        job.blocks = blocks_of(arrival.prefix, arrival.block_tokens)
        facts = RequestFacts(
            model=arrival.model or route.model_names[0],
            prompt_tokens=arrival.prompt_tokens,
            stream=True,
            blocks=job.blocks,
        )
        content = self._choose(job, route) if facts.model in route.model_names else None
        candidates = choose_tiers(route, facts, self.saturated(now), content).candidates
        if not candidates:
            self._network.ended(job, "model_not_found", now)
            return
        first, *others = candidates
        wanted = others[0] if first.reason == SPILL and others else first
        tier = self.tiers[wanted.tier.name]
        tier.wanted += 1
        if first.reason == SPILL:
            tier.refuse("spilled")
        if wanted.reason == CLASSIFIED:
            self.decided += 1
            self.to_reference += wanted.tier.name == route.reference.name
        job.wanted = wanted.tier.name
        job.first = "" if wanted.reason == DIRECT else job.wanted
        job.candidates = list(candidates)
        self.proceed(job, now)

    def proceed(self, job: Job, now: float) -> None:
        """Try the tiers that are left."""
        while job.position < len(job.candidates) and (not job.why or now < job.until):
            candidate = job.candidates[job.position]
            job.position += 1
            tier = self.tiers[candidate.tier.name]
            job.tier, job.tried = tier.spec.name, []
            if self._affords(job, tier, candidate, now) and self._place(job, tier, now):
                return
        self._network.ended(job, job.why or "no_tier_ready", now)

    def _affords(self, job: Job, tier: RouterTier, candidate: Candidate, now: float) -> bool:
        """Whether a spilled request still fits under the hour's cap."""
        job.spill = None
        if not (candidate.reason in (SPILL, FALLBACK) and tier.spec.external):
            return True
        amount = estimate(job.arrival.prompt_tokens, None, tier.spec.tariff)
        if not self.cap.fits(now, amount, self.route.overflow.max_cost_per_hour):
            tier.refuse("spill_cap")
            job.why = job.why or "spill_cap"
            return False
        self.cap.reserve(amount)
        job.spill = amount
        return True

    def _place(self, job: Job, tier: RouterTier, now: float, *, again: bool = False) -> bool:
        """Whether the request is on a replica of the tier, or waits for one."""
        while not tier.queue or again:
            if tier.take(job, now) is None:
                break
            if self._network.send(job, tier, now):
                return True
            again = True  # it has had a place: the engine has refused it, which no replica is blamed for
            job.why = "engine_full"
            self.give_back(job, now)
            if not (tier.others(job) and self.retries.take(now)):
                return False
        limits = self.route.queue
        if tier.waiting >= most_waiting(limits, tier.places) and not again:
            tier.refuse("queue_full")
            job.why = "queue_full"
            return False
        tier.queue.add(job, now, again=again)
        job.waiting = True
        job.waits += 1
        allowed = limits.timeout_seconds if tier.ready else limits.startup_timeout_seconds
        self._network.wait(job, min(job.until, now + allowed))
        self._network.sweep(self)
        return True

    def late(self, job: Job, now: float) -> None:
        """A request has waited as long as it may."""
        tier = self.tiers[job.tier]
        tier.queue.remove(job)
        job.waiting = False
        tier.refuse("queue_timeout")
        job.why = "queue_timeout" if tier.ready else "no_replica"
        self.proceed(job, now)

    def wake(self, tier: RouterTier, now: float) -> None:
        """Give the free places to those who wait."""
        while (job := tier.queue.next(now, tier.pace)) is not None:
            if tier.take(job, now) is None:
                return
            tier.queue.remove(job)
            job.waiting = False
            if not self._network.send(job, tier, now):
                self.give_back(job, now)
                job.why = "engine_full"
                if not (tier.others(job) and self.retries.take(now) and self._place(job, tier, now, again=True)):
                    self.proceed(job, now)

    def wake_all(self, now: float) -> None:
        """The same for all tiers: a slow start, or a breaker, ends by time alone."""
        for tier in self.tiers.values():
            self.wake(tier, now)

    # --- answers ----------------------------------------------------------------------------------------------------

    def begun(self, job: Job, now: float) -> None:
        """The first token of an answer has come."""
        job.begun = True
        if job.pick is not None and job.mark is not None:
            replica = job.pick.replica
            replica.breaker.begun()
            replica.computed(job.mark)
            replica.first_token_after(now - job.sent_at)

    def answered(self, job: Job, cached_tokens: int, cost: Decimal, now: float) -> None:
        """A request has its answer; its place is free."""
        tier = self.tiers[job.tier]
        if job.pick is not None:
            job.pick.replica.breaker.succeeded()
            if not tier.spec.external:
                tier.index.correct(job.pick.replica.key, job.pick.matched, cached_tokens)
        if job.spill is not None:
            self.cap.settle(now, job.spill, cost)
            job.spill = None
        self._network.ended(job, "answered", now)
        self.wake(tier, now)

    def give_back(self, job: Job, now: float) -> float:
        """Give a place back: the seconds of the replica that the request used."""
        if job.pick is None or job.mark is None:
            return 0.0
        tier, replica = self.tiers[job.tier], job.pick.replica
        tier.completed += 1
        tier.pace.freed(now, waiting=bool(tier.queue))
        used = replica.end(now, job.mark)
        job.tried.append(replica)
        job.mark = None
        return used

    def failed(self, job: Job, failure: Failure, now: float) -> None:
        """An attempt has failed, and its place was given back. What has begun is broken: it is never spliced."""
        tier = self.tiers[job.tier]
        replica = None if job.pick is None else job.pick.replica
        verdict = after_failure(failure, tier.spec.external)
        if replica is not None and verdict.blame:
            replica.breaker.failed(now)
        if job.begun:
            self._network.ended(job, "broken", now)
            return
        job.why = failure.value
        may = now < job.until and verdict.next is Next.REPLICA and tier.others(job)
        if may and self.retries.take(now) and self._place(job, tier, now, again=True):
            return
        self.proceed(job, now)

    # --- how full the tiers are -------------------------------------------------------------------------------------

    def saturated(self, now: float) -> dict[str, bool]:
        """By tier: whether it is left now."""
        if now - self._saturated_at >= SATURATION_SECONDS:
            overflow, limits = self.route.overflow, self.route.queue
            self._saturated = {
                name: tier.resting(now) or self._spills[name].update(tier.fullness(limits, now), overflow)
                for name, tier in self.tiers.items()
            }
            self._saturated_at = now
        return self._saturated


def blocks_of(prefix: tuple[int, ...], block_tokens: int) -> tuple[int, ...]:
    """The prefix of a trace in blocks of a router's size: hashes that are equal exactly where the prompts are."""
    if not prefix:
        return ()
    each = max(1, block_tokens // BLOCK_TOKENS)
    if block_tokens <= BLOCK_TOKENS:
        step = max(1, BLOCK_TOKENS // block_tokens)
        return prefix[step - 1 :: step]
    return tuple(block * each + part for block in prefix for part in range(each))
