"""Checks what becomes of a tier when GPUs are missing: a dead node, none free for another replica or for a change.

GPUs are rationed by the real scheduler, nodes are missed by the real node controller: both know nothing of tiers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from playground.nodes import L4, NODES
from tests.cluster.e2e.tiers import L4 as ON_L4
from tests.cluster.kubectl import Object, conditions, eventually, has
from tests.faults.results import Sheet
from tests.faults.scene import SOON, TICK, USERS, WANTED, Scene, follower, held, ready_pods

pytestmark = pytest.mark.cluster
L4_GPUS = sum(node.gpu_count for node in NODES if node.gpu is L4)
# How long the node controller waits for a heartbeat (its default), and then looks at most.
GRACE_SECONDS, PERIOD_SECONDS = 50.0, 5.0
HEARTBEAT_SECONDS = 10.0  # between two of a node
EVICTED_AFTER = 5
# A decision is made every TICK; what the scheduler or the node controller says is an event and told at once.
NOTICED_SECONDS = 15.0


@pytest.fixture(scope="module")
def _beside(scene: Scene) -> None:
    """A healthy tier beside the ill one."""
    scene.kubectl.apply(follower("beside"))
    scene.follows("beside", 1)


@pytest.fixture(autouse=True)
def alone(scene: Scene, _beside: None) -> Iterator[None]:
    """Every test counts its own wrong writes, and leaves the healthy tier as it was."""
    scene.stage.ledger.restart()
    before = scene.identities("beside")
    yield
    assert scene.identities("beside") == before
    assert scene.kubectl.tier("beside")["status"]["ready"] == "1/1"


def _gpus(name: str, count: int) -> dict[str, Any]:
    """Somebody else's pod that holds GPUs."""
    container = {
        "name": "holds",
        "image": "playground/python:1",
        "args": ["-c", "import signal; signal.sigwait({signal.SIGTERM})"],
        "resources": {"limits": {"nvidia.com/gpu": str(count)}},
    }
    spec = {"containers": [container], "nodeSelector": ON_L4, "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _hold(scene: Scene, name: str, count: int) -> None:
    scene.kubectl.apply(_gpus(name, count))
    scene.kubectl("wait", "pod", name, "--for=condition=Ready", f"--timeout={SOON:.0f}s", timeout=2 * SOON)


def _release(scene: Scene, name: str) -> None:
    scene.kubectl("delete", "pod", name, f"--timeout={SOON:.0f}s", timeout=2 * SOON)


def test_a_node_is_lost(scene: Scene, faults: Sheet) -> None:
    """Its replica counts until it is missed, and is then replaced once; never more than the load asks for."""
    gone = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
    spread = {"tolerations": [{**gone, "tolerationSeconds": EVICTED_AFTER}]}
    scene.kubectl.apply(follower("spread", resources={"gpus": 1, "cpu": "1", "memory": "2Gi"}, placement=spread))
    scene.follows("spread", 1)
    with scene.loaded(spread=USERS), scene.replicas("spread") as replicas:
        scene.follows("spread", WANTED, 2 * SOON)
        pods = ready_pods(scene.kubectl, "spread")
        nodes = {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in pods}
        assert len(nodes) == WANTED, "one replica on each node with GPUs"
        [healthy] = scene.kubectl.pods("beside")
        lost = max({*nodes} - {healthy["spec"]["nodeName"]})
        steady = time.monotonic()
        try:
            scene.playground.unplug(lost)
            eventually(
                lambda: scene.kubectl.get("node", lost),
                lambda node: conditions(node or {}).get("Ready", {}).get("status") != "True",
                GRACE_SECONDS + SOON,
                "Kubernetes misses the node",
            )
            missed = time.monotonic()
            noticed, message = scene.says("spread", "Provisioned", "False", "NodeLost", since=missed)
            assert nodes[lost] in message
            assert lost in message
            assert noticed < NOTICED_SECONDS + PERIOD_SECONDS
            assert len(_endpoints(scene, "spread")) == 1
            scene.follows("spread", WANTED, 2 * SOON)
            recovered = time.monotonic()
            assert {pod["spec"]["nodeName"] for pod in ready_pods(scene.kubectl, "spread")} == {*nodes} - {lost}
        finally:
            scene.playground.plug(lost)
        eventually(lambda: scene.identities("spread"), lambda pods: len(pods) == WANTED, SOON, "two replicas")
        eventually(
            lambda: scene.kubectl.pods("spread"), lambda pods: len(pods) == WANTED, 2 * SOON, "the lost replica is gone"
        )
        scene.follows("spread", WANTED)
        assert held(replicas, steady) == {WANTED}, "no replica more, no replica less"
    faults.record(
        row="14",
        fault="A node with one of two replicas loses its power under load",
        detect_seconds=missed + noticed - steady,
        recover_seconds=recovered - missed,
        wrong=scene.wrong(),
        note=(
            f"Kubernetes misses a node after {GRACE_SECONDS - HEARTBEAT_SECONDS:.0f} to {GRACE_SECONDS:.0f} s, by when "
            f"its last heartbeat was; evicted {EVICTED_AFTER} s later by a toleration"
        ),
    )
    scene.kubectl("delete", "modeltier", "spread", "--wait=false")


def _endpoints(scene: Scene, tier: str) -> list[str]:
    slices = scene.kubectl.find("endpointslices", f"kubernetes.io/service-name={tier}-predictor")
    return [
        each["targetRef"]["name"]
        for found in slices
        for each in found.get("endpoints") or []
        if each["conditions"].get("ready")
    ]


@pytest.fixture(scope="module")
def small(scene: Scene) -> str:
    """A tier of one L4 a replica."""
    on_gpu = {"resources": {"gpus": 1, "cpu": "1", "memory": "2Gi"}, "placement": {"nodeSelector": ON_L4}}
    scene.kubectl.apply(follower("small", **on_gpu))
    scene.follows("small", 1)
    return "small"


def test_no_gpu_is_free_for_another_replica(scene: Scene, faults: Sheet, small: str) -> None:
    """The target stays what the load asks for, the missing GPU is named, and the replica starts when one is free."""
    _hold(scene, "others", L4_GPUS - 1)
    served = scene.identities(small)
    try:
        with scene.replicas(small) as replicas:
            steady = time.monotonic()
            with scene.loaded(**{small: USERS}):
                eventually(lambda: replicas.last, lambda last: last == WANTED, SOON, "a replica more is asked for")
                asked = time.monotonic()
                took, message = scene.says(small, "Provisioned", "False", "InsufficientGPU", since=asked)
                assert took < NOTICED_SECONDS
                assert "Insufficient nvidia.com/gpu" in message
                status = scene.kubectl.tier(small)["status"]
                assert (status["ready"], status["state"]) == (f"1/{WANTED}", "Scaling")
                time.sleep(3 * TICK)  # waiting replicas count: nothing more is asked for
                assert set(served.items()) <= set(scene.identities(small).items())
                freed = time.monotonic()
                _release(scene, "others")
                scene.follows(small, WANTED)
                recovered = time.monotonic() - freed
            assert held(replicas, steady) == {1, WANTED}
    finally:
        scene.kubectl("delete", "pod", "others", "--ignore-not-found", "--wait=false")
    faults.record(
        row="15",
        fault="No GPU is free for the replica that the load asks for",
        detect_seconds=took,
        recover_seconds=recovered,
        wrong=scene.wrong(),
        note="detected: from the moment the replica was asked for; recovered: from the moment a GPU was free",
    )


def test_no_gpu_is_free_for_a_change(scene: Scene, faults: Sheet, small: str) -> None:
    """Surge waits for a spare GPU and says so; the old replica serves; the change goes on when a GPU is free."""
    scene.follows(small, 1, 2 * SOON)
    eventually(lambda: scene.kubectl.pods(small), lambda pods: len(pods) == 1, SOON, "one replica, none that ends")
    served = scene.identities(small)
    _hold(scene, "others", L4_GPUS - 1)
    try:
        with scene.replicas(small) as replicas:
            changed = time.monotonic()
            patch = '{"spec": {"contextLength": 4096}}'
            scene.kubectl("patch", "modeltier", small, "--type=merge", "-p", patch)
            took, message = scene.says(small, "Provisioned", "False", "SurgeNeedsGPU", since=changed)
            assert took < NOTICED_SECONDS
            assert "rollout: Replace" in message
            time.sleep(2 * TICK)
            assert has(scene.kubectl.tier(small), "Ready", "True")
            assert set(served.items()) <= set(scene.identities(small).items())
            freed = time.monotonic()
            _release(scene, "others")
            eventually(lambda: scene.identities(small), lambda seen: _changed(seen, served), 2 * SOON, "the new one")
            scene.follows(small, 1)
            recovered = time.monotonic() - freed
            assert held(replicas, changed) == {1}
    finally:
        scene.kubectl("delete", "pod", "others", "--ignore-not-found", "--wait=false")
    faults.record(
        row="15",
        fault="No spare GPU for a change, rollout: Surge",
        detect_seconds=took,
        recover_seconds=recovered,
        wrong=scene.wrong(),
        note="recovered: from the moment a GPU was free until the new replica serves alone",
    )


def _changed(seen: Object, before: Object) -> bool:
    return len(seen) == 1 and seen != before
