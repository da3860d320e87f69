"""Routes in whole cycles: from the objects of a cluster to its objects and the status."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

import pytest

from tests.builders.routes import POD
from tests.unit.act.store import Store
from tests.unit.observe import test_route_object as objects
from tierwise import reconcile, route_cycle
from tierwise.act.render import child_name
from tierwise.api.kinds import MODEL_ROUTE
from tierwise.decide import routes as decide_routes
from tierwise.errors import Transient
from tierwise.kube.objects import ROUTER_CHILDREN
from tierwise.observe import Samples, World
from tierwise.observe.route_object import child_record, route_object
from tierwise.ports import ObjectRef
from tierwise.route_cycle import RouteState
from tierwise.types import ALONE, Installation, Installations, RouteObject

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

    async def cycle(
        self, heard: RouteObject | None = None, *, writing: bool = True, installations: Installations = ALONE
    ) -> Any:
        self.store.writes.clear()
        self.clock.seconds += 10
        children = []
        for plural, (api_version, _) in ROUTER_CHILDREN.items():
            name = child_name("chat", plural, POD)
            body = self.store._objects.get(ObjectRef(api_version, plural, "team", name))
            if body is not None:
                children.append(child_record(plural, body))
        world = World(routes=[heard or self.heard()], route_children=children, installations=installations)
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


async def test_where_another_installation_acts_a_route_is_neither_made_nor_told_of() -> None:
    scene = Scene()
    other = Installations(instead={"team": Installation("platform", "tw")})
    for _ in range(3):
        await scene.cycle(installations=other)
        assert scene.store.writes == []
    assert scene.status == {}
    await scene.cycle()
    assert ("status", "chat") in scene.store.writes, "the other is gone"


async def test_a_standby_writes_nothing() -> None:
    scene = Scene()
    assert (await scene.cycle(writing=False)).routes is None
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


async def test_a_defect_that_a_route_meets_is_logged_and_ends_no_cycle(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a defect")

    scene = Scene()
    with monkeypatch.context() as patched:
        patched.setattr(route_cycle, "plan_routes", broken)
        result = await scene.cycle()
    assert result.routes == route_cycle.RouteCycle()
    assert "a defect" in caplog.text
    assert (await scene.cycle()).routes.reports, "the next cycle serves it"


async def test_the_children_are_no_tiers() -> None:
    scene = Scene()
    result = await scene.cycle()
    assert result.snapshot.tiers == ()
    assert [report.key.name for report in result.routes.reports] == ["chat"]


class Pair(Scene):
    """Two routes: ill, which meets what a test does to it, and well."""

    def __init__(self) -> None:
        super().__init__()
        self.store.drop(REF)
        self.names: tuple[str, ...] = ("ill", "well")
        for name in self.names:
            body = objects.body()
            body["metadata"] |= {"name": name, "uid": f"uid-{name}"}
            self.store.put(self.ref(name), body)

    @staticmethod
    def ref(name: str) -> ObjectRef:
        return ObjectRef.of(MODEL_ROUTE, "team", name)

    async def both(self, limit_seconds: float = 40.0) -> Any:
        self.store.writes.clear()
        self.clock.seconds += 10
        world = World(routes=[route_object(self.store.seen(self.ref(name))) for name in self.names])
        return await reconcile.run(
            world, Samples(), self.store, self.clock, self.kept, writing=True, limit_seconds=limit_seconds
        )

    def told(self) -> list[str]:
        return [name for name in self.names if self.store.seen(self.ref(name)).get("status")]


@pytest.mark.parametrize(
    ("module", "function", "which", "said"),
    [
        (decide_routes, "_plan", lambda view, *_: view.route.key.name, "keeps what it has"),
        (route_cycle, "report_route", lambda view, *_: view.route.key.name, "is not told of"),
    ],
    ids=["decide", "report"],
)
async def test_a_defect_that_one_route_meets_is_that_routes_alone(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    module: ModuleType,
    function: str,
    which: Any,
    said: str,
) -> None:
    original = getattr(module, function)

    def broken(*given: Any) -> Any:
        if which(*given) == "ill":
            raise KeyError("a defect")
        return original(*given)

    scene = Pair()
    with monkeypatch.context() as patched:
        patched.setattr(module, function, broken)
        result = await scene.both()
    assert [report.key.name for report in result.routes.reports] == ["well"]
    assert scene.told() == ["well"]
    (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (line.__dict__["route"], said in line.message) == ("team/ill", True)
    await scene.both()
    assert scene.told() == ["ill", "well"], "the next cycle serves it"


async def test_a_status_that_is_not_answered_for_keeps_no_other_route_from_being_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Pair()
    scene.names = (*(f"ill-{number}" for number in range(2 * route_cycle.PARALLEL)), "well")
    for name in scene.names:
        body = objects.body()
        body["metadata"] |= {"name": name, "uid": f"uid-{name}"}
        body["spec"]["modelNames"] = [name]
        scene.store.put(scene.ref(name), body)
    original = scene.store.patch_status

    async def hang(at: ObjectRef, *given: Any, **how: Any) -> Any:
        await asyncio.sleep(0)
        if at.name.startswith("ill"):
            await asyncio.Event().wait()
        return await original(at, *given, **how)

    with monkeypatch.context() as patched:
        patched.setattr(scene.store, "patch_status", hang)
        result = await scene.both(5.0)
        assert len(result.routes.reports) == len(scene.names), "what was decided and done is known all the same"
        assert scene.told() == []
        await scene.both(5.0)
        assert scene.told() == ["well"]
    await scene.both()
    assert len(scene.told()) == len(scene.names)
    assert not scene.kept.routes.untold
