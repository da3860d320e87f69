"""Carries requests: from the routers to the engines, and what becomes of them back again.

An engine is only looked at when something can have changed: when it says so itself (`next_event`), when a request
comes, and when it is measured. That is what makes a day of traffic take minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from tierwise.routing.failover import Failure
from tierwise_sim.replay.account import Account
from tierwise_sim.replay.events import Events
from tierwise_sim.replay.fleet import TierFleet
from tierwise_sim.replay.live import ANSWERED, Job, SimReplica
from tierwise_sim.replay.recent import Recent
from tierwise_sim.replay.router import SimRouter
from tierwise_sim.replay.router_tier import RouterTier
from tierwise_sim.replay.scenario import ExternalTier, Scenario
from tierwise_sim.sequence import Rejection, Request

AHEAD_SECONDS = 2.0
"""An engine plans its steps for so long at most..."""
AHEAD_GAPS = 1.5
"""...and for so many times the mean gap between its requests: a plan that is cut was for nothing."""
GAP_WEIGHT = 0.2
SWEEP_SECONDS = 0.25


class Traffic:
    """All requests of one simulation (`router.Network`). `drained` is told of a replica that may have nothing left."""

    def __init__(
        self,
        scenario: Scenario,
        events: Events,
        fleets: Mapping[str, TierFleet],
        account: Account,
        recent: Mapping[str, Recent],
        drained: Callable[[SimReplica, float], None],
    ) -> None:
        self.routers: list[SimRouter] = []
        self.open: dict[int, Job] = {}
        self.drained = drained
        self._scenario = scenario
        self._events = events
        self._fleets = fleets
        self._account = account
        self._recent = recent
        self._swept: set[str] = set()
        self._external = {tier.name: tier for tier in scenario.tiers if isinstance(tier, ExternalTier)}
        self._chance = Random(f"{scenario.seed}/clients")  # noqa: S311

    def arrive(self, number: int, now: float) -> Job:
        """A request comes, to any of the routers: a Service does not choose."""
        place = self._chance.randrange(len(self.routers)) if len(self.routers) > 1 else 0
        job = Job(number, self._scenario.trace.arrivals[number], now, place)
        self.open[number] = job
        self.routers[place].arrive(job, now)
        if job.wanted:
            self._recent[job.wanted].arrivals += 1
        return job

    def send(self, job: Job, tier: RouterTier, now: float) -> bool:
        """A router sends a request to the place that it has got (`router.Network`)."""
        job.sent_at = now
        external = self._external.get(tier.spec.name)
        if external is not None:
            self._ask_provider(job, external, now)
            return True
        assert job.pick is not None  # noqa: S101
        return self._submit(job, self._fleets[tier.spec.name].find(job.pick.replica.key), now)

    def _submit(self, job: Job, replica: SimReplica, now: float) -> bool:
        settings, arrival = replica.engine.settings, job.arrival
        room = settings.max_model_len - arrival.prompt_tokens
        if room < 1:
            self._events.after(now, lambda at: self._too_long(job, at))
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
        replica.gap += GAP_WEIGHT * (now - replica.submitted_at - replica.gap)
        replica.submitted_at = now
        replica.jobs[taken] = job
        replica.unbegun.append(job)
        self.plan_wake(replica)
        limit = self._scenario.route.deadlines.first_token_seconds
        self._events.after(min(job.until, now + limit), lambda at: self._no_token(job, taken, at))
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
                self._events.after(job.until, lambda at: self._no_token(job, sequence, at))
            return
        self.pump(replica, now, exact=True)
        if job.outcome or job.sequence is None or (job.begun and now < job.until):
            return
        replica.engine.abort(job.sequence, now)
        self.dropped(job, Failure.DEADLINE if now >= job.until else Failure.TIMEOUT, now)
        self.plan_wake(replica)
        self.drained(replica, now)

    def dropped(self, job: Job, failure: Failure, now: float) -> None:
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
        self._events.after(now + seconds, lambda at: self._provided(job, tier, at))

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

        self._events.after(until, late)

    def sweep(self, router: SimRouter) -> None:
        """Somebody waits: places may become free by time alone (`router.Network`)."""
        if router.name in self._swept:
            return
        self._swept.add(router.name)

        def again(now: float) -> None:
            router.wake_all(now)
            if any(tier.queue for tier in router.tiers.values()):
                self._events.after(now + SWEEP_SECONDS, again)
            else:
                self._swept.discard(router.name)

        self._events.after(self._events.now + SWEEP_SECONDS, again)

    def ended(self, job: Job, outcome: str, now: float) -> None:
        """A request is over (`router.Network`)."""
        job.outcome = outcome
        del self.open[job.number]
        if outcome != ANSWERED:
            self._account.refused(job)

    def _answered(self, job: Job, ttft: float, inter_token: float | None, cached: int, now: float) -> None:
        used = self.routers[job.router].give_back(job, now)
        tariff = self.routers[job.router].tiers[job.tier].spec.tariff
        dollars = self._account.answered(job, ttft, inter_token, cached, used, tariff, now)
        self._recent[job.tier].answered(now, inter_token, job.arrival.prompt_tokens, job.arrival.output_tokens)
        self.routers[job.router].answered(job, cached, dollars, now)

    # --- engines ----------------------------------------------------------------------------------------------------

    def pump(self, replica: SimReplica, now: float, *, exact: bool = False) -> None:
        """Let an engine work until now. `exact`: it is about to be given something, or measured."""
        done = replica.engine.advance(now, 0.0 if exact else min(AHEAD_SECONDS, AHEAD_GAPS * replica.gap))
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
            self.drained(replica, now)
        self.plan_wake(replica)

    def _begun(self, replica: SimReplica) -> None:
        begun = [job for job in replica.unbegun if job.sequence is not None and job.sequence.first_token_at is not None]
        if not begun:
            return
        for job in begun:
            at = job.sequence.first_token_at if job.sequence is not None else None
            if at is not None:
                self.routers[job.router].begun(job, at)
                self._recent[replica.tier].began(at, at - job.at)
        replica.unbegun = [job for job in replica.unbegun if not job.begun]

    def plan_wake(self, replica: SimReplica) -> None:
        """Look at an engine again when it has something to tell."""
        at = replica.engine.next_event
        if at is None:
            replica.wake_at = None
        elif at != replica.wake_at:
            replica.wake_at = at
            self._events.after(at, lambda now: self._wake(replica, now))

    def _wake(self, replica: SimReplica, now: float) -> None:
        if replica.wake_at == now and replica.alive:
            replica.wake_at = None
            self.pump(replica, now)


def hashes_of(prefix: tuple[int, ...], block_tokens: int, block_size: int) -> tuple[int, ...]:
    """The prefix of a trace in the engine's blocks: hashes that are equal exactly where the prompts are."""
    if not prefix:
        return ()
    if block_tokens <= block_size:
        step = max(1, block_size // block_tokens)
        return prefix[step - 1 :: step]
    each = block_tokens // block_size
    return tuple(block * each + part for block in prefix for part in range(each))
