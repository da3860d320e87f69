"""Checks the HPA against Kubernetes' rules: tolerance, windows, speed limits, bounds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.policies.tiers import pods, tier
from tierwise_sim.policies.hpa import Behavior, HorizontalPodAutoscaler, SpeedLimit


@pytest.mark.parametrize(
    ("value", "replicas", "asked"),
    [
        (20, 4, 4),  # 20 / (5 * 4) = 1: as given
        (22, 4, 4),  # 1.1: still within 10 %
        (22.1, 4, 5),  # 1.105: ceil(4.42)
        (18, 4, 4),  # 0.9
        (17.9, 4, 4),  # 0.895, outside; ceil(3.58) is four all the same
        (15, 4, 3),  # 0.75: ceil(3)
        (0, 4, 0),
        (7, 0, 2),  # from none there is no ratio: ceil(1.4)
    ],
)
def test_an_average_value_within_ten_percent_changes_nothing(value: float, replicas: int, asked: int) -> None:
    assert HorizontalPodAutoscaler(Behavior()).asked(value, 5, replicas) == asked


def test_a_number_of_replicas_as_a_metric_is_held_by_the_tolerance_from_ten_on() -> None:
    """10 -> 9 is a ratio of 0.9, within 10 %: an autoscaler that removes one at a time is stuck. 9 -> 8 is 0.89."""
    by_default, exact = HorizontalPodAutoscaler(Behavior()), HorizontalPodAutoscaler(Behavior(tolerance=0))
    assert [by_default.asked(9, 1, 10), by_default.asked(8, 1, 9)] == [10, 8]
    assert exact.asked(9, 1, 10) == 9


def follow(
    behavior: Behavior, recommended: list[int], *, current: int, every: float = 15.0, top: int = 100
) -> list[int]:
    """What the HPA makes of these recommendations, each carried out at once."""
    hpa, asked = HorizontalPodAutoscaler(behavior), []
    for index, wanted in enumerate(recommended):
        seen = replace(tier(at=index * every), desired=current, minimum=1, maximum=top)
        hpa.observe(seen)
        current = hpa.settle(seen, wanted)
        asked.append(current)
    return asked


def test_growth_is_four_pods_or_double_in_15_seconds() -> None:
    """1 -> max(1 + 4, 2 * 1) = 5 -> max(9, 10) = 10 -> 20 -> 40."""
    assert follow(Behavior(), [50] * 4, current=1) == [5, 10, 20, 40]


def test_a_second_look_within_the_period_counts_what_was_added() -> None:
    """At 5 s: the period started with 1, so that 5 are the most; at 15 s the 4 of 0 s have left it."""
    assert follow(Behavior(), [50] * 4, current=1, every=5.0) == [5, 5, 5, 10]


def test_shrinking_waits_for_the_maximum_of_the_window() -> None:
    """8 at 0 s; the recommendation of 2 counts once 8 is older than 300 s: at 315 s, the 21st look after it."""
    asked = follow(Behavior(), [8] + [2] * 22, current=8)
    assert asked == [8] * 21 + [2, 2]


def test_a_window_for_growth_takes_its_minimum() -> None:
    """With 30 s, the first 6 counts when 1 (at 0 s) is older than that: at 45 s."""
    assert follow(Behavior(up_window=30), [1, 6, 6, 6, 6], current=1) == [1, 1, 1, 5, 6]


def test_one_pod_per_three_minutes() -> None:
    """llm-d's token-aware speed: at 0, 180, 360 s, as a change of exactly 180 s ago has left the period."""
    behavior = Behavior(up=(SpeedLimit(1, 180),), down_window=0, down=(SpeedLimit(1, 300),))
    assert follow(behavior, [9] * 5, current=1, every=90.0) == [2, 2, 3, 3, 4]
    assert follow(behavior, [1] * 5, current=9, every=150.0) == [8, 8, 7, 7, 6]


def test_what_a_budget_withheld_uses_up_no_speed() -> None:
    """The HPA asked for 5, nobody gave them: 15 s later it may ask for 5 again, and so on."""
    hpa = HorizontalPodAutoscaler(Behavior(up=(SpeedLimit(4, 60),)))
    for at in (0.0, 15.0, 30.0):
        seen = tier(pods(1), at=at)
        hpa.observe(seen)
        assert hpa.settle(seen, 9) == 5


@given(
    recommended=st.lists(st.integers(0, 30), min_size=1, max_size=40),
    current=st.integers(1, 20),
    up_window=st.sampled_from([0.0, 30.0, 300.0]),
    down_window=st.sampled_from([0.0, 180.0, 300.0]),
)
def test_it_stays_in_bounds_and_moves_only_towards_a_recommendation(
    recommended: list[int], current: int, up_window: float, down_window: float
) -> None:
    asked = follow(Behavior(up_window=up_window, down_window=down_window), recommended, current=current, top=20)
    before = current
    for index, now in enumerate(asked):
        assert 1 <= now <= 20
        assert not (now > before and now > max(1, recommended[index]))
        assert not (now < before and now < min(20, recommended[index]))
        assert now <= max(before + 4, 2 * before)
        before = now
