"""Writes the replicas of one workload, through the scale subresource of its Deployment.

On the version of the Deployment that the decision was made on. The change is noted before it is asked for: an answer
that is lost, or that nobody waits for any more, does not undo it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tierwise import reasons
from tierwise.act.context import ApplyContext, Target, WriteResult
from tierwise.act.error_mapping import to_action_error
from tierwise.act.guarded_client import GuardedClient
from tierwise.act.inference_service import autoscaler_class
from tierwise.errors import Conflict, Gone, Refused, TierwiseError
from tierwise.kube.objects import APPS_API, DELETION_COST, DEPLOYMENTS
from tierwise.ports import Cluster, ObjectRef
from tierwise.types import ActionError, DeploymentFacts, PendingScale, WorkloadPlan

PARALLEL = 8
LATE = ActionError(
    reasons.API_UNAVAILABLE, "the API server, or a webhook behind it, did not answer in time", transient=True
)


async def write_replicas(target: Target, context: ApplyContext, cluster: GuardedClient, seconds: float) -> WriteResult:
    """Write the replicas, if they have to be; `seconds` are for the deletion costs before that."""
    facts, deployment, plan = target.workload.inference_service, target.workload.deployment, target.replicas
    decision = target.plan.decision
    if plan is None or decision is None or deployment is None or facts is None or not facts.owned or facts.deleting:
        return WriteResult()
    # With any other class KServe (or an HPA of its making) owns the replicas. It must have reached the Deployment
    # as well: a pod started before would be of the old template, and one of the new would start beside it.
    if {autoscaler_class(facts.manifest), deployment.autoscaler_class} != {"external"}:
        return WriteResult()
    if plan.scale_to == deployment.spec_replicas:
        return WriteResult()
    error = await _deletion_costs(target, plan, cluster, seconds) if plan.scale_to < deployment.spec_replicas else None
    ref = ObjectRef(APPS_API, DEPLOYMENTS, target.tier.key.namespace, deployment.name)
    pending = PendingScale(
        target.workload.name, deployment.uid, deployment.generation, plan.current, plan.scale_to, decision, context.at
    )
    if len(target.view.staying) < len(target.view.workloads):
        pending = replace(pending, moving=True)
    try:
        await cluster.check()
        context.journal.will_scale(target.tier.uid, pending)
        await _scale(cluster, ref, deployment, plan.scale_to)
    except TierwiseError as failed:
        if isinstance(failed, Refused):
            context.journal.did_not_scale(target.tier.uid, pending)
        return WriteResult(error=to_action_error(failed))
    return WriteResult(scaled_to=plan.scale_to, error=error)


async def _scale(cluster: Cluster, ref: ObjectRef, decided_on: DeploymentFacts, target: int) -> None:
    """Scale, on the version that was decided on, or on one read just now that differs from it in its status alone.

    A Deployment's version moves with every pod that starts or ends. The second try therefore names a version that the
    decision did not see, and is allowed only for the same object (UID) with the same spec (generation) and the same
    replicas; the fence is asked before it, as before any write, so a leader that was paused does not get here. Raises
    Conflict when anything else changed: the next cycle decides again."""
    try:
        await cluster.scale(ref, target, resource_version=decided_on.resource_version)
    except Conflict:
        fresh = await cluster.get(ref)
        if fresh is None:
            raise
        seen = fresh["metadata"]["uid"], fresh["metadata"]["generation"], fresh["spec"].get("replicas", 1)
        if seen != (decided_on.uid, decided_on.generation, decided_on.spec_replicas):
            raise
        await cluster.scale(ref, target, resource_version=str(fresh["metadata"]["resourceVersion"]))


async def _deletion_costs(target: Target, plan: WorkloadPlan, cluster: Cluster, seconds: float) -> ActionError | None:
    """Tell the ReplicaSet which replicas to end first. Without it a busier one may end, which is no reason to keep
    paying for it: a failure, or one that is not answered in time, is reported and the scale-down goes on."""
    pods = {pod.name: pod for pod in target.workload.pods}
    gate = asyncio.Semaphore(PARALLEL)

    async def one(name: str, cost: int) -> ActionError | None:
        pod = pods.get(name)
        if pod is None or pod.deletion_cost == cost:
            return None
        annotations = {DELETION_COST: str(cost)}
        try:
            async with gate:
                await cluster.annotate_pod(target.tier.key.namespace, name, uid=pod.uid, annotations=annotations)
        except (Gone, Conflict):  # that replica has ended meanwhile
            return None
        except TierwiseError as refused:
            return to_action_error(refused)
        return None

    try:
        async with asyncio.timeout(seconds):
            errors = await asyncio.gather(*(one(name, cost) for name, cost in plan.deletion_costs))
    except TimeoutError:
        return LATE
    return next((error for error in errors if error is not None), None)
