"""All plans under the pools that their tiers name: what is shared out, remembered, and left as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders.pools import pool as a_pool
from tests.builders.pools import unreadable
from tests.unit.decide.make import HEALTHY, NOW, pod, sample, view
from tests.unit.decide.test_claims import seen, targets
from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec, Resources, TierPool
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.decide import decide, held, remember, share
from tierwise.decide.capped_tiers import why_capped
from tierwise.decide.fleet.clamp import FIRST_SECONDS, PATIENCE_SECONDS
from tierwise.decide.pool_checks import awaits_pools, pool_problem
from tierwise.decide.pools import budget, pool_state
from tierwise.decide.standing import stands
from tierwise.decide.state_codec import restore
from tierwise.types import (
    Plan,
    PodFacts,
    PoolClamp,
    Pools,
    PoolView,
    Snapshot,
    TierKey,
    TierState,
    TierView,
    WorkloadKey,
)


def placed(name: str, requests: float = 0.0, *, priority: int = 1, pool: str = "h100", **more: Any) -> TierView:
    """A tier in a pool, whose replicas run so many requests each; 20 fill one."""
    made = seen(name, requests, **more)
    assert made.tier.spec is not None
    spec = made.tier.spec.model_copy(update={"pools": [TierPool(name=pool)], "priority": priority})
    return with_spec(made, spec, pool)


def with_spec(made: TierView, spec: ModelTierSpec, pool: str = "h100") -> TierView:
    """The tier with this spec, which is the one that it has in its pool."""
    workloads = tuple(replace(each, pool=pool, spec=spec) for each in made.workloads)
    return replace(made, tier=replace(made.tier, spec=spec), workloads=workloads)


def snapshot(*views: TierView, at: float = NOW, pools: tuple[PoolView, ...] = (), **pool: Any) -> Snapshot:
    limits = pools or (a_pool(pool.pop("spec", None), others=0, **pool),)
    ordered = tuple(sorted(views, key=lambda view: view.tier.key))
    return Snapshot(at, ordered, HEALTHY, pools=Pools(limits))


def decided(given: Snapshot, *states: TierState) -> Plan:
    known = {view.tier.key: TierState(recommended=1) for view in given.tiers}
    known |= {view.tier.key: state for view, state in zip(given.tiers, states, strict=False)}
    return decide(given, known)


def test_without_pools_a_plan_is_left_as_it_is() -> None:
    given = Snapshot(NOW, (seen("chat", 60),), HEALTHY)
    plan = decided(given)
    shared = share(given, plan)
    assert shared.plan is plan
    assert (shared.allocation.tiers, shared.allocation.pools) == ((), ())


def test_only_tiers_in_a_pool_share_and_by_their_priority() -> None:
    given = snapshot(placed("a", 120, priority=3), placed("b", 120), seen("free", 120), capacity=4)
    plan = decided(given)
    shared = share(given, plan)
    assert targets(shared.plan) == {"a": 3, "b": 1, "free": 6}
    a, b, free = shared.plan.tiers
    assert free is plan.tiers[2]
    for each, asked in ((a, 6), (b, 6)):
        assert each.decision is not None
        assert (each.decision.limited_by, each.decision.reason) == (reasons.POOL, reasons.POOL)
        assert each.decision.steps[-1].name == "pools"
        assert each.asked is not None
        assert each.asked.target == asked


def test_what_was_asked_for_a_moment_ago_counts_as_held() -> None:
    given = snapshot(placed("a", 20), placed("b", 80), capacity=5)
    assert targets(share(given, decided(given)).plan) == {"a": 1, "b": 4}
    shared = share(given, decided(given), {WorkloadKey(TierKey("team", "a"), "chat"): 3})
    assert targets(shared.plan)["b"] <= 2
    assert shared.allocation.pools[0].used == 4


def test_a_plan_that_gets_what_it_got_is_the_same_object_and_one_that_does_not_starts_from_what_it_asked_for() -> None:
    given = snapshot(placed("a", 120), capacity=4)
    first = share(given, decided(given)).plan
    assert share(given, first).plan.tiers[0] is first.tiers[0]
    more = snapshot(placed("a", 120), capacity=5)
    again = share(more, first).plan
    assert targets(again) == {"a": 5}
    assert again.tiers[0].workloads[0].scale_to == 5
    enough = snapshot(placed("a", 120), capacity=8)
    free = share(enough, again).plan.tiers[0]
    assert free.asked is None
    assert free.decision == decided(given).tiers[0].decision
    assert replace(free, granted=()) == decided(given).tiers[0]


def test_the_word_follows_what_limits_even_where_the_number_does_not() -> None:
    given = snapshot(placed("a", 120), capacity=4)
    first = share(given, decided(given)).plan
    by_budget = snapshot(placed("a", 120), spec={"budget": {"gpus": 4}})
    again = share(by_budget, first).plan.tiers[0]
    assert again.decision is not None
    assert (again.decision.target, again.decision.limited_by) == (4, reasons.BUDGET)


def test_a_pool_that_is_not_known_lets_nothing_grow_and_takes_nothing() -> None:
    for unknown in (a_pool(capacity=None, others=None), unreadable()):
        given = snapshot(placed("a", 120), placed("b", 5, current=3), pools=(unknown,))
        plan = decided(replace(given, pools=Pools((a_pool(others=0),))))
        shared = share(given, plan)
        assert targets(shared.plan)["a"] == 1
        assert shared.plan.tiers[0].workloads == ()
        gives = replace(shared.plan.tiers[1], granted=())
        assert gives == plan.tiers[1], "what a tier gives back by itself is no matter of the pool"


def test_one_whose_pool_does_not_exist_is_not_shared_out() -> None:
    given = snapshot(placed("a", 120, pool="gone"))
    plan = decided(given)
    assert plan.tiers[0].invalid is not None
    assert plan.tiers[0].invalid[0] == reasons.POOL_NOT_FOUND
    assert share(given, plan).plan.tiers[0] is plan.tiers[0]


def test_a_defect_writes_no_replica_of_a_tier_in_a_pool() -> None:
    given = snapshot(placed("a", 120), seen("free", 120))
    plan = decided(given)
    kept = held(given, plan)
    assert kept.tiers[0].workloads == ()
    assert kept.tiers[1] is plan.tiers[1]


def test_pool_state_and_budget() -> None:
    state = pool_state(a_pool({"budget": {"gpus": 3, "usdPerHour": "7.5"}}))
    assert (state.name, state.capacity, state.others, str(state.gpu_hour)) == ("h100", 8, 1, "2.5")
    assert (state.budget.gpus, str(state.budget.usd_per_hour), state.budget.known) == (3, "7.5", True)
    assert pool_state(unreadable()).budget.known is False
    assert budget(unreadable()).gpus is None
    assert pool_state(a_pool(others=None)).capacity is None
    assert pool_state(a_pool(price=None)).gpu_hour is None


def loaded(name: str, total: float, replicas: int, at: float, **more: Any) -> TierView:
    """A tier whose replicas share so many requests; 20 fill one."""
    made = placed(name, current=replicas, **more)
    samples = tuple(sample(f"{name}-{each}", total / replicas, at=at) for each in range(replicas))
    pods = tuple(pod(each.pod) for each in samples)
    fresh = view(made.tier.spec, samples, current=replicas, pods=pods)
    return replace(fresh, tier=made.tier)


@pytest.mark.parametrize("loads", [(43.0, 90.0), (47.0, 47.0), (21.5, 70.0), (65.0, 41.5), (30.0, 22.0)])
@pytest.mark.parametrize("capacity", [3, 4, 5])
def test_under_contention_a_constant_load_comes_to_rest(loads: tuple[float, float], capacity: int) -> None:
    """Also where it is hardly above what runs (that is tolerated), and while a new replica is measured for the first
    time: neither may make a tier rank as one that has all it could use."""
    names, replicas, states = ("a", "b"), [1, 1], [TierState(recommended=1), TierState(recommended=1)]
    seen_: list[tuple[int, ...]] = []
    for number in range(14):
        at = NOW + 30.0 * number
        views = [loaded(name, load, held, at) for name, load, held in zip(names, loads, replicas, strict=True)]
        plan = share(given := snapshot(*views, at=at, capacity=capacity), decided(given, *states)).plan
        states = [each.state for each in plan.tiers]
        replicas = [each.decision.target for each in plan.tiers if each.decision is not None]
        assert sum(replicas) <= capacity
        seen_.append(tuple(replicas))
    assert len(set(seen_[-8:])) == 1, seen_


# --- what could not be scheduled --------------------------------------------------------------------------------------


def stuck(name: str, age: float) -> PodFacts:
    waiting = replace(pod(name, ready=False), phase="Pending", scheduled=False, created_at=NOW - age)
    return replace(waiting, unschedulable_message="0/1 nodes are available")


def growing(age: float, scheduled: int = 2) -> TierView:
    """A tier that asks for more than nodes take: so many run, and one is stuck."""
    pods = (*(pod(f"a-{index}") for index in range(scheduled)), stuck(f"a-{scheduled}", age))
    return placed("a", 60, current=scheduled + 1, pods=pods)


def test_what_no_node_takes_is_given_up_remembered_and_tried_again() -> None:
    given = snapshot(growing(PATIENCE_SECONDS), capacity=8)
    shared = share(given, decided(given)).plan.tiers[0]
    assert shared.state.clamps == (PoolClamp("h100", 2, NOW, 1),)
    assert shared.decision is not None
    assert (shared.decision.target, shared.decision.limited_by) == (2, reasons.POOL)
    assert "no node took more than 2 replicas" in shared.decision.message
    after = placed("a", 60, current=2, pods=(pod("a-0"), pod("a-1")))
    for seconds, target in ((FIRST_SECONDS - 1, 2), (FIRST_SECONDS, 3)):
        later = snapshot(after, at=NOW + seconds)
        plan = share(later, decided(later, shared.state)).plan.tiers[0]
        assert plan.decision is not None
        assert plan.decision.target == target
        assert plan.state.clamps == shared.state.clamps


def remembered(*states: PoolClamp) -> tuple[PoolClamp, ...]:
    """The clamps after a look at a tier with two replicas and a third that is stuck, which had these."""
    given = snapshot(growing(PATIENCE_SECONDS), capacity=8)
    return share(given, decided(given, TierState(recommended=1, clamps=states))).plan.tiers[0].state.clamps


def test_each_try_that_fails_counts_and_the_next_waits_for_all_of_them() -> None:
    waits = 2 * FIRST_SECONDS
    assert remembered(PoolClamp("h100", 2, NOW - waits, 2)) == (PoolClamp("h100", 2, NOW, 3),)
    assert remembered(PoolClamp("h100", 2, NOW - waits + 1, 2)) == (PoolClamp("h100", 2, NOW - waits + 1, 2),)
    after = placed("a", 60, current=2, pods=(pod("a-0"), pod("a-1")))
    for seconds, target in ((waits - 1, 2), (waits, 3)):
        later = snapshot(after, at=NOW + seconds, capacity=8)
        state = TierState(recommended=1, clamps=(PoolClamp("h100", 2, NOW, 2),))
        assert targets(share(later, decided(later, state)).plan) == {"a": target}


def test_pods_that_end_or_have_ended_are_none_that_a_node_took() -> None:
    gone = (
        replace(pod("a-7"), terminating=True),
        replace(pod("a-8"), phase="Failed"),
        replace(stuck("a-9", PATIENCE_SECONDS), terminating=True),
    )
    made = growing(PATIENCE_SECONDS)
    pods = (*made.workloads[0].pods, *gone)
    given = snapshot(replace(made, workloads=(replace(made.workloads[0], pods=pods),)), capacity=8)
    assert share(given, decided(given)).plan.tiers[0].state.clamps == (PoolClamp("h100", 2, NOW, 1),)
    ended = snapshot(placed("a", 60, current=3, pods=(pod("a-0"), *gone)), capacity=8)
    assert share(ended, decided(ended)).plan.tiers[0].state.clamps == ()


def test_clamps_are_remembered_in_the_order_of_their_pools() -> None:
    made = growing(PATIENCE_SECONDS)
    (here,) = made.workloads
    given = snapshot(replace(made, workloads=(here, replace(here, name="a-a100", pool="a100"))), capacity=8)
    pools = tuple(
        replace(each, pool=replace(each.pool, name=name)) for each in given.pools.views for name in ("a100", "h100")
    )
    given = replace(given, pools=Pools(pools))
    clamps = share(given, decided(given)).plan.tiers[0].state.clamps
    assert clamps == (PoolClamp("a100", 2, NOW, 1), PoolClamp("h100", 2, NOW, 1))


def test_a_young_pod_is_not_given_up_and_one_that_starts_ends_the_clamp() -> None:
    given = snapshot(growing(PATIENCE_SECONDS - 1), capacity=8)
    assert share(given, decided(given)).plan.tiers[0].state.clamps == ()
    fits = snapshot(placed("a", 60, current=3, pods=tuple(pod(f"a-{index}") for index in range(3))))
    plan = decided(fits, TierState(recommended=1, clamps=(PoolClamp("h100", 2, NOW - 90, 1),)))
    assert share(fits, plan).plan.tiers[0].state.clamps == ()


def test_a_clamp_of_another_pool_says_nothing() -> None:
    given = snapshot(placed("a", 60), capacity=8)
    plan = decided(given, TierState(recommended=1, clamps=(PoolClamp("t4", 0, NOW, 1),)))
    assert targets(share(given, plan).plan) == {"a": 3}


def test_a_clamp_survives_a_restart() -> None:
    state = TierState(recommended=1, clamps=(PoolClamp("h100", 2, NOW - 50, 3),))
    kept = ModelTierStatus.model_validate({"scaling": {"memory": remember(state).model_dump(by_alias=True)}})
    assert restore(kept, NOW).clamps == state.clamps
    assert restore(kept, NOW - 100).clamps == (PoolClamp("h100", 2, NOW - 100, 3),), "a time to come is now"


def test_a_plan_with_a_clamp_does_not_stand() -> None:
    made = placed("a", 10, pods=(replace(pod("a-0"), ready_at=NOW - 100),))
    state = TierState(recommended=1, clamps=(PoolClamp("h100", 1, NOW, 1),))
    given = snapshot(made)
    plan = decided(given, state).tiers[0]
    plan = replace(plan, workloads=(), state=replace(state, observed_at=NOW, sampled_at=NOW))
    before = replace(plan.state, clamps=())
    assert not stands(given.tiers[0], plan.state, plan, given)
    assert before.clamps == ()


# --- whether a tier can run in its pool -------------------------------------------------------------------------------


def problem(view: TierView, pools: Pools) -> str:
    assert view.tier.spec is not None
    found = pool_problem(view, view.tier.spec, pools)
    return "" if found is None else ": ".join(found)


def test_nothing_is_held_for_a_tier_that_has_asked_for_nothing() -> None:
    """A tier that shall have no replica holds no GPU, unless one was asked for a moment ago."""
    given = snapshot(placed("busy", 60), placed("idle", current=0, replicas=0), capacity=3)
    plan = decided(given)
    assert targets(share(given, plan).plan) == {"busy": 3, "idle": 0}
    assert targets(share(given, plan, {WorkloadKey(TierKey("team", "idle"), "chat"): 1}).plan)["busy"] == 2


def test_a_pool_is_judged_by_what_the_tier_runs_there() -> None:
    amd = Pools((a_pool({"resourceName": "amd.com/gpu"}),))
    plain = placed("a")
    assert problem(plain, amd).startswith("PoolConflict: GPUPool h100 lends amd.com/gpu")
    (work,) = plain.workloads
    assert work.spec is not None
    image = work.spec.engine.model_copy(update={"image": "rocm/vllm:v0.33.0"})
    there = replace(work, spec=work.spec.model_copy(update={"engine": image}))
    assert problem(replace(plain, workloads=(there,)), amd) == ""


def test_a_tier_says_why_it_cannot_run_in_its_pool() -> None:
    pools = Pools((a_pool(),))
    assert problem(seen("free"), Pools(problem="forbidden")) == ""
    assert problem(placed("a"), pools) == ""
    assert problem(placed("a"), Pools(problem="forbidden")) == "PoolsUnknown: forbidden"
    assert problem(placed("a", pool="x"), pools) == "PoolNotFound: there is no GPUPool x; there are h100"
    two = Pools((replace(a_pool(), pool=replace(a_pool().pool, name="a100")), a_pool()))
    assert problem(placed("a", pool="x"), two) == "PoolNotFound: there is no GPUPool x; there are a100, h100"
    assert problem(placed("a"), Pools()) == "PoolNotFound: there is no GPUPool h100; there is none"
    assert problem(placed("a"), Pools((unreadable(),))) == "InvalidPool: GPUPool h100: spec.budget: wrong"


def test_no_node_can_be_of_two_kinds() -> None:
    made = placed("a")
    assert made.tier.spec is not None
    placement = made.tier.spec.placement.model_copy(update={"node_selector": {"zone": "b", "disk": "fast"}})
    spec = made.tier.spec.model_copy(update={"placement": placement})
    made = with_spec(made, spec)
    assert problem(made, Pools((a_pool({"nodeSelector": {"zone": "b", "rack": "1"}}),))) == ""
    said = "PoolConflict: placement.nodeSelector wants zone: 'b', GPUPool h100 wants 'a'"
    assert problem(made, Pools((a_pool({"nodeSelector": {"zone": "a"}}),))) == said


@pytest.mark.parametrize("resource", ["amd.com/gpu", "habana.ai/gaudi", "gpu.intel.com/i915", "google.com/tpu"])
def test_the_engines_own_image_is_for_nvidia(resource: str) -> None:
    other = Pools((a_pool({"resourceName": resource}),))
    assert problem(placed("a"), other) == (
        f"PoolConflict: GPUPool h100 lends {resource}, and the engine's own image is for NVIDIA GPUs: "
        "name a build for it in engine.image"
    )
    made = placed("a")
    assert made.tier.spec is not None
    engine = made.tier.spec.engine.model_copy(update={"image": "a/rocm:1"})
    spec = made.tier.spec.model_copy(update={"engine": engine, "resources": Resources()})
    assert problem(with_spec(made, spec), other) == ""
    assert problem(placed("a"), Pools((a_pool({"resourceName": "nvidia.com/mig-1g.10gb"}),))) == ""


def test_who_names_a_pool_waits_until_pools_are_known() -> None:
    given = replace(snapshot(placed("a", 60), seen("free", 60)), pools=Pools(known=False))
    assert [each.key.name for each in decided(given).tiers] == ["free"]
    assert awaits_pools(given.tiers[0].tier, Pools(known=False))
    assert not awaits_pools(given.tiers[0].tier, Pools(known=False, problem="forbidden"))
    assert not awaits_pools(given.tiers[1].tier, Pools(known=False))


@pytest.mark.parametrize("word", [reasons.BUDGET, reasons.POOL])
def test_a_tier_that_a_pool_or_a_budget_holds_cannot_grow(word: str) -> None:
    made = placed("a")
    assert why_capped(made) == ""
    limited = replace(made, tier=replace(made.tier, status=ModelTierStatus(limited_by=word)))
    assert why_capped(limited) == word
    window = replace(made, tier=replace(made.tier, status=ModelTierStatus(limited_by=reasons.SCALE_DOWN_WINDOW)))
    assert why_capped(window) == ""
