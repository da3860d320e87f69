"""Checks that tiers share the GPUs and the budget of a pool, on nodes that come and go and that others use as well.

The pools of these tests select nodes by labels of their own, which the tests put on the playground's nodes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from playground.handle import Playground
from playground.nodes import GPU_RESOURCE
from playground.release import Release
from tests.cluster.e2e.load import closed_loop
from tests.cluster.e2e.tiers import tier
from tests.cluster.kubectl import Kubectl, Object, columns, conditions, eventually, has, ready
from tests.cluster.pods import pod, script

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("release")]
START = 120.0
# How long the node controller waits for a heartbeat (50 s), and looks, on a machine that does other things as well.
NODE_LOST = 180.0
LABEL = "pools.test/of"
SEQUENCES, WAITING = 4, 1
USERS = 20  # 4 replicas of 4 + 1 requests


def pooled(name: str, pool: str, **spec: Any) -> Object:
    """A tier in a pool."""
    return tier(name, placement=None, price=None, pools=[{"name": pool}], **spec)


@contextmanager
def a_pool(admin: Kubectl, name: str, *nodes: str, **spec: Any) -> Iterator[None]:
    """A GPUPool of these nodes."""
    for node in nodes:
        admin("label", "node", node, f"{LABEL}={name}", "--overwrite")
    selector = {"nodeSelector": {LABEL: name}}
    admin.apply(
        {"apiVersion": "tierwise.io/v1alpha1", "kind": "GPUPool", "metadata": {"name": name}, "spec": selector | spec}
    )
    try:
        yield
    finally:
        admin("delete", "gpupool", name)
        for node in nodes:
            admin("label", "node", node, f"{LABEL}-")


def status(admin: Kubectl, pool: str) -> Mapping[str, Any]:
    """The status of a pool; empty while there is none."""
    found = admin.get("gpupool", pool)
    assert found is not None
    told: Mapping[str, Any] = found.get("status", {})
    return told


def shown(admin: Kubectl, pool: str) -> Mapping[str, str]:
    """The row of `kubectl get gpupools` by column."""
    return columns(*admin("get", "gpool", pool).splitlines())


def replicas(kubectl: Kubectl, *tiers: str) -> list[int]:
    """What is asked for."""
    found = [kubectl.get("deployment", f"{name}-predictor") for name in tiers]
    return [0 if each is None else int(each["spec"]["replicas"]) for each in found]


def pin(kubectl: Kubectl, name: str, number: int) -> None:
    kubectl("scale", "modeltier", name, f"--replicas={number}")


def gone(kubectl: Kubectl, *tiers: str) -> None:
    kubectl("delete", "modeltier", *tiers)
    for name in tiers:
        eventually(lambda name=name: kubectl.pods(name), lambda pods: not pods, START, f"{name} has ended")  # type: ignore[misc]


def holder(name: str, node: str, gpus: int) -> Object:
    """Somebody else's pod that holds GPUs of a node."""
    held = {GPU_RESOURCE: str(gpus)}
    sleeping = script("import time; time.sleep(3600)", resources={"limits": held})
    return pod(name, sleeping, nodeSelector={"kubernetes.io/hostname": node})


@pytest.fixture(scope="module")
def kubectl(new_namespace: Callable[[str], Kubectl]) -> Kubectl:
    return new_namespace("pools")


def test_two_tiers_share_a_budget_below_their_demand_by_priority(
    playground: Playground, admin: Kubectl, kubectl: Kubectl
) -> None:
    scaling = {"minReplicas": 1, "maxReplicas": 6, "waitingPerReplica": WAITING, "scaleDownWindowSeconds": 10}
    batching = {"maxSequences": SEQUENCES}
    with a_pool(admin, "shared", "gpu-0", budget={"gpus": 4}, pricePerGPUHour="0.80"):
        kubectl.apply(
            pooled("first", "shared", priority=3, scaling=scaling, batching=batching),
            pooled("second", "shared", scaling=scaling, batching=batching),
        )
        for name in ("first", "second"):
            ready(kubectl, name, 1, START)
        with closed_loop(playground, kubectl.namespace, {"first": USERS, "second": USERS}):
            eventually(
                lambda: replicas(kubectl, "first", "second"), lambda seen: seen == [3, 1], START, "3 and 1 of 4 GPUs"
            )
            for name, wanted, granted in (("first", 4, 3), ("second", 4, 1)):
                seen = eventually(
                    lambda name=name: kubectl.tier(name),  # type: ignore[misc]
                    lambda seen: has(seen, "ScalingLimited", "True", "Budget"),
                    START,
                    f"{name} says what limits it",
                )
                (place,) = seen["status"]["pools"]
                assert (place["name"], place["replicas"], place["gpus"]) == ("shared", granted, granted)
                assert place["wanted"] >= wanted
                assert "the budget of pool shared is 4 GPUs" in conditions(seen)["ScalingLimited"]["message"]
            deadline = time.monotonic() + 15
            while time.monotonic() < deadline:
                assert sum(replicas(kubectl, "first", "second")) <= 4
                time.sleep(0.5)
            row = shown(admin, "shared")
            assert (row["USED"], row["BUDGET"], row["STATUS"]) == ("4", "4 GPUs", "Full")
            assert status(admin, "shared")["costPerHour"] == "3.20"
            # The router's business: a tier that cannot grow says so in the ladder of a route over it.
            admin("patch", "gpupool", "shared", "--type=merge", "-p", '{"spec": {"budget": {"gpus": 6}}}')
            eventually(lambda: sum(replicas(kubectl, "first", "second")), lambda seen: seen == 6, START, "6 of 6 GPUs")
        eventually(
            lambda: replicas(kubectl, "first", "second"), lambda seen: seen == [1, 1], START, "one each without load"
        )
        gone(kubectl, "first", "second")


def operators_node(playground: Playground, admin: Kubectl) -> str:
    """Where the operator runs: who is cut off with a node tells of nothing."""
    (pod, *_) = admin.within(Release(playground).namespace).find("pods", "app.kubernetes.io/name=tierwise")
    return str(pod["spec"]["nodeName"])


def test_what_others_take_and_a_node_that_is_lost_limit_growth_and_end_nothing(
    playground: Playground, admin: Kubectl, kubectl: Kubectl
) -> None:
    elsewhere = admin.within("default")
    lost_node = "gpu-0" if operators_node(playground, admin) == "gpu-1" else "gpu-1"
    with a_pool(admin, "both", "gpu-0", "gpu-1"):
        elsewhere.apply(holder("takes-0", "gpu-0", 7), holder("takes-1", "gpu-1", 7))
        try:
            told = eventually(
                lambda: status(admin, "both"), lambda seen: seen.get("others", 0) >= 14, START, "they are counted"
            )
            assert (told["capacity"], told["nodes"]) == (16, "2/2")
            kubectl.apply(pooled("lone", "both", replicas=2))
            ready(kubectl, "lone", 2, START)
            pin(kubectl, "lone", 3)
            limited = eventually(
                lambda: kubectl.tier("lone"),
                lambda seen: seen["status"].get("limitedBy") == "Pool",
                START,
                "the pool is full",
            )
            assert limited["status"]["pools"][0]["wanted"] == 3
            assert replicas(kubectl, "lone") == [2]
            with closed_loop(playground, kubectl.namespace, {"lone": 4}):
                playground.unplug(lost_node)
                eventually(
                    lambda: conditions(admin.get("node", lost_node) or {})["Ready"]["status"],
                    lambda seen: seen != "True",
                    NODE_LOST,
                    "Kubernetes misses the node",
                )
                lost = eventually(
                    lambda: status(admin, "both"),
                    lambda seen: seen.get("capacity") == 8,
                    NODE_LOST,  # on a busy machine a node misses a beat, is back, and only then is lost for good
                    "its GPUs do not count",
                )
                assert lost["nodes"] == "1/2"
                assert replicas(kubectl, "lone") == [2], "nothing is taken for a node that may come back"
                playground.plug(lost_node)
                eventually(
                    lambda: status(admin, "both"), lambda seen: seen.get("capacity") == 16, NODE_LOST, "it is back"
                )
            elsewhere("delete", "pod", "takes-0", "--grace-period=1")
            eventually(lambda: replicas(kubectl, "lone"), lambda seen: seen == [3], START, "what is free is taken")
            events = [each["reason"] for each in elsewhere.find("events") if each["involvedObject"]["name"] == "both"]
            assert "CapacityChanged" in events
            gone(kubectl, "lone")
        finally:
            playground.plug(lost_node)
            elsewhere("delete", "pod", "takes-0", "takes-1", "--ignore-not-found", "--grace-period=1")


def test_a_price_that_changes_changes_what_a_budget_in_dollars_allows(admin: Kubectl, kubectl: Kubectl) -> None:
    with a_pool(admin, "priced", "gpu-0", budget={"usdPerHour": "1"}):
        kubectl.apply(pooled("paid", "priced", replicas=1))
        seen = ready(kubectl, "paid", 1, START)
        assert seen["status"]["costPerHour"].endswith(" (assumed)"), "nobody has said a price"
        assert "on demand" in status(admin, "priced")["priceSource"]
        pin(kubectl, "paid", 2)
        eventually(
            lambda: kubectl.tier("paid"),
            lambda seen: has(seen, "ScalingLimited", "True", "Budget"),
            START,
            "two are too dear at the list price",
        )
        admin("patch", "gpupool", "priced", "--type=merge", "-p", '{"spec": {"pricePerGPUHour": "0.50"}}')
        seen = ready(kubectl, "paid", 2, START)
        eventually(
            lambda: kubectl.tier("paid")["status"]["costPerHour"], lambda cost: cost == "1.00", START, "2 x 0.50 $/h"
        )
        eventually(lambda: shown(admin, "priced")["$/H"], lambda cost: cost == "1.00", START, "and of the pool")
        gone(kubectl, "paid")


def test_a_pool_that_does_not_exist_is_a_condition_and_the_tier_starts_when_it_does(
    admin: Kubectl, kubectl: Kubectl
) -> None:
    kubectl.apply(pooled("early", "late", replicas=1))
    seen = eventually(
        lambda: kubectl.tier("early"), lambda seen: has(seen, "Accepted", "False", "PoolNotFound"), START, "it says so"
    )
    assert "there is no GPUPool late" in conditions(seen)["Accepted"]["message"]
    assert kubectl.get("inferenceservice", "early") is None
    with a_pool(admin, "late", "gpu-0"):
        ready(kubectl, "early", 1, START)
        (one,) = kubectl.pods("early")
        assert one["spec"]["nodeSelector"] == {LABEL: "late"}
        assert one["spec"]["nodeName"] == "gpu-0"
        gone(kubectl, "early")


def test_nothing_grows_while_the_capacity_is_not_known(
    admin: Kubectl, kubectl: Kubectl, release: Release, values: dict[str, Any]
) -> None:
    with a_pool(admin, "blind", "gpu-0"):
        kubectl.apply(pooled("held", "blind", replicas=1))
        ready(kubectl, "held", 1, START)
        release.install({**values, "watch": {"nodes": False}})
        try:
            told = eventually(
                lambda: status(admin, "blind"), lambda seen: seen.get("state") == "Unknown", START, "it is not known"
            )
            assert "capacity" not in told
            pin(kubectl, "held", 2)
            eventually(
                lambda: kubectl.tier("held"),
                lambda seen: has(seen, "ScalingLimited", "True", "Pool"),
                START,
                "it does not grow, and says why",
            )
            assert replicas(kubectl, "held") == [1]
            assert len([each for each in kubectl.pods("held") if "deletionTimestamp" not in each["metadata"]]) == 1
        finally:
            release.install(values)
        ready(kubectl, "held", 2, START)
        gone(kubectl, "held")
