"""Takes one request through: read, choose a tier, choose a replica, relay, account.

The order of trying comes from `tierwise.routing`; here is only the I/O between its choices. A request ends in exactly
one of: an answer, an error that says what to do, or a client that has gone. Whatever happens, its place on a replica is
given back and its money settled once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from tierwise.routing.conversation import Turn
from tierwise.routing.cost import NOTHING, Usage, cost, estimate
from tierwise.routing.failover import Failure, Next, Verdict, after_answer, after_failure
from tierwise.routing.replica import Replica
from tierwise.routing.route import Priority
from tierwise.routing.tier_choice import BUDGET, FALLBACK, SPILL, Candidate
from tierwise_router import response_ids
from tierwise_router.attempt import Attempt, End, Result
from tierwise_router.choosing import RESPONSES, choose
from tierwise_router.client_connection import Reply
from tierwise_router.headers import own, request_bytes, to_upstream
from tierwise_router.http_request import Request
from tierwise_router.kept_responses import BOUND
from tierwise_router.openai_error import ClientError
from tierwise_router.purse import Hold
from tierwise_router.record import Asked, Charge, Record
from tierwise_router.relay_errors import SENTENCES, answer_of, budget_spent, busy, refused, resting
from tierwise_router.request_body import Body, Shape, read, shape
from tierwise_router.router_state import RouterState
from tierwise_router.tier import QueueFull, QueueTimeout, Slot, Tier, Wish
from tierwise_router.upstream import Connection, Pool, Server, UpstreamError

_FORCED = frozenset({"/v1/chat/completions", "/v1/completions"})
_PRIORITIES = {one.value: one for one in Priority}
_MAYBE_BILLED = frozenset({Failure.DEADLINE, Failure.TIMEOUT, Failure.RESET})
_BATCH_SERVICE_TIERS = frozenset({"flex", "batch"})


@dataclass(slots=True)
class _Job:
    """One request on its way."""

    request: Request
    reply: Reply
    record: Record
    body: Body
    shape: Shape
    priority: Priority
    until: float
    error: ClientError | None = None
    tried: list[Replica] = field(default_factory=list)
    stale: bool = False  # a kept connection was closed under it: the next attempt takes a new one, to any replica
    capped: bool = False
    kept_by: str = ""
    """The replica that keeps the response which this one continues: no other can."""
    turn: Turn | None = None

    def wish(self, *, only: str = "") -> Wish:
        """What it wants of a tier."""
        return Wish(
            self.priority, self.shape.blocks, tuple(self.tried), only or self.kept_by, streamed=self.body.stream
        )


class Relay:
    """Answers OpenAI requests. `identify` returns the tenant of a request or raises ClientError."""

    def __init__(self, state: RouterState, identify: Callable[[Request], str]) -> None:
        self._state = state
        self._identify = identify

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Answer one request."""
        state = self._state
        record = state.begin(request, request.path)
        sample = state.sampler.begin(request, reply, record)
        state.retries.request()
        try:
            record.tenant = self._identify(request) if request.tenant is None else request.tenant
            await self._answer(request, reply, record)
        except ClientError as error:
            record.status = error.status
            record.outcome = record.outcome or ("client_error" if error.status in (400, 401, 404, 413) else "refused")
            if not reply.started:
                reply.error(error, own(record))
        except asyncio.CancelledError:
            record.outcome, record.status = "client_gone", 499
            raise
        except Exception:
            record.outcome, record.status = "internal_error", 500
            raise
        finally:
            state.ended(record)
            if sample is not None:
                state.sampler.end(sample, record)

    async def _answer(self, request: Request, reply: Reply, record: Record) -> None:
        state = self._state
        raw = bytes(request.body)
        request.body.clear()  # once in memory is enough
        body = read(raw)
        facts_of = shape(body.values)
        record.model, record.stream = body.model, body.stream
        priority = self._priority(request, body)
        record.priority = priority.value
        until = record.began_at + state.route.deadlines.request_seconds
        job = _Job(request, reply, record, body, facts_of, priority, until)
        candidates = self._candidates(job)
        body.values.clear()  # they take more memory than the body itself, and all that is needed of them is read
        spent = False
        position = 0
        while position < len(candidates):
            candidate = candidates[position]
            position += 1
            if job.error is not None and state.monotonic() >= until:
                break
            tier = state.tiers.get(candidate.tier.name)
            if tier is None:
                continue  # the route has changed meanwhile
            if tier.resting(now := state.monotonic()):
                job.error = job.error or resting(tier.rest_seconds(now))
                continue
            record.tier, record.reason = tier.spec.name, candidate.reason
            hold = self._hold(job, tier, candidate.reason)
            if hold is None:
                if not (spent or job.capped or candidate.reason in BOUND) and state.spent_means_cheaper:
                    spent = True
                    candidates = candidates[:position] + state.cheaper_than(candidates[0].tier, BUDGET)
                continue
            if await self._try_tier(job, tier, hold):
                return
        raise job.error or busy(503, "no tier of this route can answer now", 10, "no_tier_ready")

    def _candidates(self, job: _Job) -> list[Candidate]:
        chosen = choose(self._state, job.request, job.body, job.shape, job.priority, job.record.tenant)
        job.kept_by, job.turn = chosen.kept_by, chosen.turn
        job.record.rule = chosen.tiers.rule
        return list(chosen.tiers.candidates)

    def _hold(self, job: _Job, tier: Tier, reason: str) -> Hold | None:
        """The money for one attempt at a tier, or None with the reason in `job.error`."""
        spilled = reason in (SPILL, FALLBACK) and tier.spec.external
        asked = job.body.values.get("service_tier")
        billed_as = asked if isinstance(asked, str) else ""
        amount = estimate(job.shape.prompt_tokens, job.shape.max_tokens, tier.spec.tariff, billed_as)
        purse = self._state.purse
        job.capped = spilled and not purse.spill_fits(amount)
        if job.capped:
            tier.counts.refuse("spill_cap")
            job.error = job.error or busy(
                429, "spilling has cost as much as it may in this hour", 60, "spill_cap_reached"
            )
            return None
        hold = purse.hold(amount, spilled)
        if hold is None:
            tier.counts.refuse("budget")
            job.error = job.error or budget_spent(*purse.refusal())
        return hold

    async def _try_tier(self, job: _Job, tier: Tier, hold: Hold) -> bool:
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

    async def _slot(self, job: _Job, tier: Tier, wish: Wish, *, again: bool = False) -> Slot | None:
        state = self._state
        asked_at = state.monotonic()
        try:
            return await tier.take(wish, state.route.queue, job.until, again=again)
        except QueueFull:
            job.error = busy(429, "too many requests are waiting", tier.retry_after_seconds(), "queue_full")
        except QueueTimeout as late:
            if late.ready:
                job.error = busy(429, "no replica was free in time", tier.retry_after_seconds(), "queue_timeout")
            else:
                said = "no replica is ready; the tier may be starting"
                job.error = busy(503, said, tier.retry_after_seconds(), "no_replica_ready")
        finally:
            job.record.waited_seconds += state.monotonic() - asked_at
        return None

    async def _after(self, job: _Job, tier: Tier, slot: Slot, verdict: Verdict) -> Slot | None:
        """The place for the next attempt at this tier, or None."""
        state = self._state
        now = state.monotonic()
        if now >= job.until or verdict.next is Next.PASS:
            return None
        free = verdict.next is Next.SAME and not verdict.wait_seconds  # a kept connection: the replica is not at fault
        if not free and not state.retry_allowed(now):
            return None
        replica = slot.pick.replica
        if verdict.next is Next.SAME:
            if job.tried.count(replica) > 1:
                return None
            await asyncio.sleep(verdict.wait_seconds)
            wish = Wish(job.priority, job.shape.blocks, (), replica.key, streamed=job.body.stream)
        elif verdict.next is Next.REPLICA and not job.kept_by:
            wish = job.wish()
            if not any(not one.draining and one not in wish.without for one in tier.replicas):
                return None
        else:
            return None
        return await self._slot(job, tier, wish, again=True)

    async def _attempt(self, job: _Job, tier: Tier, slot: Slot) -> Verdict | None:
        """One attempt. None when the client has its answer; otherwise what should follow."""
        state, record = self._state, job.record
        replica = slot.pick.replica
        record.attempts += 1
        record.replica, record.matched_blocks = replica.key, slot.pick.matched
        started = state.monotonic()
        attempt: Attempt | None = None
        result: Result | None = None
        pool = tier.pool(replica)
        try:
            try:
                connection = (None if job.stale or replica in job.tried else pool.take(started)) or await pool.connect()
                attempt = self._prepared(job, connection, slot, state.key_of(tier.spec))
                with state.watched(attempt, job.until):
                    attempt.send(self._request_bytes(job, tier, replica, pool.server))
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
                partial = Result(End.FAILED) if attempt is None else attempt.abandon()
                record.first_content_at = partial.first_content_at
                self._charge(job, tier, partial, used)
        self._charge(job, tier, result, used)
        job.tried.append(replica)
        job.stale = job.stale or result.failure is Failure.RESET_IDLE
        if result.first_content_at is not None and job.body.stream:
            replica.first_token_after(result.first_content_at - started)
            record.first_content_at = result.first_content_at
        self._learn(job, tier, slot, result)
        return verdict

    def _give_back(self, pool: Pool, connection: Connection, attempt: Attempt) -> None:
        if attempt.reusable:
            connection.answered()
            pool.give_back(connection, self._state.monotonic())
        else:
            connection.close()

    def _prepared(self, job: _Job, connection: Connection, slot: Slot, key: str | None) -> Attempt:
        replica = slot.pick.replica

        def begun() -> None:
            replica.breaker.begun()
            replica.computed(slot.mark)

        return Attempt(
            connection,
            job.reply,
            lambda: own(job.record),
            begun,
            stream=job.body.stream,
            drop_usage=self._forces_usage(job),
            secret=key,
        )

    def _request_bytes(self, job: _Job, tier: Tier, replica: Replica, server: Server) -> bytes:
        headers = to_upstream(job.request.headers, private=self._state.private_headers, external=tier.spec.external)
        name = None
        if job.request.path == RESPONSES and not tier.spec.external:
            name = response_ids.name(tier.spec.name, replica.key, job.record.tenant, self._state.clocks.chance())
        body = job.body.upstream(tier.spec.model, self._forces_usage(job), name)
        if job.record.trace is not None:
            spec, of = tier.spec, job.shape.max_tokens
            asked = Asked(spec.name, spec.model, job.request.path, server.host, server.port, job.body.stream, of)
            headers = job.record.trace.attempting(headers, asked)
        return request_bytes(server, job.request.path, headers, body, job.record.id, self._state.key_of(tier.spec))

    @staticmethod
    def _forces_usage(job: _Job) -> bool:
        return job.body.stream and job.request.path in _FORCED and not job.body.wants_usage

    # --- what came of it --------------------------------------------------------------------------------------------

    def _charge(self, job: _Job, tier: Tier, result: Result, replica_seconds: float) -> None:
        usage = result.usage
        if usage is None:
            # What reached a provider may be on its bill, answered or not.
            worked = result.end in (End.ANSWERED, End.BROKEN) or (
                tier.spec.external and result.failure in _MAYBE_BILLED
            )
            usage = Usage(job.shape.prompt_tokens, output=result.output_events, estimated=True) if worked else Usage()
        money = cost(usage, tier.spec.tariff, replica_seconds)
        if job.record.trace is not None:
            failure = "" if result.failure is None else result.failure.value
            job.record.trace.attempted(result.status, failure, usage, result.first_content_seconds)
        if money or usage.prompt or usage.output:
            job.record.charges.append(Charge(tier.spec.name, usage, money))

    def _learn(self, job: _Job, tier: Tier, slot: Slot, result: Result) -> None:
        replica = slot.pick.replica
        if result.usage is not None and not tier.spec.external:
            tier.index.correct(replica.key, slot.pick.matched, result.usage.cached_input)
        if job.turn is not None and result.end is End.ANSWERED:
            usage = result.usage or Usage(job.shape.prompt_tokens, output=result.output_events)
            self._state.content.answered(job.turn, tier.spec.name, usage, self._state.monotonic())
        if job.request.path == RESPONSES and result.response_id and not response_ids.mark_of(result.response_id):
            self._state.remember(result.response_id, tier.spec.name, replica.key, job.record.tenant)

    def _judge(self, job: _Job, tier: Tier, replica: Replica, result: Result) -> Verdict | None:
        state, record = self._state, job.record
        now = state.monotonic()
        external = tier.spec.external
        if result.end is End.ANSWERED:
            replica.breaker.succeeded()
            record.status, record.outcome = result.status, "ok"
            return None
        if result.end is End.BROKEN:
            if result.failure is Failure.DEADLINE:
                replica.breaker.succeeded()
            else:
                replica.breaker.failed(now)
            record.status, record.outcome = result.status, "broken"
            state.ledger.failures[tier.spec.name, (result.failure or Failure.RESET).value] += 1
            return None
        failure = result.failure or Failure.RESET
        if result.end is End.FAILED:
            verdict = after_failure(failure, external)
            status = 504 if failure in (Failure.TIMEOUT, Failure.DEADLINE) else 502
            job.error = ClientError(status, SENTENCES[failure], code=f"upstream_{failure.value}")
        else:
            verdict = after_answer(answer_of(result, state.now()), external)
            if verdict.next is Next.PASS:
                replica.breaker.succeeded()
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

    def _pass_on(self, job: _Job, result: Result) -> None:
        record = job.record
        record.status, record.outcome = result.status, "client_error"
        headers = [(name, result.headers[name]) for name in ("content-type",) if name in result.headers]
        job.reply.whole(result.status, headers + own(record), result.body)

    def _priority(self, request: Request, body: Body) -> Priority:
        said = request.header(self._state.route.clients.priority_header.encode()) or ""
        if said in _PRIORITIES:
            return _PRIORITIES[said]
        batch = body.values.get("service_tier") in _BATCH_SERVICE_TIERS
        return Priority.BATCH if batch else Priority.INTERACTIVE
