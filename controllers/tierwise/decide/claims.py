"""Puts a plan that was made tier by tier under pools and a budget that all tiers share.

Each decision becomes a claim: what the load asks for, and what a window or missing measurements keep. What the fleet
grants becomes the decision's target. It comes after the tier's own steps, because a budget must count what a tier will
really have: GPUs that a window still holds are not there for another tier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from tierwise import reasons
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
from tierwise.types import Decision, Plan, Snapshot, Step, TierKey, TierPlan, TierView, Workload

_ONE: Mapping[TierKey, int] = {}


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a tier in a pool besides what is seen of it. `clamp`: the most replicas that the pool takes
    (None: any); `reserved`: replicas that were asked for a moment ago and may not be seen yet; `usd_per_mtok`: what a
    token costs there, as measured."""

    clamp: int | None = None
    reserved: int = 0
    usd_per_mtok: Decimal | None = None


_NOTHING = Standing()
_NONE: Mapping[tuple[TierKey, str], Standing] = {}
_WORDS = {
    LimitedBy.BUDGET: reasons.BUDGET,
    LimitedBy.POOL: reasons.POOL,
    LimitedBy.MAX: reasons.MAX_REPLICAS,
    LimitedBy.WINDOW: reasons.SCALE_DOWN_WINDOW,
    LimitedBy.METRICS: reasons.NO_METRICS,
    LimitedBy.TARGET: reasons.RECLAIMED,
}
"""A decision that the fleet has changed, in the words of decisions. One that is at its target, and was above it, has
given what nothing but a window or headroom kept."""


def share_out(
    snapshot: Snapshot,
    plan: Plan,
    pools: Iterable[PoolState],
    *,
    pool_of: Mapping[TierKey, str],
    budget: Budget = NO_BUDGET,
    priorities: Mapping[TierKey, int] = _ONE,
    standing: Mapping[tuple[TierKey, str], Standing] = _NONE,
) -> tuple[Plan, Allocation]:
    """The plan with what the pools and the budget leave of it, and the allocation that says why.

    `pool_of`: where each tier that holds GPUs runs, the first pool of one that has a workload in each of several; one
    that is not named is left as planned, and so is one without GPUs. `priorities` are 1 unless given. `standing`: by
    tier and pool. A plan that was shared out before is shared out from what it asked for, and
    is the same object when it gets the same. Raises Invalid as `allocate` does."""
    views = {view.tier.key: view for view in snapshot.tiers}
    claims = []
    for each in plan.tiers:
        pool = pool_of.get(each.key)
        found = None if pool is None else claim(_as_asked(each), views[each.key], snapshot, pool, standing)
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


def _as_asked(plan: TierPlan) -> TierPlan:
    return plan if plan.asked is None else replace(plan, decision=plan.asked, asked=None)


def claim(
    plan: TierPlan,
    view: TierView,
    snapshot: Snapshot,
    pool: str,
    standing: Mapping[tuple[TierKey, str], Standing] = _NONE,
) -> TierClaim | None:
    """What a tier claims in the pools that it runs in; None of one whose replicas hold no GPU. `pool`: that of a
    workload that names none.

    One without a decision (a defect, a spec that is refused) keeps what it has, and so does one whose replicas are not
    ours to write. What is retired claims nothing: it ends, and until then its GPUs are those of somebody else."""
    spec, decision, key = view.tier.spec, plan.decision, view.tier.key
    if spec is None or spec.external is not None or spec.resources.gpus < 1:
        return None
    places = tuple(
        _place(workload, _gpus(plan, view, workload), name, standing.get((key, name), _NOTHING))
        for workload, name in ((each, each.pool or pool) for each in view.staying)
    )
    if decision is None or view.foreign_scalers or spec.scaling.mode == "Advisory":
        return TierClaim(key, places, sum(place.replicas for place in places), failing=True)
    scaling = spec.scaling
    if spec.replicas is not None:
        return TierClaim(key, places, spec.replicas, floor=spec.replicas)
    return TierClaim(
        tier=key,
        places=places,
        wanted=_wanted(decision),
        floor=min(scaling.min_replicas, decision.target),
        most=scaling.max_replicas,
        kept=decision.target,
        demand=min(_asked(decision, "tolerance"), scaling.max_replicas),
        doubtful=not snapshot.metrics.ok or bool(gaps(view) or router_gaps(view)),
    )


def _gpus(plan: TierPlan, view: TierView, workload: Workload) -> int:
    """GPUs of one replica of a workload, one at least: in a pool that is not known, nothing is given anyway."""
    rollout, spec = plan.rollout_of(workload), view.spec_of(workload)
    if rollout is not None:
        spec = rollout.spec
    return 1 if spec is None else max(1, spec.resources.gpus)


def _place(workload: Workload, gpus: int, pool: str, known: Standing) -> Place:
    living = [pod for pod in workload.pods if not pod.terminating and pod.phase not in FINISHED]
    bound = sum(1 for pod in living if pod.scheduled)
    answering = sum(1 for pod in living if pod.name in workload.ready_endpoints)
    # On a node that is lost a pod ends only when the node comes back, and its GPUs count to no capacity until then.
    going = (pod for pod in workload.pods if pod.terminating and pod.scheduled and not pod.node_lost)
    ending = sum(1 for pod in going if pod.phase not in FINISHED)
    # Pods that a rollout, or a scale-down a moment ago, has left beyond what is asked for hold their GPUs, too.
    asked = max(workload.replicas, known.reserved)
    beyond = max(0, bound - asked)
    return Place(
        pool=pool,
        gpus=gpus,
        replicas=asked,
        pending=max(0, asked - bound),
        terminating=ending + beyond,
        usd_per_mtok=known.usd_per_mtok,
        clamp=known.clamp,
        starting=max(0, asked - answering),
    )


def _wanted(decision: Decision) -> int:
    """What the load asks for, before anything limits or holds it. The last replica starts and ends by a step of its
    own, for which load says nothing."""
    asked = _asked(decision, "bounds")
    return asked if asked and decision.target else decision.target


def _asked(decision: Decision, until: str) -> int:
    """Replicas after the last step before this one."""
    asked = 0
    for step in decision.steps:
        if step.name == until:
            break
        asked = step.replicas
    return asked


def granted(plan: TierPlan, view: TierView, grant: TierGrant, snapshot: Snapshot) -> TierPlan:
    """The plan with the number of replicas that the fleet grants."""
    decision, spec = plan.asked or plan.decision, view.tier.spec
    if decision is None or spec is None:
        return plan
    if grant.replicas == decision.target:
        shared, asked = decision, None
    else:
        word = _WORDS[grant.limited_by]
        steps = (_step(step, word) for step in grant.steps if step.name in ("reclaim", "pools"))
        shared, asked = (
            replace(
                decision,
                target=_together(decision, view, grant),
                reason=word,
                message=grant.message,
                limited_by=word,
                steps=(*decision.steps, *steps),
            ),
            decision,
        )
    shares = {each.name: place.replicas for each, place in zip(view.staying, grant.places, strict=True)}
    in_pools = tuple(shares.items()) if any(each.pool for each in view.staying) else ()
    writes = snapshot.kserve_present and plan.serve
    workloads = workload_plans(view, spec, shared, plan.state, shares) if writes else ()
    if (shared, workloads, in_pools) == (plan.decision, plan.workloads, plan.granted):
        return plan
    return replace(plan, decision=shared, asked=asked, workloads=workloads, granted=in_pools)


def _together(decision: Decision, view: TierView, grant: TierGrant) -> int:
    """What the tier is to have: what is granted, and of what it is leaving as much as nobody carries yet."""
    retired = sum(workload.replicas for workload in view.workloads if workload.retired)
    return max(grant.replicas, min(decision.target, grant.replicas + retired))


def _step(step: Step, word: str) -> Step:
    return replace(step, reason=word) if step.name == "pools" and step.reason else step
