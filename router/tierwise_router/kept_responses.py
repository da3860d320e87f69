"""Finds the replica that keeps a response, and asks it for that response: GET, DELETE and cancel of /v1/responses/ID.

Where a response is kept, and for whom, stands in its name (`response_ids`). A provider names responses itself: only the
router that passed one on knows whose it is. So where a route has several tenants no other router asks for it: all of
them have one key at the provider, and its id would open it to everybody. Where all clients are one tenant, any router
may ask. Asking for a response costs an engine next to nothing: it takes no place on the replica and waits for none, and
a replica that drains still answers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

from tierwise.routing.failover import Failure
from tierwise.routing.replica import Replica
from tierwise.routing.tier_choice import DIRECT, PREVIOUS_RESPONSE, Candidate, TierChoice
from tierwise_router import headers, response_ids
from tierwise_router.attempt import Attempt, End, Result
from tierwise_router.http_request import Request
from tierwise_router.openai_error import ClientError
from tierwise_router.record import Record
from tierwise_router.relay_errors import failed, refused
from tierwise_router.reply import Reply
from tierwise_router.router_state import RouterState
from tierwise_router.tier import Tier
from tierwise_router.upstream import UpstreamError

# No other tier knows the response that a request goes on from, and a tier's own name is a promise.
BOUND = frozenset({DIRECT, PREVIOUS_RESPONSE})
PATH = "/v1/responses/"
# Not of dots alone: a server behind would take them for a way out of the path.
_KEPT = re.compile(PATH + r"(?!\.+(?:/|$))([A-Za-z0-9_.-]{1,256})(/cancel|/input_items)?")
_STREAM = re.compile(r"(?:^|&)stream=(?:true|1|yes|on)(?:&|$)", re.IGNORECASE)
_METHODS = {None: ("GET", "DELETE"), "/cancel": ("POST",), "/input_items": ("GET",)}
_PASSED_ON = frozenset({400, 404, 405, 409, 410, 422})  # what else is between the router and the tier


@dataclass(frozen=True, slots=True)
class Owner:
    """Who keeps a response."""

    tier: Tier
    replica: Replica


def owner(state: RouterState, response_id: str, tenant: str) -> Owner | None:
    """Who keeps a response; None where nothing says it and all clients are one tenant. Raises ClientError (404) where
    who kept it is gone, for a response of another tenant, and for one of which nobody here knows whose it is."""
    said = response_ids.mark_of(response_id)
    if said is not None:
        there = ((name, one.key) for name, tier in state.tiers.items() for one in tier.replicas)
        found = response_ids.find(said, tenant, there)
    else:
        known = state.owner(response_id)
        if known is None and not state.route.clients.several_tenants:
            return None
        found = known[:2] if known is not None and known[2] == tenant else None
    tier = state.tiers.get(found[0]) if found is not None else None
    for replica in tier.replicas if tier is not None else ():
        if tier is not None and found is not None and replica.key == found[1]:
            return Owner(tier, replica)
    raise ClientError(
        404,
        "there is no such response here; what kept it is gone, or another router of this route passed it on",
        code="response_not_found",
    )


def choice_of_previous(state: RouterState, response_id: str, tenant: str) -> tuple[TierChoice | None, str]:
    """Which tiers may continue a response, and the key of the one replica that can; None where any may. Raises
    ClientError (404) where who kept it takes no requests any more."""
    try:
        found = owner(state, response_id, tenant)
    except ClientError:
        found, gone = None, True
    else:
        gone = found is not None and found.replica.draining
    if gone:
        raise ClientError(
            404,
            "the previous response is not known here, or what kept it is gone; send the whole conversation instead",
            code="previous_response_not_found",
            param="previous_response_id",
        )
    if found is not None:
        return TierChoice((Candidate(found.tier.spec, PREVIOUS_RESPONSE),)), found.replica.key
    # No engine of ours has named it: a provider has.
    external = tuple(Candidate(spec, PREVIOUS_RESPONSE) for spec in state.route.tiers if spec.external)
    return (TierChoice(external) if external else None), ""


class KeptResponses:
    """Answers requests for one response. `identify` returns the tenant of a request or raises ClientError."""

    def __init__(self, state: RouterState, identify: Callable[[Request], str]) -> None:
        self._state = state
        self._identify = identify

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Answer one request."""
        state = self._state
        record = state.begin(request, PATH + "ID")
        try:
            record.tenant = self._identify(request)
            await self._answer(request, reply, record)
        except ClientError as error:
            record.status, record.outcome = error.status, "client_error" if error.status < 429 else "refused"
            if not reply.started:
                reply.error(error, headers.own(record))
        except asyncio.CancelledError:
            record.outcome, record.status = "client_gone", 499
            raise
        except Exception:
            record.outcome, record.status = "internal_error", 500
            raise
        finally:
            state.ended(record)

    async def _answer(self, request: Request, reply: Reply, record: Record) -> None:
        asked = _KEPT.fullmatch(request.path)
        if asked is None:
            raise ClientError(404, "there is no such path here", code="not_found")
        methods = _METHODS[asked.group(2)]
        if request.method not in methods:
            allow = ", ".join(methods)
            raise ClientError(405, f"use {allow}", code="method_not_allowed", headers={"allow": allow})
        found = owner(self._state, asked.group(1), record.tenant) or self._provider()
        record.tier, record.reason, record.replica = found.tier.spec.name, PREVIOUS_RESPONSE, found.replica.key
        record.attempts = 1
        result = await self._ask(found, request, reply, record)
        if result.end in (End.ANSWERED, End.BROKEN):
            record.status, record.outcome = result.status, "ok" if result.end is End.ANSWERED else "broken"
        elif result.end is End.FAILED:
            raise failed(result.failure or Failure.RESET)
        elif result.status not in _PASSED_ON:
            raise refused(result, self._state.now())
        else:
            record.status, record.outcome = result.status, "client_error"
            kept = [(name, result.headers[name]) for name in ("content-type",) if name in result.headers]
            reply.whole(result.status, kept + headers.own(record), result.body)

    def _provider(self) -> Owner:
        """The one provider of the route, for a response that nobody here has named."""
        external = [tier for tier in self._state.tiers.values() if tier.spec.external]
        if len(external) == 1:
            return Owner(external[0], external[0].replicas[0])
        raise ClientError(404, "there is no such response", code="response_not_found")

    async def _ask(self, found: Owner, request: Request, reply: Reply, record: Record) -> Result:
        state, spec = self._state, found.tier.spec
        pool = found.tier.pool(found.replica)
        travelling = headers.to_upstream(request.headers, private=state.private_headers, external=spec.external)
        if record.trace is not None:
            travelling = record.trace.passing(travelling)
        target = request.path + (f"?{request.query}" if request.query else "")
        asked = headers.request_bytes(
            pool.server, target, travelling, None, record.id, state.key_of(spec), method=request.method
        )
        attempt: Attempt | None = None
        try:
            # Not a kept one: those may be closed just now, and nothing but a cancellation is made a second time.
            connection = await pool.connect()
            attempt = Attempt(
                connection,
                reply,
                lambda: headers.own(record),
                lambda: None,
                stream=_STREAM.search(request.query) is not None,
                drop_usage=False,
                secret=state.key_of(spec),
            )
            with state.watched(attempt, record.began_at + state.route.deadlines.request_seconds):
                attempt.send(asked)
                result = await attempt.done
        except UpstreamError as error:
            return Result(End.FAILED, error.failure)
        except asyncio.CancelledError:
            if attempt is not None:
                attempt.abandon()
            raise
        if attempt.reusable:
            connection.answered()
            pool.give_back(connection, state.monotonic())
        else:
            connection.close()
        return result
