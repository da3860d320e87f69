"""Checks when a tier is full, and that it does not say so in turn every second."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.routing.make import replica, replicas, served
from tierwise.routing.replica import Replica
from tierwise.routing.route import Overflow
from tierwise.routing.saturation import Spill, saturation


@pytest.mark.parametrize(
    ("one", "waiting", "fullness"),
    [
        (replica(), 0, 0.0),
        (replica(in_flight=5), 0, 0.25),
        (replica(in_flight=10), 0, 0.5),
        (replica(in_flight=4, others=3), 0, 0.35),
        (replica(in_flight=14, others=3), 0, 0.5),
        (replica(waiting=5), 0, 1.0),
        (replica(waiting=2), 0, 0.4),
        (replica(in_flight=10), 3, 0.6),
        (replica(waiting=2), 3, 1.0),
        (replica(kv=0.95), 0, 0.0),
        (replica(kv=0.95, waiting=1), 0, 1.0),
        (replica(kv=0.38, waiting=1), 0, 0.4),
        (replica(in_flight=5, kv=0.19, waiting=1), 0, 0.25),
    ],
)
def test_a_replica_is_as_full_as_its_places_who_waits_for_it_or_its_cache_while_one_waits_in_it(
    one: Replica, waiting: int, fullness: float
) -> None:
    assert saturation([one], served(10), waiting) == pytest.approx(fullness)


def test_a_tier_is_as_full_as_its_replicas_on_average() -> None:
    three = [replica(in_flight=10), replica(in_flight=2), replica(waiting=3)]
    assert saturation(three, served(10)) == pytest.approx((0.5 + 0.1 + 0.6) / 3)
    assert saturation(three, served(10), 3) == pytest.approx((0.5 + 0.2 + 0.8) / 3)


@pytest.mark.parametrize(
    ("concurrency", "waiting", "fullness"),
    [(1, 1, 1.0), (2, 1, 0.5), (4, 4, 1.0), (6, 4, 0.8), (20, 5, 1.0), (24, 6, 1.0), (128, 16, 0.5), (128, 32, 1.0)],
)
def test_a_replica_is_full_when_so_many_wait_as_it_works_on_in_a_quarter_of_an_answer(
    concurrency: int, waiting: int, fullness: float
) -> None:
    one = replica(in_flight=concurrency)
    assert saturation([one], served(concurrency), waiting) == pytest.approx(fullness)


def test_what_waits_in_one_of_several_routers_waits_in_the_others_too() -> None:
    assert saturation([replica(), replica()], served(10, routers=2), 3) == pytest.approx(0.6)


def test_a_replica_that_drains_counts_for_nothing() -> None:
    assert saturation([replica(in_flight=4), replica(draining=True)], served(10), 2) == pytest.approx(0.4)


def test_a_tier_without_a_replica_is_full() -> None:
    assert saturation([], served(10)) == float("inf")
    assert saturation([replica(draining=True)], served(10)) == float("inf")


@given(st.lists(replicas, max_size=5), st.integers(1, 20), st.integers(0, 9))
def test_a_tier_is_never_less_full_with_more_to_do(tier: list[Replica], concurrency: int, waiting: int) -> None:
    before = saturation(tier, served(concurrency), waiting)
    assert before >= 0
    for one in tier:
        one.in_flight += 1
        one.waiting += 1
    assert saturation(tier, served(concurrency), waiting) >= before
    assert saturation(tier, served(concurrency), waiting + 1) >= before


@given(st.lists(replicas, min_size=1, max_size=5), st.integers(1, 20))
def test_a_tier_for_which_nobody_waits_is_never_full(tier: list[Replica], concurrency: int) -> None:
    for one in tier:
        one.waiting, one.draining = 0, False
    assert saturation(tier, served(concurrency)) <= 0.5


def test_a_tier_is_left_when_it_is_full_and_used_again_when_it_is_clearly_not() -> None:
    spill = Spill()
    assert not spill.active
    seen = [spill.update(one, Overflow()) for one in (0.995, 1.0, 0.9, 0.7, 0.69, 0.7, 0.99, float("inf"), 0.0)]
    assert seen == [False, True, True, True, False, False, False, True, False]
    assert spill.active is False


def test_the_thresholds_are_the_routes() -> None:
    spill = Spill()
    seen = [spill.update(one, Overflow(start_percent=50, stop_percent=20)) for one in (0.49, 0.5, 0.2, 0.19)]
    assert seen == [False, True, True, False]


@given(st.lists(st.floats(0, 3), max_size=40), st.integers(10, 200), st.integers(1, 100))
def test_between_the_thresholds_it_says_what_it_said_before(seen: list[float], start: int, below: int) -> None:
    overflow = Overflow(start_percent=start, stop_percent=max(1, start - below))
    spill, before = Spill(), False
    for fullness in seen:
        now = spill.update(fullness, overflow)
        if now and not before:
            assert 100 * fullness >= start
        elif before and not now:
            assert 100 * fullness < overflow.stop_percent
        elif overflow.stop_percent <= 100 * fullness < start:
            assert now == before
        before = now
