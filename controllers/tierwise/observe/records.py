"""Reduces each Kubernetes object to the few facts that the informer keeps.

Objects are large (managed fields, templates, hundreds of pods), and an operator's memory is mostly what its informer
keeps. So every object becomes a small frozen record as it arrives. These functions are pure and tolerant: a missing
field is an empty value, since half-filled objects are normal while a pod starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tierwise.kube.objects import AUTOSCALER_CLASS, DELETION_COST, REVISION, TIER_LABEL
from tierwise.observe.object_fields import condition, controller, items, mapping, number, optional_number, text, time
from tierwise.pod_template_hash import fingerprint
from tierwise.types import DeploymentFacts, InferenceServiceFacts, PodFacts, ReplicaSetFacts

SERVICE_LABEL = "kubernetes.io/service-name"
_EVICTED = "Evicted"
HEADLESS_LABEL = "service.kubernetes.io/headless"  # of every slice of a Service without an address of its own
# A kubelet writes a pod's first conditions together with its start time; no engine answers, and ends, so soon after.
_FIRST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PodRecord:
    """A pod, where it is, and which Deployment made it, as the name of its ReplicaSet tells (empty: none)."""

    namespace: str
    deployment: str
    facts: PodFacts


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """A Deployment, and which InferenceService controls it (empty: none)."""

    namespace: str
    owner: str
    owner_uid: str
    facts: DeploymentFacts


@dataclass(frozen=True, slots=True)
class ReplicaSetRecord:
    """A ReplicaSet, and which Deployment controls it (empty: none)."""

    namespace: str
    deployment: str
    deployment_uid: str
    facts: ReplicaSetFacts


@dataclass(frozen=True, slots=True)
class EndpointSliceRecord:
    """One slice of a Service (empty: of none): the pods that it sends requests to."""

    namespace: str
    service: str
    pods: frozenset[str]
    headless: bool = False


@dataclass(frozen=True, slots=True)
class ScalerRecord:
    """A HorizontalPodAutoscaler or ScaledObject, and what it scales."""

    namespace: str
    kind: str
    name: str
    target_kind: str
    target_name: str


@dataclass(frozen=True, slots=True)
class InferenceServiceRecord:
    """An InferenceService and the UID of its controller (empty: none). `facts.owned` is settled by `observe`."""

    namespace: str
    owner_uid: str
    facts: InferenceServiceFacts


def pod_record(body: Mapping[str, Any]) -> PodRecord:
    """A pod as a record."""
    metadata, status = mapping(body, "metadata"), mapping(body, "status")
    first, containers = [*items(status, "initContainerStatuses")], [*items(status, "containerStatuses")]
    statuses = [*first, *containers]
    waiting = next((mapping(each, "state", "waiting") for each in statuses if mapping(each, "state", "waiting")), {})
    whose, ended = _last_exit(first, containers)
    good_ends = [time(_end(each), "finishedAt") for each in first if _ended_well(each)]
    scheduled, ready = condition(body, "PodScheduled"), condition(body, "Ready")
    is_ready = ready.get("status") == "True"
    owner = controller(metadata)
    replica_set = text(owner, "name") if text(owner, "kind") == "ReplicaSet" else ""
    facts = PodFacts(
        name=text(metadata, "name"),
        uid=text(metadata, "uid"),
        phase=text(status, "phase"),
        ready=is_ready,
        terminating=bool(metadata.get("deletionTimestamp")),
        scheduled=bool(mapping(body, "spec").get("nodeName")),
        node=text(mapping(body, "spec"), "nodeName"),
        created_at=time(metadata, "creationTimestamp") or 0.0,
        scheduled_at=time(scheduled, "lastTransitionTime") if scheduled.get("status") == "True" else None,
        ready_at=time(ready, "lastTransitionTime") if is_ready else None,
        was_ready=is_ready or _was_ready(ready, time(status, "startTime")),
        waiting_reason=text(waiting, "reason"),
        waiting_message=text(waiting, "message"),
        unschedulable_message=text(scheduled, "message") if scheduled.get("status") == "False" else "",
        prepared_at=max((at for at in good_ends if at is not None), default=None),
        last_exit_container=text(whose, "name"),
        restarts=number(whose, "restartCount"),
        running_again=_runs(whose),
        last_exit_code=optional_number(ended.get("exitCode")),
        last_exit_reason=text(ended, "reason"),
        last_exit_message=text(ended, "message"),
        deletion_cost=optional_number(mapping(metadata, "annotations").get(DELETION_COST)),
        replica_set=replica_set,
        mounting=condition(body, "PodReadyToStartContainers").get("status") == "False",
        evicted=_evicted(status),
        # The node controller takes back Ready alone; the kubelet, which could say why, is not there.
        node_lost=not is_ready and condition(body, "ContainersReady").get("status") == "True",
    )
    return PodRecord(text(metadata, "namespace"), replica_set.rpartition("-")[0], facts)


def _evicted(status: Mapping[str, Any]) -> str:
    """What the kubelet said when it ended the whole pod; empty: it has not."""
    return text(status, "message") or _EVICTED if text(status, "reason") == _EVICTED else ""


def _was_ready(ready: Mapping[str, Any], started: float | None) -> bool:
    """Whether a pod that is not ready has been: its condition has turned since it was first written."""
    turned = time(ready, "lastTransitionTime")
    return turned is not None and started is not None and turned > started + _FIRST_SECONDS


def _last_exit(
    first: list[Mapping[str, Any]], containers: list[Mapping[str, Any]]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The container whose end matters, and how it ended: one that is down before one that runs again, then failures
    first. That an init container ended well, if at its third try, is how a pod starts, and says nothing."""
    ended = [
        *((each, _end(each)) for each in first if number(_end(each), "exitCode") != 0),
        *((each, _end(each)) for each in containers if _end(each)),
    ]
    return min(ended, key=lambda found: (_runs(found[0]), number(found[1], "exitCode") == 0), default=({}, {}))


def _end(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """How a container ended the last time; empty when it never has."""
    return mapping(status, "state", "terminated") or mapping(status, "lastState", "terminated")


def _ended_well(status: Mapping[str, Any]) -> bool:
    ended = mapping(status, "state", "terminated")
    return bool(ended) and number(ended, "exitCode") == 0


def _runs(status: Mapping[str, Any]) -> bool:
    """Whether a container runs. One without a state waits, as the API defines it."""
    return isinstance(mapping(status, "state").get("running"), Mapping)


def deployment_record(body: Mapping[str, Any]) -> DeploymentRecord:
    """A Deployment as a record. An absent `spec.replicas` is 1, as the API server reads it."""
    metadata, spec, status = mapping(body, "metadata"), mapping(body, "spec"), mapping(body, "status")
    failure, owner = condition(body, "ReplicaFailure"), controller(metadata)
    wanted = optional_number(spec.get("replicas"))
    is_child = text(owner, "kind") == "InferenceService"
    facts = DeploymentFacts(
        name=text(metadata, "name"),
        uid=text(metadata, "uid"),
        resource_version=text(metadata, "resourceVersion"),
        generation=number(metadata, "generation"),
        observed_generation=number(status, "observedGeneration"),
        spec_replicas=1 if wanted is None else wanted,
        replicas=number(status, "replicas"),
        ready_replicas=number(status, "readyReplicas"),
        updated_replicas=number(status, "updatedReplicas"),
        failed_create=text(failure, "message") if failure.get("status") == "True" else "",
        autoscaler_class=text(mapping(metadata, "annotations"), AUTOSCALER_CLASS),
        created_at=time(metadata, "creationTimestamp") or 0.0,
        template=fingerprint(
            {**mapping(spec, "template", "spec"), "annotations": mapping(spec, "template", "metadata", "annotations")}
        ),
        revision=_revision(metadata),
    )
    return DeploymentRecord(
        text(metadata, "namespace"),
        text(owner, "name") if is_child else "",
        text(owner, "uid") if is_child else "",
        facts,
    )


def _revision(metadata: Mapping[str, Any]) -> int:
    return optional_number(mapping(metadata, "annotations").get(REVISION)) or 0


def replica_set_record(body: Mapping[str, Any]) -> ReplicaSetRecord:
    """A ReplicaSet as a record. An absent `spec.replicas` is 1, as the API server reads it."""
    metadata, owner = mapping(body, "metadata"), controller(mapping(body, "metadata"))
    wanted = optional_number(mapping(body, "spec").get("replicas"))
    facts = ReplicaSetFacts(
        name=text(metadata, "name"),
        uid=text(metadata, "uid"),
        resource_version=text(metadata, "resourceVersion"),
        revision=_revision(metadata),
        replicas=1 if wanted is None else wanted,
        made=number(mapping(body, "status"), "replicas"),
    )
    is_child = text(owner, "kind") == "Deployment"
    return ReplicaSetRecord(
        text(metadata, "namespace"),
        text(owner, "name") if is_child else "",
        text(owner, "uid") if is_child else "",
        facts,
    )


def endpoint_slice_record(body: Mapping[str, Any]) -> EndpointSliceRecord:
    """A slice as a record. An absent `ready` means ready, as the API defines it; a terminating one is not. The slice is
    the Service's that controls it, if its label says the same."""
    metadata = mapping(body, "metadata")
    ready = frozenset(
        text(mapping(endpoint, "targetRef"), "name")
        for endpoint in items(body, "endpoints")
        if mapping(endpoint, "targetRef").get("kind") == "Pod" and _receives(mapping(endpoint, "conditions"))
    )
    labels = mapping(metadata, "labels")
    owner, named = controller(metadata), text(labels, SERVICE_LABEL)
    agreed = text(owner, "kind") == "Service" and text(owner, "name") == named
    headless = HEADLESS_LABEL in labels
    return EndpointSliceRecord(text(metadata, "namespace"), named if agreed else "", ready, headless)


def _receives(conditions: Mapping[str, Any]) -> bool:
    return conditions.get("ready") is not False and not conditions.get("terminating")


def scaler_record(body: Mapping[str, Any]) -> ScalerRecord:
    """A HorizontalPodAutoscaler or ScaledObject as a record. An unnamed target kind is a Deployment, as in KEDA.

    The body of a list item may lack its kind: the API group of a ScaledObject is then told by its fields."""
    metadata, target = mapping(body, "metadata"), mapping(body, "spec", "scaleTargetRef")
    kind = text(body, "kind") or ("ScaledObject" if "triggers" in mapping(body, "spec") else "HorizontalPodAutoscaler")
    return ScalerRecord(
        text(metadata, "namespace"),
        kind,
        text(metadata, "name"),
        text(target, "kind") or "Deployment",
        text(target, "name"),
    )


def inference_service_record(body: Mapping[str, Any]) -> InferenceServiceRecord:
    """An InferenceService as a record: its manifest without managed fields and status, to be compared with ours."""
    metadata = mapping(body, "metadata")
    manifest = {
        "apiVersion": text(body, "apiVersion"),
        "kind": text(body, "kind"),
        "metadata": {name: value for name, value in metadata.items() if name != "managedFields"},
        "spec": dict(mapping(body, "spec")),
    }
    facts = InferenceServiceFacts(
        name=text(metadata, "name"),
        uid=text(metadata, "uid"),
        resource_version=text(metadata, "resourceVersion"),
        manifest=manifest,
        owned=False,
        deleting=bool(metadata.get("deletionTimestamp")),
        problem=_kserve_problem(body),
        tier=text(mapping(metadata, "labels"), TIER_LABEL),
    )
    return InferenceServiceRecord(text(metadata, "namespace"), text(controller(metadata), "uid"), facts)


def _kserve_problem(body: Mapping[str, Any]) -> str:
    """What KServe refuses in the object. Its other complaint (BlockedByFailedLoad) is one pod's, read from the pod."""
    model = mapping(body, "status", "modelStatus")
    if model.get("transitionStatus") != "InvalidSpec":
        return ""
    failure = mapping(model, "lastFailureInfo")
    return text(failure, "message") or text(failure, "reason") or "KServe calls the spec invalid"
