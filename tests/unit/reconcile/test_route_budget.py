"""A budget in whole cycles: from the routers' pods and what Prometheus says of them to the leases in the status."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tests.builders.routes import POD
from tests.unit.act.store import Store
from tests.unit.observe import bodies
from tests.unit.observe import test_route_object as objects
from tests.unit.reconcile.test_routes import REF, _Clock
from tierwise import reconcile
from tierwise.errors import Conflict, Transient
from tierwise.observe import Samples, World
from tierwise.observe.records import PodRecord, pod_record
from tierwise.observe.route_object import route_object
from tierwise.observe.route_readings import RouteReadings, RouterKey
from tierwise.route_cycle import RouteState
from tierwise.types import RouteObject, WalletReport

SPEC = {"tiers": [{"name": "small"}], "budget": {"amount": "100", "period": "Month"}}
PERIOD = 0.0  # the clock of the test is in January 1970


def router(name: str) -> PodRecord:
    owner = [bodies.controller("ReplicaSet", "chat-router-6d4cf56db")]
    made: dict[str, Any] = bodies.pod(name, ownerReferences=owner)
    made["metadata"]["uid"] = f"uid-{name}"
    return pod_record(made)


class Scene:
    """A route with a budget, the pods of its routers, and what Prometheus says of them."""

    def __init__(self) -> None:
        self.store, self.clock = Store(), _Clock()
        self.store.put(REF, objects.body(SPEC))
        self.pods = ["a", "b"]
        self.spent: dict[str, str] = {}
        self.restart()

    def restart(self) -> None:
        """Another process of the operator takes over."""
        self.kept = reconcile.OperatorState(routes=RouteState(POD))

    async def cycle(self, heard: RouteObject | None = None) -> Mapping[str, str]:
        """The amount of each lease afterwards."""
        self.clock.seconds += 10
        now = self.clock.seconds
        wallets = {
            RouterKey("team", "chat", pod): WalletReport(now - 2, PERIOD, Decimal(spent), Decimal(0), Decimal(0))
            for pod, spent in self.spent.items()
        }
        world = World(routes=[heard or self.heard()], pods=[router(pod) for pod in self.pods])
        samples = Samples(routes=RouteReadings(wallets=wallets))
        await reconcile.run(world, samples, self.store, self.clock, self.kept, writing=True)
        return self.leases

    def heard(self) -> RouteObject:
        return route_object(self.store.seen(REF))

    @property
    def budget(self) -> dict[str, Any]:
        return dict(self.store.seen(REF).get("status", {}).get("budget", {}))

    @property
    def leases(self) -> dict[str, str]:
        return {lease["router"]: lease["amount"] for lease in self.budget.get("leases", [])}


async def test_routers_get_leases_and_more_when_they_have_spent_half() -> None:
    scene = Scene()
    assert await scene.cycle() == {"uid-a": "0.5", "uid-b": "0.5"}
    scene.spent = {"a": "0.4"}
    assert await scene.cycle() == {"uid-a": "2", "uid-b": "0.5"}
    assert scene.budget["spent"] == "0.4"


async def test_an_operator_that_starts_again_goes_on_with_what_the_status_says() -> None:
    scene = Scene()
    await scene.cycle()
    scene.spent = {"a": "0.4"}
    before = await scene.cycle()
    scene.restart()
    scene.spent = {}
    assert await scene.cycle() == before
    assert scene.budget["spent"] == "0.4"
    scene.restart()
    scene.pods = ["b", "c"]
    assert await scene.cycle() == {"uid-b": "0.5", "uid-c": "0.5"}
    assert (scene.budget["vanished"], scene.budget["spent"]) == ("2", "2")


async def test_a_status_that_was_not_written_hands_nothing_out_twice() -> None:
    scene = Scene()
    for error in (Transient("nobody answers"), Conflict("changed", status=409)):
        scene.store.failing["status"] = error
        assert await scene.cycle() == {}
    scene.store.failing.clear()
    old = scene.heard()
    assert await scene.cycle(old) == {"uid-a": "0.5", "uid-b": "0.5"}
    scene.spent = {"a": "0.4"}
    assert (await scene.cycle(old))["uid-a"] == "2"  # decided on our own last write, not on what was heard
    scene.restart()
    scene.spent = {"a": "1.9"}
    assert (await scene.cycle(old))["uid-a"] == "2"  # of a version that is no more: refused by the API server
    assert Decimal((await scene.cycle())["uid-a"]) > 2
