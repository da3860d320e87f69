"""Kubernetes objects as a watch delivers them, for the tests of observing."""

from __future__ import annotations

from typing import Any

UID = "tier-uid"


def tier(name: str = "chat", *, spec: Any = None, status: Any = None, **metadata: Any) -> dict[str, Any]:
    """A ModelTier."""
    return {
        "apiVersion": "tierwise.io/v1alpha1",
        "kind": "ModelTier",
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": UID,
            "generation": 3,
            "resourceVersion": "77",
            "managedFields": [{"manager": "x"}],
            **metadata,
        },
        "spec": {"model": {"name": "m", "uri": "hf://org/m"}} if spec is None else spec,
        **({} if status is None else {"status": status}),
    }


def controller(kind: str, name: str) -> dict[str, Any]:
    """The owner reference of a controller."""
    return {"kind": kind, "name": name, "uid": f"uid-{name}", "controller": True}


def pod(name: str, *, tier_name: str = "chat", status: Any = None, spec: Any = None, **metadata: Any) -> dict[str, Any]:
    """A pod of the tier's ReplicaSet that is running and ready."""
    running = {
        "phase": "Running",
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-20T10:00:00Z"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-20T10:01:00Z"},
        ],
        "containerStatuses": [{"name": "kserve-container", "restartCount": 0, "state": {"running": {}}}],
    }
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-11-20T09:59:58Z",
            "labels": {"tierwise.io/tier": tier_name},
            "ownerReferences": [controller("ReplicaSet", f"{tier_name}-predictor-6d4cf56db")],
            **metadata,
        },
        "spec": {"nodeName": "gpu-0"} if spec is None else spec,
        "status": running if status is None else status,
    }


def deployment(name: str = "chat-predictor", *, owner: str = "chat", owner_uid: str = "isvc-uid", **spec: Any) -> Any:
    """A predictor's Deployment with two replicas, one ready."""
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": "dep-uid",
            "creationTimestamp": "2026-11-20T09:00:00Z",
            "resourceVersion": "12",
            "generation": 4,
            "annotations": {"serving.kserve.io/autoscalerClass": "external"},
            "ownerReferences": [
                {"kind": "Other", "name": "x", "uid": "y"},
                {"kind": "InferenceService", "name": owner, "uid": owner_uid, "controller": True},
            ],
        },
        "spec": {"replicas": 2, **spec},
        "status": {"observedGeneration": 4, "replicas": 2, "readyReplicas": 1, "updatedReplicas": 2},
    }


def endpoint(pod_name: str, **conditions: bool) -> dict[str, Any]:
    """One endpoint of a slice."""
    return {"addresses": ["10.244.0.9"], "targetRef": {"kind": "Pod", "name": pod_name}, "conditions": conditions}


def endpoint_slice(name: str, *endpoints: Any, service: str = "chat-predictor") -> dict[str, Any]:
    """A slice of a Service."""
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "labels": {"kubernetes.io/service-name": service},
            "ownerReferences": [controller("Service", service)],
        },
        "endpoints": list(endpoints) or None,
    }


def scaler(scaler_kind: str = "HorizontalPodAutoscaler", **target: Any) -> dict[str, Any]:
    """An autoscaler of somebody else."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat-predictor", **target}
    return {
        "kind": scaler_kind,
        "metadata": {"name": "theirs", "namespace": "team"},
        "spec": {"scaleTargetRef": reference},
    }


def inference_service(name: str = "chat", *, owner_uid: str = UID, status: Any = None, **metadata: Any) -> Any:
    """An InferenceService that the tier controls."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": "isvc-uid",
            "resourceVersion": "9",
            "managedFields": [{}],
            "ownerReferences": [{"kind": "ModelTier", "name": "chat", "uid": owner_uid, "controller": True}],
            **metadata,
        },
        "spec": {"predictor": {"minReplicas": 0}},
        "status": status or {},
    }


def replica_set(
    name: str = "chat-predictor-6d4cf56db", *, revision: str = "3", replicas: int = 1, **metadata: Any
) -> Any:
    """A ReplicaSet of the predictor's Deployment."""
    owner = {"kind": "Deployment", "name": "chat-predictor", "uid": "dep-uid", "controller": True}
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": f"uid-{name}",
            "resourceVersion": "31",
            "annotations": {"deployment.kubernetes.io/revision": revision},
            "ownerReferences": [owner],
            **metadata,
        },
        "spec": {"replicas": replicas},
        "status": {"replicas": replicas},
    }
