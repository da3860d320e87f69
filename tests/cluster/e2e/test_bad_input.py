"""Checks that a user's mistake is reported and harms no other tier.

Each mistake ends in a condition that names it and says what to do; the operator does not restart; and the tier beside
it, which was fine, keeps its pod and is not written to. Every test here makes its mistake in one namespace, next to the
same healthy tier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from playground.release import Release
from tests.cluster.e2e.tiers import L4, tier
from tests.cluster.kubectl import Kubectl, Refused, conditions, eventually, has

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def place(new_namespace: Callable[[str], Kubectl], release: Release) -> Kubectl:
    """A namespace with one healthy tier, `fine`."""
    kubectl = new_namespace("mistakes")
    kubectl.apply(tier("fine"))
    eventually(lambda: kubectl.tier("fine"), lambda seen: has(seen, "Ready", "True"), 180, "the healthy tier is ready")
    return kubectl


def _identity(kubectl: Kubectl, operator: Kubectl) -> dict[str, Any]:
    """What must not change while something else is wrong."""
    service = kubectl.get("inferenceservice", "fine")
    assert service is not None
    operators = operator.find("pods", "app.kubernetes.io/name=tierwise")
    return {
        "pods of the healthy tier": [pod["metadata"]["uid"] for pod in kubectl.pods("fine")],
        "its InferenceService": (service["metadata"]["uid"], service["metadata"]["generation"]),
        "restarts of the operator": {
            pod["metadata"]["name"]: [status["restartCount"] for status in pod["status"]["containerStatuses"]]
            for pod in operators
        },
    }


@pytest.fixture(autouse=True)
def nothing_else_changes(place: Kubectl, operator: Kubectl) -> Iterator[None]:
    before = _identity(place, operator)
    yield
    assert _identity(place, operator) == before
    assert has(place.tier("fine"), "Accepted", "True")
    assert has(place.tier("fine"), "Ready", "True")


def _says(kubectl: Kubectl, name: str, type_: str, reason: str, seconds: float = 180) -> str:
    """Waits for the condition to be False for this reason; its message."""
    seen = eventually(
        lambda: kubectl.tier(name), lambda tier: has(tier, type_, "False", reason), seconds, f"{type_}=False {reason}"
    )
    return str(conditions(seen)[type_]["message"])


@pytest.fixture
def wrong(place: Kubectl) -> Iterator[Callable[..., None]]:
    """Applies a tier with a mistake; removes it afterwards."""
    made = []

    def make(name: str, **spec: Any) -> None:
        place.apply(tier(name, **spec))
        made.append(name)

    yield make
    for name in made:
        place("delete", "modeltier", name, "--wait=false")


def test_a_bad_quantity_is_refused_with_the_field(place: Kubectl) -> None:
    with pytest.raises(Refused, match=r"spec\.resources\.memory"):
        place.apply(tier("quantity", resources={"gpus": 1, "memory": "sixteen"}))
    assert place.get("modeltier", "quantity") is None


def test_a_missing_secret_is_named(place: Kubectl, wrong: Callable[..., None]) -> None:
    gated = {"name": "gated", "uri": "hf://org/gated", "tokenSecretRef": {"name": "hugging-face", "key": "token"}}
    wrong("secretless", model=gated)
    message = _says(place, "secretless", "Provisioned", "ConfigMissing")
    assert "hugging-face" in message


def test_a_gpu_that_no_node_has_is_reported(place: Kubectl, wrong: Callable[..., None]) -> None:
    wrong("nogpu", placement={"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-Z9000"}})
    message = _says(place, "nogpu", "Provisioned", "InsufficientGPU")
    assert "didn't match Pod's node affinity/selector" in message, "the scheduler's own words"


def test_an_image_that_cannot_be_pulled_is_named(place: Kubectl, wrong: Callable[..., None]) -> None:
    wrong("imageless", engine={"image": "registry.example.com/nobody/nothing:1"})
    message = _says(place, "imageless", "Provisioned", "ImagePullFailed")
    assert "registry.example.com/nobody/nothing:1" in message


def test_an_engine_that_dies_at_start_shows_its_last_line(place: Kubectl, wrong: Callable[..., None]) -> None:
    big = {"name": "big", "uri": "hf://meta-llama/Llama-3.3-70B-Instruct"}
    wrong("toobig", model=big, placement={"nodeSelector": L4})
    message = _says(place, "toobig", "Provisioned", "EngineOutOfMemory", 90)
    assert "CUDA out of memory" in message
