"""Checks the law of pressure and what it counts at their edges, by values worked out by hand."""

from __future__ import annotations

import pytest

from tierwise.routing.pressure import LEARNED_SECONDS, QUEUE_GOAL, Bounds, Capacity, Load, Rate, allowed, next_limit


def test_a_tier_that_others_fill_takes_nothing_by_share() -> None:
    assert allowed(Load(arrivals=100, queued=0, delay=10, capacity=5, fixed=10), 40) == 0


def test_one_request_in_two_seconds_is_pressure_as_well() -> None:
    assert allowed(Load(arrivals=0.5, queued=0, delay=10, capacity=0.1), 40) == pytest.approx(19)


@pytest.mark.parametrize(("delay", "less"), [(0.0, 30.0), (1.0, 30.0), (2.0, 15.0)])
def test_a_delay_counts_as_a_second_at_least(delay: float, less: float) -> None:
    assert allowed(Load(arrivals=100, queued=105, delay=delay), 40) == pytest.approx(40 - less)


def test_a_tier_that_takes_exactly_what_is_wanted_has_no_limit() -> None:
    load = Load(arrivals=100, queued=0, delay=10, capacity=20)
    wanted = allowed(load, 0)
    assert wanted == pytest.approx(19)
    assert next_limit(None, wanted, load, Bounds(), 1) is None
    assert next_limit(None, wanted + 0.5, load, Bounds(), 1) == wanted


def test_a_limit_rises_by_a_fifth_of_a_point_a_second_and_ends_at_what_is_wanted() -> None:
    assert next_limit(20, 40, None, Bounds(), 10) == pytest.approx(22)
    assert next_limit(39, 40, None, Bounds(), 4) == pytest.approx(39.8)
    assert next_limit(39, 40, None, Bounds(), 5) is None


def test_a_rate_leaves_out_what_took_no_time() -> None:
    rate = Rate()
    rate.add(5, 0)
    assert rate.per_second == 0
    rate.add(10, 1)
    rate.add(5, 0)
    assert rate.per_second == 10


def test_a_rate_remembers_sixty_looks() -> None:
    rate = Rate()
    for count in [10] * 40 + [1] * 60:
        rate.add(count, 0.1)
    assert rate.per_second == pytest.approx(10)


def busy(*looks: tuple[float, float, float, int]) -> Capacity:
    """After a look at a full tier, and these: completed, seconds, queued, replicas."""
    found = Capacity()
    found.look(0, 1, 100, 1)
    for look in looks:
        found.look(*look)
    return found


def test_the_first_look_counts_nothing_since_nobody_saw_how_it_began() -> None:
    found = Capacity()
    found.look(100, 10, 100, 1)
    assert found.per_second(1) is None
    found.look(20, 10, 100, 1)
    assert found.per_second(1) == pytest.approx(2)


@pytest.mark.parametrize("replicas", [1, 4])
def test_the_capacity_is_that_of_one_replica_times_their_number(replicas: int) -> None:
    assert busy((80, 10, 100, replicas)).per_second(3) == pytest.approx(3 * 8 / replicas)


def test_it_is_known_after_five_full_seconds() -> None:
    assert busy((50, LEARNED_SECONDS, 100, 1)).per_second(1) == pytest.approx(10)
    assert busy((49, LEARNED_SECONDS - 0.1, 100, 1)).per_second(1) is None


def test_one_request_is_enough_and_none_says_nothing() -> None:
    assert busy((1, 10, 100, 1)).per_second(1) == pytest.approx(0.1)
    assert busy((0, 10, 100, 1)).per_second(1) is None


def test_a_queue_at_its_goal_is_not_full() -> None:
    assert busy((50, 10, QUEUE_GOAL, 1)).per_second(1) is None
    assert busy((50, 10, QUEUE_GOAL + 1, 1)).per_second(1) == pytest.approx(5)


def test_without_a_replica_nothing_is_learned() -> None:
    assert busy((50, 10, 100, 0)).per_second(1) is None
    assert busy((50, 10, 100, 0), (50, 10, 100, 1)).per_second(1) is None, "it was not full when that began"


def test_a_look_that_took_no_time_changes_nothing() -> None:
    assert busy((50, 10, 100, 1), (50, 0, 100, 1)).per_second(1) == pytest.approx(5)


def test_what_was_seen_is_forgotten_within_minutes() -> None:
    found = busy(*[(10.0, 1.0, 100.0, 1)] * 60, *[(2.0, 1.0, 100.0, 1)] * 180)
    assert found.per_second(1) == pytest.approx(2, abs=0.05)
