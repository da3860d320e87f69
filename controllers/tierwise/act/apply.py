"""Carries out a plan: replicas first, then InferenceServices, and says what became of each write.

First the replicas of all tiers (`replicas`), then the InferenceServices (`inference_service`). Only these go through
KServe's webhook: while that hangs nothing can be healed, yet replicas still follow the load.

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
from tierwise.act.context import ApplyContext, Target, WriteResult
from tierwise.act.former import end_former_replicas
from tierwise.act.guarded_client import GuardedClient
from tierwise.act.inference_service import reconcile_inference_service
from tierwise.act.replicas import LATE, PARALLEL, write_replicas
from tierwise.act.retired import retire_inference_service
from tierwise.act.write_state import WriteState
from tierwise.ports import Cluster, ScaleJournal
from tierwise.types import (
    ActionError,
    Outcome,
    Plan,
    Snapshot,
    TierKey,
    TierOutcome,
    TierPlan,
    TierView,
    WorkloadKey,
    WorkloadOutcome,
)

__all__ = ["WriteState", "act"]

logger = logging.getLogger(__name__)

# Of a cycle's time; the rest is for telling.
REPLICAS_SHARE, CHILDREN_SHARE = 0.25, 0.5
# Of the time for children: a write that waited less than this when the time was over was only late in its turn. Of the
# usual 40 s the children have 20 s, and these are 10 s, what a webhook is given by default.
SILENCE_SHARE = 0.5
# Of the time for replicas: a scale-down does not wait longer to be told which of them hold the fewest requests.
COSTS_SHARE = 0.5
CYCLE_SECONDS = 40.0

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
    snapshot: Snapshot,
    plan: Plan,
    cluster: Cluster,
    write_state: WriteState,
    journal: ScaleJournal,
    *,
    limit_seconds: float = CYCLE_SECONDS,
) -> Outcome:
    """Write what the plan says, all tiers side by side. Raises nothing: every failure is in the outcome.

    `limit_seconds`: how long the whole cycle may take; at most three quarters of that are used here."""
    views = {view.tier.key: view for view in snapshot.tiers}
    write_state.forget(views)
    context = ApplyContext(snapshot.at, snapshot.kserve_present, cluster, write_state, journal)
    targets = [target for each in plan.tiers for target in _targets(each, views[each.key])]
    targets.sort(key=lambda target: write_state.failed_at.get(target.key, 0.0))

    async def replicas(target: Target) -> WriteResult:
        guarded = GuardedClient(target.tier, cluster)
        former = await end_former_replicas(target, guarded)
        scaled = await write_replicas(target, context, guarded, limit_seconds * REPLICAS_SHARE * COSTS_SHARE)
        return replace(scaled, freed=former.freed, error=scaled.error or former.error)

    def service(target: Target) -> Awaitable[WriteResult]:
        if target.workload.retired:
            return retire_inference_service(target, context)
        return reconcile_inference_service(target, context)

    scaled = await _side_by_side(targets, limit_seconds * REPLICAS_SHARE, context, replicas)
    made = await _side_by_side(targets, limit_seconds * CHILDREN_SHARE, context, service)
    done: dict[TierKey, list[WorkloadOutcome]] = {}
    for target in targets:
        done.setdefault(target.tier.key, []).append(_outcome(target, made[target.key], scaled[target.key], context))
    return Outcome(
        tuple(
            TierOutcome(each.key, tuple(sorted(done.get(each.key, ()), key=_in_order(views[each.key]))))
            for each in sorted(plan.tiers, key=lambda each: each.key)
        )
    )


def _targets(plan: TierPlan, view: TierView) -> Iterable[Target]:
    """The workloads of a tier that are ours to write; none of one that shall be left as it is."""
    if not plan.serve or plan.invalid is not None or view.tier.deleting or view.tier.spec is None:
        return
    replicas = {each.name: each for each in plan.workloads}
    for workload in view.workloads:
        rollout = plan.rollout_of(workload)
        spec = rollout.spec if rollout is not None else view.spec_of(workload)
        yield Target(view, workload, None if workload.retired else spec, plan, replicas.get(workload.name))


def _in_order(view: TierView) -> Callable[[WorkloadOutcome], int]:
    names = [workload.name for workload in view.workloads]
    return lambda outcome: names.index(outcome.name)


def _outcome(target: Target, made: WriteResult, scaled: WriteResult, context: ApplyContext) -> WorkloadOutcome:
    return WorkloadOutcome(
        name=target.workload.name,
        applied=made.applied,
        event=made.event,
        detail=made.detail,
        scaled_from=target.replicas.current if target.replicas is not None else 0,
        scaled_to=scaled.scaled_to,
        template=context.templates.get(target.key, ""),
        freed=scaled.freed,
        error=made.error or scaled.error,
    )


async def _side_by_side(
    targets: Iterable[Target], seconds: float, context: ApplyContext, step: Callable[[Target], Awaitable[WriteResult]]
) -> dict[WorkloadKey, WriteResult]:
    """One step for all workloads, some at a time, in this order, and in this time for all of them together."""
    gate = asyncio.Semaphore(PARALLEL)
    now = asyncio.get_running_loop().time
    deadline = now() + seconds

    async def one(target: Target) -> tuple[WorkloadKey, WriteResult]:
        key = target.key
        async with gate:
            tried = now() < deadline
            try:
                # Without any time left this still lets pass what has nothing to write, and so waits for nothing.
                async with asyncio.timeout_at(deadline):
                    return key, await step(target)
            except TimeoutError:
                if not tried:
                    return key, WriteResult(error=_NO_TURN)
                context.write_state.failed_at[key] = context.at
                if now() - context.writing.get(key, now()) < seconds * SILENCE_SHARE:
                    return key, WriteResult(error=LATE)
                context.unresponsive = _SILENT
                return key, WriteResult(error=_SILENT)
            except Exception as error:  # a defect met by one tier must not stop the others
                logger.exception("the plan could not be carried out", extra={"tier": str(key)})
                said = f"{type(error).__name__}: {error}"
                return key, WriteResult(error=ActionError(reasons.INTERNAL_ERROR, said))

    return dict(await asyncio.gather(*(one(target) for target in targets)))
