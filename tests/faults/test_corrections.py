"""Checks that a correction frees what the mistake holds.

A tier that takes all GPUs of a node starts with a mistake that keeps its replica from ever answering, and is then
corrected. There is no room for the corrected replica beside it. In both ways to roll out, since a mistake in a tier
that never served leaves nothing to go back to.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.cluster.e2e.tiers import L4, tier
from tests.cluster.kubectl import Kubectl, Object, conditions, eventually, has
from tests.faults.results import Sheet
from tests.faults.scene import SOON, Scene

pytestmark = pytest.mark.cluster
NAME = "whole-node"
NOBODY = "registry.example.com/nobody/nothing:1"
GPUS = 8
# Looks (every half second or so) until a status that was right when it was written is replaced.
LAG = 12
QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "gpus"},
    "spec": {"hard": {"requests.nvidia.com/gpu": str(GPUS)}},
}


def _model(repository: str) -> dict[str, Any]:
    return {"model": {"name": "served", "uri": f"hf://org/{repository}"}}


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong first (`changes`, one after the other), why that is reported, and its name in the table."""

    changes: tuple[Mapping[str, Any], ...]
    reason: str
    fault: str
    beside: tuple[Object, ...] = field(default=())


MISTAKES = {
    "image": Mistake(({"engine": {"image": NOBODY}},), "ImagePullFailed", "a first start whose image does not exist"),
    "crash": Mistake((_model("bad-arguments"),), "EngineCrashed", "a first start that crashes"),
    "late": Mistake(
        ({**_model("never-ready"), "startupTimeoutSeconds": 30},), "StartTimeout", "a first start that takes too long"
    ),
    "quota": Mistake(
        ({"engine": {"image": NOBODY}},), "ImagePullFailed", "a first start that uses up a quota of GPUs", (QUOTA,)
    ),
    "twice": Mistake(
        (_model("bad-arguments"), {"engine": {"image": NOBODY}}),
        "ImagePullFailed",
        "two mistakes, one after the other",
    ),
}


def _tier(rollout: str, change: Mapping[str, Any]) -> dict[str, Any]:
    whole = {
        "parallelism": {"tensor": GPUS},
        "resources": {"gpus": GPUS, "cpu": "1", "memory": "2Gi"},
        "placement": {"nodeSelector": L4},
        "quantization": None,
        **_model("fine"),
    }
    return tier(NAME, **{**whole, "rollout": rollout, **change})


@pytest.fixture
def empty(scene: Scene) -> Iterator[Kubectl]:
    """The namespace without the tier, before and after; nobody's pod holds a GPU."""
    yield scene.kubectl
    scene.kubectl("delete", "modeltier", NAME, "--ignore-not-found")
    scene.kubectl("delete", "resourcequota", "--all")
    eventually(lambda: scene.kubectl.pods(NAME), lambda pods: not pods, SOON, "its pods are gone")


@pytest.mark.parametrize("rollout", ["Surge", "Replace"])
@pytest.mark.parametrize("name", MISTAKES)
def test_a_correction_frees_what_the_mistake_holds(
    scene: Scene, empty: Kubectl, faults: Sheet, name: str, rollout: str
) -> None:
    """The mistake is named, the correction serves, and the mistake is blamed no more."""
    mistake, since = MISTAKES[name], time.monotonic()
    scene.stage.ledger.restart()
    if mistake.beside:
        empty.apply(*mistake.beside)
    for change in mistake.changes:
        before = len(_pods(empty))
        empty.apply(_tier(rollout, change))
        eventually(lambda: len(_pods(empty)), lambda made, before=before: made > before, SOON, "a pod of it")  # type: ignore[misc]
    detected, _ = scene.says(NAME, "Provisioned", "False", mistake.reason, since=since)
    corrected = time.monotonic()
    empty.apply(_tier(rollout, {}))
    blamed: list[str] = []

    def serves(seen: Object) -> bool:
        said = conditions(seen).get("Provisioned", {})
        if seen["status"]["observedGeneration"] == seen["metadata"]["generation"]:
            blamed.append(said.get("reason", ""))
        return has(seen, "Ready", "True") and has(seen, "Provisioned", "True")

    eventually(lambda: empty.tier(NAME), serves, SOON, f"the correction of {name} serves")
    recovered = time.monotonic() - corrected
    *former, present = (each["status"].get("replicas", 0) for each in _sets(empty))
    assert (sum(former), present) == (0, 1)
    assert mistake.reason not in blamed[LAG:], "what was corrected is blamed no more"
    said = [each["reason"] for each in empty.find("events") if each["involvedObject"]["name"] == NAME]
    assert rollout == "Replace" or "FormerReplicasEnded" in said
    faults.record(
        row="16",
        fault=f"A tier of a whole node: {mistake.fault}, rollout: {rollout}",
        detect_seconds=detected,
        recover_seconds=recovered,
        wrong=scene.wrong(),
        note="recovered: from the correction until it serves; no GPU was free beside the mistake",
    )


def _pods(kubectl: Kubectl) -> set[str]:
    """The templates of which the tier has a pod."""
    return {str(each["metadata"]["labels"]["pod-template-hash"]) for each in kubectl.pods(NAME)}


def _sets(kubectl: Kubectl) -> list[Object]:
    """The ReplicaSets of the tier, in the order in which they were made."""
    ours = [each for each in kubectl.find("replicasets") if each["metadata"]["labels"].get("tierwise.io/tier") == NAME]
    return sorted(ours, key=lambda each: int(each["metadata"]["annotations"]["deployment.kubernetes.io/revision"]))
