"""Small worlds for tests of the writers: a tier, its plan, and a cluster that KServe (played by a function) serves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.unit.act.store import Store
from tierwise.act.apply import WriteState, act
from tierwise.act.inference_service import autoscaler_class
from tierwise.api.modeltier import API_VERSION, ModelTierSpec
from tierwise.api.modeltier_status import InferenceServiceRef, ModelTierStatus
from tierwise.outbox import Outbox
from tierwise.ports import ObjectRef
from tierwise.types import (
    Decision,
    DeploymentFacts,
    InferenceServiceFacts,
    MetricsHealth,
    Outcome,
    Plan,
    PodFacts,
    Snapshot,
    TierKey,
    TierObject,
    TierOutcome,
    TierPlan,
    TierState,
    TierView,
    Workload,
    WorkloadPlan,
)

NAMESPACE = "default"
MODEL = {"model": {"name": "small", "uri": "hf://org/small"}, "resources": {"gpus": 1}}
EXTERNAL = {
    "external": {
        "baseURL": "https://api.example.com/v1",
        "model": "large",
        "apiKeySecretRef": {"name": "key"},
        "prices": {"input": "1", "output": "2"},
    }
}


def service_ref(name: str = "chat") -> ObjectRef:
    return ObjectRef("serving.kserve.io/v1beta1", "inferenceservices", NAMESPACE, name)


def deployment_ref(name: str = "chat") -> ObjectRef:
    return ObjectRef("apps/v1", "deployments", NAMESPACE, f"{name}-predictor")


def pod_ref(name: str) -> ObjectRef:
    return ObjectRef("v1", "pods", NAMESPACE, name)


def tier(name: str = "chat", spec: dict[str, Any] | None = None, **changes: Any) -> TierObject:
    made = TierObject(
        key=TierKey(NAMESPACE, name),
        uid=f"tier-{name}",
        generation=1,
        resource_version="1",
        spec=ModelTierSpec.model_validate(MODEL if spec is None else spec),
        status=ModelTierStatus(),
    )
    return replace(made, **changes)


def known(name: str = "chat") -> TierObject:
    """A tier whose child was made before, and whose spec has not changed since."""
    status = ModelTierStatus(observed_generation=1, inference_services=[InferenceServiceRef(name=name)])
    return tier(name, status=status)


def plan(
    name: str = "chat", scale_to: int | None = None, *, costs: tuple[tuple[str, int], ...] = (), **changes: Any
) -> TierPlan:
    made = TierPlan(
        key=TierKey(NAMESPACE, name),
        decision=Decision(current=0, target=scale_to or 0, reason="Load", message=""),
        state=TierState(),
        serve=True,
        workloads=() if scale_to is None else (WorkloadPlan(name, 0, scale_to, costs),),
    )
    return replace(made, **changes)


def kserve(store: Store, name: str = "chat", *, replicas_at_creation: int = 1) -> None:
    """What KServe does about an InferenceService: a Deployment that it controls, at 0 only for class none."""
    service = store.seen(service_ref(name))
    try:
        replicas = store.seen(deployment_ref(name))["spec"]["replicas"]
    except KeyError:
        replicas = 0 if autoscaler_class(service) == "none" else replicas_at_creation
    owner = {"uid": service["metadata"]["uid"], "controller": True}
    metadata = {"ownerReferences": [owner], "annotations": service["metadata"]["annotations"], "generation": 1}
    store.put(deployment_ref(name), {"metadata": metadata, "spec": {"replicas": replicas}})


def pod(store: Store, name: str, cost: int | None = None) -> PodFacts:
    body = store.put(pod_ref(name), {})
    return PodFacts(
        name=name,
        uid=body["metadata"]["uid"],
        phase="Running",
        ready=True,
        terminating=False,
        scheduled=True,
        deletion_cost=cost,
    )


def tier_ref(name: str = "chat") -> ObjectRef:
    return ObjectRef(API_VERSION, "modeltiers", NAMESPACE, name)


def here(store: Store, of: TierObject) -> None:
    """The tier itself, as it is in the cluster."""
    store.drop(tier_ref(of.key.name))
    store.put(tier_ref(of.key.name), {"metadata": {"uid": of.uid, "generation": of.generation}})


def look(store: Store, of: TierObject, pods: tuple[PodFacts, ...] = ()) -> TierView:
    """The view of a tier, straight from the store: an informer that is never behind."""
    name = of.key.name
    here(store, of)
    service: InferenceServiceFacts | None = None
    deployment: DeploymentFacts | None = None
    try:
        body = store.seen(service_ref(name))
    except KeyError:
        pass
    else:
        owners = body["metadata"].get("ownerReferences") or []
        service = InferenceServiceFacts(
            name=name,
            uid=body["metadata"]["uid"],
            resource_version=body["metadata"]["resourceVersion"],
            manifest=body,
            owned=any(owner["uid"] == of.uid for owner in owners),
            deleting="deletionTimestamp" in body["metadata"],
        )
    try:
        body = store.seen(deployment_ref(name))
    except KeyError:
        pass
    else:
        deployment = DeploymentFacts(
            name=f"{name}-predictor",
            uid=body["metadata"]["uid"],
            resource_version=body["metadata"]["resourceVersion"],
            generation=1,
            observed_generation=1,
            spec_replicas=body["spec"]["replicas"],
            replicas=body["spec"]["replicas"],
            ready_replicas=0,
            updated_replicas=0,
            autoscaler_class=autoscaler_class(body),
        )
    return TierView(of, (Workload(name, service, deployment, pods),))


def snapshot(*views: TierView, kserve_present: bool = True) -> Snapshot:
    ordered = tuple(sorted(views, key=lambda view: view.tier.key))
    return Snapshot(at=1000.0, tiers=ordered, metrics=MetricsHealth(ok=True), kserve_present=kserve_present)


async def run(
    store: Store, memo: WriteState, view: TierView, tier_plan: TierPlan, journal: Outbox | None = None
) -> TierOutcome:
    """Act on one tier."""
    journal = Outbox() if journal is None else journal
    outcome: Outcome = await act(snapshot(view), Plan((tier_plan,)), store, memo, journal)
    return outcome.tiers[0]
