"""Routes in whole cycles: from the objects of a cluster to its objects and the status."""

from __future__ import annotations

from typing import Any

from tests.builders.routes import POD
from tests.unit.act.store import Store
from tests.unit.observe import test_route_object as objects
from tierwise import reconcile
from tierwise.api.kinds import MODEL_ROUTE
from tierwise.errors import Transient
from tierwise.kube.objects import ROUTER_CHILDREN
from tierwise.observe import Samples, World
from tierwise.observe.route_object import child_record, route_object
from tierwise.ports import ObjectRef
from tierwise.route_cycle import RouteState
from tierwise.types import RouteObject

REF = ObjectRef.of(MODEL_ROUTE, "team", "chat")


class _Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds


class Scene:
    """One route, whose informer may be behind."""

    def __init__(self) -> None:
        self.store, self.clock = Store(), _Clock()
        self.store.put(REF, objects.body())
        self.kept = reconcile.OperatorState(routes=RouteState(POD))

    def heard(self) -> RouteObject:
        return route_object(self.store.seen(REF))

    async def cycle(self, heard: RouteObject | None = None, *, writing: bool = True) -> Any:
        self.store.writes.clear()
        self.clock.seconds += 10
        children = []
        for plural, (api_version, _) in ROUTER_CHILDREN.items():
            name = "chat" if plural == "services" else "chat-router"
            body = self.store._objects.get(ObjectRef(api_version, plural, "team", name))
            if body is not None:
                children.append(child_record(plural, body))
        world = World(routes=[heard or self.heard()], route_children=children)
        return await reconcile.run(world, Samples(), self.store, self.clock, self.kept, writing=writing)

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.store.seen(REF).get("status", {}))


async def test_a_route_is_made_told_and_then_left_in_peace() -> None:
    scene = Scene()
    await scene.cycle()
    assert ("status", "chat") in scene.store.writes
    assert [event.reason for event in scene.store.events][:2] == ["Created", "TierNotFound"]
    assert scene.status["ladder"][0]["service"] == "small-predictor"
    await scene.cycle()
    await scene.cycle()
    assert scene.store.writes == []
    assert len([event for event in scene.store.events if event.reason == "Created"]) == 1


async def test_a_standby_writes_nothing() -> None:
    scene = Scene()
    await scene.cycle(writing=False)
    assert (scene.store.writes, scene.store.events) == ([], [])


async def test_an_informer_that_is_behind_does_not_have_the_status_written_again() -> None:
    scene = Scene()
    old = scene.heard()
    await scene.cycle(old)
    await scene.cycle(old)
    assert scene.store.writes == [("status", "chat")]  # the children are there now
    await scene.cycle(old)
    assert scene.store.writes == []


async def test_what_could_not_be_told_is_told_in_the_next_cycle() -> None:
    scene = Scene()
    scene.store.failing["status"] = Transient("nobody answers")
    scene.store.failing["event"] = Transient("nobody answers")
    await scene.cycle()
    assert (scene.status, scene.store.events) == ({}, [])
    scene.store.failing.clear()
    await scene.cycle()
    assert scene.status["state"] == "Starting"
    assert {event.reason for event in scene.store.events} >= {"Created", "TierNotFound"}


async def test_a_route_that_is_gone_is_forgotten() -> None:
    scene = Scene()
    await scene.cycle()
    assert scene.kept.routes.statuses.writes
    await reconcile.run(World(), Samples(), scene.store, scene.clock, scene.kept, writing=True)
    assert not scene.kept.routes.statuses.writes
    assert not scene.kept.routes.write_state.refused


async def test_the_children_are_no_tiers() -> None:
    scene = Scene()
    result = await scene.cycle()
    assert result.snapshot.tiers == ()
    assert [report.key.name for report in result.routes] == ["chat"]
