"""Makes a Workload from the records that may belong to it.

A name alone proves nothing: what stands under it may be a stranger's, or a namesake on its way out. Owner references
decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from tierwise.api.modeltier import ModelTierSpec
from tierwise.observe.records import (
    DeploymentRecord,
    EndpointSliceRecord,
    InferenceServiceRecord,
    PodRecord,
    ReplicaSetRecord,
    ScalerRecord,
)
from tierwise.observe.workload_names import WorkloadName
from tierwise.types import DeploymentFacts, InferenceServiceFacts, ReplicaSetFacts, TierObject, Workload


class Found(NamedTuple):
    """The records that may belong to one workload, by its name."""

    name: WorkloadName
    service: InferenceServiceRecord | None
    deployment: DeploymentRecord | None
    replica_sets: Sequence[ReplicaSetRecord]
    pods: Sequence[PodRecord]
    slices: Sequence[EndpointSliceRecord]
    scalers: Sequence[ScalerRecord]


def workload(tier: TierObject, found: Found, specs: Mapping[str, ModelTierSpec]) -> Workload:
    """The workload that these records show; of records that belong to somebody else, nothing. `specs`: what replicas
    are made from, by pool."""
    service, (name, pool, retired) = _ours(found.service, tier), found.name
    strange = service is not None and not service.owned
    if service is not None and strange and (name != tier.key.name or service.is_of_another(tier.key.name)):
        # What another tier calls like this tier, or like its place in a pool, serves another model.
        return Workload(name, service, pool=pool, retired=retired, spec=specs.get(pool))
    deployment = _child_of(found.service, name, found.deployment)
    return Workload(
        name=name,
        inference_service=service,
        deployment=deployment,
        pods=tuple(sorted((each.facts for each in found.pods), key=lambda pod: pod.name)),
        ready_endpoints=frozenset(pod for each in found.slices for pod in each.pods),
        headless=any(each.headless for each in found.slices),
        foreign_scalers=tuple(sorted(f"{each.kind}/{each.name}" for each in found.scalers)),
        pool=pool,
        retired=retired,
        spec=specs.get(pool),
        replica_sets=_sets_of(deployment, found.replica_sets),
    )


def _sets_of(deployment: DeploymentFacts | None, records: Iterable[ReplicaSetRecord]) -> tuple[ReplicaSetFacts, ...]:
    """The ReplicaSets of this very Deployment. Of its former templates it keeps ten, most of them without replicas."""
    if deployment is None:
        return ()
    ours = (each.facts for each in records if each.deployment_uid == deployment.uid)
    kept = (each for each in ours if each.replicas > 0 or each.revision == deployment.revision)
    return tuple(sorted(kept, key=lambda each: each.name))


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
