"""Checks a tier that runs in two GPU pools: growth into the cheaper and then the dearer one, and a move under load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from playground.handle import Playground
from tests.cluster.e2e.streams import Streams, faults
from tests.cluster.e2e.tiers import route, tier
from tests.cluster.kubectl import Kubectl, Object, columns, eventually, has, ready

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("release")]
START, DRAIN = 90.0, 180.0
L4, H100 = "NVIDIA-L4", "NVIDIA-H100-80GB-HBM3"


def pool(name: str, product: str, price: str, **spec: Any) -> Object:
    """A GPUPool of the nodes with this product."""
    fields = {"nodeSelector": {"nvidia.com/gpu.product": product}, "pricePerGPUHour": price, **spec}
    return {"apiVersion": "tierwise.io/v1alpha1", "kind": "GPUPool", "metadata": {"name": name}, "spec": fields}


def pooled(name: str, *pools: str, **spec: Any) -> Object:
    """A tier in these pools."""
    named = [{"name": each} for each in pools]
    return tier(name, placement=None, price=None, pools=named, **spec)


@pytest.fixture(scope="module")
def kubectl(new_namespace: Callable[[str], Kubectl], admin: Kubectl) -> Iterator[Kubectl]:
    """A namespace, and two pools in the cluster; of the cheaper one tiers may use two GPUs."""
    made = new_namespace("two-pools")
    admin.apply(pool("cheap", L4, "0.80", budget={"gpus": 2}), pool("dear", H100, "4.00"))
    yield made
    admin("delete", "gpupool", "cheap", "dear", "--ignore-not-found")


def replicas(kubectl: Kubectl, *services: str) -> list[int | None]:
    """What is asked for in each InferenceService; None of one that is not there."""
    found = [kubectl.get("deployment", f"{name}-predictor") for name in services]
    return [None if each is None else each["spec"]["replicas"] for each in found]


def served(kubectl: Kubectl, name: str) -> Object:
    """The route once it is ready."""
    return eventually(
        lambda: kubectl.get("modelroute", name) or {},
        lambda seen: has(seen, "Ready", "True", "RouteReady") and seen["status"]["ready"] == "2/2",
        START,
        f"the route {name} is ready",
    )


def nodes_of(kubectl: Kubectl, name: str) -> Counter[str]:
    """On which nodes the pods of a tier are that do not end."""
    pods = [pod for pod in kubectl.pods(name) if "deletionTimestamp" not in pod["metadata"]]
    return Counter(pod["spec"].get("nodeName", "") for pod in pods)


def test_a_tier_grows_in_the_cheaper_pool_and_then_in_the_dearer(kubectl: Kubectl) -> None:
    kubectl.apply(pooled("chat", "dear", "cheap", replicas=1), route("talk", "chat"))
    ready(kubectl, "chat", 1, START)
    assert replicas(kubectl, "chat", "chat-cheap") == [0, 1]
    assert nodes_of(kubectl, "chat") == {"gpu-0": 1}
    kubectl("scale", "modeltier", "chat", "--replicas=3")
    grown = ready(kubectl, "chat", 3, START)
    assert replicas(kubectl, "chat", "chat-cheap") == [1, 2]
    assert nodes_of(kubectl, "chat") == {"gpu-0": 2, "gpu-1": 1}
    told = {each["name"]: each for each in grown["status"]["pools"]}
    assert {name: (each["replicas"], each["ready"]) for name, each in told.items()} == {"dear": (1, 1), "cheap": (2, 2)}
    assert {name: each["costPerHour"] for name, each in told.items()} == {"dear": "4.00", "cheap": "1.60"}
    assert grown["status"]["costPerHour"] == "5.60"
    assert columns(*kubectl("get", "mt", "chat", "-o", "wide").splitlines())["POOLS"] == "dear 1/1, cheap 2/2"
    (rung,) = served(kubectl, "talk")["status"]["ladder"]
    assert (rung["service"], rung["moreServices"]) == ("chat-predictor", ["chat-cheap-predictor"])
    kubectl("scale", "modeltier", "chat", "--replicas=2")
    ready(kubectl, "chat", 2, START)
    assert replicas(kubectl, "chat", "chat-cheap") == [0, 2], "the dearer one ends first"
    kubectl("delete", "modeltier/chat", "modelroute/talk")
    eventually(lambda: kubectl.pods("chat"), lambda pods: not pods, START, "its GPUs are free")


def services(tier: Object) -> list[tuple[str, str]]:
    """The InferenceServices that the status tells of, and their pools."""
    return [(each["name"], each["pool"]) for each in tier["status"].get("inferenceServices", [])]


def services_asked(kubectl: Kubectl, name: str) -> list[tuple[str, list[str]]]:
    """Of each tier of a route the Services that its routers ask. The route is written after its tiers."""
    return [(rung["service"], rung.get("moreServices", [])) for rung in served(kubectl, name)["status"]["ladder"]]


def test_a_pool_that_is_not_named_any_more_drains_and_no_stream_is_cut(
    playground: Playground, kubectl: Kubectl, tmp_path: Path
) -> None:
    kubectl.apply(pooled("moved", "cheap", replicas=1, drainSeconds=120), route("move", "moved"))
    ready(kubectl, "moved", 1, START)
    served(kubectl, "move")
    assert nodes_of(kubectl, "moved") == {"gpu-0": 1}
    clients = Streams(playground, kubectl, tmp_path, {"model": "moved", "streams": [500] * 6, "users": 3}, "move")
    clients.all_open()
    kubectl("patch", "modeltier", "moved", "--type=merge", "-p", '{"spec": {"pools": [{"name": "dear"}]}}')
    eventually(lambda: nodes_of(kubectl, "moved"), lambda nodes: nodes == {"gpu-1": 1}, START, "it runs in the other")
    seen = clients.end(DRAIN)
    assert faults(seen) == Counter()
    assert Counter(each.kind for each in seen)["stream"] == 6
    assert len(seen) > 20, "new requests were answered all the time"
    eventually(lambda: kubectl.get("inferenceservice", "moved"), lambda found: found is None, DRAIN, "the old one ends")
    ready(kubectl, "moved", 1, START)
    after = eventually(
        lambda: kubectl.tier("moved"),
        lambda tier: services(tier) == [("moved-dear", "dear")],
        START,
        "the status tells of the new one alone",
    )
    assert after["status"]["scaling"]["decisions"][0]["to"] == 1, "a move is no change of the number"
    eventually(
        lambda: services_asked(kubectl, "move"),
        lambda asked: asked == [("moved-dear-predictor", [])],
        START,
        "the routers are told of the new one alone",
    )


def test_a_place_in_a_pool_that_another_tier_has_the_name_of_is_a_condition(kubectl: Kubectl) -> None:
    kubectl.apply(pooled("a-dear", "dear", replicas=0))
    eventually(lambda: kubectl.get("inferenceservice", "a-dear"), lambda found: found is not None, START, "it is made")
    kubectl.apply(pooled("a", "cheap", "dear", replicas=0))
    said = eventually(
        lambda: kubectl.tier("a"), lambda seen: has(seen, "Provisioned", "False", "NotOurs"), START, "it says so"
    )
    assert "a-dear" in next(each["message"] for each in said["status"]["conditions"] if each["reason"] == "NotOurs")
    kubectl("delete", "modeltier", "a", "a-dear")
