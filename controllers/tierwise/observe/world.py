"""Joins the cluster's objects and Prometheus' answers into one Snapshot.

Objects are joined by ownership. An InferenceService belongs to a tier, and a Deployment to the InferenceService,
because its controller's UID says so; a pod because its controller is a ReplicaSet of that Deployment's name; a slice
because the Service of that name controls it; a series because the cluster has a pod of that name in that tier. A label
alone (on somebody's exporter, on a copy of a pod), or a Deployment of the same name, joins nothing. An object that
names a controller with a wrong UID is deleted by the cluster's garbage collector.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from tierwise.kube.objects import PREDICTOR_SUFFIX
from tierwise.observe.gpu_inventory import GPUInventory, NodeRecord
from tierwise.observe.records import (
    DeploymentRecord,
    EndpointSliceRecord,
    InferenceServiceRecord,
    PodRecord,
    ScalerRecord,
)
from tierwise.observe.signals import Samples, health, tier_signals
from tierwise.types import DeploymentFacts, InferenceServiceFacts, Snapshot, TierObject, TierView, Workload
from tierwise.types.capabilities import Facts
from tierwise.types.model_metadata import NOTHING, ModelMetadataSet, repositories


@dataclass(frozen=True, slots=True)
class World:
    """What the informer holds at one moment: records by kind, in any order. `kserve_present`: whether the cluster has
    the kind InferenceService. `nodes`: those with GPUs; empty also when the operator may not see nodes."""

    tiers: Collection[TierObject] = ()
    pods: Collection[PodRecord] = ()
    deployments: Collection[DeploymentRecord] = ()
    endpoint_slices: Collection[EndpointSliceRecord] = ()
    scalers: Collection[ScalerRecord] = ()
    inference_services: Collection[InferenceServiceRecord] = ()
    kserve_present: bool = True
    nodes: Collection[NodeRecord] = ()
    publications: ModelMetadataSet = NOTHING


def observe(world: World, samples: Samples, now: float) -> Snapshot:
    """The world and the last samples, joined by tier. `now`: seconds since the epoch."""
    joins = _Joins(world)
    fleet = GPUInventory(world.nodes, (tier.spec for tier in world.tiers if tier.spec is not None))
    views = []
    for tier in sorted(world.tiers, key=lambda tier: tier.key):
        namespace, name = tier.key.namespace, tier.key.name
        view = TierView(tier, joins.workloads(tier))
        known = [pod.name for pod in view.pods]
        signals = tier_signals(samples, namespace, name, known, view.ready_endpoints, now)
        views.append(_with_facts(replace(view, signals=signals), fleet, world.publications))
    return Snapshot(now, tuple(views), health(samples, now), world.kserve_present)


def _with_facts(view: TierView, fleet: GPUInventory, said: ModelMetadataSet) -> TierView:
    """With what is known of the GPUs that the tier may land on, and of its model and draft model."""
    spec = view.tier.spec
    if spec is None or spec.model is None:
        return view
    model, draft = repositories(spec)
    facts = Facts(fleet.kinds(spec), said.shape(model), said.shape(draft))
    asked = [each for each in (model, draft) if each is not None]
    return replace(
        view,
        facts=facts,
        metadata_error=next((problem for problem in map(said.problem, asked) if problem), ""),
        metadata_pending=any(each in said.asking for each in asked),
    )


Key = tuple[str, str]  # namespace and name
Record = TypeVar("Record")


class _Joins:
    """The world by the keys that are joined on, built once per snapshot."""

    def __init__(self, world: World) -> None:
        self._services = {(each.namespace, each.facts.name): each for each in world.inference_services}
        self._deployments = {(each.namespace, each.facts.name): each for each in world.deployments}
        self._pods = _grouped(((each.namespace, each.deployment), each) for each in world.pods)
        self._slices = _grouped(((each.namespace, each.service), each) for each in world.endpoint_slices)
        self._scalers = _grouped(
            ((each.namespace, each.target_name), each) for each in world.scalers if each.target_kind == "Deployment"
        )

    def workloads(self, tier: TierObject) -> tuple[Workload, ...]:
        """Everything that runs for one tier: a workload for each recorded InferenceService, or the one to be made."""
        recorded = [each.name for each in tier.status.inference_services]
        return tuple(self._workload(tier, name) for name in recorded or [tier.key.name])

    def _workload(self, tier: TierObject, name: str) -> Workload:
        child = (tier.key.namespace, name)
        predictor = (tier.key.namespace, name + PREDICTOR_SUFFIX)
        service = self._services.get(child)
        pods = [each.facts for each in self._pods.get(predictor, ())]
        return Workload(
            name=name,
            inference_service=_ours(service, tier),
            deployment=_child_of(service, name, self._deployments.get(predictor)),
            pods=tuple(sorted(pods, key=lambda pod: pod.name)),
            ready_endpoints=frozenset(pod for each in self._slices.get(predictor, ()) for pod in each.pods),
            foreign_scalers=tuple(sorted(f"{each.kind}/{each.name}" for each in self._scalers.get(predictor, ()))),
        )


def _grouped(pairs: Iterable[tuple[Key, Record]]) -> Mapping[Key, list[Record]]:
    groups: defaultdict[Key, list[Record]] = defaultdict(list)
    for key, record in pairs:
        groups[key].append(record)
    return groups


def _ours(service: InferenceServiceRecord | None, tier: TierObject) -> InferenceServiceFacts | None:
    if service is None:
        return None
    return replace(service.facts, owned=bool(tier.uid) and service.owner_uid == tier.uid)


def _child_of(
    service: InferenceServiceRecord | None, name: str, found: DeploymentRecord | None
) -> DeploymentFacts | None:
    """The Deployment, if this very InferenceService made it: a namesake may be on its way out, or a stranger's."""
    if found is None or found.owner != name or (service is not None and found.owner_uid != service.facts.uid):
        return None
    return found.facts
