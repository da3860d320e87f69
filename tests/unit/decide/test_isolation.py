"""What deciding leaves: a defect is one tier's alone, standing plans are taken, the state holds what was decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.decide.make import HEALTHY, KEY, NOW, SETTLED, spec, spread, value, view
from tierwise.api.modeltier_status import FailedSpec, LastGood, RenderedStatus, RolloutStatus
from tierwise.decide import plan as module
from tierwise.decide.capacity_estimate import newest_sample
from tierwise.decide.plan import decide, decide_in_turns
from tierwise.decide.spec_checks import SpecChecks
from tierwise.decide.workloads import spread as spread_over
from tierwise.types import Plan, PodSample, Rollout, Snapshot, TierKey, TierPlan, TierState, TierView

ILL, WELL = TierKey("team", "a-ill"), TierKey("team", "b-well")
KNOWN = TierState(recommended=4)


def named(key: TierKey) -> TierView:
    seen = view(spec(), spread(50, 1))
    return replace(seen, tier=replace(seen.tier, key=key, uid=key.name))


def snapshot(*views: TierView) -> Snapshot:
    return Snapshot(NOW, views, HEALTHY)


def driven(*views: TierView, **given: Any) -> Plan:
    turns = decide_in_turns(snapshot(*views), {KEY: SETTLED}, **given)
    while True:
        try:
            next(turns)
        except StopIteration as end:
            found: Plan = end.value
            return found


@pytest.mark.parametrize("step", ["recommend", "finalize"])
@pytest.mark.parametrize("known", [KNOWN, None])
def test_a_tier_whose_decision_fails_keeps_its_state_and_frees_nothing(
    step: str, known: TierState | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, failing = getattr(module, step), [True]

    def stumbles(*given: Any) -> Any:
        if any(isinstance(each, TierView) and each.tier.key == ILL for each in given) and failing:
            raise ZeroDivisionError("a defect")
        return work(*given)

    monkeypatch.setattr(module, step, stumbles)
    states = {WELL: SETTLED} | ({} if known is None else {ILL: known})
    ill, well = decide(snapshot(named(ILL), named(WELL)), states).tiers
    assert (ill.key, ill.decision, ill.serve, ill.workloads, ill.invalid) == (ILL, None, False, (), None)
    assert ill.state == (TierState() if known is None else known)
    assert "ZeroDivisionError: a defect" in ill.failure
    assert (well.key, well.failure) == (WELL, "")
    assert well.decision is not None


def test_a_tier_without_a_state_is_decided_as_one_whose_state_was_lost() -> None:
    here = snapshot(named(WELL))
    (unknown,) = decide(here, {}).tiers
    assert unknown.failure == ""
    assert unknown == decide(here, {WELL: TierState()}).tiers[0]


def test_what_is_not_served_is_no_failure() -> None:
    ending = view(spec())
    ending = replace(ending, tier=replace(ending.tier, deleting=True))
    assert decide(snapshot(ending), {KEY: KNOWN}).tiers == (TierPlan(KEY, None, KNOWN),)


def test_a_plan_that_stands_is_taken_as_it_is() -> None:
    standing = TierPlan(KEY, None, KNOWN, serve=True)
    (taken,) = driven(view(spec(), spread(50, 1)), standing={KEY: standing}).tiers
    assert taken is standing


def test_what_was_found_before_is_not_looked_for_again() -> None:
    checks = SpecChecks()
    seen = view(spec(), spread(5, 1))
    driven(seen, checks=checks)
    assert set(checks._found) == {seen.tier.uid}


def test_the_state_says_what_was_accepted_and_what_became_of_the_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    good = LastGood(generation=1, hash="g", replica_set="set", spec="{}")
    failed = FailedSpec(generation=2, hash="f", reason="EngineCrashed", message="it ended")
    rendered = RenderedStatus(hash="r", template="t")
    chosen = (KEY.name, Rollout(spec(), "f", good=good, failed=failed))
    monkeypatch.setattr(module, "choose_rollouts", lambda *_: (chosen,))
    before = replace(SETTLED, rollout=RolloutStatus(rendered=rendered))
    (made,) = decide(snapshot(view(spec(), spread(5, 1))), {KEY: before}).tiers
    assert made.state.accepted == (1, True)
    assert made.state.rollout == RolloutStatus(rendered=rendered, last_good=good, failed=failed)


def test_nothing_is_recommended_for_what_does_not_exist_or_is_not_measured() -> None:
    (missing,) = decide(snapshot(view(spec(), spread(50, 1), current=None)), {KEY: TierState()}).tiers
    assert (missing.failure, missing.state.recommended) == ("", None)
    (blind,) = decide(snapshot(view(spec(), (), current=3)), {KEY: replace(SETTLED, recommended=2)}).tiers
    assert (blind.failure, blind.state.recommended) == ("", 2)


def test_a_sample_is_one_of_what_runs_and_of_what_waits() -> None:
    half = PodSample("a", running=value(1, NOW))
    assert newest_sample((half,)) is None
    assert newest_sample((half, replace(half, waiting=value(0, NOW)))) == NOW


def test_a_tier_that_is_as_it_should_be_is_not_spread_anew() -> None:
    assert spread_over([1, 1], 2) == (1, 1)
