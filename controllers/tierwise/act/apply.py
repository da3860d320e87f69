"""Which writes turn a plan into children and replicas, and what is said when one of them fails?

First the InferenceService (`child`), then the replicas through the scale subresource of the Deployment, on the version
of it that the decision was made on. One does not wait for the other: with KServe's webhook down nothing can be healed,
yet replicas can still be taken away.

One tier's failure never touches another: each has its own try, and every error becomes a reason and a sentence.
"""

from __future__ import annotations

import asyncio
import logging

from tierwise import reasons
from tierwise.act.child import DEPLOYMENTS, Memo, Written, autoscaler_class, service, settle
from tierwise.act.failures import failure
from tierwise.errors import Conflict, Gone, TierwiseError
from tierwise.model import ActionError, DeploymentFacts, Outcome, Plan, Snapshot, TierOutcome, TierPlan, TierView
from tierwise.ports import Cluster, Ref

__all__ = ["Memo", "act"]

logger = logging.getLogger(__name__)

# Enough to hide the latency of a few writes, few enough not to trip the API server's fairness after a restart.
PARALLEL = 8
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


async def act(snapshot: Snapshot, plan: Plan, cluster: Cluster, memo: Memo) -> Outcome:
    """Write what the plan says, all tiers side by side. Raises nothing: every failure is in the outcome."""
    views = {view.tier.key: view for view in snapshot.tiers}
    memo.keep(views)
    gate = asyncio.Semaphore(PARALLEL)

    async def one(tier_plan: TierPlan) -> TierOutcome:
        async with gate:
            return await _tier(views[tier_plan.key], tier_plan, snapshot.kserve_present, cluster, memo)

    return Outcome(tuple(await asyncio.gather(*(one(tier_plan) for tier_plan in plan.tiers))))


async def _tier(view: TierView, plan: TierPlan, kserve_present: bool, cluster: Cluster, memo: Memo) -> TierOutcome:
    if plan.invalid is not None or view.tier.deleting:
        return TierOutcome(plan.key)
    try:
        if plan.serve:
            written = await settle(view, kserve_present, cluster, memo)
            scaled_to, trouble = await _replicas(view, plan, cluster)
        else:
            written, scaled_to, trouble = await _remove(view, cluster), None, None
    except Exception as error:  # a defect met by one tier must not stop the others
        logger.exception("the plan could not be carried out", extra={"tier": str(plan.key)})
        return TierOutcome(plan.key, error=ActionError(reasons.INTERNAL_ERROR, f"{type(error).__name__}: {error}"))
    return TierOutcome(plan.key, written.applied, written.event, scaled_to, written.trouble or trouble)


async def _remove(view: TierView, cluster: Cluster) -> Written:
    """The tier is served elsewhere (now): its own child goes, a stranger's stays."""
    facts = view.workload.inference_service
    if facts is None or not facts.owned or facts.deleting:
        return Written()
    try:
        await cluster.delete(service(view, facts.name), uid=facts.uid)
    except TierwiseError as error:
        return Written(trouble=failure(error))
    return Written(applied=True, event=reasons.REMOVED)


async def _replicas(view: TierView, plan: TierPlan, cluster: Cluster) -> tuple[int | None, ActionError | None]:
    """Write the replicas: what was written (None: nothing had to be), and what went wrong."""
    facts, deployment, target = view.workload.inference_service, view.workload.deployment, plan.scale_to
    if target is None or deployment is None or facts is None or not facts.owned or facts.deleting:
        return None, None
    # With any other class KServe (or an HPA of its making) owns the replicas. It must have reached the Deployment
    # as well: a pod started before would be of the old template, and one of the new would start beside it.
    if {autoscaler_class(facts.manifest), deployment.autoscaler_class} != {"external"}:
        return None, None
    if target == deployment.spec_replicas:
        return None, None
    trouble = await _deletion_costs(view, plan, cluster) if target < deployment.spec_replicas else None
    ref = Ref(DEPLOYMENTS, "deployments", view.tier.key.namespace, deployment.name)
    try:
        await _scale(cluster, ref, deployment, target)
    except TierwiseError as error:
        return None, failure(error)
    return target, trouble


async def _scale(cluster: Cluster, ref: Ref, decided_on: DeploymentFacts, target: int) -> None:
    """Scale, on the version that was decided on. A Deployment's version moves with every pod that starts; as long as it
    is the same object with the same replicas, the decision stands on the newer version too."""
    try:
        await cluster.scale(ref, target, resource_version=decided_on.resource_version)
    except Conflict:
        fresh = await cluster.get(ref)
        if fresh is None or fresh["metadata"]["uid"] != decided_on.uid:
            raise
        if fresh["spec"].get("replicas", 1) != decided_on.spec_replicas:
            raise
        await cluster.scale(ref, target, resource_version=str(fresh["metadata"]["resourceVersion"]))


async def _deletion_costs(view: TierView, plan: TierPlan, cluster: Cluster) -> ActionError | None:
    """Tell the ReplicaSet which replicas to end first. Without it a busier one may end, which is no reason to keep
    paying for it: a failure is reported and the scale-down goes on."""
    pods = {pod.name: pod for pod in view.workload.pods}
    trouble: ActionError | None = None
    for name, cost in plan.deletion_costs:
        pod = pods.get(name)
        if pod is None or pod.deletion_cost == cost:
            continue
        annotations = {DELETION_COST: str(cost)}
        try:
            await cluster.annotate_pod(view.tier.key.namespace, name, uid=pod.uid, annotations=annotations)
        except (Gone, Conflict):  # that replica has ended meanwhile
            continue
        except TierwiseError as error:
            trouble = failure(error)
    return trouble
