"""Checks what a tier hears of the routers of the routes over it, and of no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.observe import bodies
from tests.unit.observe.test_world import NOW, TIER, only, world
from tierwise.observe import Samples, World, records
from tierwise.observe import signals as kinds
from tierwise.observe.route_object import route_object
from tierwise.observe.signals import PodKey, PodReadings
from tierwise.types import NO_ROUTERS, UNKNOWN_ROUTERS, RouterSignals, State


def routed(*names: str, deleting: bool = False, spec: Any = None, status: Any = None) -> Any:
    """A ModelRoute over these tiers."""
    metadata = {"name": "chat-route", "namespace": "team", "uid": "r", "generation": 1, "resourceVersion": "1"}
    gone = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {}
    return route_object(
        {
            "metadata": {**metadata, **gone},
            "spec": spec or {"tiers": [{"name": name} for name in names]},
            "status": status or {},
        }
    )


def router_pod(name: str, *, ready: bool = True, since: float | None = None) -> Any:
    owner = bodies.controller("ReplicaSet", "chat-route-router-6d4cf56db")
    found = records.pod_record(bodies.pod(name, ownerReferences=[owner]))
    return replace(found, facts=replace(found.facts, ready=ready, ready_at=since))


def said_by(*routers: str, tier: str = TIER, at: float = NOW - 1) -> Samples:
    values = {kinds.WANTED: 3.0, kinds.QUEUED: 2.0, kinds.IN_FLIGHT: 1.0, kinds.REFUSED: 0.5}
    found = PodReadings(values, dict.fromkeys(values, at))
    return Samples(pods={PodKey("team", tier, name): found for name in routers}, answered_at=NOW)


def heard(world_: World, samples: Samples) -> RouterSignals:
    return only(world_, samples).routers


def test_a_tier_hears_the_routers_of_the_routes_over_it() -> None:
    pods = [router_pod("r-b"), router_pod("r-a", ready=False)]
    seen = replace(world(pods=[]), routes=[routed(TIER)], pods=pods)
    found = heard(seen, said_by("r-a", "r-b", "stranger"))
    assert (found.known, found.routes, found.unserved) == (True, ("chat-route",), ())
    assert [(each.router, each.ready) for each in found.routers] == [("r-a", False), ("r-b", True)]
    first = found.routers[0]
    assert [each.value for each in first.signals] == [3.0, 2.0, 1.0, 0.5]
    assert {each.at for each in first.signals} == {NOW - 1}
    stale = heard(seen, said_by("r-a", at=NOW - 31))
    assert [each.wanted.state for each in stale.routers] == [State.STALE, State.MISSING]
    other = heard(seen, said_by("r-a", "r-b", tier="other"))
    assert {each.wanted.state for each in other.routers} == {State.MISSING}


@pytest.mark.parametrize("pods", [[], [router_pod("r-a", ready=False)]], ids=["none", "one that is not ready"])
def test_a_route_without_a_ready_router_is_unserved(pods: Any) -> None:
    found = heard(replace(world(pods=[]), routes=[routed(TIER)], pods=pods), Samples())
    assert found.unserved == ("chat-route",)


@pytest.mark.parametrize(
    "routes",
    [[], [routed("other")], [routed(TIER, deleting=True)], [routed(spec={"tiers": 1})]],
    ids=["none", "over another", "deleted", "not understood"],
)
def test_a_tier_without_a_route_hears_nobody(routes: Any) -> None:
    assert heard(replace(world(), routes=routes, pods=[router_pod("r-a")]), said_by("r-a")) == NO_ROUTERS


def test_the_routers_of_a_route_that_is_not_understood_any_more_serve_on_and_are_heard() -> None:
    ladder = [{"name": TIER, "use": "Always", "model": "m", "service": "s", "concurrency": 1, "keepAliveSeconds": 1}]
    route = routed(spec={"tiers": 1}, status={"ladder": ladder})
    assert (route.spec, len(route.status.ladder)) == (None, 1)
    found = heard(replace(world(pods=[]), routes=[route], pods=[router_pod("r-a")]), said_by("r-a"))
    assert [(each.router, each.wanted.value) for each in found.routers] == [("r-a", 3.0)]


def test_while_the_routes_are_not_known_nothing_is_known_of_routers() -> None:
    assert heard(replace(world(), routes_known=False), said_by("r-a")) == UNKNOWN_ROUTERS


def test_what_routers_say_is_the_same_whatever_its_times() -> None:
    seen = replace(world(pods=[]), routes=[routed(TIER)], pods=[router_pod("r-a")])
    early, late = heard(seen, said_by("r-a", at=NOW - 9)), heard(seen, said_by("r-a"))
    assert early != late
    assert early.says_the_same(late)
    assert early.says_the_same(early)
    assert not early.says_the_same(heard(seen, Samples()))
    for other in (replace(early, routes=("x",)), replace(early, unserved=("x",)), replace(early, known=False)):
        assert not early.says_the_same(other)


def test_since_when_a_router_is_ready_is_heard() -> None:
    """With it the idle time of a tier begins anew."""
    pods = [router_pod("r-a", since=NOW - 5), router_pod("r-b", ready=False, since=NOW - 5), router_pod("r-c")]
    found = heard(replace(world(pods=[]), routes=[routed(TIER)], pods=pods), Samples())
    assert [(each.router, each.ready_at) for each in found.routers] == [("r-a", NOW - 5), ("r-b", None), ("r-c", 0.0)]


def test_a_route_that_was_refused_and_has_no_router_is_over_no_tier() -> None:
    """Else a tier that nobody can ask would keep a GPU for ever. One that had routers before is still heard."""
    refused = routed(TIER, status={"state": "Rejected"})
    assert heard(replace(world(pods=[]), routes=[refused]), Samples()) == NO_ROUTERS
    served = heard(replace(world(pods=[]), routes=[refused], pods=[router_pod("r-a")]), said_by("r-a"))
    assert [each.router for each in served.routers] == ["r-a"]
    failing = routed(TIER, status={"state": "Failed"})
    assert heard(replace(world(pods=[]), routes=[failing]), Samples()).unserved == ("chat-route",)
