"""Puts the plans of all tiers under the pools and budgets that they share.

It comes after the tiers' own decisions, in every cycle and for all tiers: who is settled may lose to one who is not. A
plan that gets what it got before is the same object as before, so that whoever looks can tell.

What could not be scheduled is given up and tried again later (`fleet.clamp`); that is the one thing that is remembered
here, in the tier's state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from tierwise.decide.claims import Standing, share_out
from tierwise.decide.fleet import Allocation, Budget, PoolState
from tierwise.decide.fleet import clamp as clamping
from tierwise.decide.pool_rates import usd_per_million_tokens
from tierwise.pod_diagnosis import FINISHED
from tierwise.types import Plan, PoolClamp, PoolView, Snapshot, TierKey, TierPlan, TierView, Workload, WorkloadKey

_EMPTY = Allocation((), ())
_NONE: Mapping[WorkloadKey, int] = {}


@dataclass(frozen=True, slots=True)
class SharedPlan:
    """The plan with what pools and budgets leave of it, and the allocation that says why (empty without pools)."""

    plan: Plan
    allocation: Allocation = _EMPTY


def share(snapshot: Snapshot, plan: Plan, reserved: Mapping[WorkloadKey, int] = _NONE) -> SharedPlan:
    """`plan` under the pools of the snapshot. `reserved`: replicas that were asked for a moment ago, by workload, and
    that the snapshot may not show yet."""
    if not snapshot.pools.views:
        return SharedPlan(plan)
    pool_of = _pool_of(snapshot)
    views = {view.tier.key: view for view in snapshot.tiers if view.tier.key in pool_of}
    plans = tuple(_clamped(each, views[each.key], snapshot.at) if each.key in pool_of else each for each in plan.tiers)
    specs = {key: view.tier.spec for key, view in views.items()}
    shared, allocation = share_out(
        snapshot,
        Plan(plans),
        [pool_state(pool) for pool in snapshot.pools.views],
        pool_of=pool_of,
        priorities={key: spec.priority for key, spec in specs.items() if spec is not None},
        standing={
            (each.key, workload.pool): Standing(
                _most(each, workload, snapshot.at),
                reserved.get(WorkloadKey(each.key, workload.name), 0),
                _usd_per_mtok(each, workload),
            )
            for each in plans
            if each.key in pool_of
            for workload in views[each.key].staying
        },
    )
    return SharedPlan(shared, allocation)


def held(snapshot: Snapshot, plan: Plan) -> Plan:
    """`plan` without a change of replicas of any tier that names a pool: for when pools cannot be shared out."""
    pooled = {view.tier.key for view in snapshot.tiers if view.tier.spec is not None and view.tier.spec.pools}
    return Plan(tuple(replace(each, workloads=()) if each.key in pooled else each for each in plan.tiers))


def _pool_of(snapshot: Snapshot) -> dict[TierKey, str]:
    """The pool of each tier that names one which exists."""
    names = {pool.name for pool in snapshot.pools.views}
    return {
        view.tier.key: view.tier.spec.pools[0].name
        for view in snapshot.tiers
        if view.tier.spec is not None and view.tier.spec.pools and view.tier.spec.pools[0].name in names
    }


def pool_state(view: PoolView) -> PoolState:
    """A pool as it is shared out."""
    spec = view.pool.spec
    known = spec is not None and view.others is not None
    return PoolState(
        name=view.name,
        capacity=view.capacity if known else None,
        others=view.others or 0,
        gpu_hour=None if view.price is None else view.price.usd,
        budget=Budget(known=False) if spec is None else budget(view),
    )


def budget(view: PoolView) -> Budget:
    """The budget of a pool; no limit where its spec cannot be read."""
    if view.pool.spec is None:
        return Budget()
    said = view.pool.spec.budget
    return Budget(said.gpus, None if said.usd_per_hour is None else Decimal(said.usd_per_hour))


def _clamped(plan: TierPlan, view: TierView, at: float) -> TierPlan:
    """The plan with what is to be remembered of pods that could not be scheduled."""
    found = (_clamp(plan, workload, at) for workload in view.staying)
    clamps = tuple(sorted((each for each in found if each is not None), key=lambda each: each.pool))
    if clamps == plan.state.clamps:
        return plan
    return replace(plan, state=replace(plan.state, clamps=clamps))


def _clamp(plan: TierPlan, workload: Workload, at: float) -> PoolClamp | None:
    kept = next((each for each in plan.state.clamps if each.pool == workload.pool), None)
    living = [pod for pod in workload.pods if not pod.terminating and pod.phase not in FINISHED]
    stuck = sum(1 for pod in living if pod.unschedulable_message and at - pod.created_at >= clamping.PATIENCE_SECONDS)
    if kept is None and not stuck:
        return None
    before = None if kept is None else clamping.Clamp(kept.replicas, kept.since, kept.tries)
    scheduled = sum(1 for pod in living if pod.scheduled)
    after = clamping.observed(before, scheduled=scheduled, stuck=stuck, now=at)
    return None if after is None else PoolClamp(workload.pool, after.replicas, after.since, after.tries)


def _usd_per_mtok(plan: TierPlan, workload: Workload) -> Decimal | None:
    rate = next((each for each in plan.state.rates if each.pool == workload.pool), None)
    return None if workload.spec is None else usd_per_million_tokens(workload.spec, rate)


def _most(plan: TierPlan, workload: Workload, at: float) -> int | None:
    """The most replicas of a workload; none of one whose name another tier has."""
    service = workload.inference_service
    if service is not None and not service.owned:
        return 0
    kept = next((each for each in plan.state.clamps if each.pool == workload.pool), None)
    return None if kept is None else clamping.most(clamping.Clamp(kept.replicas, kept.since, kept.tries), at)
