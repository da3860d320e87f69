"""Two routes over one tier: what its replicas take at a time is shared by the routers of both."""

from __future__ import annotations

from dataclasses import replace

from tests.builders.routes import route, snapshot, spec, tier
from tierwise.api.modelroute_status import LadderTier, ModelRouteStatus
from tierwise.decide.routes import plan_routes
from tierwise.route_values import ladder_tier
from tierwise.routing.route import Use
from tierwise.types import RouteChild, RouteKey, RouteView

CHAT = route(given=spec("small", "large", replicas=3))
BATCH = route("batch", given=spec("small", modelNames=["batch"]))


def status_with(ladder: list[dict[str, object]]) -> ModelRouteStatus:
    """A status with this ladder."""
    return ModelRouteStatus.model_validate({"ladder": ladder})


def ladders(*extra: object) -> dict[str, tuple[LadderTier, ...]]:
    """By the name of the route."""
    plans = plan_routes(snapshot([tier("small"), tier("large")], CHAT, BATCH, *extra))  # type: ignore[arg-type]
    return {plan.key.name: plan.ladder for plan in plans}


def test_a_tier_that_several_routes_name_is_told_of_the_routers_of_all() -> None:
    """Else each of two routes would give it all of its places."""
    found = ladders()
    assert [(rung.name, rung.routers) for rung in found["chat"]] == [("small", 5), ("large", None)]
    assert [(rung.name, rung.routers) for rung in found["batch"]] == [("small", 5)]


def test_a_route_that_ends_has_no_part() -> None:
    ending = route("old", given=spec("small", modelNames=["old"]), deleting=True)
    assert ladders(ending)["batch"][0].routers == 5


def test_a_route_that_is_not_served_has_the_routers_that_it_has() -> None:
    """A refused one has none unless it had some before; one whose spec is not understood any more serves on."""
    refused = route("late", given=spec("small", modelNames=["batch"], replicas=20), created_at=200.0)
    assert ladders(refused)["batch"][0].routers == 5
    runs = (RouteChild("deployments", "late-router", {}, replicas=4),)
    found = ladders(RouteView(refused, runs))
    assert [found[name][0].routers for name in ("chat", "batch", "late")] == [9, 9, 9]
    before = [each.model_dump(by_alias=True) for each in found["late"]]
    unread = replace(refused, spec=None, invalid="spec.tiers: missing", status=status_with(before))
    assert ladders(RouteView(unread, runs))["batch"][0].routers == 9


def test_a_tier_of_the_same_name_elsewhere_is_another() -> None:
    there = replace(BATCH, key=RouteKey("elsewhere", "batch"), uid="other")
    (_, chat) = plan_routes(snapshot([tier("small"), tier("large")], CHAT, there))
    assert [rung.routers for rung in chat.ladder] == [None, None]


def test_the_routers_read_it() -> None:
    small, large = (ladder_tier(rung, Use.ALWAYS, None) for rung in ladders()["chat"])
    assert (small.routers_of_all, small.sharing) == (5, 5)
    assert (large.routers_of_all, large.sharing) == (None, 1)
