"""Takes one request through: read, choose a tier, try it, try the next.

The order of trying comes from `tierwise.routing`; here is only the I/O between its choices. A request ends in exactly
one of: an answer, an error that says what to do, or a client that has gone. Whatever happens, its place on a replica is
given back and its money settled once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tierwise.routing.route import Priority
from tierwise.routing.tier_choice import FALLBACK, SPILL, Candidate
from tierwise_router.choosing import choose
from tierwise_router.client_connection import Reply
from tierwise_router.headers import own
from tierwise_router.http_request import Request
from tierwise_router.job import Job
from tierwise_router.kept_responses import BOUND
from tierwise_router.openai_error import ClientError
from tierwise_router.purse import Hold
from tierwise_router.record import Record
from tierwise_router.relay_errors import budget_spent, busy, resting
from tierwise_router.request_body import Body, read, shape
from tierwise_router.router_state import RouterState
from tierwise_router.tier import Tier
from tierwise_router.tier_attempts import TierAttempts

_PRIORITIES = {one.value: one for one in Priority}
_BATCH_SERVICE_TIERS = frozenset({"flex", "batch"})
MOST_SERVICE_TIER_CHARACTERS = 64  # it is kept for as long as the answer takes, when the body is not


class Relay:
    """Answers OpenAI requests. `identify` returns the tenant of a request or raises ClientError."""

    def __init__(self, state: RouterState, identify: Callable[[Request], str]) -> None:
        self._state = state
        self._identify = identify
        self._attempts = TierAttempts(state)

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Answer one request."""
        state = self._state
        record = state.begin(request, request.path)
        sample = state.sampler.begin(request, reply, record)
        state.retries.request()
        try:
            record.tenant = self._identify(request) if request.tenant is None else request.tenant
            await self._answer(request, reply, record, copied=sample is not None and bool(sample.body))
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

    async def _answer(self, request: Request, reply: Reply, record: Record, *, copied: bool) -> None:
        state = self._state
        body = read(_taken(request))
        facts_of = shape(body.values)
        record.model, record.stream = body.model, body.stream
        priority = self._priority(request, body)
        record.priority = priority.value
        until = record.began_at + state.route.deadlines.request_seconds
        job = Job(request, reply, record, body, facts_of, priority, until, copied=copied)
        job.billed_as = _service_tier(body)
        job.cascade, candidates = state.cascades.begin(
            state.route, self._candidates(job), request.path, body, state.monotonic()
        )
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
                    candidates = candidates[:position] + state.cheaper_than(candidates[0].tier, facts_of)
                continue
            if await self._attempts.answered(job, tier, hold):
                return
            if job.cascade is not None and job.cascade.escalated:
                candidates, position, job.cascade = list(job.cascade.plan.escalated), 0, None
        raise job.error or busy(503, "no tier of this route can answer now", 10, "no_tier_ready")

    def _candidates(self, job: Job) -> list[Candidate]:
        chosen = choose(self._state, job.request, job.body, job.shape, job.priority, job.record.tenant)
        job.kept_by, job.turn = chosen.kept_by, chosen.turn
        job.record.rule, job.record.first = chosen.tiers.rule, chosen.wanted
        return list(chosen.tiers.candidates)

    def _hold(self, job: Job, tier: Tier, reason: str) -> Hold | None:
        """The money for one attempt at a tier, or None with the reason in `job.error`."""
        spilled = reason in (SPILL, FALLBACK) and tier.spec.external
        amount = job.estimate(tier.spec)
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

    def _priority(self, request: Request, body: Body) -> Priority:
        said = request.header(self._state.route.clients.priority_header.encode()) or ""
        if said in _PRIORITIES:
            return _PRIORITIES[said]
        batch = _service_tier(body) in _BATCH_SERVICE_TIERS
        return Priority.BATCH if batch else Priority.INTERACTIVE


def _taken(request: Request) -> bytes:
    """The body. Once in memory is enough, and no variable may keep it when the job has let it go."""
    raw = bytes(request.body)
    request.body.clear()
    return raw


def _service_tier(body: Body) -> str:
    """What the client asks for; "" for what is too long to be the name of one."""
    asked = body.values.get("service_tier")
    return asked if isinstance(asked, str) and len(asked) <= MOST_SERVICE_TIER_CHARACTERS else ""
