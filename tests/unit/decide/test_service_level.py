"""Checks when a service level counts as missed, and what that asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.decide.make import NOW, decision, sample, spec, value, view
from tierwise import reasons
from tierwise.api.service_targets import ServiceTargets
from tierwise.decide.service_level import Verdict, judge
from tierwise.types import MISSING, Decision, Signal, State, TierSignals, TierState, TierView

TTFT = {"ttft": {"percentile": 95, "milliseconds": 2500}}
BOTH = {**TTFT, "interToken": {"percentile": 90, "milliseconds": 100}}


def targets(said: dict[str, Any]) -> ServiceTargets:
    return ServiceTargets.model_validate(said)


def signals(begun: float, late: float, spoken: float = 100, slow: float = 0) -> TierSignals:
    return TierSignals(
        begun_lately=value(begun),
        first_token_seconds=value(begun),
        late_first_tokens=value(late),
        spoken_lately=value(spoken),
        late_answers=value(slow),
    )


@pytest.mark.parametrize(
    ("begun", "late", "word"),
    [
        (100, 0, "kept"),
        (100, 5, "kept"),
        (100, 6, "open"),
        (100, 9, "open"),
        (100, 10, "missed"),
        (20, 2, "open"),
        (20, 3, "missed"),
        (4, 2, "open"),
        (1000, 60, "open"),
        (1000, 70, "missed"),
    ],
)
def test_more_than_chance_is_a_miss_and_no_more_than_allowed_is_none(begun: float, late: float, word: str) -> None:
    found = judge(signals(begun, late), targets(TTFT))
    assert word == ("open" if found is None else "missed" if found.missed else "kept")


def test_one_of_two_targets_is_enough_for_a_miss_and_both_are_needed_to_keep() -> None:
    kept, slow, doubtful = (judge(signals(100, 0, 100, late), targets(BOTH)) for late in (0, 40, 12))
    assert kept is not None
    assert not kept.missed
    assert slow is not None
    assert slow.missed == "40 of 100 requests took more than 100 ms per token, 10% may"
    assert doubtful is None
    worst = judge(signals(100, 10, 100, 99), targets(BOTH))
    assert worst is not None
    assert worst.missed.startswith("99 of 100"), "the worse of two"
    assert worst.excess == pytest.approx(99 / (10 + 2 * 10**0.5))


def test_one_request_in_time_keeps_it_and_less_than_one_says_nothing() -> None:
    assert judge(signals(1, 0), targets(TTFT)) == Verdict()
    assert judge(signals(0.9, 0), targets(TTFT)) is None


@pytest.mark.parametrize("bad", [MISSING, Signal(State.STALE), Signal(State.INVALID)])
def test_what_is_not_measured_is_no_verdict(bad: Signal) -> None:
    assert judge(replace(signals(100, 50), late_first_tokens=bad), targets(TTFT)) is None
    assert judge(replace(signals(100, 50), begun_lately=bad), targets(TTFT)) is None
    assert judge(signals(0, 0), targets(TTFT)) is None
    assert judge(signals(100, 50), None) is None


@given(st.integers(1, 2000), st.integers(0, 2000), st.integers(0, 2000))
def test_more_late_requests_never_make_a_better_verdict(begun: int, one: int, other: int) -> None:
    order = {"kept": 0, "open": 1, "missed": 2}

    def place(late: int) -> int:
        found = judge(signals(begun, min(late, begun)), targets(TTFT))
        return order["open" if found is None else "missed" if found.missed else "kept"]

    low, high = sorted((one, other))
    assert place(low) <= place(high)


# --- what it asks for -------------------------------------------------------------------------------------------------

OLD = TierState(recommended=2, measured=(("a", 0.0), ("b", 0.0)))


def seen(found: TierSignals, *, running: float = 10, current: int = 2, **scaling: Any) -> TierView:
    """A tier with two replicas."""
    made = view(spec(**{"targets": TTFT, **scaling}), (sample("a", running), sample("b", running)), current=current)
    return replace(made, signals=replace(found, pods=made.signals.pods))


def step(found: Decision) -> tuple[int, str]:
    return next((each.replicas, each.reason) for each in found.steps if each.name == "targets")


def test_a_miss_asks_for_one_more_replica_and_says_so() -> None:
    found = decision(seen(signals(100, 50)), OLD)
    assert step(found) == (3, reasons.TARGET)
    assert (found.target, found.reason, found.limited_by) == (3, reasons.TARGET, reasons.TARGET)
    assert found.message == "50 of 100 requests had no token after 2500 ms, 5% may"


def test_while_that_replica_starts_no_further_one_is_asked_for() -> None:
    assert decision(seen(signals(100, 50), current=3), OLD).target == 3


def test_young_replicas_are_waited_for() -> None:
    young = replace(OLD, measured=(("a", 0.0), ("b", NOW - 30)))
    found = decision(seen(signals(100, 50)), young)
    assert step(found)[1] == ""
    assert found.target == 2


def test_nothing_is_removed_while_it_is_missed() -> None:
    found = decision(seen(signals(100, 50), current=5, scaleDownWindowSeconds=0), replace(OLD, recommended=5))
    assert found.target == 5
    kept = decision(seen(signals(100, 0), current=5, scaleDownWindowSeconds=0), replace(OLD, recommended=5))
    assert kept.target < 5


def test_replicas_that_are_nearly_idle_are_not_multiplied() -> None:
    idle = replace(signals(30, 20), first_token_seconds=value(1.0))
    found = decision(seen(idle, running=0), OLD)
    assert step(found)[1] == reasons.TARGET_OUT_OF_REACH
    assert found.target == 2


def test_the_maximum_counts_for_it_too() -> None:
    assert decision(seen(signals(100, 50), maxReplicas=2), OLD).target == 2


def test_a_tier_without_targets_has_no_such_step() -> None:
    found = decision(seen(signals(100, 50), targets=None), OLD)
    assert "targets" not in [each.name for each in found.steps]


@given(st.integers(1, 500), st.integers(0, 500), st.integers(0, 500), st.floats(0, 16), st.integers(1, 10))
def test_targets_are_monotone_and_only_raise(begun: int, one: int, other: int, running: float, current: int) -> None:
    low, high = sorted((min(one, begun), min(other, begun)))
    state = replace(OLD, recommended=current)
    without = decision(seen(signals(begun, high), running=running, current=current, targets=None), state).target
    asked = [
        decision(seen(signals(begun, late), running=running, current=current), state).target for late in (low, high)
    ]
    assert without <= asked[0] <= asked[1]
