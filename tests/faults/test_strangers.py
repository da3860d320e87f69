"""Checks a loaded tier while somebody else writes to its objects.

People with kubectl, a HorizontalPodAutoscaler, an uninstallation of KServe. What is rendered is healed, replicas go
back to what the load wants, a foreign scaler is left alone and named; and no engine is restarted without need.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from playground import kserve
from tests.cluster.e2e.tiers import external
from tests.cluster.kubectl import Object, conditions, eventually, has
from tests.faults.results import Sheet
from tests.faults.scene import SOON, TICK, USERS, WANTED, WINDOW, Scene, follower, ready_pods
from tierwise.times import seconds

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("rested")]
DEPLOYMENT = "steady-predictor"
CRD = "inferenceservices.serving.kserve.io"
LONG = WINDOW + 2 * TICK


def _events(scene: Scene, reason: str, since: float) -> list[str]:
    """What was said for this reason since then (seconds since the epoch)."""
    return [
        event["message"] for event in scene.kubectl.find("events") if event["reason"] == reason and _at(event) >= since
    ]


def _at(event: Object) -> float:
    return seconds(str(event.get("eventTime") or event["metadata"]["creationTimestamp"])) or 0.0


def _service(scene: Scene) -> Object:
    found = scene.kubectl.get("inferenceservice", "steady")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("edit", "path", "fault"),
    [
        (
            {"metadata": {"labels": {"tierwise.io/tier": "other"}}},
            "metadata.labels.tierwise.io/tier",
            "A label of the InferenceService is edited by hand",
        ),
        (
            {"spec": {"predictor": {"minReplicas": 3}}},
            "spec.predictor.minReplicas",
            "The spec of the InferenceService is edited by hand",
        ),
    ],
    ids=["label", "spec"],
)
def test_an_inference_service_is_edited_by_hand(
    scene: Scene, faults: Sheet, edit: dict[str, Any], path: str, fault: str
) -> None:
    """Healed before a pod of the edited template answers; the Event names the field and who changed it."""
    before, pods = _service(scene), scene.identities("steady")
    with scene.replicas("steady") as steady:
        began, since = time.monotonic(), time.time()
        scene.kubectl("patch", "inferenceservice", "steady", "--type=merge", "-p", json.dumps(edit))
        eventually(
            lambda: _service(scene),
            lambda found: (
                (found["spec"], found["metadata"]["labels"]) == (before["spec"], before["metadata"]["labels"])
            ),
            SOON,
            "as it was",
        )
        recovered = time.monotonic() - began
        said = eventually(lambda: _events(scene, "Healed", since), bool, SOON, "it is told")
        noticed = time.monotonic() - began
        assert path in said[-1]
        assert "kubectl-patch" in said[-1]
        time.sleep(LONG)
        scene.follows("steady", WANTED)
        assert scene.identities("steady") == pods, "no engine was restarted"
        assert set(steady.values) == {WANTED}
    faults.record(row="13", fault=fault, detect_seconds=noticed, recover_seconds=recovered, wrong=scene.wrong())


@pytest.mark.parametrize("count", [4, 1], ids=["up", "down"])
def test_a_deployment_is_scaled_by_hand(scene: Scene, faults: Sheet, count: int) -> None:
    with scene.replicas("steady") as steady:
        eventually(lambda: steady.last, lambda last: last == WANTED, SOON, "it is watched")
        began, since = time.monotonic(), time.time()
        scene.kubectl("scale", "deployment", DEPLOYMENT, f"--replicas={count}")
        eventually(lambda: steady.values, lambda seen: seen == [WANTED, count, WANTED], SOON, "as the load wants it")
        recovered = time.monotonic() - began
        scene.follows("steady", WANTED)
        time.sleep(LONG)
        assert steady.values == [WANTED, count, WANTED], "and it stays"
    [ours] = scene.stage.ledger.written("deployments/scale", DEPLOYMENT)
    faults.record(
        row="13",
        fault=f"The Deployment is scaled from {WANTED} to {count} by hand",
        detect_seconds=ours.at - since,
        recover_seconds=recovered,
        wrong=scene.wrong(),
    )


def _autoscaler(count: int) -> dict[str, Any]:
    """A HorizontalPodAutoscaler that wants exactly so many replicas."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": DEPLOYMENT}
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "theirs"},
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": count,
            "maxReplicas": count,
            "metrics": [{"type": "Resource", "resource": cpu}],
        },
    }


def test_a_horizontal_pod_autoscaler_has_the_same_target(scene: Scene, faults: Sheet) -> None:
    """It is named and nothing is written beside it; without it the replicas follow the load again."""
    wanted = WANTED + 1
    with scene.replicas("steady") as steady:
        eventually(lambda: steady.last, lambda last: last == WANTED, SOON, "it is watched")
        began = time.monotonic()
        scene.kubectl.apply(_autoscaler(wanted))
        try:
            noticed, message = scene.says("steady", "ScalingActive", "False", "ForeignScaler", since=began)
            assert "HorizontalPodAutoscaler/theirs" in message
            eventually(lambda: steady.last, lambda last: last == wanted, SOON, "the other one scales")
            time.sleep(LONG)
            assert steady.values == [WANTED, wanted]
            assert scene.stage.ledger.written("deployments/scale", DEPLOYMENT) == []
        finally:
            scene.kubectl("delete", "hpa", "theirs")
        back = time.monotonic()
        eventually(lambda: steady.values, lambda seen: seen == [WANTED, wanted, WANTED], SOON, "ours again")
        recovered = time.monotonic() - back
        scene.says("steady", "ScalingActive", "True", since=back)
    faults.record(
        row="13",
        fault="A HorizontalPodAutoscaler scales the same Deployment",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong=scene.wrong(),
    )


@dataclass(slots=True)
class Remade:
    """A tier that loses its children under load, and its load with them, as their address goes too."""

    scene: Scene
    name: str
    before: frozenset[str] = frozenset()

    def lose(self, how: Callable[[], object]) -> None:
        """Two replicas serve, and then there are none."""
        self.scene.kubectl.apply(follower(self.name))
        self.scene.follows(self.name, 1)
        with self.scene.loaded(**{self.name: USERS}):
            self.scene.follows(self.name, WANTED)
            self.before = frozenset(self.scene.identities(self.name).values())
            how()

    def serves_again(self) -> float:
        """Waits until a replica of its new children answers (monotonic: when), and they follow a new load."""
        eventually(
            lambda: {pod["metadata"]["uid"] for pod in ready_pods(self.scene.kubectl, self.name)},
            lambda found: bool(found) and not found & self.before,
            3 * SOON,
            f"{self.name} answers again",
        )
        answered = time.monotonic()
        self.scene.follows(self.name, 1)
        with self.scene.loaded(**{self.name: USERS}):
            self.scene.follows(self.name, WANTED, 2 * SOON)
        return answered


@pytest.fixture
def remade(scene: Scene) -> Iterator[Remade]:
    yield Remade(scene, "remade")
    scene.kubectl("delete", "modeltier", "remade", "--wait=false")


def test_an_inference_service_is_deleted_by_hand(scene: Scene, faults: Sheet, remade: Remade) -> None:
    """KServe takes Deployment and pods with it; the tier is made again, and follows its load again."""
    since = time.time()
    remade.lose(lambda: scene.kubectl("delete", "inferenceservice", remade.name, "--wait=false"))
    began = time.monotonic()
    said = eventually(lambda: _events(scene, "Healed", since), bool, SOON, "it is told")
    noticed = time.monotonic() - began
    assert "it had been deleted" in said[-1]
    faults.record(
        row="13",
        fault="The InferenceService is deleted by hand",
        detect_seconds=noticed,
        recover_seconds=remade.serves_again() - began,
        wrong=scene.wrong(),
    )


def _established(crd: Object | None) -> bool:
    return crd is not None and conditions(crd).get("Established", {}).get("status") == "True"


@pytest.fixture
def without_kserve(scene: Scene, remade: Remade) -> Iterator[Callable[[], None]]:
    """The kind InferenceService is taken away, from a tier that is served; calling the value gives it back (the end of
    the test does so too)."""

    def give_back() -> None:
        folder = scene.playground.binaries / "kserve"
        scene.kubectl.apply(*(crd for crd in kserve.crds(folder) if crd["metadata"]["name"] == CRD))
        eventually(lambda: scene.kubectl.get("crd", CRD), _established, SOON, "the kind is there again")

    remade.lose(lambda: scene.kubectl("delete", "crd", CRD, "--timeout=60s", timeout=90))
    yield give_back
    give_back()


def test_the_kind_inference_service_is_deleted_while_it_is_watched(
    scene: Scene, faults: Sheet, remade: Remade, without_kserve: Callable[[], None]
) -> None:
    """It takes every InferenceService with it. The operator goes on, serves what needs no KServe, and makes the tier
    again once there is one."""
    began = time.monotonic()
    noticed, message = scene.says(remade.name, "Provisioned", "False", "KServeMissing", since=began)
    assert "KServe" in message
    scene.kubectl.apply(external("bought"))
    eventually(lambda: scene.kubectl.tier("bought"), lambda tier: has(tier, "Ready", "True"), SOON, "needs no KServe")
    assert scene.operator.probe("/healthz")[0] == 200
    without_kserve()
    back = time.monotonic()
    recovered = remade.serves_again() - back
    assert scene.operator.process.poll() is None
    faults.record(
        row="12",
        fault="KServe's CRD is deleted while it is watched, and comes back",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong=scene.wrong(),
    )
