"""Tries one tier for a request: a replica, another one when that fails, until there is an answer or none is left.

What follows a failed attempt is decided in `tierwise.routing.failover`; here is the I/O of it. Each attempt gives its
place back, and a tier's attempts are settled together, once.
"""

from __future__ import annotations

import asyncio

from tierwise.routing.cost import NOTHING, Usage, cost
from tierwise.routing.failover import Failure, Next, Verdict, after_answer, after_failure
from tierwise.routing.replica import Replica
from tierwise.routing.route import RouteTier
from tierwise_router import cascading, response_ids
from tierwise_router.attempt import Attempt, End, Result
from tierwise_router.headers import own, request_bytes, to_upstream
from tierwise_router.job import RESPONSES, Job
from tierwise_router.purse import Hold
from tierwise_router.record import Asked, Charge
from tierwise_router.relay_errors import answer_of, busy, failed, refused, waited
from tierwise_router.router_state import RouterState
from tierwise_router.tier import QueueFull, QueueTimeout, Slot, Tier, Wish
from tierwise_router.upstream import Connection, Pool, Server, UpstreamError

_FORCED = frozenset({"/v1/chat/completions", "/v1/completions"})
_MAYBE_BILLED = frozenset({Failure.DEADLINE, Failure.ENDING, Failure.TIMEOUT, Failure.RESET})
_IN_BACKGROUND = ("queued", "in_progress")
"""What /v1/responses says of an answer that it goes on making."""


class TierAttempts:
    """Makes the attempts of all requests."""

    def __init__(self, state: RouterState) -> None:
        self._state = state

    async def answered(self, job: Job, tier: Tier, hold: Hold) -> bool:
        """Whether the request has been answered there (well or badly); `job.error` says why it was not."""
        before = len(job.record.charges)
        try:
            slot = await self._slot(job, tier, job.wish())
            while slot is not None:
                verdict = await self._attempt(job, tier, slot)
                if verdict is None:
                    return True
                slot = await self._after(job, tier, slot, verdict)
            return False
        finally:
            spent = sum((charge.cost for charge in job.record.charges[before:]), NOTHING)
            self._state.purse.settle(hold, spent)

    async def _slot(self, job: Job, tier: Tier, wish: Wish, *, again: bool = False) -> Slot | None:
        state = self._state
        asked_at = state.monotonic()
        try:
            return await tier.take(wish, state.route.queue, job.until, again=again)
        except QueueFull:
            job.error = busy(429, "too many requests are waiting", tier.retry_after_seconds(), "queue_full")
        except QueueTimeout as late:
            job.error = waited(late.ready, tier.retry_after_seconds(), ending=state.ending)
        finally:
            job.record.waited_seconds += state.monotonic() - asked_at
        return None

    async def _after(self, job: Job, tier: Tier, slot: Slot, verdict: Verdict) -> Slot | None:
        """The place for the next attempt at this tier, or None."""
        state = self._state
        now = state.monotonic()
        if now >= job.until or verdict.next is Next.PASS:
            return None
        free = verdict.next is Next.SAME and not verdict.wait_seconds  # a kept connection: the replica is not at fault
        if not free and not state.retry_allowed(now):
            return None
        replica = slot.pick.replica
        if verdict.next is Next.SAME and not replica.draining:
            if job.tried.count(replica) > 1:
                return None
            await asyncio.sleep(verdict.wait_seconds)
            wish = Wish(job.priority, job.shape.blocks, (), replica.key, streamed=job.body.stream)
        elif verdict.next in (Next.SAME, Next.REPLICA) and not job.kept_by:
            wish = job.wish()
            if not any(not one.draining and one not in wish.without for one in tier.replicas):
                return None
        else:
            return None
        return await self._slot(job, tier, wish, again=True)

    async def _attempt(self, job: Job, tier: Tier, slot: Slot) -> Verdict | None:
        """One attempt. None when the client has its answer; otherwise what should follow."""
        state, record = self._state, job.record
        replica = slot.pick.replica
        record.attempts += 1
        record.replica, record.matched_blocks = replica.key, slot.pick.matched
        started = state.monotonic()
        attempt: Attempt | None = None
        result: Result | None = None
        pool = tier.pool(replica)
        # Before anything is waited for: a route that changes meanwhile has other prices, and a key of another server.
        spec, key = tier.spec, state.key_of(tier.spec)
        try:
            try:
                connection = (None if job.stale or replica in job.tried else pool.take(started)) or await pool.connect()
                attempt = self._prepared(job, connection, tier, slot, key)
                with state.watched(attempt, job.until):
                    attempt.send(self._request_bytes(job, tier, replica, pool.server, spec, key))
                    result = await attempt.done
                self._give_back(pool, connection, attempt)
            except UpstreamError as error:
                result = Result(End.FAILED, error.failure)
            # Before the place is free: whoever waits must not get a replica that has just failed.
            verdict = self._judge(job, tier, replica, result)
        finally:
            used = tier.release(slot)
            if result is None:  # the client has gone
                replica.breaker.given_up()
                partial = Result(End.FAILED, Failure.CONNECT) if attempt is None else attempt.abandon()
                record.first_content_at = partial.first_content_at
                self._charge(job, spec, partial, used)
        self._charge(job, spec, result, used)
        if result.end is not End.DROPPED:  # it has not failed: it may be asked again
            job.tried.append(replica)
        job.stale = job.stale or result.failure is Failure.RESET_IDLE
        if result.first_content_at is not None and job.body.stream:
            replica.first_token_after((result.first_token_at or result.first_content_at) - started)
            record.first_content_at = result.first_content_at
        self._learn(job, tier, slot, result)
        return verdict

    def _give_back(self, pool: Pool, connection: Connection, attempt: Attempt) -> None:
        if attempt.reusable:
            connection.answered()
            pool.give_back(connection, self._state.monotonic())
        else:
            connection.close()

    def _prepared(self, job: Job, connection: Connection, tier: Tier, slot: Slot, key: str | None) -> Attempt:
        replica = slot.pick.replica

        def begun() -> None:
            replica.breaker.begun()
            replica.computed(slot.mark)

        attempt = Attempt(
            connection,
            job.reply,
            lambda: own(job.record),
            begun,
            stream=job.body.stream,
            drop_usage=self._forces_usage(job),
            secret=key,
        )
        attempt.holding = cascading.holding(self._state, job, tier)
        attempt.on_commit = job.let_go
        return attempt

    def _request_bytes(
        self, job: Job, tier: Tier, replica: Replica, server: Server, spec: RouteTier, key: str | None
    ) -> bytes:
        headers = to_upstream(job.request.headers, private=self._state.private_headers, external=spec.external)
        name = None
        if job.request.path == RESPONSES and not spec.external:
            name = response_ids.name(spec.name, replica.key, job.record.tenant, self._state.clocks.chance())
        model = spec.upstream_model(job.body.model)
        body = job.body.upstream(model, self._forces_usage(job), name, cascading.asked(job, tier))
        if job.record.trace is not None:
            of = job.shape.max_tokens
            asked = Asked(spec.name, model, job.request.path, server.host, server.port, job.body.stream, of)
            headers = job.record.trace.attempting(headers, asked)
        return request_bytes(server, job.request.path, headers, body, job.record.id, key)

    @staticmethod
    def _forces_usage(job: Job) -> bool:
        return job.body.stream and job.request.path in _FORCED and not job.body.wants_usage

    # --- what came of it --------------------------------------------------------------------------------------------

    def _charge(self, job: Job, spec: RouteTier, result: Result, replica_seconds: float) -> None:
        usage = result.usage
        if usage is None:
            # What reached a provider may be on its bill, answered or not.
            worked = result.end in (End.ANSWERED, End.BROKEN, End.DROPPED) or result.dropped_tokens > 0
            worked = worked or (spec.external and result.failure in _MAYBE_BILLED)
            usage = Usage(job.shape.prompt_tokens, output=result.output_events, estimated=True) if worked else Usage()
        # What was not reached has not worked.
        money = cost(usage, spec.tariff, 0.0 if result.failure is Failure.CONNECT else replica_seconds)
        if usage.estimated and result.values.get("status") in _IN_BACKGROUND:
            # It says its usage when it has ended, to whoever asks for it then: until then it may cost so much.
            money = max(money, job.estimate(spec))
        if job.record.trace is not None:
            failure = "" if result.failure is None else result.failure.value
            job.record.trace.attempted(result.status, failure, usage, result.first_content_seconds)
        if result.dropped_tokens:
            self._state.ledger.discarded[spec.name] += result.dropped_tokens
        if money or usage.prompt or usage.output:
            discarded = result.end is End.DROPPED or result.dropped_tokens > 0
            job.record.charges.append(Charge(spec.name, usage, money, discarded))

    def _learn(self, job: Job, tier: Tier, slot: Slot, result: Result) -> None:
        replica = slot.pick.replica
        if result.usage is not None and not tier.spec.external:
            tier.index.correct(replica.key, slot.pick.matched, result.usage.cached_input)
        if job.turn is not None and result.end is End.ANSWERED:
            usage = result.usage or Usage(job.shape.prompt_tokens, output=result.output_events)
            self._state.content.answered(job.turn, tier.spec.name, usage, self._state.monotonic())
        if job.request.path == RESPONSES and result.response_id and not response_ids.mark_of(result.response_id):
            self._state.remember(result.response_id, tier.spec.name, replica.key, job.record.tenant)

    def _judge(self, job: Job, tier: Tier, replica: Replica, result: Result) -> Verdict | None:
        state, record = self._state, job.record
        now = state.monotonic()
        external = tier.spec.external
        if result.end is End.ANSWERED:
            replica.breaker.succeeded()
            record.status, record.outcome = result.status, "ok"
            cascading.answered(state, job, tier)
            return None
        if result.end is End.DROPPED:
            replica.breaker.succeeded()  # it has done what was wanted of it
            return Verdict(Next.PASS)
        if result.end is End.BROKEN:
            if result.failure in (Failure.DEADLINE, Failure.ENDING):
                replica.breaker.succeeded()
            else:
                replica.breaker.failed(now)
            record.status, record.outcome = result.status, "broken"
            state.ledger.failures[tier.spec.name, (result.failure or Failure.RESET).value] += 1
            return None
        failure = result.failure or Failure.RESET
        if result.end is End.FAILED:
            verdict = after_failure(failure, external)
            job.error = failed(failure)
        else:
            verdict = after_answer(answer_of(result, state.now()), external)
            if verdict.next is Next.PASS:
                replica.breaker.succeeded()
                if cascading.goes_without(job, tier, result.status):
                    return Verdict(Next.SAME)
                self._pass_on(job, result)
                return None
            job.error = refused(result, state.now())
        state.ledger.failures[tier.spec.name, failure.value] += 1
        if verdict.blame:
            replica.breaker.failed(now)
        else:
            replica.breaker.given_up()
        if verdict.rest_seconds:
            replica.breaker.rest(now, verdict.rest_seconds)
        return verdict

    def _pass_on(self, job: Job, result: Result) -> None:
        record = job.record
        record.status, record.outcome = result.status, "client_error"
        headers = [(name, result.headers[name]) for name in ("content-type",) if name in result.headers]
        job.reply.whole(result.status, headers + own(record), result.body)
