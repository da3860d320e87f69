"""A plan that was made tier by tier, put under a budget that all tiers share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.decide.make import HEALTHY, NOW, pod, sample, spec, view
from tierwise import reasons
from tierwise.decide import decide
from tierwise.decide.claims import claim, share_out
from tierwise.decide.fleet import Budget, Place, PoolState
from tierwise.types import MetricsHealth, Peak, Plan, Snapshot, TierKey, TierState, TierView

POOL = [PoolState("gpus", 8)]


def seen(name: str, requests: float = 0.0, *, current: int = 1, pods: Any = None, **scaling: Any) -> TierView:
    """A tier whose replicas run so many requests each; 20 fill one."""
    samples = tuple(sample(f"{name}-{index}", requests) for index in range(current))
    workload = {} if pods is None else {"pods": pods}
    made = view(spec(**{"maxReplicas": 10, **scaling}), samples, current=current, **workload)
    return replace(made, tier=replace(made.tier, key=TierKey("team", name)))


def planned(*views: TierView, metrics: MetricsHealth = HEALTHY, **states: TierState) -> tuple[Snapshot, Plan]:
    snapshot = Snapshot(NOW, tuple(sorted(views, key=lambda each: each.tier.key)), metrics)
    known = {each.tier.key: states.get(each.tier.key.name, TierState(recommended=1)) for each in views}
    return snapshot, decide(snapshot, known)


def pools_of(snapshot: Snapshot) -> dict[TierKey, str]:
    return {each.tier.key: "gpus" for each in snapshot.tiers}


def targets(plan: Plan) -> dict[str, int]:
    return {each.key.name: each.decision.target for each in plan.tiers if each.decision is not None}


def test_with_enough_for_all_the_plan_stays_as_it_is() -> None:
    snapshot, plan = planned(seen("chat", 60), seen("code", 40))
    shared, allocation = share_out(snapshot, plan, POOL, pool_of=pools_of(snapshot))
    assert shared == plan
    assert targets(plan) == {"chat": 3, "code": 2}
    assert [each.met for each in allocation.tiers] == [1.0, 1.0]


def test_under_a_budget_both_grow_to_the_same_part() -> None:
    snapshot, plan = planned(seen("chat", 120), seen("code", 60))
    shared, _ = share_out(snapshot, plan, POOL, pool_of=pools_of(snapshot), budget=Budget(gpus=6))
    assert targets(plan) == {"chat": 6, "code": 3}
    assert targets(shared) == {"chat": 4, "code": 2}
    chat = shared.tiers[0]
    assert chat.decision is not None
    assert (chat.decision.limited_by, chat.decision.reason) == ("Budget", "Budget")
    assert chat.decision.steps[-1].name == "pools"
    assert chat.decision.message == "the fleet's budget is 6 GPUs, 0 are left"
    assert [each.scale_to for each in chat.workloads] == [4]


def test_priority_weighs() -> None:
    snapshot, plan = planned(seen("chat", 120), seen("code", 120))
    shared, _ = share_out(
        snapshot, plan, POOL, pool_of=pools_of(snapshot), priorities={TierKey("team", "code"): 3}, budget=Budget(gpus=8)
    )
    assert targets(shared) == {"chat": 2, "code": 6}


def test_a_replica_is_drained_for_a_tier_that_has_less_and_given_when_it_is_gone() -> None:
    snapshot, plan = planned(seen("chat", 20, current=6), seen("code", 100, current=2))
    shared, allocation = share_out(snapshot, plan, POOL, pool_of=pools_of(snapshot))
    assert targets(plan) == {"chat": 6, "code": 10}
    assert targets(shared) == {"chat": 3, "code": 2}  # 3 of 6, and then 5 of 10
    chat, code = allocation.tiers
    assert (chat.places[0].reclaimed, code.waiting) == (3, 3)
    assert shared.tiers[0].workloads[0].deletion_costs
    assert shared.tiers[0].decision is not None
    assert [step.name for step in shared.tiers[0].decision.steps][-4:] == ["reclaim", "reclaim", "reclaim", "pools"]


def test_what_a_window_keeps_is_there_for_nobody_else_until_it_ends() -> None:
    memory = TierState(recommended=1, peaks=(Peak(3, NOW - 10),))
    snapshot, plan = planned(seen("chat", 2, current=3), chat=memory)
    asked = claim(plan.tiers[0], snapshot.tiers[0], snapshot, "gpus")
    assert asked is not None
    assert (asked.wanted, asked.kept, asked.doubtful) == (1, 3, False)


def test_without_measurements_nothing_is_taken() -> None:
    blind = view(spec(), current=5, ready=("chat-0",))
    snapshot, plan = planned(blind, seen("code", 100, current=3))
    asked = claim(plan.tiers[0], snapshot.tiers[0], snapshot, "gpus")
    assert asked is not None
    assert asked.doubtful
    shared, _ = share_out(snapshot, plan, POOL, pool_of=pools_of(snapshot))
    assert targets(shared)["chat"] == 5
    away = MetricsHealth(ok=False, problem="away")
    silent, silent_plan = planned(seen("chat", 5, current=2), metrics=away)
    claimed = claim(silent_plan.tiers[0], silent.tiers[0], silent, "gpus")
    assert claimed is not None
    assert claimed.doubtful


def test_a_tier_that_could_not_be_decided_keeps_its_gpus_and_its_plan() -> None:
    snapshot, plan = planned(seen("chat", 100, current=3), seen("code", 100, current=3))
    broken = replace(plan.tiers[0], decision=None, failure="Traceback", workloads=())
    shared, _ = share_out(snapshot, Plan((broken, plan.tiers[1])), POOL, pool_of=pools_of(snapshot))
    assert shared.tiers[0] == broken
    assert targets(shared) == {"code": 5}


def test_advice_is_not_a_claim_for_more() -> None:
    snapshot, plan = planned(seen("chat", 100, current=3, mode="Advisory"), seen("code", 100, current=3))
    shared, _ = share_out(snapshot, plan, POOL, pool_of=pools_of(snapshot))
    assert targets(shared)["chat"] == targets(plan)["chat"] > 3
    assert targets(shared)["code"] == 5


def test_a_number_that_a_person_set_comes_first() -> None:
    made = seen("chat", 1)
    pinned = replace(made, tier=replace(made.tier, spec=spec(replicas=6)))
    snapshot, plan = planned(pinned, seen("code", 100, current=1))
    shared, _ = share_out(snapshot, plan, POOL, pool_of=pools_of(snapshot))
    assert targets(shared) == {"chat": 6, "code": 2}


def test_the_last_replica_ends_and_starts_by_its_own_step() -> None:
    snapshot, plan = planned(seen("chat", 1))
    (each,) = plan.tiers
    assert each.decision is not None
    asleep = replace(each, decision=replace(each.decision, target=0))
    woken = replace(each, decision=replace(each.decision, target=2, steps=()))
    for found, wanted in ((asleep, 0), (woken, 2)):
        asked = claim(found, snapshot.tiers[0], snapshot, "gpus")
        assert asked is not None
        assert asked.target == wanted


def test_pods_are_counted_as_they_hold_gpus() -> None:
    pods = (
        pod("chat-0"),
        pod("chat-1"),
        replace(pod("chat-2"), scheduled=False, phase="Pending"),
        replace(pod("chat-3"), terminating=True),
        replace(pod("chat-4"), phase="Failed"),
        replace(pod("chat-5"), terminating=True, node_lost=True),
        replace(pod("chat-6"), terminating=True),
    )
    snapshot, plan = planned(seen("chat", 10, current=3, pods=pods))
    asked = claim(plan.tiers[0], snapshot.tiers[0], snapshot, "gpus")
    assert asked is not None
    assert asked.places == (Place("gpus", 1, 3, pending=1, terminating=2),)


def test_pods_beyond_what_is_asked_for_count_until_they_are_gone() -> None:
    pods = tuple(pod(f"chat-{index}") for index in range(4))
    snapshot, plan = planned(seen("chat", 10, current=2, pods=pods))
    asked = claim(plan.tiers[0], snapshot.tiers[0], snapshot, "gpus")
    assert asked is not None
    assert asked.places == (Place("gpus", 1, 2, pending=0, terminating=2),)


@pytest.mark.parametrize("gpus", [0])
def test_a_tier_without_gpus_claims_none(gpus: int) -> None:
    made = seen("chat", 1)
    assert made.tier.spec is not None
    cpu = made.tier.spec.model_copy(update={"resources": made.tier.spec.resources.model_copy(update={"gpus": gpus})})
    snapshot, plan = planned(replace(made, tier=replace(made.tier, spec=cpu)))
    shared, allocation = share_out(snapshot, plan, POOL, pool_of=pools_of(snapshot))
    assert (shared, allocation.tiers) == (plan, ())


def test_the_word_of_a_missing_measurement_stays_the_operators() -> None:
    snapshot, plan = planned(view(spec(maxReplicas=10), current=5, ready=("chat-0",)))
    shared, _ = share_out(snapshot, plan, POOL, pool_of=pools_of(snapshot))
    assert shared == plan
    assert plan.tiers[0].decision is not None
    assert plan.tiers[0].decision.limited_by in ("", reasons.NO_METRICS, reasons.NO_MEMORY)
