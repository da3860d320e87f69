"""Checks when a breaker keeps requests away and lets one through, and how many retries a budget grants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.breaker import Breaker, RetryBudget


def opened(now: float = 0.0, times: int = 1) -> tuple[Breaker, float]:
    """A breaker that has opened so many times in a row, each time as soon as it could, and when it did so last."""
    breaker = Breaker()
    for _ in range(3):
        breaker.failed(now)
    for _ in range(times - 1):
        while not breaker.allows(now):
            now += 0.5
        breaker.sent()
        breaker.failed(now)
    return breaker, now


def test_two_failures_keep_nobody_away_and_a_third_does() -> None:
    breaker = Breaker()
    for _ in range(2):
        breaker.failed(7.0)
        assert breaker.allows(7.0)
        assert not breaker.is_open(7.0)
    breaker.failed(7.0)
    assert not breaker.allows(7.0)
    assert breaker.is_open(7.0)


def test_failures_count_only_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.failed(0.0)
        breaker.failed(0.0)
        assert breaker.allows(0.0)
        breaker.succeeded()


@pytest.mark.parametrize(("times", "pause"), [(1, 5.0), (2, 10.0), (3, 20.0), (4, 40.0), (5, 60.0), (6, 60.0)])
def test_each_opening_doubles_the_pause_up_to_a_minute(times: int, pause: float) -> None:
    breaker, now = opened(times=times)
    assert not breaker.allows(now + pause - 0.001)
    assert breaker.allows(now + pause)
    assert not breaker.is_open(now + pause)


def test_after_a_success_the_first_pause_is_the_short_one_again() -> None:
    breaker, now = opened(times=4)
    breaker.succeeded()
    assert breaker.allows(now)
    for _ in range(3):
        breaker.failed(now)
    assert not breaker.allows(now + 4.9)
    assert breaker.allows(now + 5.0)


def test_fifty_requests_that_fail_together_open_it_once() -> None:
    breaker = Breaker()
    for place in range(50):
        breaker.failed(place * 0.01)
    assert breaker.allows(5.02)
    assert not breaker.allows(5.0)


def test_half_open_it_lets_one_request_through() -> None:
    breaker, _ = opened()
    assert breaker.allows(5.0)
    assert breaker.allows(5.0)
    breaker.sent()
    assert not breaker.allows(5.0)
    assert not breaker.allows(500.0)


@pytest.mark.parametrize("end", ["succeeded", "begun", "given_up"])
def test_when_that_one_ends_another_may_go(end: str) -> None:
    breaker, _ = opened()
    breaker.sent()
    getattr(breaker, end)()
    assert breaker.allows(5.0)


def test_a_probe_that_tells_nothing_leaves_it_half_open() -> None:
    breaker, _ = opened()
    breaker.sent()
    breaker.given_up()
    breaker.sent()
    assert not breaker.allows(6.0)


def test_a_probe_that_fails_opens_it_again() -> None:
    breaker, _ = opened()
    breaker.sent()
    breaker.failed(6.0)
    assert not breaker.allows(15.9)
    assert breaker.allows(16.0)


def test_answers_that_begin_and_break_open_it_like_those_that_never_begin() -> None:
    breaker = Breaker()
    for place in range(3):
        assert breaker.allows(float(place))
        breaker.sent()
        breaker.begun()
        breaker.failed(float(place))
    assert not breaker.allows(6.9)
    assert breaker.allows(7.0)


def test_an_answer_that_has_begun_lets_many_through_and_opens_it_again_when_it_breaks() -> None:
    breaker, _ = opened()
    breaker.sent()
    breaker.begun()
    for _ in range(5):
        assert breaker.allows(6.0)
        breaker.sent()
    breaker.failed(6.0)
    assert not breaker.allows(15.9)
    assert breaker.allows(16.0)


def test_an_answer_that_has_begun_before_it_opened_does_not_close_it() -> None:
    breaker, _ = opened()
    breaker.begun()
    assert not breaker.allows(4.9)
    assert breaker.allows(5.0)


def test_a_closed_breaker_lets_many_through() -> None:
    breaker = Breaker()
    breaker.failed(0.0)
    breaker.failed(0.0)
    for _ in range(5):
        assert breaker.allows(0.0)
        breaker.sent()


def test_a_rest_keeps_everybody_away_for_so_long() -> None:
    breaker = Breaker()
    breaker.rest(10.0, 3.0)
    assert not breaker.allows(12.9)
    assert breaker.is_open(12.9)
    assert breaker.allows(13.0)


def test_it_says_for_how_long_it_still_keeps_requests_away() -> None:
    breaker = Breaker()
    assert breaker.seconds_left(10.0) == 0.0
    breaker.rest(10.0, 3.0)
    assert breaker.seconds_left(11.0) == 2.0
    for _ in range(3):
        breaker.failed(11.0)
    assert breaker.seconds_left(11.0) == 5.0
    assert breaker.seconds_left(17.0) == 0.0


def test_a_shorter_rest_does_not_end_a_longer_one() -> None:
    breaker = Breaker()
    breaker.rest(10.0, 60.0)
    breaker.rest(11.0, 1.0)
    assert not breaker.allows(69.9)
    breaker.rest(69.0, 60.0)
    assert not breaker.allows(128.9)


def test_a_rest_outlives_the_answer_to_what_was_sent_before_it() -> None:
    breaker = Breaker()
    breaker.rest(10.0, 60.0)
    breaker.succeeded()
    assert not breaker.allows(69.9)


def test_a_rest_and_a_pause_both_hold() -> None:
    breaker, _ = opened()
    breaker.rest(0.0, 3.0)
    assert not breaker.allows(4.9)
    breaker.rest(4.0, 3.0)
    assert not breaker.allows(6.9)
    assert breaker.allows(7.0)


def test_who_asks_for_a_rest_is_no_longer_probed() -> None:
    breaker, _ = opened()
    breaker.sent()
    breaker.rest(6.0, 2.0)
    assert breaker.allows(8.0)


_moves = st.one_of(
    st.tuples(st.just("wait"), st.floats(0, 90)),
    st.tuples(st.sampled_from(["send", "succeeded", "failed", "given_up"]), st.just(0.0)),
    st.tuples(st.just("rest"), st.floats(0, 90)),
)


@given(st.lists(_moves, max_size=60))
def test_whatever_happens_at_most_one_probe_is_out_and_none_within_a_pause(moves: list[tuple[str, float]]) -> None:
    """Requests go one after another here, so that each that was sent is told of before the next end."""
    breaker, now, out, in_a_row, rest_until, last_failure = Breaker(), 0.0, 0, 0, 0.0, 0.0
    for move, seconds in moves:
        if move == "wait":
            now += seconds
        elif move == "rest":
            breaker.rest(now, seconds)
            rest_until = max(rest_until, now + seconds)
            out = 0 if in_a_row >= 3 else out
        elif move == "send":
            allowed = breaker.allows(now)
            assert not (allowed and now < rest_until)
            if in_a_row >= 3:
                assert not (allowed and (out or now < last_failure + 5.0))
                assert allowed or out or now < max(rest_until, last_failure + 60.0)
            else:
                assert allowed == (now >= rest_until)
            if allowed:
                breaker.sent()
                out += 1
        elif out:
            out -= 1
            if move == "failed":
                breaker.failed(now)
                in_a_row += 1
                # What was sent before it opened is told at once.
                while out and in_a_row >= 3:
                    breaker.given_up()
                    out -= 1
                last_failure = now
            else:
                getattr(breaker, move)()
                in_a_row = 0 if move == "succeeded" else in_a_row


# --- retries --------------------------------------------------------------------------------------------------------


def granted(budget: RetryBudget, now: float, asked: int = 1000) -> int:
    return sum(budget.take(now) for _ in range(asked))


@pytest.mark.parametrize("now", [0.0, 1e6])
def test_at_first_there_are_ten_retries(now: float) -> None:
    assert granted(RetryBudget(), now) == 10


def test_five_requests_earn_one_retry() -> None:
    budget = RetryBudget()
    granted(budget, 0.0)
    for _ in range(4):
        budget.request()
    assert granted(budget, 0.0) == 0
    budget.request()
    assert granted(budget, 0.0) == 1


def test_many_requests_earn_at_most_a_hundred_at_once() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.request()
    assert granted(budget, 0.0) == 100


def test_time_alone_gives_back_one_retry_in_two_seconds_up_to_ten() -> None:
    budget = RetryBudget()
    granted(budget, 50.0)
    assert granted(budget, 51.9) == 0
    assert granted(budget, 52.0) == 1
    assert granted(budget, 1e9) == 10


def test_time_takes_nothing_away_and_adds_nothing_to_more_than_ten() -> None:
    budget = RetryBudget()
    for _ in range(102):
        budget.request()
    assert granted(budget, 1e9) == 30


@given(st.lists(st.one_of(st.just("request"), st.just("take"), st.floats(0, 5)), max_size=300))
def test_retries_never_pass_a_fifth_of_the_requests_and_the_reserve(moves: list[str | float]) -> None:
    """From any moment on: the reserve comes back with time, by one in two seconds."""
    budget, now = RetryBudget(), 100.0
    requests = taken = 0
    for move in moves:
        if move == "request":
            budget.request()
            requests += 1
        elif move == "take":
            taken += budget.take(now)
        else:
            now += float(move)
        assert taken <= 10 + 0.2 * requests + 0.5 * (now - 100.0) + 1e-6


@given(st.integers(0, 400), st.integers(1, 400))
def test_under_load_retries_are_a_fifth_of_the_requests(before: int, after: int) -> None:
    budget = RetryBudget()
    for _ in range(before):
        budget.request()
        budget.take(0.0)
    granted(budget, 0.0)
    taken = 0
    for _ in range(after):
        budget.request()
        taken += budget.take(0.0)
    assert after / 5 - 1.001 <= taken <= after / 5 + 1.001
