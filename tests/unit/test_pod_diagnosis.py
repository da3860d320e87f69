"""Checks when a spec cannot start at all, and when what is wrong with its pods may still pass.

The pods are read from bodies as a kubelet writes them: what matters here is what its states say together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.observe import bodies
from tierwise import pod_diagnosis, reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.observe.records import pod_record
from tierwise.pod_diagnosis import PATIENCE_SECONDS, RESTARTS, PodIssue, cannot_start, diagnose
from tierwise.times import rfc3339
from tierwise.types import PodFacts, Workload

NOW = 1_800_000_000.0
SPEC = ModelTierSpec.model_validate(
    {"model": {"name": "served", "uri": "hf://org/small"}, "startupTimeoutSeconds": 1200, "resources": {"gpus": 1}}
)
LONG = PATIENCE_SECONDS + 1
AWAY = "OSError: We couldn't connect to 'https://huggingface.co'"
RUNS = {"running": {"startedAt": rfc3339(NOW - 1)}}
LOOPS = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}}
STARTS = {"waiting": {"reason": "PodInitializing"}}
UNPULLABLE = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
ENDED = {"terminated": {"exitCode": 1, "reason": "Error", "message": AWAY}}
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


def done(age: float) -> dict[str, Any]:
    """An init container that ended well so many seconds ago."""
    return {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": rfc3339(NOW - age)}}


def container(state: dict[str, Any], restarts: int = 0, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """A container's status; `before`: how it ended the last time."""
    return {"name": "kserve-container", "restartCount": restarts, "state": state, "lastState": before or {}}


def storage(state: dict[str, Any], restarts: int = 0, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """The status of KServe's storage initializer."""
    return {**container(state, restarts, before), "name": "storage-initializer"}


def pod(age: float, *main: dict[str, Any], first: tuple[dict[str, Any], ...] = (), name: str = "a") -> PodFacts:
    """A pod that was scheduled `age` seconds ago and does not answer."""
    since = rfc3339(NOW - age)
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": since},
        {"type": "Ready", "status": "False", "lastTransitionTime": since},
    ]
    status = {
        "phase": "Running" if main else "Pending",
        "conditions": conditions,
        **({"initContainerStatuses": list(first)} if first else {}),
        **({"containerStatuses": list(main)} if main else {}),
    }
    return pod_record(bodies.pod(name, status=status, creationTimestamp=since)).facts


def found(*pods: PodFacts) -> str:
    """The reason for which these pods are given up; empty when they are not."""
    finding = cannot_start(Workload("chat", pods=pods), SPEC, NOW)
    return "" if finding is None else finding.reason


MAY_PASS = {
    "the third run is under way": pod(LONG, container(RUNS, 2, ENDED)),
    "the sixth run is under way": pod(LONG, container(RUNS, 5, ENDED)),
    "it has ended twice": pod(LONG, container(LOOPS, 1, ENDED)),
    "it has ended three times in a short time": pod(45, container(LOOPS, 2, ENDED)),
    "it has ended many times in a short time": pod(45, container(ENDED, 9, ENDED)),
    "it was killed three times in a short time": pod(45, container(LOOPS, 2, KILLED)),
    "the storage initializer has succeeded at the third try": pod(
        LONG, container(RUNS), first=(storage(done(5), 2, ENDED),)
    ),
    "the storage initializer tries again": pod(LONG, container(STARTS), first=(storage(RUNS, 2, ENDED),)),
    "the storage initializer has failed twice": pod(LONG, container(STARTS), first=(storage(LOOPS, 1, ENDED),)),
    "restarts of two containers": pod(LONG, container(LOOPS, 1, ENDED), first=(storage(done(200), 1, ENDED),)),
    "a sidecar that was restarted": pod(LONG, container(RUNS), {**container(RUNS, 4, ENDED), "name": "proxy"}),
    "three ends since the weights are there": pod(1000, container(LOOPS, 2, ENDED), first=(storage(done(30)),)),
    "no pull since the weights are there": pod(1000, container(UNPULLABLE), first=(storage(done(30)),)),
    "no pull for a short time": pod(45, container(UNPULLABLE)),
    "nothing is known of its containers": pod(LONG),
    "the state of its container is missing": pod(LONG, container({})),
    "its engine loads": pod(LONG, container(RUNS)),
}
LASTS = {
    "the engine ends again and again": (pod(LONG, container(LOOPS, 2, ENDED)), reasons.ENGINE_CRASHED),
    "it has just ended the third time": (pod(LONG, container(ENDED, 2, ENDED)), reasons.ENGINE_CRASHED),
    "it says only how it ended": (pod(LONG, container({}, 2, ENDED)), reasons.ENGINE_CRASHED),
    "it is killed again and again": (pod(LONG, container(LOOPS, 2, KILLED)), reasons.ENGINE_OUT_OF_MEMORY),
    "the storage initializer fails again and again": (
        pod(LONG, container(STARTS), first=(storage(LOOPS, 2, ENDED),)),
        reasons.STORAGE_PROBLEM,
    ),
    "the weights have been there for long": (
        pod(1000, container(LOOPS, 2, ENDED), first=(storage(done(LONG), 1, ENDED),)),
        reasons.ENGINE_CRASHED,
    ),
    "beside a sidecar that runs again": (
        pod(LONG, {**container(RUNS, 1, ENDED), "name": "proxy"}, container(LOOPS, 2, ENDED)),
        reasons.ENGINE_CRASHED,
    ),
    "no pull for a long time": (pod(LONG, container(UNPULLABLE)), reasons.IMAGE_PULL),
    "no pull after another try of the weights": (
        pod(1000, container(UNPULLABLE), first=(storage(done(LONG), 1, ENDED),)),
        reasons.IMAGE_PULL,
    ),
    "it ends and runs by turns, past its start": (pod(1201, container(RUNS, 2, ENDED)), reasons.ENGINE_CRASHED),
    "the last run is late too": (
        pod(1201, container(RUNS, 1, {"terminated": {"exitCode": 137, "reason": "Error"}})),
        reasons.START_TIMEOUT,
    ),
}


@pytest.mark.parametrize("name", MAY_PASS)
def test_what_may_still_pass_is_waited_for(name: str) -> None:
    assert found(MAY_PASS[name]) == ""


@pytest.mark.parametrize("name", LASTS)
def test_what_has_lasted_is_given_up(name: str) -> None:
    given_up, reason = LASTS[name]
    assert found(given_up) == reason


def test_patience_and_ends_are_both_needed_exactly() -> None:
    assert found(pod(PATIENCE_SECONDS, container(LOOPS, RESTARTS, ENDED))) == ""
    assert found(pod(LONG, container(LOOPS, RESTARTS - 1, ENDED))) == ""
    assert found(pod(LONG, container(LOOPS, RESTARTS, ENDED))) == reasons.ENGINE_CRASHED


def test_a_pod_that_starts_without_trouble_is_waited_for() -> None:
    """The node of the other one may be broken."""
    crashed = pod(LONG, container(LOOPS, 2, ENDED))
    assert found(crashed, pod(20, container(RUNS), name="b")) == ""
    assert found(crashed, pod(20, container(LOOPS, 1, ENDED), name="b")) == reasons.ENGINE_CRASHED
    assert found(crashed, pod(20, container(RUNS, 1, ENDED), name="b")) == reasons.ENGINE_CRASHED


@pytest.mark.parametrize("name", [name for name in MAY_PASS if "run" in name or "ended" in name])
def test_a_user_is_told_meanwhile(name: str) -> None:
    """From the first end on, also while the engine runs again: only the way back waits."""
    told = diagnose(Workload("chat", pods=(MAY_PASS[name],)), SPEC, NOW)
    assert told is not None
    assert told.reason == reasons.ENGINE_CRASHED


def test_a_pod_that_has_left_shows_nothing() -> None:
    """An evicted pod stays in the API beside the one that came in its place."""
    evicted = replace(pod(LONG, container(ENDED, 2, ENDED)), phase="Failed")
    assert diagnose(Workload("chat", pods=(evicted,)), SPEC, NOW) is None
    assert found(evicted) == ""
    crashed = pod(LONG, container(LOOPS, 2, ENDED), name="b")
    assert found(replace(pod(20), phase="Failed"), crashed) == reasons.ENGINE_CRASHED
    ending = replace(pod(20, container(RUNS)), terminating=True)
    assert found(ending, crashed) == reasons.ENGINE_CRASHED
    assert found(replace(ending, ready=True), crashed) == "", "it has answered: the spec can start"


def test_of_weights_that_came_at_last_nothing_is_told() -> None:
    late = MAY_PASS["the storage initializer has succeeded at the third try"]
    assert diagnose(Workload("chat", pods=(late,)), SPEC, NOW) is None


def test_a_reason_without_a_rank_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    issue = PodIssue("Unranked", "something new")
    monkeypatch.setattr(pod_diagnosis, "_examine", lambda *_: issue)
    pod = replace(pod_record(bodies.pod("a")).facts, ready=False)
    there = Workload("chat", pods=(pod,))
    found = diagnose(there, SPEC, NOW)
    assert found is not None
    assert found.reason == "Unranked"
