"""Checks that every fact is read from where Kubernetes and KServe put it, and that no field is assumed to exist."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.observe import bodies
from tierwise.kube.objects import DELETION_COST
from tierwise.observe import records
from tierwise.observe.tier_object import tier_object
from tierwise.times import rfc3339, seconds
from tierwise.types import ReplicaSetFacts, TierKey

NOON = "2026-11-20T12:00:00Z"


def test_a_tier() -> None:
    found = tier_object(bodies.tier(status={"state": "Ready", "scaling": {"memory": {"recommended": 4}}}))
    assert (found.key, found.uid, found.generation) == (TierKey("team", "chat"), bodies.UID, 3)
    assert found.resource_version == "77"
    assert found.spec is not None
    assert found.spec.model is not None
    assert found.spec.model.name == "m"
    assert found.status.scaling.memory.recommended == 4
    assert (found.invalid, found.deleting) == ("", False)
    assert tier_object(bodies.tier(deletionTimestamp=NOON)).deleting


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-11-30T09:00:00Z", "2026-11-30T09:00:00Z"),
        ("2026-11-30T10:00:00+01:00", "2026-11-30T10:00:00+01:00"),
        ("", ""),
        ("now, please", ""),
        ("1" * 65, ""),
        ({"a": "b"}, ""),
    ],
)
def test_a_restart_is_asked_for_by_kubectls_annotation(written: Any, read: str) -> None:
    annotations = {"kubectl.kubernetes.io/restartedAt": written}
    assert tier_object(bodies.tier(annotations=annotations)).restarted_at == read
    assert tier_object(bodies.tier()).restarted_at == ""


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"model": {"name": "m", "uri": "http://x"}}, ["spec.model.uri:", "pattern"]),
        ({"model": {"uri": "hf://a/b"}}, ["spec.model.name: Field required"]),
        ({"model": 3}, ["spec.model:"]),
        ({}, ["exactly one of spec.model"]),
        (None, ["exactly one of spec.model"]),
        (
            {"model": {"name": "m", "uri": "hf://a/b"}, "scaling": {"minReplicas": 5, "maxReplicas": 2}},
            ["minReplicas must not exceed"],
        ),
        ("nonsense", ["spec:"]),
        (
            {"model": {"name": "m", "uri": "x"}, "replicas": -1, "rollout": "?", "scaling": {"mode": 1}},
            ["spec.model.uri", "spec.rollout", "(and 1 more)"],
        ),
    ],
)
def test_a_spec_that_does_not_parse_is_a_sentence(spec: Any, words: list[str]) -> None:
    body = bodies.tier()
    body["spec"] = spec
    found = tier_object(body)
    assert found.spec is None
    for word in words:
        assert word in found.invalid


def test_a_bad_value_is_not_repeated_in_the_sentence() -> None:
    secret = "hf_" + "x" * 40
    found = tier_object(bodies.tier(spec={"model": {"name": "m", "uri": secret}}))
    assert found.invalid
    assert secret not in found.invalid


@pytest.mark.parametrize("status", ["nonsense", {"conditions": 3}, {"scaling": {"memory": {"recommended": -4}}}])
def test_a_status_that_does_not_parse_is_empty(status: Any) -> None:
    found = tier_object(bodies.tier(status=status))
    assert found.spec is not None
    assert found.status.scaling.memory.recommended is None


def test_a_running_pod() -> None:
    found = records.pod_record(bodies.pod("a", annotations={DELETION_COST: "7"}))
    assert (found.namespace, found.deployment) == ("team", "chat-predictor")
    facts = found.facts
    assert (facts.name, facts.uid, facts.phase, facts.ready, facts.terminating) == (
        "a",
        "uid-a",
        "Running",
        True,
        False,
    )
    assert (facts.scheduled, facts.node, facts.deletion_cost, facts.restarts) == (True, "gpu-0", 7, 0)
    assert facts.created_at == seconds("2026-11-20T09:59:58Z")
    assert facts.scheduled_at == seconds("2026-11-20T10:00:00Z")
    assert facts.ready_at == seconds("2026-11-20T10:01:00Z")
    assert facts.last_exit_code is None


def test_a_pod_that_no_node_takes() -> None:
    unschedulable = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes", "lastTransitionTime": NOON}
    status = {"phase": "Pending", "conditions": [unschedulable]}
    facts = records.pod_record(bodies.pod("a", status=status, spec={})).facts
    assert (facts.scheduled, facts.scheduled_at, facts.ready, facts.ready_at) == (False, None, False, None)
    assert facts.unschedulable_message == "0/3 nodes"


def test_a_pod_that_crashes() -> None:
    crashed = {"terminated": {"exitCode": 1, "reason": "Error", "message": "ValueError: no"}}
    status = {
        "phase": "Running",
        "initContainerStatuses": [{"restartCount": 1, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}],
        "containerStatuses": [
            {
                "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                "lastState": crashed,
            }
        ],
    }
    facts = records.pod_record(bodies.pod("a", status=status, deletionTimestamp=NOON)).facts
    assert (facts.waiting_reason, facts.waiting_message) == ("CrashLoopBackOff", "back-off 40s")
    assert (facts.restarts, facts.running_again, facts.terminating) == (4, False, True), "of the engine alone"
    assert (facts.last_exit_code, facts.last_exit_reason, facts.last_exit_message) == (1, "Error", "ValueError: no")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"phase": "Failed", "reason": "Evicted", "message": "low on disk"}, "low on disk"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        ({"phase": "Failed", "reason": "NodeShutdown", "message": "the node goes"}, ""),
        ({"phase": "Running"}, ""),
    ],
)
def test_what_a_kubelet_says_that_ends_a_pod(status: dict[str, Any], said: str) -> None:
    assert records.pod_record(bodies.pod("a", status=status)).facts.evicted == said


FAILED = {"terminated": {"exitCode": 1, "reason": "Error", "message": "no route to host"}}
DONE = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": NOON}}
RUNS = {"running": {"startedAt": NOON}}
WAITS = {"waiting": {"reason": "CrashLoopBackOff"}}


def container(name: str, restarts: int, state: dict[str, Any], before: dict[str, Any] | None = None) -> dict[str, Any]:
    """A container's status; `before`: how it ended the last time."""
    return {"name": name, "restartCount": restarts, "state": state, "lastState": before or {}}


@pytest.mark.parametrize(
    ("first", "main", "told"),
    [
        ([], [container("engine", 2, RUNS, FAILED)], ("engine", 2, True, None)),
        ([], [container("engine", 2, {"running": {}}, FAILED)], ("engine", 2, True, None)),
        ([], [container("engine", 2, WAITS, FAILED)], ("engine", 2, False, None)),
        ([], [container("engine", 2, {}, FAILED)], ("engine", 2, False, None)),
        ([], [container("engine", 2, FAILED, FAILED)], ("engine", 2, False, None)),
        ([container("init", 1, RUNS, FAILED)], [container("engine", 0, WAITS)], ("init", 1, True, None)),
        ([container("init", 2, WAITS, FAILED)], [container("engine", 0, WAITS)], ("init", 2, False, None)),
        ([container("init", 3, DONE, FAILED)], [container("engine", 0, RUNS)], ("", 0, False, NOON)),
        ([container("init", 3, DONE, FAILED)], [container("engine", 1, RUNS, FAILED)], ("engine", 1, True, NOON)),
        ([container("side", 1, RUNS, FAILED)], [container("engine", 4, WAITS, FAILED)], ("engine", 4, False, None)),
        ([container("side", 4, WAITS, FAILED)], [container("engine", 0, RUNS)], ("side", 4, False, None)),
        ([container("init", 0, RUNS, DONE)], [container("engine", 0, WAITS)], ("", 0, False, None)),
        ([], [container("side", 1, RUNS, FAILED), container("engine", 2, WAITS, DONE)], ("engine", 2, False, None)),
        ([container("side", 2, WAITS, FAILED)], [container("engine", 2, WAITS, DONE)], ("side", 2, False, None)),
        ([], [container("engine", 2, WAITS, DONE), container("side", 2, WAITS, FAILED)], ("side", 2, False, None)),
        ([], [container("engine", 2, WAITS, DONE)], ("engine", 2, False, None)),
        ([], [], ("", 0, False, None)),
    ],
)
def test_whose_end_is_told_and_whether_it_runs_again(
    first: list[dict[str, Any]], main: list[dict[str, Any]], told: tuple[str, int, bool, str | None]
) -> None:
    """What has succeeded since is past; what is down stands before what runs again."""
    status = {"phase": "Running", "initContainerStatuses": first, "containerStatuses": main}
    facts = records.pod_record(bodies.pod("a", status=status)).facts
    assert (facts.last_exit_container, facts.restarts, facts.running_again) == told[:3]
    assert facts.prepared_at == (seconds(told[3]) if told[3] else None)
    assert (facts.last_exit_code is None) == (told[0] == "")


def test_a_pod_is_prepared_when_its_last_init_container_has_ended_well() -> None:
    early = {"terminated": {**DONE["terminated"], "finishedAt": "2026-11-20T09:00:00Z"}}
    for states in ([early, DONE], [DONE, early]):
        first = [container(f"init-{number}", 0, state) for number, state in enumerate(states)]
        assert records.pod_record(
            bodies.pod("a", status={"initContainerStatuses": first})
        ).facts.prepared_at == seconds(NOON)


def test_a_pod_that_ended_well_says_so() -> None:
    status = {"containerStatuses": [{"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}
    facts = records.pod_record(bodies.pod("a", status=status)).facts
    assert (facts.last_exit_code, facts.last_exit_reason) == (0, "Completed")


def test_a_deployment() -> None:
    found = records.deployment_record(bodies.deployment())
    assert (found.namespace, found.owner, found.owner_uid) == ("team", "chat", "isvc-uid")
    facts = found.facts
    assert (facts.name, facts.uid, facts.resource_version) == ("chat-predictor", "dep-uid", "12")
    assert (facts.generation, facts.observed_generation) == (4, 4)
    assert (facts.spec_replicas, facts.replicas, facts.ready_replicas, facts.updated_replicas) == (2, 2, 1, 2)
    assert facts.autoscaler_class == "external"
    assert facts.failed_create == ""
    assert facts.created_at == seconds("2026-11-20T09:00:00Z")


def test_a_deployment_of_nobody_in_particular() -> None:
    body = bodies.deployment(replicas=None)
    body["metadata"]["ownerReferences"] = [{"kind": "Application", "name": "chat", "uid": "z", "controller": True}]
    body["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]
    found = records.deployment_record(body)
    assert (found.owner, found.owner_uid, found.facts.spec_replicas) == ("", "", 1)
    assert found.facts.failed_create == "exceeded quota"
    zero = records.deployment_record(bodies.deployment(replicas=0))
    assert zero.facts.spec_replicas == 0


def test_endpoints_that_receive_requests() -> None:
    found = records.endpoint_slice_record(
        bodies.endpoint_slice(
            "s",
            bodies.endpoint("ready", ready=True),
            bodies.endpoint("unsaid"),
            bodies.endpoint("not", ready=False),
            bodies.endpoint("going", ready=True, terminating=True),
            {"addresses": ["10.0.0.1"], "conditions": {"ready": True}},
            {"targetRef": {"kind": "Node", "name": "n"}},
        )
    )
    assert found == records.EndpointSliceRecord("team", "chat-predictor", frozenset({"ready", "unsaid"}))
    empty = bodies.endpoint_slice("empty")
    assert records.endpoint_slice_record(empty).pods == frozenset()
    empty["metadata"]["labels"]["service.kubernetes.io/headless"] = ""
    assert records.endpoint_slice_record(empty).headless is True


def test_scalers() -> None:
    assert records.scaler_record(bodies.scaler()) == records.ScalerRecord(
        "team", "HorizontalPodAutoscaler", "theirs", "Deployment", "chat-predictor"
    )
    unnamed = bodies.scaler("", kind=None)
    unnamed["spec"]["triggers"] = []
    assert records.scaler_record(unnamed).kind == "ScaledObject"
    assert records.scaler_record(unnamed).target_kind == "Deployment"


def test_an_inference_service() -> None:
    found = records.inference_service_record(bodies.inference_service())
    assert (found.namespace, found.owner_uid) == ("team", bodies.UID)
    assert (found.facts.name, found.facts.uid, found.facts.resource_version) == ("chat", "isvc-uid", "9")
    assert (found.facts.owned, found.facts.deleting, found.facts.problem) == (False, False, "")
    assert found.facts.manifest["spec"] == {"predictor": {"minReplicas": 0}}
    assert "managedFields" not in found.facts.manifest["metadata"]
    assert "status" not in found.facts.manifest
    assert records.inference_service_record(bodies.inference_service(deletionTimestamp=NOON)).facts.deleting


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ({"transitionStatus": "UpToDate", "lastFailureInfo": {"message": "over"}}, ""),
        ({"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": {"message": "the pod's"}}, ""),
        ({"transitionStatus": "InvalidSpec", "lastFailureInfo": {"message": "no runtime"}}, "no runtime"),
        ({"transitionStatus": "InvalidSpec", "lastFailureInfo": {"reason": "RuntimeDisabled"}}, "RuntimeDisabled"),
        ({"transitionStatus": "InvalidSpec"}, "KServe calls the spec invalid"),
    ],
)
def test_what_kserve_refuses(status: Any, problem: str) -> None:
    body = bodies.inference_service(status={"modelStatus": status})
    assert records.inference_service_record(body).facts.problem == problem


RECORDERS: tuple[Callable[[Any], object], ...] = (
    tier_object,
    records.pod_record,
    records.deployment_record,
    records.replica_set_record,
    records.endpoint_slice_record,
    records.scaler_record,
    records.inference_service_record,
)
NAMES = (
    "metadata", "spec", "status", "name", "namespace", "labels", "annotations", "ownerReferences", "conditions", "type",
    "containerStatuses", "state", "terminated", "endpoints", "targetRef", "replicas", "scaleTargetRef", "modelStatus",
    "creationTimestamp", "restartCount", "lastTransitionTime", "tierwise.io/tier",
)  # fmt: skip
json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)),
    max_leaves=20,
)


@pytest.mark.parametrize("recorder", RECORDERS)
@settings(max_examples=30, deadline=None)
@given(body=st.dictionaries(st.sampled_from(NAMES), json, max_size=4))
def test_no_shape_of_a_body_is_an_exception(recorder: Callable[[Any], object], body: dict[str, Any]) -> None:
    as_it_came = deepcopy(body)
    assert recorder(body) == recorder(body)
    assert body == as_it_came, "a record is read off, the body belongs to the informer"
    assert recorder({}) == recorder({})


def test_times_are_read_as_they_are_written() -> None:
    assert rfc3339(seconds("2026-11-20T12:00:00Z") or 0) == "2026-11-20T12:00:00Z"
    assert seconds("2026-11-20T12:00:00.250Z") == (seconds("2026-11-20T12:00:00") or 0) + 0.25
    assert seconds("2026-11-20T13:00:00+01:00") == seconds("2026-11-20T12:00:00Z")
    for nonsense in (None, "", "soon", 12, "2026-13-40"):
        assert seconds(nonsense) is None


def test_a_replica_set() -> None:
    body = bodies.replica_set("s", revision="7", replicas=2)
    del body["status"]
    found = records.replica_set_record(body)
    assert (found.namespace, found.deployment, found.deployment_uid) == ("team", "chat-predictor", "dep-uid")
    assert found.facts == ReplicaSetFacts("s", "uid-s", "31", revision=7, replicas=2, made=0)
    alone = records.replica_set_record({**body, "metadata": {"name": "s"}, "spec": {}})
    assert (alone.deployment, alone.deployment_uid) == ("", "")
    assert (alone.facts.revision, alone.facts.replicas) == (0, 1)


@pytest.mark.parametrize(
    ("status", "start", "turned", "answered"),
    [
        ("True", "10:00:00", "10:00:00", True),
        ("False", "10:00:00", "10:00:00", False),
        ("False", "10:00:00", "10:00:05", False),
        ("False", "10:00:00", "10:00:06", True),
        ("False", "", "10:00:06", False),
        ("False", "10:00:00", "", False),
    ],
)
def test_whether_a_pod_has_ever_answered(status: str, start: str, turned: str, answered: bool) -> None:
    ready = {"type": "Ready", "status": status, "lastTransitionTime": f"2026-11-20T{turned}Z" if turned else None}
    seen = {"startTime": f"2026-11-20T{start}Z" if start else None, "conditions": [ready]}
    assert records.pod_record(bodies.pod("a", status=seen)).facts.was_ready is answered
