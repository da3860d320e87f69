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


def test_within_the_error_of_the_count_the_limit_falls_slowly_and_beyond_at_once() -> None:
    def after(capacity: float, error: float) -> float | None:
        load = Load(arrivals=100, queued=0, delay=10, capacity=capacity, error=error)
        return next_limit(20, 40, load, Bounds(), 2)

    assert after(20, 0.1) == pytest.approx(19.6), "19 of 20, and 10 % of doubt"
    assert after(20.8, 0.1) == pytest.approx(19.76), "not below what the tier can take"
    assert after(16, 0.1) == pytest.approx(15.2 * 1.1)
    assert after(16, 0.0) == pytest.approx(15.2)
    assert after(30, 0.1) == pytest.approx(20.4), "nor does it rise faster"


def test_the_first_limit_is_made_as_slowly() -> None:
    load = Load(arrivals=100, queued=0, delay=10, capacity=40, error=0.1)
    assert next_limit(None, 40, load, Bounds(), 1) == pytest.approx(39.8)


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


def counts(*looks: tuple[float, float]) -> Rate:
    """After these: count, seconds."""
    rate = Rate()
    for look in looks:
        rate.add(*look)
    return rate


def test_the_error_is_that_of_a_count() -> None:
    assert Rate().error == 0
    assert counts((0, 1), (0, 1)).error == 0
    assert counts((4, 1)).error == pytest.approx(0.5)
    assert counts(*[(25, 1)] * 4).error == pytest.approx(0.1)
    assert counts((20, 1), (40, 2)).error == pytest.approx(60**-0.5), "equally many a second"


def test_what_comes_in_bursts_is_known_less_well() -> None:
    # Neighbours of 0 and 20 a second: (20 - 0)^2 / (10 * 2) = 20 times the variance of single requests.
    assert counts(*[(0, 1), (20, 1)] * 10).error == pytest.approx((20 / 200) ** 0.5)
    # Looks of 1 and 3 seconds: (8/1 - 0/3)^2 / (2 * (1 + 1/3)) = 24, and (0/3 - 8/1)^2 alike.
    assert counts((8, 1), (0, 3), (8, 1)).error == pytest.approx((24 / 16) ** 0.5)


def test_bursts_are_no_change_of_the_rate() -> None:
    steady = [(0, 1), (40, 1)] * 4
    assert counts(*[(20, 1)] * 20, *[(40, 1)] * 8).per_second == pytest.approx(40)
    assert counts(*[(20, 1)] * 20, *steady).per_second == pytest.approx(20)
    assert counts(*steady, *[(a / 2, b) for a, b in steady]).per_second == pytest.approx(15), "half, but who knows"


@pytest.mark.parametrize(("later", "seen"), [(34, 34), (33, (30 * 20 + 3 * 33) / 33)])
def test_a_change_of_four_and_a_half_errors_is_seen(later: float, seen: float) -> None:
    # Three seconds at 33 after thirty at 20: 2 (99 ln 33 + 600 ln 20 - 699 ln 21.18) = 18.9 of 4.5^2 = 20.25.
    assert counts(*[(20, 1)] * 30, *[(later, 1)] * 3).per_second == pytest.approx(seen)


def test_the_likeliest_place_is_where_it_changed() -> None:
    assert counts(*[(20, 1)] * 5, *[(60, 1)] * 10).per_second == pytest.approx(60)
    assert counts((20, 1), *[(60, 1)] * 30).per_second == pytest.approx(60), "the first second alone had another rate"
    assert counts(*[(20, 1)] * 10, *[(0, 1)] * 10).per_second == 0


@pytest.mark.parametrize(("seconds", "seen"), [(3.0, 50), (2.9, 250 / 11)])
def test_a_new_rate_has_to_last_three_seconds(seconds: float, seen: float) -> None:
    assert counts(*[(20 * seconds, seconds)] * 10, (50 * seconds, seconds)).per_second == pytest.approx(seen)


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
