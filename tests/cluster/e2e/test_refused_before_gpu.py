"""Checks that what the engine would refuse is refused before a pod is made, and started once it is possible.

The facts come from where they come from in production: labels of nodes, and config.json of a hub (here a small HTTP
server with one repository).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from playground.handle import Playground
from playground.layout import HOST_ADDRESS
from playground.release import Release
from tests.cluster.e2e.audit import AuditLog
from tests.cluster.e2e.tiers import tier
from tests.cluster.kubectl import Kubectl, Object, conditions, eventually, has
from tests.published import QWEN3_8B

pytestmark = pytest.mark.cluster
POOL = "example.com/pool"
T4, REAL = "t4-0", "gpu-0"
HUB_PORT = 9292
CONFIG = QWEN3_8B | {"max_position_embeddings": 131072}  # a longer context: 147,456 bytes of KV cache a token


@pytest.fixture(scope="module")
def hub(
    playground: Playground, release: Release, values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A hub with one repository, which the operator is told to use; the URL."""
    folder: Path = tmp_path_factory.mktemp("hub")
    repository = folder / "Qwen/Qwen3-8B/resolve/main"
    repository.mkdir(parents=True)
    (repository / "config.json").write_text(json.dumps(CONFIG))
    where = ("--bind", HOST_ADDRESS, "--directory", str(folder))
    process = playground.start(sys.executable, "-m", "http.server", str(HUB_PORT), *where)
    url = f"http://{HOST_ADDRESS}:{HUB_PORT}"
    release.install({**values, "hub": {"url": url}})
    yield url
    release.install(values)
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def place(hub: str, new_namespace: Callable[[str], Kubectl]) -> Kubectl:
    """A namespace of its own."""
    return new_namespace("refusals")


@pytest.fixture(scope="module")
def old_gpu(admin: Kubectl) -> Iterator[None]:
    """A node with a T4 in the pool; no kubelet runs there, so no pod ever would."""
    labels = {
        POOL: "a",
        "nvidia.com/gpu.product": "Tesla-T4",
        "nvidia.com/gpu.memory": "15360",
        "nvidia.com/gpu.compute.major": "7",
        "nvidia.com/gpu.compute.minor": "5",
        "nvidia.com/cuda.driver-version.major": "580",
    }
    admin.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": T4, "labels": labels}})
    offer = {"nvidia.com/gpu": "4", "cpu": "8", "memory": "64Gi", "pods": "20"}
    ready = {"type": "Ready", "status": "False", "reason": "NoKubelet"}
    status = {"capacity": offer, "allocatable": offer, "conditions": [ready]}
    admin("patch", "node", T4, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    yield
    admin("label", "node", REAL, f"{POOL}-")
    admin("delete", "node", T4)


def _refused(kubectl: Kubectl, name: str, reason: str) -> str:
    seen = eventually(
        lambda: kubectl.tier(name), lambda tier: has(tier, "Accepted", "False", reason), 60, f"{name}: {reason}"
    )
    assert kubectl.get("inferenceservice", name) is None
    assert kubectl.pods(name) == []
    return str(conditions(seen)["Accepted"]["message"])


def _serves(kubectl: Kubectl, name: str, seconds: float) -> Object:
    return eventually(lambda: kubectl.tier(name), lambda seen: has(seen, "Ready", "True"), seconds, f"{name} serves")


def _advice(kubectl: Kubectl, name: str) -> dict[str, str]:
    return {each["reason"]: each["message"] for each in kubectl.tier(name)["status"].get("advice", [])}


def test_a_gpu_that_cannot_do_it_gets_no_pod_until_there_is_one_that_can(
    place: Kubectl, admin: Kubectl, old_gpu: None, operators_log: AuditLog, startup_seconds: float
) -> None:
    operators_log.restart()
    place.apply(
        tier("picky", placement={"nodeSelector": {POOL: "a"}}, quantization={"kvCacheDtype": "fp8"}, contextLength=2048)
    )
    message = _refused(place, "picky", "WrongGPU")
    assert "Tesla-T4" in message
    made = [each for each in operators_log.requests() if each.writes and each.namespace == place.namespace]
    assert {each.resource for each in made} == {"modeltiers/status", "events"}

    admin("label", "node", REAL, f"{POOL}=a")
    _serves(place, "picky", 60 + startup_seconds)
    assert "WrongGPU" in _advice(place, "picky"), "one of the two kinds still cannot"

    before = [pod["metadata"]["uid"] for pod in place.pods("picky")]
    admin("label", "node", REAL, f"{POOL}-")
    eventually(
        lambda: _advice(place, "picky").get("WrongGPU", ""),
        lambda said: said.startswith("It runs, and would be refused today"),
        60,
        "a new fact is advice to a tier that runs",
    )
    assert has(place.tier("picky"), "Accepted", "True")
    assert [pod["metadata"]["uid"] for pod in place.pods("picky")] == before


def test_a_context_that_does_not_fit_gets_no_pod_until_it_does(place: Kubectl, startup_seconds: float) -> None:
    place.apply(tier("long", contextLength=None))
    message = _refused(place, "long", "ContextDoesNotFit")
    assert "131072" in message
    place.apply(tier("long", contextLength=8192))
    _serves(place, "long", 60 + startup_seconds)


def test_a_repository_that_the_hub_does_not_have_is_served_and_told(place: Kubectl, startup_seconds: float) -> None:
    place.apply(tier("unread", model={"name": "unread", "uri": "hf://org/private-8b"}))
    _serves(place, "unread", 60 + startup_seconds)
    message = _advice(place, "unread")["ModelNotRead"]
    assert "answers 404 for org/private-8b" in message
    described = place("describe", "modeltier", "unread")
    assert "ModelNotRead" in described
