"""Checks which replicas may be given a request, and how a replica's time is shared out."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.routing.make import bought, replica, replicas, served
from tierwise.routing.replica import Mark, Replica, limit, open_replicas, slow_above

INFINITE = float("inf")


# --- one replica ----------------------------------------------------------------------------------------------------


def test_of_a_new_one_nothing_is_known() -> None:
    one = Replica("a", "http://a")
    assert (one.load, one.in_flight, one.kv_usage, one.busy_share) == (0, 0, 0.0, 0.0)
    assert (one.draining, one.first_token_average, one.first_token_samples) == (False, 0.0, 0)


def test_its_load_is_what_runs_and_what_waits() -> None:
    assert replica(in_flight=3, waiting=4).load == 7


def test_a_request_alone_uses_all_the_time_and_two_use_half_each() -> None:
    one = replica()
    first = one.begin(10.0)
    second = one.begin(14.0)
    assert one.in_flight == 2
    assert one.end(20.0, first) == pytest.approx(4.0 + 3.0)
    assert one.end(21.0, second) == pytest.approx(3.0 + 1.0)
    assert one.in_flight == 0


def test_idle_time_is_nobodys() -> None:
    one = replica()
    one.end(2.0, one.begin(1.0))
    assert one.end(101.0, one.begin(100.0)) == pytest.approx(1.0)
    assert one.busy_share == pytest.approx(2.0)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(-3, 9)), max_size=60))
def test_the_shares_of_all_requests_add_up_to_the_time_in_which_it_worked(moves: list[tuple[int, int]]) -> None:
    one, now, busy = replica(), 5.0, Fraction(0)
    marks: list[Mark] = []
    shares: list[float] = []
    for eighths, move in [*moves, *((3, 0) for _ in moves)]:
        now += eighths / 8
        busy += Fraction(eighths, 8) if marks else 0
        if move < 0:
            marks.append(one.begin(now))
        elif marks:
            shares.append(one.end(now, marks.pop(move % len(marks))))
    assert one.in_flight == len(marks) == 0
    assert all(share >= 0 for share in shares)
    assert sum(shares) == pytest.approx(float(busy))


def test_a_replica_counts_what_it_was_sent() -> None:
    one = replica()
    for _ in range(3):
        one.end(0.0, one.begin(0.0))
    assert one.sent == 3


def test_the_work_ahead_is_what_was_sent_and_has_not_begun() -> None:
    one = replica()
    first, second = one.begin(0.0, 1000), one.begin(0.0, 200)
    assert one.work == 1200
    one.computed(first)
    assert one.work == 200
    one.end(1.0, first)
    assert one.work == 200
    one.end(1.0, second)  # it failed before its first token
    one.computed(second)
    assert one.work == 0


def test_those_that_wait_there_and_are_not_ours_count_as_much_as_ours_on_average() -> None:
    one = replica()
    one.said(3, 0.5)
    assert (one.waiting, one.kv_usage, one.strangers, one.work) == (3, 0.5, 3, 0)
    marks = [one.begin(0.0, 1000), one.begin(0.0, 1400), one.begin(0.0)]
    one.computed(marks[2])
    one.said(5, 0.5)
    assert one.strangers == 3, "two of five are ours; the one without a prompt to compute does not wait"
    assert one.work == pytest.approx(2400 + 3 * 1020)
    one.computed(marks[0])
    one.said(1, 0.5)
    assert (one.strangers, one.work) == (0, 1400)
    one.said(0, 0.5)
    assert (one.strangers, one.work) == (0, 1400), "a stream is known to have begun by its first token only"
    one.end(2.0, marks[1])
    one.said(2, 0.5)
    assert one.strangers == 2


def test_an_answer_in_one_piece_has_begun_when_nothing_waits() -> None:
    one = replica()
    first, second = one.begin(0.0, 500, streamed=False), one.begin(0.0, 300, streamed=False)
    one.said(1, 0.0)
    assert (one.work, one.strangers) == (800, 0)
    one.end(1.0, first)
    assert one.work == 300
    one.said(0, 0.0)
    third = one.begin(1.0, 100, streamed=False)
    assert one.work == 100
    one.end(2.0, second)
    assert one.work == 100
    one.end(2.0, third)
    assert one.work == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.booleans()), max_size=60))
def test_whatever_happens_the_work_ahead_is_that_of_open_requests(moves: list[tuple[int, int, bool]]) -> None:
    one = replica()
    open_marks: list[Mark] = []
    for move, number, streamed in moves:
        if move < 2:
            open_marks.append(one.begin(0.0, 10 * number, streamed=streamed))
        elif move == 2:
            one.said(number // 3, 0.0)
        elif open_marks:
            mark = open_marks[number % len(open_marks)]
            one.computed(mark)
            if move == 4:
                open_marks.remove(mark)
                one.end(0.0, mark)
        one.strangers = 0
        assert one.work == sum(mark.tokens for mark in open_marks)
    for mark in open_marks:
        one.end(0.0, mark)
    assert (one.work, one.in_flight) == (0, 0)
    one.said(4, 0.0)
    assert one.strangers == 4


def test_a_new_answer_moves_the_average_by_a_fifth() -> None:
    one = replica()
    one.first_token_after(1.0)
    assert one.first_token_average == 1.0
    one.first_token_after(2.0)
    assert one.first_token_average == pytest.approx(1.2)
    one.first_token_after(0.2)
    assert one.first_token_average == pytest.approx(1.0)
    assert one.first_token_samples == 3


def test_a_request_that_begins_is_the_probe_of_a_breaker_that_is_half_open() -> None:
    one = replica(broken=True)
    assert one.breaker.allows(5.0)
    one.begin(5.0)
    assert not one.breaker.allows(5.0)


def test_a_probe_that_ends_without_a_word_lets_the_next_one_go() -> None:
    one = replica(broken=True)
    one.end(6.0, one.begin(5.0))
    assert one.breaker.allows(6.0)


def test_as_long_as_something_is_on_it_the_probe_may_be_that() -> None:
    one = replica(broken=True)
    old = one.begin(0.0)
    one.begin(5.0)
    one.end(6.0, old)
    assert not one.breaker.allows(6.0)


# --- who may be asked -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "allowed"), [(-1.0, 1), (0.0, 1), (0.5, 1), (15.0, 50), (29.9, 99), (30.0, 100), (1e9, 100)]
)
def test_a_new_replica_is_given_more_and_more(age: float, allowed: int) -> None:
    one = replica()
    one.since = 1000.0
    assert limit(one, 100, 100, INFINITE, 1000.0 + age) == allowed


@pytest.mark.parametrize(
    ("places", "routers", "others", "allowed"),
    [
        (8, 1, 0, 8),
        (8, 2, 0, 8),
        (8, 2, 1, 6),
        (9, 2, 1, 7),
        (8, 2, 3, 4),
        (8, 2, 8, 4),
        (8, 3, 99, 3),
        (64, 4, 3, 53),
        (7, 7, 1, 5),
        (1, 4, 1, 1),
        (8, 1, 5, 8),
    ],
)
def test_a_router_has_the_places_that_others_leave_and_at_least_its_part(
    places: int, routers: int, others: int, allowed: int
) -> None:
    assert limit(replica(others=others), places, -(-places // routers), INFINITE, 0.0) == allowed


@given(st.integers(1, 64), st.lists(st.integers(0, 64), min_size=1, max_size=6))
def test_routers_that_hear_of_each_other_do_not_give_a_replica_more_than_it_has_places(
    places: int, wanted: list[int]
) -> None:
    """Each takes as many as it may, one after the other, with the engine's word of what is there: what exceeds the
    places are at most the parts of those that come late."""
    routers, there = len(wanted), 0
    for each in wanted:
        took = min(each, limit(replica(others=there), places, -(-places // routers), INFINITE, 0.0))
        assert took == each or there + took >= places - max(1, places // 8)
        there += took
    assert there <= places + (routers - 1) * -(-places // routers)


def test_a_batch_has_a_part_of_the_places() -> None:
    tier = [replica("a", in_flight=1), replica("b", in_flight=2), replica("c", in_flight=7)]
    assert open_replicas(tier, served(8), 0.0, part=4) == tier[:1]
    assert open_replicas(tier, served(8), 0.0) == tier
    assert open_replicas([replica(in_flight=2)], served(11), 0.0, part=4) == []
    assert open_replicas([replica(in_flight=0)], served(2), 0.0, part=4) != []
    assert open_replicas([replica(in_flight=1)], served(2), 0.0, part=4) == []


@pytest.mark.parametrize(("others", "given"), [(0, 3), (2, 0), (8, 0), (80, 0)])
def test_a_batch_has_only_what_others_leave_of_it(others: int, given: int) -> None:
    """Else each of several routers would fill a quarter of a replica that others have filled already."""
    tier = served(12, routers=2)
    free = [
        number for number in range(12) if open_replicas([replica(in_flight=number, others=others)], tier, 0.0, part=4)
    ]
    assert len(free) == given


def test_a_replica_is_not_new_unless_somebody_says_so() -> None:
    assert limit(replica(), 100, 100, INFINITE, 0.0) == 100


@pytest.mark.parametrize(
    ("average", "concurrency", "allowed"), [(3.0, 100, 100), (3.1, 100, 25), (3.1, 7, 1), (3.1, 3, 1), (3.1, 1, 1)]
)
def test_a_slow_replica_is_given_a_quarter(average: float, concurrency: int, allowed: int) -> None:
    assert limit(replica(first_token=average), concurrency, concurrency, 3.0, 0.0) == allowed


def test_a_new_and_slow_replica_is_given_a_quarter_of_what_a_new_one_is() -> None:
    one = replica(first_token=9.0)
    one.since = 0.0
    assert limit(one, 100, 100, 3.0, 15.0) == 12


def test_four_answers_do_not_make_a_replica_slow() -> None:
    one = replica()
    for _ in range(4):
        one.first_token_after(9.0)
    assert limit(one, 100, 100, 3.0, 0.0) == 100
    one.first_token_after(9.0)
    assert limit(one, 100, 100, 3.0, 0.0) == 25


@given(st.integers(1, 1000), st.floats(-10, 100), st.floats(-10, 100), st.floats(0, 50), st.floats(0, 50))
def test_a_live_replica_is_never_given_nothing_and_never_too_much(
    concurrency: int, age: float, older: float, average: float, bound: float
) -> None:
    one = replica(first_token=average)
    one.since = 0.0
    allowed = limit(one, concurrency, concurrency, bound, age)
    assert 1 <= allowed <= concurrency
    assert limit(one, concurrency, concurrency, bound, max(age, older)) >= allowed


@pytest.mark.parametrize(
    ("averages", "bound"),
    [
        ([], INFINITE),
        ([1.0], INFINITE),
        ([1.0, 9.0], 3.0),
        ([9.0, 2.0, 1.0], 6.0),
        ([1.0, 2.0, 5.0, 9.0], 6.0),
        ([None, 4.0], INFINITE),
        ([None, 4.0, 1.0], 3.0),
    ],
)
def test_slow_is_three_times_the_lower_median_of_those_that_are_known(
    averages: list[float | None], bound: float
) -> None:
    assert slow_above([replica(first_token=one) for one in averages]) == bound


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=9))
def test_never_are_all_replicas_slow(averages: list[float]) -> None:
    known = [replica(first_token=one) for one in averages]
    bound = slow_above(known)
    assert any(limit(one, 100, 100, bound, 0.0) == 100 for one in known)


def test_who_drains_was_tried_or_is_full_is_not_asked() -> None:
    free, full, drains, tried = replica("a", in_flight=3), replica("b", in_flight=4), replica("c"), replica("d")
    drains.draining = True
    assert open_replicas([free, full, drains, tried], served(4), 0.0, [tried]) == [free]


def test_a_slow_replica_is_full_earlier() -> None:
    slow, other = replica("a", in_flight=25, first_token=4.0), replica("b", in_flight=99, first_token=1.0)
    assert open_replicas([slow, other], served(100), 0.0) == [other]
    slow.in_flight = 24
    assert open_replicas([slow, other], served(100), 0.0) == [slow, other]


@pytest.mark.parametrize(
    ("broken", "of", "asked"), [(1, 2, 1), (1, 3, 2), (2, 3, 3), (2, 4, 2), (3, 4, 4), (1, 1, 1), (2, 2, 2)]
)
def test_breakers_are_believed_unless_more_than_half_are_open(broken: int, of: int, asked: int) -> None:
    tier = [replica("abcd"[place], broken=place < broken) for place in range(of)]
    assert len(open_replicas(tier, served(9), 1.0)) == asked
    assert len(open_replicas(tier, bought(9), 1.0)) == of - broken
    assert len(open_replicas(tier, bought(9), 5.0)) == of


def test_what_was_tried_and_drains_does_not_make_the_rest_unbelievable() -> None:
    tier = [replica("a"), replica("b"), replica("c", broken=True), replica("d", broken=True)]
    assert open_replicas(tier, served(9), 1.0, tier[:2]) == []
    assert open_replicas([replica("e", draining=True), *tier[1:3]], served(9), 1.0) == [tier[1]]
    assert open_replicas([replica("e", draining=True), *tier[1:]], served(9), 1.0) == tier[1:]


def test_nobody_is_slow_compared_with_what_is_broken() -> None:
    broken = replica("a", first_token=0.1, broken=True)
    others = [replica("b", in_flight=50, first_token=1.0), replica("c", in_flight=50, first_token=1.0)]
    assert open_replicas([broken, *others], served(100), 1.0) == others


@given(st.lists(replicas, max_size=7), st.integers(1, 9), st.sets(st.integers(0, 6)), st.booleans())
def test_whoever_is_asked_may_be(tier: list[Replica], concurrency: int, tried: set[int], external: bool) -> None:
    without = [one for place, one in enumerate(tier) if place in tried]
    for one in open_replicas(tier, bought(concurrency) if external else served(concurrency), 1.0, without):
        assert not one.draining
        assert one not in without
        assert one.in_flight < concurrency
        assert one.breaker.allows(1.0) or not external
