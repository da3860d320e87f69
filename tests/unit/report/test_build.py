"""The report on all tiers."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.report.cases import KEY, NOW, case, no_memory
from tierwise.report import report
from tierwise.types import Outcome, Plan, Snapshot, TierKey, TierState, TierView


def named(name: str) -> tuple[TierView, TierKey]:
    view, key = case().view, TierKey("team-a", name)
    return replace(view, tier=replace(view.tier, key=key, uid=f"uid-{name}")), key


def test_tiers_are_told_in_order_with_or_without_an_outcome_and_only_when_planned() -> None:
    (second, key_b), (first, key_a), (unplanned, _) = named("b"), named("a"), named("c")
    plans = tuple(replace(case().plan, key=key) for key in (key_b, key_a))
    snapshot = Snapshot(NOW, (second, first, unplanned), case().metrics)
    found = report(snapshot, Plan(plans), Outcome(()), NOW, no_memory)
    assert [each.key.name for each in found.tiers] == ["a", "b"]
    assert [each.uid for each in found.tiers] == ["uid-a", "uid-b"]


def test_the_memory_goes_through_the_given_function() -> None:
    seen = []

    def remember(memory: TierState):  # type: ignore[no-untyped-def]
        seen.append(memory)
        return no_memory(memory)

    given = case()
    plan = replace(given.plan, memory=TierState(recommended=5))
    report(Snapshot(NOW, (given.view,), given.metrics), Plan((plan,)), Outcome(()), NOW, remember)
    assert [memory.recommended for memory in seen] == [5]
    assert given.plan.key == KEY
