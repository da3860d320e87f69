"""Ends replicas of former specs, through the scale subresource of their ReplicaSet.

On the version of the ReplicaSet that the decision was made on: its status counts the pods that answer, so one that
began to answer since is not ended (Conflict, and the next cycle decides again).
"""

from __future__ import annotations

from tierwise.act.context import Target, WriteResult
from tierwise.act.error_mapping import to_action_error
from tierwise.act.guarded_client import GuardedClient
from tierwise.errors import Conflict, Gone, TierwiseError
from tierwise.kube.objects import APPS_API, REPLICA_SETS
from tierwise.ports import ObjectRef


async def end_former_replicas(target: Target, cluster: GuardedClient) -> WriteResult:
    """End what the plan says of this workload. Raises nothing that is a TierwiseError."""
    said: list[str] = []
    for each in target.plan.former:
        if each.workload != target.workload.name:
            continue
        ref = ObjectRef(APPS_API, REPLICA_SETS, target.tier.key.namespace, each.replica_set)
        try:
            await cluster.scale(ref, each.replicas, resource_version=each.resource_version)
        except (Conflict, Gone):
            continue
        except TierwiseError as failed:
            return WriteResult(freed="; ".join(said), error=to_action_error(failed))
        said.append(f"ReplicaSet {each.replica_set} {each.replicas + each.ended + each.refused} → {each.replicas}")
    return WriteResult(freed="; ".join(said))
