"""Conditions keep the promises of metav1.Condition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.report.cases import NOW
from tierwise import reasons
from tierwise.api.conditions import Condition
from tierwise.report.conditions import LIMIT, ConditionUpdate, Truth, condition_update, find, merge
from tierwise.times import rfc3339

TRUTHS: st.SearchStrategy[Truth] = st.sampled_from(["True", "False", "Unknown"])


@given(st.lists(st.tuples(TRUTHS, st.sampled_from(["Serving", "Degraded"])), min_size=1, max_size=12))
def test_the_transition_time_moves_with_the_status_only(history: list[tuple[Truth, str]]) -> None:
    conditions: list[Condition] = []
    changed, before = "", None
    for tick, (status, reason) in enumerate(history):
        conditions = merge(conditions, [condition_update(reasons.READY, status, reason)], tick, NOW + tick)
        if status != before:
            changed, before = rfc3339(NOW + tick), status
        (condition,) = conditions
        assert (condition.status, condition.reason) == (status, reason)
        assert condition.last_transition_time == changed
        assert condition.observed_generation == tick


def test_foreign_conditions_stay_and_ours_come_first() -> None:
    foreign = Condition(type="Audited", status="True", reason="By", last_transition_time="2026-01-01T00:00:00Z")
    ours = [ConditionUpdate(kind, "True", "Valid", "") for kind in reasons.CONDITION_TYPES]
    merged = merge([foreign], ours, 1, NOW)
    assert [condition.type for condition in merged] == [*reasons.CONDITION_TYPES, "Audited"]
    assert find(merged, "Audited") is foreign
    assert find(merged, "Nobody") is None


def test_never_more_conditions_than_the_crd_allows() -> None:
    foreign = [
        Condition(type=f"T{number}", status="True", reason="R", last_transition_time="") for number in range(LIMIT)
    ]
    merged = merge(foreign, [ConditionUpdate("Ready", "True", "Serving", "")], 1, NOW)
    assert len(merged) == LIMIT
    assert merged[0].type == "Ready"
