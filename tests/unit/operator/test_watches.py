"""What the process knows of the cluster while a kind is absent or not listed yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from tests.unit.observe import bodies
from tests.unit.observe.test_route_object import body, child
from tierwise.errors import Forbidden, Gone, Transient
from tierwise.observe import World
from tierwise.observe.records import pod_record
from tierwise.observe.tier_object import tier_object
from tierwise.ports import ObjectRef
from tierwise_operator import watches
from tierwise_operator.settings import Settings
from tierwise_operator.watches import KINDS, Watches

(DEPLOYMENTS,) = [kind for kind in KINDS if kind.name == "deployments"]


def router() -> dict[str, Any]:
    """The Deployment of a route's routers, as the watch of all our Deployments delivers it."""
    found = child(readyReplicas=1)
    found["metadata"]["labels"] = {"tierwise.io/route": "chat"}
    return found


POOL = {"metadata": {"name": "l40s", "uid": "pool-uid"}, "spec": {}}
HOLDING = bodies.pod(
    "a", spec={"nodeName": "gpu-0", "containers": [{"resources": {"limits": {"nvidia.com/gpu": "2"}}}]}
)


class _Informer:
    """What kopf would have told."""

    problem = ""

    def __init__(self, *_: Any) -> None:
        pass

    async def records(self) -> Mapping[str, tuple[Any, ...]]:
        return {
            "tiers": (tier_object(bodies.tier()),),
            "pods": (pod_record(bodies.pod("a")),),
            "deployments": (DEPLOYMENTS.record(bodies.deployment()), DEPLOYMENTS.record(router())),
            "replica_sets": (),
            "endpoint_slices": (),
            "scalers": (),
        }


class _Api:
    """Lists objects by plural; what is in `gone` does not exist, what is in `silent` does not answer."""

    def __init__(
        self, *, gone: tuple[str, ...] = (), silent: tuple[str, ...] = (), refused: tuple[str, ...] = ()
    ) -> None:
        self._gone, self._silent, self._refused = gone, silent, refused
        self._objects = {"modelroutes": [body()], "gpupools": [POOL], "pods": [HOLDING, bodies.pod("b")]}

    async def pages(
        self, ref: ObjectRef, *, selector: str = ""
    ) -> AsyncIterator[tuple[tuple[Mapping[str, Any], ...], str]]:
        if ref.plural in self._gone:
            raise Gone("no such kind", status=404)
        if ref.plural in self._silent:
            raise Transient("nobody answers")
        if ref.plural in self._refused:
            raise Forbidden(f"list {ref.plural} (all): forbidden", status=403)
        yield tuple(self._objects.get(ref.plural, ())), "1"

    async def watch(self, ref: ObjectRef, *, since: str, selector: str = "") -> AsyncIterator[Mapping[str, Any]]:
        await asyncio.sleep(3600)
        yield {}


async def seen(monkeypatch: pytest.MonkeyPatch, api: _Api, **settings: Any) -> World | None:
    monkeypatch.setattr(watches, "Informer", _Informer)
    made = Watches(Settings(**{"watch_nodes": False, **settings}), api, lambda: None, lambda: None)

    async def run(part: Any) -> None:
        await part()

    tasks = [asyncio.create_task(run(part)) for _, part in made.parts()]
    await asyncio.sleep(0.05)
    try:
        return await made.world()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_routers_deployment_is_no_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await seen(monkeypatch, _Api())
    assert world is not None
    assert [each.facts.name for each in world.deployments] == ["chat-predictor"]
    assert [each.child.name for each in world.route_children] == ["chat-router"]
    assert [route.key.name for route in world.routes] == ["chat"]


async def test_a_cluster_without_the_kind_modelroute_serves_its_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await seen(monkeypatch, _Api(gone=("modelroutes",)))
    assert world is not None
    assert (len(world.tiers), world.routes) == (1, ())


@pytest.mark.parametrize("plural", ["modelroutes", "services", "rolebindings"])
async def test_tiers_do_not_wait_for_what_routes_need_and_nothing_looks_deleted(
    monkeypatch: pytest.MonkeyPatch, plural: str
) -> None:
    world = await seen(monkeypatch, _Api(silent=(plural,)))
    assert world is not None
    assert (len(world.tiers), world.routes, world.route_children) == (1, (), ())


async def test_tiers_wait_for_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await seen(monkeypatch, _Api(silent=("inferenceservices",))) is None


def _trace(kind: str, name: str, namespace: str, created: str, home: str) -> dict[str, Any]:
    labels = {"tierwise.io/installation": kind}
    metadata = {
        "name": name,
        "namespace": namespace,
        "creationTimestamp": created,
        "labels": labels,
        "uid": f"{name}-{home}",
    }
    return {"metadata": metadata, "subjects": [{"name": name, "namespace": home}], "spec": {"replicas": 1}}


async def test_another_installation_is_known_told_and_a_reason_not_to_be_ready(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    api = _Api()
    ours = _trace("cluster", "tierwise", "tierwise-system", "2026-11-20T10:00:00Z", "")
    older = _trace("cluster", "tw", "platform", "2026-11-20T09:00:00Z", "")
    api._objects |= {"deployments": [ours, older]}
    monkeypatch.setattr(watches, "Informer", _Informer)
    made = Watches(Settings(watch_nodes=False), api, lambda: None, lambda: None)
    tasks: list[asyncio.Task[None]] = [asyncio.create_task(part()) for _, part in made.parts()]  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    try:
        with caplog.at_level("WARNING"):
            first, _ = await made.world(), await made.world()
        assert first is not None
        assert str(first.installations.everywhere) == "platform/tw"
        assert "platform/tw serves all namespaces" in made.problem
        assert caplog.text.count("another installation of Tierwise is there: platform/tw serves all namespaces") == 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_pools_and_the_pods_that_hold_gpus_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await seen(monkeypatch, _Api(), watch_nodes=True)
    assert world is not None
    assert ([pool.name for pool in world.pools], world.pools_known, world.pools_problem) == (["l40s"], True, "")
    assert [(pod.node, pod.number("nvidia.com/gpu")) for pod in world.gpu_pods] == [("gpu-0", 2)]
    assert (world.gpu_pods_problem, world.nodes_problem) == ("", "")


async def test_without_the_kind_there_are_no_pools_and_nobody_looks_at_all_pods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await seen(monkeypatch, _Api(gone=("gpupools",)))
    assert world is not None
    assert (world.pools, world.pools_known, world.pools_problem, world.gpu_pods) == ((), True, "", ())


async def test_pools_that_do_not_answer_are_not_known_and_tiers_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await seen(monkeypatch, _Api(silent=("gpupools",)))
    assert world is not None
    assert (world.pools, world.pools_known, world.pools_problem) == ((), False, "")


async def test_what_may_not_be_listed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await seen(monkeypatch, _Api(refused=("gpupools",)))
    assert world is not None
    assert (world.pools_known, world.pools_problem) == (False, "list gpupools (all): forbidden")
    world = await seen(monkeypatch, _Api(refused=("pods", "nodes")), watch_nodes=True)
    assert world is not None
    assert (len(world.pools), world.gpu_pods_problem) == (1, "list pods (all): forbidden")
    assert world.nodes_problem == "list nodes (all): forbidden"


async def test_why_the_nodes_are_not_known_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await seen(monkeypatch, _Api(), watch_nodes=False)
    assert world is not None
    assert world.nodes_problem == "the chart value watch.nodes is false"
    world = await seen(monkeypatch, _Api(silent=("pods", "nodes")), watch_nodes=True)
    assert world is not None
    assert (world.nodes_problem, world.gpu_pods_problem) == ("nobody answers", "nobody answers")


async def test_pools_that_are_not_served_here_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await seen(monkeypatch, _Api(), watch_pools=False)
    assert world is not None
    assert (world.pools, world.pools_known, world.gpu_pods) == ((), False, ())
    assert "watch.pools" in world.pools_problem
