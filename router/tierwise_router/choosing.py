"""Chooses the tiers for one request: brings together what the request says, what the router knows, and the pure choice.

A response that another one continues goes where that one is kept, before anything else is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tierwise.routing.conversation import Turn
from tierwise.routing.request import RequestFacts
from tierwise.routing.route import Priority
from tierwise.routing.tier_choice import CLASSIFIED, SPILL, TierChoice, choose_tiers
from tierwise_router.http_request import Request
from tierwise_router.job import RESPONSES
from tierwise_router.kept_responses import choice_of_previous
from tierwise_router.openai_error import ClientError
from tierwise_router.request_body import Body, Shape
from tierwise_router.router_state import RouterState


@dataclass(frozen=True, slots=True)
class Chosen:
    """The tiers to try, the name of the one that was wanted first (a full one, where the request spills), the replica
    that keeps the response which this request continues (no other can), and the turn of a conversation that it is."""

    tiers: TierChoice
    wanted: str = ""
    kept_by: str = ""
    turn: Turn | None = None


def choose(state: RouterState, request: Request, body: Body, shape: Shape, priority: Priority, tenant: str) -> Chosen:
    """The tiers for a request; the first is counted as wanted. Raises ClientError (404) for a model that nobody has,
    and for a response that is gone."""
    facts = RequestFacts(
        model=body.model,
        prompt_tokens=shape.prompt_tokens,
        max_tokens=shape.max_tokens,
        tools=shape.tools,
        images=shape.images,
        response_format=shape.response_format,
        stream=body.stream,
        priority=priority,
        headers={name: value for name in state.rule_headers if (value := request.header(name.encode())) is not None},
        blocks=shape.blocks,
    )
    chosen = _chosen(state, facts, request.path, body, tenant)
    first, *others = chosen.tiers.candidates
    wanted = others[0] if first.reason == SPILL and others else first
    state.tiers[wanted.tier.name].counts.want(spilled=first.reason == SPILL)
    if wanted.reason == CLASSIFIED:
        state.content.count(to_reference=wanted.tier.name == state.route.reference.name)
    return replace(chosen, wanted=wanted.tier.name)


def _chosen(state: RouterState, facts: RequestFacts, path: str, body: Body, tenant: str) -> Chosen:
    route = state.route
    if facts.model not in route.model_names and not choose_tiers(route, facts).candidates:
        raise ClientError(
            404, f"the model {facts.model!r} does not exist on this route", code="model_not_found", param="model"
        )
    previous = body.values.get("previous_response_id") if path == RESPONSES else None
    if isinstance(previous, str):
        kept, replica = choice_of_previous(state, previous, tenant)
        if kept is not None:
            return Chosen(kept, kept_by=replica)
    decided = state.content.decide(route, facts, path, body.values, tenant, state.monotonic())
    return Chosen(choose_tiers(route, facts, state.saturated(), decided.choice), turn=decided.turn)
