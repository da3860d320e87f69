"""What becomes a claim, and what becomes of a plan that has been granted another number."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.decide.make import HEALTHY, KEY, NOW, SETTLED, plan, sample, spec, view
from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide.claims import claim, granted, share_out
from tierwise.decide.fleet import Granted, LimitedBy, PoolState, TierGrant
from tierwise.types import Plan, Rollout, Snapshot, TierKey
from tierwise.types.plan import Step

SEEN = view(spec(minReplicas=2), (sample("chat-0", 16), sample("chat-1", 16)), current=2)
SNAPSHOT = Snapshot(NOW, (SEEN,), HEALTHY)
PLAN = plan(SEEN)
GRANT = TierGrant(
    KEY, (Granted("gpus", 2, 1),), LimitedBy.POOL, "pool gpus has 1 GPUs, 0 are left", steps=(Step("pools", 1),)
)
EXTERNAL = ModelTierSpec.model_validate(
    {
        "external": {
            "baseURL": "https://api.example.com/v1",
            "model": "m",
            "apiKeySecretRef": {"name": "key"},
            "prices": {"input": "1", "output": "2"},
        },
        "resources": {"gpus": 1},
    }
)


def test_the_bounds_of_a_tier_are_those_of_its_claim() -> None:
    asked = claim(PLAN, SEEN, SNAPSHOT, "gpus")
    assert asked is not None
    assert (asked.floor, asked.most) == (2, 10)


@pytest.mark.parametrize("kind", [None, EXTERNAL])
def test_what_runs_nothing_here_claims_nothing(kind: ModelTierSpec | None) -> None:
    other = replace(SEEN, tier=replace(SEEN.tier, spec=kind))
    assert claim(replace(PLAN, rollout=None), other, SNAPSHOT, "gpus") is None


def test_replicas_of_the_last_good_spec_hold_what_that_asks_for() -> None:
    good = spec()
    good = good.model_copy(update={"resources": good.resources.model_copy(update={"gpus": 4})})
    back = replace(PLAN, rollout=Rollout(good, "f", back=True))
    asked = claim(back, SEEN, SNAPSHOT, "gpus")
    assert asked is not None
    assert asked.places[0].gpus == 4


def test_a_tier_in_no_pool_is_left_as_planned_and_takes_nothing_from_those_in_one() -> None:
    key = TierKey("team", "mail")
    mail = replace(SEEN, tier=replace(SEEN.tier, key=key))
    both = Plan((PLAN, replace(PLAN, key=key)))
    shared, allocation = share_out(
        Snapshot(NOW, (SEEN, mail), HEALTHY), both, [PoolState("gpus", 2)], pool_of={KEY: "gpus"}
    )
    assert shared.tiers[1] == both.tiers[1]
    assert [grant.tier for grant in allocation.tiers] == [KEY]


def test_a_grant_becomes_the_decision_and_what_is_written() -> None:
    found = granted(PLAN, SEEN, GRANT, SNAPSHOT)
    assert found.decision is not None
    assert (found.decision.target, found.decision.limited_by, found.decision.message) == (1, "Pool", GRANT.message)
    assert found.decision.steps[-1] == Step("pools", 1)
    assert [each.scale_to for each in found.workloads] == [1]


def test_a_measurement_that_is_missing_has_the_word_that_deciding_has_for_it() -> None:
    found = granted(PLAN, SEEN, replace(GRANT, limited_by=LimitedBy.METRICS), SNAPSHOT)
    assert found.decision is not None
    assert (found.decision.reason, found.decision.limited_by) == (reasons.NO_METRICS, reasons.NO_METRICS)


def test_nothing_is_written_without_kserve_or_where_no_children_shall_be() -> None:
    assert granted(PLAN, SEEN, GRANT, replace(SNAPSHOT, kserve_present=False)).workloads == ()
    assert granted(replace(PLAN, serve=False), SEEN, GRANT, SNAPSHOT).workloads == ()


def test_without_a_decision_or_a_spec_a_plan_stays_as_it_is() -> None:
    undecided = replace(PLAN, decision=None)
    assert granted(undecided, SEEN, GRANT, SNAPSHOT) is undecided
    assert granted(PLAN, replace(SEEN, tier=replace(SEEN.tier, spec=None)), GRANT, SNAPSHOT) is PLAN


def test_what_others_have_put_at_zero_stays_there() -> None:
    """The memory of what was written goes with the plan: this tier was scaled before somebody else took it to zero."""
    asleep = view(spec(mode="Advisory"), current=0)
    before = replace(PLAN, state=replace(SETTLED, scaled_at=NOW))
    assert granted(before, asleep, GRANT, SNAPSHOT).workloads == ()
