"""Puts a plan that was made tier by tier under pools and a budget that all tiers share.

Each decision becomes a claim: what the load asks for, and what a window or missing measurements keep. What the fleet
grants becomes the decision's target. It comes after the tier's own steps, because a budget must count what a tier will
really have: GPUs that a window still holds are not there for another tier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide.demand import gaps
from tierwise.decide.fleet import (
    NO_BUDGET,
    Allocation,
    Budget,
    LimitedBy,
    Place,
    PoolState,
    TierClaim,
    TierGrant,
    allocate,
)
from tierwise.decide.router_demand import gaps as router_gaps
from tierwise.decide.workloads import workload_plans
from tierwise.pod_diagnosis import FINISHED
from tierwise.types import Decision, Plan, Snapshot, TierKey, TierPlan, TierView

_ONE: Mapping[TierKey, int] = {}


def share_out(
    snapshot: Snapshot,
    plan: Plan,
    pools: Iterable[PoolState],
    *,
    pool_of: Mapping[TierKey, str],
    budget: Budget = NO_BUDGET,
    priorities: Mapping[TierKey, int] = _ONE,
) -> tuple[Plan, Allocation]:
    """The plan with what the pools and the budget leave of it, and the allocation that says why.

    `pool_of`: where each tier that holds GPUs runs; one that is not named is left as planned, and so is one without
    GPUs. `priorities` are 1 unless given. Raises Invalid as `allocate` does."""
    views = {view.tier.key: view for view in snapshot.tiers}
    claims = []
    for each in plan.tiers:
        pool = pool_of.get(each.key)
        found = None if pool is None else claim(each, views[each.key], snapshot, pool)
        if found is not None:
            claims.append(replace(found, priority=priorities.get(each.key, 1)))
    allocation = allocate(claims, pools, budget)
    ours = {each.tier for each in claims if not each.failing}
    grants = {grant.tier: grant for grant in allocation.tiers if grant.tier in ours}
    shared = (
        granted(each, views[each.key], grants[each.key], snapshot) if each.key in grants else each
        for each in plan.tiers
    )
    return Plan(tuple(shared)), allocation


def claim(plan: TierPlan, view: TierView, snapshot: Snapshot, pool: str) -> TierClaim | None:
    """What a tier claims in the pool that it runs in; None of one whose replicas hold no GPU.

    One without a decision (a defect, a spec that is refused) keeps what it has, and so does one whose replicas are not
    ours to write."""
    spec, decision = view.tier.spec, plan.decision
    if plan.rollout is not None:
        spec = plan.rollout.spec
    if spec is None or spec.external is not None or spec.resources.gpus < 1:
        return None
    place = _place(view, spec, pool)
    if decision is None or view.foreign_scalers or spec.scaling.mode == "Advisory":
        return TierClaim(view.tier.key, (place,), view.replicas, failing=True)
    scaling = spec.scaling
    if spec.replicas is not None:
        return TierClaim(view.tier.key, (place,), spec.replicas, floor=spec.replicas)
    return TierClaim(
        tier=view.tier.key,
        places=(place,),
        wanted=_wanted(decision),
        floor=min(scaling.min_replicas, decision.target),
        most=scaling.max_replicas,
        kept=decision.target,
        doubtful=not snapshot.metrics.ok or bool(gaps(view) or router_gaps(view)),
    )


def _place(view: TierView, spec: ModelTierSpec, pool: str) -> Place:
    living = [pod for pod in view.pods if not pod.terminating and pod.phase not in FINISHED]
    bound = sum(1 for pod in living if pod.scheduled)
    # On a node that is lost a pod ends only when the node comes back, and its GPUs count to no capacity until then.
    going = (pod for pod in view.pods if pod.terminating and pod.scheduled and not pod.node_lost)
    ending = sum(1 for pod in going if pod.phase not in FINISHED)
    # Pods that a rollout, or a scale-down a moment ago, has left beyond what is asked for hold their GPUs, too.
    beyond = max(0, bound - view.replicas)
    return Place(
        pool=pool,
        gpus=spec.resources.gpus,
        replicas=view.replicas,
        pending=max(0, view.replicas - bound),
        terminating=ending + beyond,
    )


def _wanted(decision: Decision) -> int:
    """What the load asks for, before anything limits or holds it. The last replica starts and ends by a step of its
    own, for which load says nothing."""
    asked = 0
    for step in decision.steps:
        if step.name == "bounds":
            break
        asked = step.replicas
    return asked if asked and decision.target else decision.target


def granted(plan: TierPlan, view: TierView, grant: TierGrant, snapshot: Snapshot) -> TierPlan:
    """The plan with the number of replicas that the fleet grants."""
    decision, spec = plan.decision, view.tier.spec
    if decision is None or spec is None or grant.replicas == decision.target:
        return plan
    limit = grant.limited_by if grant.limited_by is not LimitedBy.METRICS else reasons.NO_METRICS
    shared = replace(
        decision,
        target=grant.replicas,
        reason=str(limit),
        message=grant.message,
        limited_by=str(limit),
        steps=(*decision.steps, *(step for step in grant.steps if step.name in ("reclaim", "pools"))),
    )
    writes = snapshot.kserve_present and plan.serve
    return replace(
        plan,
        decision=shared,
        workloads=workload_plans(view, spec, shared, plan.state) if writes else (),
    )
