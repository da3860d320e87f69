"""Carries out a plan: writes replicas and InferenceServices, and turns each failed write into a reason and a sentence.

Replicas of all tiers are written first, through the scale subresource of the Deployment, on the version that the
decision was made on. Then come the InferenceServices (`inference_service`). Only these pass through KServe's webhook:
while it hangs nothing can be healed, but replicas still follow the load.

One tier's failure never affects another: each tier has its own try, and every error becomes a reason and a sentence. A
server that does not answer is waited for once per cycle, and never longer than a share of it, so that there is always
time to report it. A tier that failed is tried after those that did not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from tierwise import reasons
from tierwise.act.error_mapping import to_action_error
from tierwise.act.guarded_client import GuardedClient
from tierwise.act.inference_service import (
    ApplyContext,
    WriteResult,
    autoscaler_class,
    reconcile_inference_service,
)
from tierwise.act.write_state import WriteState
from tierwise.errors import Conflict, Gone, Refused, TierwiseError
from tierwise.kube.objects import APPS_API, DELETION_COST, DEPLOYMENTS
from tierwise.ports import Cluster, ObjectRef
from tierwise.types import (
    ActionError,
    DeploymentFacts,
    Outcome,
    PendingScale,
    Plan,
    Rollout,
    Snapshot,
    TierKey,
    TierOutcome,
    TierPlan,
    TierView,
)

__all__ = ["WriteState", "act"]

logger = logging.getLogger(__name__)

# Enough to hide the latency of a few writes, few enough not to trip the API server's fairness after a restart.
PARALLEL = 8
# Of a cycle's time; the rest is for telling.
REPLICAS_SHARE, CHILDREN_SHARE = 0.25, 0.5
# Of the time for children: a write that waited less than this when the time was over was only late in its turn. Of the
# usual 40 s the children have 20 s, and these are 10 s, what a webhook is given by default.
SILENCE_SHARE = 0.5
# Of the time for replicas: a scale-down does not wait longer to be told which of them hold the fewest requests.
COSTS_SHARE = 0.5
CYCLE_SECONDS = 40.0

_LATE = ActionError(
    reasons.API_UNAVAILABLE, "the API server, or a webhook behind it, did not answer in time", transient=True
)
_NO_TURN = ActionError(
    reasons.API_UNAVAILABLE,
    "no time was left for it in this cycle: what was asked for other tiers took all of it",
    transient=True,
)
# A read was answered, the write of the same object was not: what stands between the two is KServe's webhook.
_SILENT = ActionError(
    reasons.KSERVE_NOT_ANSWERING,
    "the API server answers, and does not write the InferenceService in time: a webhook behind it does not answer",
    transient=True,
)


async def act(
    snapshot: Snapshot, plan: Plan, cluster: Cluster, memo: WriteState, *, limit_seconds: float = CYCLE_SECONDS
) -> Outcome:
    """Write what the plan says, all tiers side by side. Raises nothing: every failure is in the outcome.

    `limit_seconds`: how long the whole cycle may take; at most three quarters of that are used here."""
    rolled = {each.key: each.rollout for each in plan.tiers}
    views = {view.tier.key: _of(view, rolled.get(view.tier.key)) for view in snapshot.tiers}
    memo.keep(views)
    work = ApplyContext(snapshot.at, snapshot.kserve_present, cluster, memo)
    served = [each for each in plan.tiers if each.serve and each.invalid is None and not views[each.key].tier.deleting]
    served.sort(key=lambda each: memo.failed_at.get(each.key, 0.0))

    def replicas(each: TierPlan) -> Awaitable[WriteResult]:
        return _replicas(views[each.key], each, work, limit_seconds * REPLICAS_SHARE * COSTS_SHARE)

    scaled = await _side_by_side(served, limit_seconds * REPLICAS_SHARE, work, replicas)
    made = await _side_by_side(
        served, limit_seconds * CHILDREN_SHARE, work, lambda each: reconcile_inference_service(views[each.key], work)
    )
    nothing = WriteResult()
    return Outcome(
        tuple(
            _outcome(each.key, made.get(each.key, nothing), scaled.get(each.key, nothing), work)
            for each in sorted(plan.tiers, key=lambda each: each.key)
        )
    )


def _of(view: TierView, rollout: Rollout | None) -> TierView:
    """The tier with the spec that its replicas are made from."""
    return view if rollout is None else replace(view, tier=replace(view.tier, spec=rollout.spec))


def _outcome(key: TierKey, made: WriteResult, scaled: WriteResult, work: ApplyContext) -> TierOutcome:
    return TierOutcome(
        key=key,
        applied=made.applied,
        event=made.event,
        scaled_to=scaled.scaled_to,
        error=made.error or scaled.error,
        detail=made.detail,
        template=work.templates.get(key, ""),
    )


async def _side_by_side(
    plans: Iterable[TierPlan], seconds: float, work: ApplyContext, step: Callable[[TierPlan], Awaitable[WriteResult]]
) -> dict[TierKey, WriteResult]:
    """One step for all tiers, some at a time, in this order, and in this time for all of them together."""
    gate = asyncio.Semaphore(PARALLEL)
    now = asyncio.get_running_loop().time
    deadline = now() + seconds

    async def one(plan: TierPlan) -> tuple[TierKey, WriteResult]:
        async with gate:
            tried = now() < deadline
            try:
                # Without any time left this still lets pass what has nothing to write, and so waits for nothing.
                async with asyncio.timeout_at(deadline):
                    return plan.key, await step(plan)
            except TimeoutError:
                if not tried:
                    return plan.key, WriteResult(error=_NO_TURN)
                work.memo.failed_at[plan.key] = work.at
                if now() - work.writing.get(plan.key, now()) < seconds * SILENCE_SHARE:
                    return plan.key, WriteResult(error=_LATE)
                work.silence = _SILENT
                return plan.key, WriteResult(error=_SILENT)
            except Exception as error:  # a defect met by one tier must not stop the others
                logger.exception("the plan could not be carried out", extra={"tier": str(plan.key)})
                said = f"{type(error).__name__}: {error}"
                return plan.key, WriteResult(error=ActionError(reasons.INTERNAL_ERROR, said))

    return dict(await asyncio.gather(*(one(plan) for plan in plans)))


async def _replicas(view: TierView, plan: TierPlan, work: ApplyContext, seconds: float) -> WriteResult:
    """Write the replicas, if they have to be; `seconds` are for the deletion costs before that.

    The change is noted before it is asked for: an answer that is lost, or that nobody waits for any more, does not
    undo it."""
    facts, deployment, target = view.workload.inference_service, view.workload.deployment, plan.scale_to
    if (
        target is None
        or plan.decision is None
        or deployment is None
        or facts is None
        or not facts.owned
        or facts.deleting
    ):
        return WriteResult()
    # With any other class KServe (or an HPA of its making) owns the replicas. It must have reached the Deployment
    # as well: a pod started before would be of the old template, and one of the new would start beside it.
    if {autoscaler_class(facts.manifest), deployment.autoscaler_class} != {"external"}:
        return WriteResult()
    if target == deployment.spec_replicas:
        return WriteResult()
    cluster = GuardedClient(view.tier, work.cluster)
    trouble = await _deletion_costs(view, plan, cluster, seconds) if target < deployment.spec_replicas else None
    ref = ObjectRef(APPS_API, DEPLOYMENTS, view.tier.key.namespace, deployment.name)
    attempt = PendingScale(deployment.uid, deployment.generation, plan.decision, target, work.at)
    try:
        await cluster.check()
        work.memo.will_scale(plan.key, attempt)
        await _scale(cluster, ref, deployment, target)
    except TierwiseError as error:
        if isinstance(error, Refused):
            work.memo.did_not_scale(plan.key, attempt)
        return WriteResult(error=to_action_error(error))
    return WriteResult(scaled_to=target, error=trouble)


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


async def _deletion_costs(view: TierView, plan: TierPlan, cluster: Cluster, seconds: float) -> ActionError | None:
    """Tell the ReplicaSet which replicas to end first. Without it a busier one may end, which is no reason to keep
    paying for it: a failure, or one that is not answered in time, is reported and the scale-down goes on."""
    pods = {pod.name: pod for pod in view.workload.pods}
    gate = asyncio.Semaphore(PARALLEL)

    async def one(name: str, cost: int) -> ActionError | None:
        pod = pods.get(name)
        if pod is None or pod.deletion_cost == cost:
            return None
        annotations = {DELETION_COST: str(cost)}
        try:
            async with gate:
                await cluster.annotate_pod(view.tier.key.namespace, name, uid=pod.uid, annotations=annotations)
        except (Gone, Conflict):  # that replica has ended meanwhile
            return None
        except TierwiseError as error:
            return to_action_error(error)
        return None

    try:
        async with asyncio.timeout(seconds):
            troubles = await asyncio.gather(*(one(name, cost) for name, cost in plan.deletion_costs))
    except TimeoutError:
        return _LATE
    return next((trouble for trouble in troubles if trouble is not None), None)
