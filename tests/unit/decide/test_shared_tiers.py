"""Two routes over one tier: what its replicas take at a time is shared by the routers of both."""

from __future__ import annotations

from tests.builders.routes import route, snapshot, spec, tier
from tierwise.api.modelroute_status import LadderTier
from tierwise.decide.routes import plan_routes
from tierwise.route_values import ladder_tier
from tierwise.routing.route import Use

CHAT = route(given=spec("small", "large", replicas=3))
BATCH = route("batch", given=spec("small", modelNames=["batch"]))


def ladders(*extra: object) -> dict[str, tuple[LadderTier, ...]]:
    """By the name of the route."""
    plans = plan_routes(snapshot([tier("small"), tier("large")], CHAT, BATCH, *extra))  # type: ignore[arg-type]
    return {plan.key.name: plan.ladder for plan in plans}


def test_a_tier_that_several_routes_name_is_told_of_the_routers_of_all() -> None:
    """Else each of two routes would give it all of its places."""
    found = ladders()
    assert [(rung.name, rung.routers) for rung in found["chat"]] == [("small", 5), ("large", None)]
    assert [(rung.name, rung.routers) for rung in found["batch"]] == [("small", 5)]


def test_a_route_that_ends_has_no_part_and_one_that_is_not_understood_has_none() -> None:
    ending = route("old", given=spec("small", modelNames=["old"]), deleting=True)
    assert ladders(ending)["batch"][0].routers == 5


def test_the_routers_read_it() -> None:
    small, large = (ladder_tier(rung, Use.ALWAYS, None) for rung in ladders()["chat"])
    assert (small.routers_of_all, small.sharing) == (5, 5)
    assert (large.routers_of_all, large.sharing) == (None, 1)
