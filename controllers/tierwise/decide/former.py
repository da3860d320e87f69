"""Decides which replicas of former specs end at once: those that never answered.

A rolling update with `maxUnavailable: 0` counts replicas, not what they do. The one that a mistake left behind (an
image that cannot be pulled, an engine that ends at its start) counts as much as one that serves, so a Deployment of one
replica waits for ever: the corrected replica waits for the GPUs that the mistake holds, and the mistake is not ended
before the corrected one answers. Replicas that have answered are the Deployment's own to end, one after another.

Why the ReplicaSet is scaled: a deleted pod would be made again, and might take the GPUs again; and a larger
`maxUnavailable` would let the Deployment stop a replica that serves. Its controller only ever lowers a former
ReplicaSet, so it leaves it at what it finds.
"""

from __future__ import annotations

from tierwise.api.modeltier import ModelTierSpec
from tierwise.pod_diagnosis import left_over
from tierwise.types import ReplicaSetPlan, TierView, Workload


def former_replicas(view: TierView, spec: ModelTierSpec, at: float) -> tuple[ReplicaSetPlan, ...]:
    """What is to end, in the order of the workloads. `spec`: what replicas are made from; `at`: seconds since the
    epoch."""
    return tuple(found for workload in view.workloads for found in _of_workload(workload, spec, at))


def _of_workload(workload: Workload, spec: ModelTierSpec, at: float) -> list[ReplicaSetPlan]:
    service, present = workload.inference_service, workload.present_set
    if service is None or not service.owned or service.deleting or not present:
        return []
    left = left_over(workload, spec, at)
    plans = []
    for each in workload.replica_sets:
        if each.name == present:
            continue
        refused = max(0, each.replicas - each.made)
        ended = min(len(left.get(each.name, ())), each.replicas - refused)
        if ended or refused:
            kept = each.replicas - ended - refused
            plans.append(
                ReplicaSetPlan(workload.name, each.name, each.uid, each.resource_version, kept, ended, refused)
            )
    return plans
