"""What a claim says of a tier, field by field, and what a grant leaves in its plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.decide.make import pod, spec
from tests.unit.decide.test_claims import POOL, planned, pools_of, seen, targets
from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide.claims import claim, granted, share_out
from tierwise.decide.fleet import Budget, LimitedBy, Place, TierClaim, TierGrant
from tierwise.types import Plan, Snapshot, Step, TierKey, TierPlan, TierView


def of_gpus(gpus: int, **more: Any) -> ModelTierSpec:
    made = spec(maxReplicas=10, **more)
    return made.model_copy(update={"resources": made.resources.model_copy(update={"gpus": gpus})})


def with_spec(made: TierView, body: ModelTierSpec | None) -> TierView:
    return replace(made, tier=replace(made.tier, spec=body))


def asked(made: TierView) -> TierClaim:
    snapshot, plan = planned(made)
    found = claim(plan.tiers[0], snapshot.tiers[0], snapshot, "gpus")
    assert found is not None
    return found


def one(name: str = "chat", requests: float = 10, **more: Any) -> tuple[Snapshot, TierPlan]:
    snapshot, plan = planned(seen(name, requests, **more))
    return snapshot, plan.tiers[0]


def test_a_claim_holds_the_bounds_of_the_spec_and_the_gpus_of_a_replica() -> None:
    found = asked(seen("chat", 10, current=3, minReplicas=2, maxReplicas=7))
    assert (found.floor, found.most) == (2, 7)
    assert asked(with_spec(seen("chat", 10), of_gpus(4))).places[0].gpus == 4


def test_what_is_rolled_out_is_what_holds_the_gpus() -> None:
    snapshot, each = one()
    assert each.rollout is not None
    wider = replace(each, rollout=replace(each.rollout, spec=of_gpus(2)))
    found = claim(wider, snapshot.tiers[0], snapshot, "gpus")
    assert found is not None
    assert found.places[0].gpus == 2
    unknown = with_spec(snapshot.tiers[0], None)
    assert claim(replace(each, rollout=None), unknown, snapshot, "gpus") is None


def test_a_lost_nodes_pod_that_ends_counts_to_no_pool_and_others_do() -> None:
    pods = (
        pod("chat-0"),
        replace(pod("chat-1"), terminating=True, node_lost=True),
        replace(pod("chat-2"), terminating=True, node_lost=True),
        replace(pod("chat-3"), terminating=True),
    )
    assert asked(seen("chat", 10, current=1, pods=pods)).places == (Place("gpus", 1, 1, pending=0, terminating=1),)


def test_without_a_step_before_the_bounds_the_target_is_what_is_wanted() -> None:
    snapshot, each = one()
    assert each.decision is not None
    bounds = Step("bounds", 5, "Target", "kept")
    for steps, wanted in (((), 4), ((bounds,), 4), ((Step("load", 3, "Load", "3"), bounds), 3)):
        told = replace(each, decision=replace(each.decision, target=4, steps=steps))
        found = claim(told, snapshot.tiers[0], snapshot, "gpus")
        assert found is not None
        assert found.wanted == wanted, steps


def grant(replicas: int, limited_by: LimitedBy = LimitedBy.BUDGET, *names: str) -> TierGrant:
    snapshot, plan = planned(seen("chat", 100))
    _, allocation = share_out(snapshot, plan, POOL, pool_of=pools_of(snapshot), budget=Budget(gpus=2))
    (made,) = allocation.tiers
    steps = tuple(Step(name, replicas, "Budget", name) for name in names)
    places = tuple(replace(place, replicas=replicas) for place in made.places)
    return replace(made, limited_by=limited_by, message="2 of 5 GPUs", steps=steps, places=places)


def test_a_grant_is_told_by_its_own_words_and_by_the_steps_of_the_fleet_alone() -> None:
    snapshot, each = one("chat", 100)
    found = granted(each, snapshot.tiers[0], grant(2, LimitedBy.BUDGET, "floors", "reclaim", "fill", "pools"), snapshot)
    assert each.decision is not None
    assert found.decision is not None
    assert (found.decision.target, found.decision.message) == (2, "2 of 5 GPUs")
    assert (found.decision.reason, found.decision.limited_by) == ("Budget", "Budget")
    assert found.decision.steps[: len(each.decision.steps)] == each.decision.steps
    assert [step.name for step in found.decision.steps[len(each.decision.steps) :]] == ["reclaim", "pools"]
    assert found.state == each.state


def test_what_cannot_be_served_or_written_is_not_scaled() -> None:
    snapshot, each = one("chat", 100)
    away = replace(snapshot, kserve_present=False)
    assert granted(each, snapshot.tiers[0], grant(2), away).workloads == ()
    assert granted(replace(each, serve=False), snapshot.tiers[0], grant(2), snapshot).workloads == ()
    assert granted(each, snapshot.tiers[0], grant(2), snapshot).workloads != ()


def test_a_plan_without_decision_or_spec_is_left_alone() -> None:
    snapshot, each = one("chat", 100)
    without = replace(each, decision=None)
    assert granted(without, snapshot.tiers[0], grant(2), snapshot) is without
    assert granted(each, with_spec(snapshot.tiers[0], None), grant(2), snapshot) is each


def test_a_tier_that_no_pool_is_named_for_claims_nothing() -> None:
    snapshot, plan = planned(seen("chat", 100), seen("code", 100))
    shared, allocation = share_out(snapshot, plan, POOL, pool_of={TierKey("team", "code"): "gpus"})
    assert [each.tier.name for each in allocation.tiers] == ["code"]
    assert targets(shared)["chat"] == targets(plan)["chat"]


def test_a_workload_whose_pool_is_not_known_claims_one_gpu_a_replica() -> None:
    snapshot, each = one()
    (here,) = snapshot.tiers[0].workloads
    unknown = replace(snapshot.tiers[0], workloads=(replace(here, pool="gone", spec=None),))
    found = claim(each, unknown, snapshot, "gpus")
    assert found is not None
    assert found.places == (Place("gone", 1, 1),)


def test_what_had_to_give_all_up_gets_what_it_asked_for_when_there_is_room() -> None:
    """A tier at zero claims nothing, so the claim must be that of the decision before the fleet changed it."""
    snapshot, each = one("chat", 60)
    assert each.decision is not None
    starved = replace(each, decision=replace(each.decision, target=0), asked=each.decision)
    shared, _ = share_out(snapshot, Plan((starved,)), POOL, pool_of=pools_of(snapshot))
    assert shared.tiers[0].decision == each.decision
    assert shared.tiers[0].asked is None
    less, _ = share_out(snapshot, Plan((starved,)), POOL, pool_of=pools_of(snapshot), budget=Budget(gpus=2))
    assert targets(less) == {"chat": 2}
    assert less.tiers[0].asked == each.decision


def test_the_last_step_of_the_fleet_has_the_word_of_the_decision_and_the_others_keep_their_own() -> None:
    snapshot, each = one("chat", 100)
    made = grant(2, LimitedBy.WINDOW, "reclaim", "pools")
    found = granted(each, snapshot.tiers[0], made, snapshot).decision
    assert found is not None
    assert found.limited_by == reasons.SCALE_DOWN_WINDOW
    assert [(step.name, step.reason) for step in found.steps[-2:]] == [
        ("reclaim", "Budget"),
        ("pools", reasons.SCALE_DOWN_WINDOW),
    ]
    met = replace(made, steps=(Step("pools", 2),))
    found = granted(each, snapshot.tiers[0], met, snapshot).decision
    assert found is not None
    assert found.steps[-1] == Step("pools", 2), "a step that changes nothing has no reason"


def test_what_a_tier_is_leaving_stays_until_the_others_carry_it() -> None:
    """Of five it gets two in its pools, and the two that it still has where it is leaving count on top."""
    snapshot, each = one("chat", 100)
    (here,) = snapshot.tiers[0].workloads
    assert here.deployment is not None
    old = replace(here, name="chat-old", retired=True, deployment=replace(here.deployment, spec_replicas=2))
    leaving = replace(snapshot.tiers[0], workloads=(here, old))
    found = granted(each, leaving, grant(2), snapshot).decision
    assert each.decision is not None
    assert found is not None
    assert (each.decision.target, found.target) == (5, 4)


def test_a_grant_for_other_places_than_the_tiers_is_a_defect() -> None:
    snapshot, each = one("chat", 100)
    made = grant(2)
    with pytest.raises(ValueError, match="zip"):
        granted(each, snapshot.tiers[0], replace(made, places=(*made.places, *made.places)), snapshot)
