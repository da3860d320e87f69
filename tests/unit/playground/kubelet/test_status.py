"""Checks that a pod's status says what a real kubelet's would."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from playground.kubelet.model import INITIALIZING, ContainerRecord, Running, State, Terminated, Waiting
from playground.kubelet.status import PodView, build_status, qos_class, same_status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DONE = Terminated(0, "Completed", "", NOW, NOW)
BAD = Terminated(1, "Error", "boom", NOW, NOW)
LOOP = Waiting("CrashLoopBackOff", "back-off")


def record(state: State, policy: str = "Always", **fields: Any) -> ContainerRecord:
    return ContainerRecord("c", "image", policy, state=state, **fields)


def up(**fields: Any) -> ContainerRecord:
    return record(Running(NOW), started=True, passing=True, **fields)


def view(*main: ContainerRecord, init: tuple[ContainerRecord, ...] = (), **fields: Any) -> PodView:
    spec: dict[str, Any] = {"containers": [{"name": r.name} for r in main]}
    pod = {"metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 3}, "spec": spec}
    return PodView(pod, init, main, "10.200.0.1", **fields)


def conditions(view: PodView, before: dict[str, Any] | None = None) -> dict[str, Any]:
    return {c["type"]: c for c in build_status(view, NOW, before or {})["conditions"]}


@pytest.mark.parametrize(
    ("given", "phase"),
    [
        (view(record(Waiting("ContainerCreating"))), "Pending"),
        (view(record(Waiting("ImagePullBackOff"))), "Pending"),
        (view(up()), "Running"),
        (view(up(), record(Waiting("ErrImagePull"))), "Pending"),
        (view(record(LOOP, last=BAD)), "Running"),
        (view(record(BAD)), "Running"),
        (view(record(BAD, "Never")), "Failed"),
        (view(record(DONE, "Never")), "Succeeded"),
        (view(record(DONE, "OnFailure"), record(BAD, "OnFailure")), "Running"),
        (view(record(DONE, "Never"), up()), "Running"),
        (view(record(INITIALIZING), init=(record(Running(NOW), "OnFailure"),)), "Pending"),
        (view(record(DONE), finished=True), "Succeeded"),
        (view(record(Terminated(137, "Error")), finished=True), "Failed"),
        (view(record(INITIALIZING, "Never"), init=(record(BAD, "Never"),), finished=True), "Failed"),
    ],
)
def test_phases(given: PodView, phase: str) -> None:
    assert build_status(given, NOW, {})["phase"] == phase


def test_a_running_pod_is_ready() -> None:
    ready = conditions(view(up(), sandbox_ready=True))
    assert {kind: c["status"] for kind, c in ready.items()} == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
    }


def test_what_is_not_ready_is_named() -> None:
    waiting = conditions(view(record(Waiting("ContainerCreating"))))
    assert waiting["Ready"]["reason"] == "ContainersNotReady"
    assert waiting["Ready"]["message"] == "containers with unready status: [c]"
    initial = conditions(view(record(INITIALIZING), init=(record(Running(NOW), "OnFailure"),)))
    assert initial["Initialized"]["message"] == "containers with incomplete status: [c]"
    assert conditions(view(record(DONE, "Never")))["Ready"]["reason"] == "PodCompleted"


def test_a_readiness_gate_holds_the_pod_back() -> None:
    gated = view(up())
    gated.pod["spec"]["readinessGates"] = [{"conditionType": "x"}]
    assert conditions(gated)["Ready"]["reason"] == "ReadinessGatesNotReady"
    met = {"conditions": [{"type": "x", "status": "True"}]}
    assert conditions(gated, met)["Ready"]["status"] == "True"


def test_transition_times_stay_while_the_condition_holds() -> None:
    first = build_status(view(up()), NOW, {})
    later = build_status(view(up()), NOW + timedelta(hours=1), first)
    assert later["conditions"] == first["conditions"]
    changed = build_status(view(replace(up(), passing=False)), NOW + timedelta(hours=1), first)
    times = {c["type"]: c["lastTransitionTime"] for c in changed["conditions"]}
    assert times["Ready"] == "2026-01-01T01:00:00Z"
    assert times["Initialized"] == "2026-01-01T00:00:00Z"


def test_container_states_are_written_as_the_api_has_them() -> None:
    item = record(
        LOOP, last=replace(BAD, container_id="playground://1"), restart_count=2, container_id="playground://2"
    )
    status = build_status(view(item), NOW, {})["containerStatuses"][0]
    assert status["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    assert status["lastState"]["terminated"] == {
        "exitCode": 1,
        "reason": "Error",
        "message": "boom",
        "containerID": "playground://1",
        "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-01T00:00:00Z",
    }
    assert (status["restartCount"], status["ready"], status["started"]) == (2, False, False)


def test_the_api_s_copy_counts_as_the_same_and_any_difference_does_not() -> None:
    status = build_status(view(up(), pod_ip="10.200.1.1", started_at=NOW), NOW, {})
    copied = copy.deepcopy(status)
    for condition in copied["conditions"]:
        for key in ("reason", "message"):
            condition.pop(key)
    copied["conditions"].append({"type": "PodScheduled", "status": "True"})
    copied["containerStatuses"][0].pop("lastState")
    assert same_status(status, copied)
    copied["conditions"][2]["status"] = "False"
    assert not same_status(status, copied)
    assert not same_status(status, {})


@pytest.mark.parametrize(
    ("resources", "wanted"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
        ([{"limits": {"nvidia.com/gpu": "1"}}], "BestEffort"),
    ],
)
def test_quality_of_service(resources: list[dict[str, Any]], wanted: str) -> None:
    assert qos_class({"containers": [{"resources": r} for r in resources]}) == wanted
