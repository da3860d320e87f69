"""What no node takes is given up, and tried again, later each time."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tierwise.decide.fleet.clamp import FIRST_SECONDS, LONGEST_SECONDS, Clamp, most, observed


def test_without_stuck_pods_nothing_is_clamped() -> None:
    assert observed(None, scheduled=3, stuck=0, now=0.0) is None
    assert most(None, 0.0) is None


def test_a_stuck_pod_clamps_to_what_is_scheduled() -> None:
    clamp = observed(None, scheduled=2, stuck=1, now=100.0)
    assert clamp == Clamp(2, 100.0, 1)
    assert most(clamp, 100.0) == 2


def test_the_pod_that_is_still_going_away_changes_nothing() -> None:
    clamp = Clamp(2, 100.0)
    assert observed(clamp, scheduled=2, stuck=1, now=110.0) == clamp
    third = Clamp(2, 100.0, 3)
    assert observed(third, scheduled=2, stuck=1, now=110.0) == third


def test_a_minute_later_one_more_is_tried() -> None:
    clamp = Clamp(2, 100.0)
    assert most(clamp, 100.0 + FIRST_SECONDS - 1) == 2
    assert most(clamp, 100.0 + FIRST_SECONDS) == 3


def test_a_try_that_fails_begins_a_longer_wait_from_now() -> None:
    due = 100.0 + FIRST_SECONDS
    assert observed(Clamp(2, 100.0), scheduled=2, stuck=1, now=due) == Clamp(2, due, 2)
    assert observed(Clamp(2, 100.0), scheduled=1, stuck=2, now=due + 5) == Clamp(1, due + 5, 2)


def test_a_try_that_was_scheduled_ends_it() -> None:
    assert observed(Clamp(2, 100.0), scheduled=3, stuck=0, now=170.0) is None


def test_a_replica_that_ends_meanwhile_does_not() -> None:
    assert observed(Clamp(2, 100.0), scheduled=1, stuck=0, now=170.0) == Clamp(2, 100.0)


def test_tries_that_fail_come_later_each_time() -> None:
    clamp, now = observed(None, scheduled=2, stuck=1, now=0.0), 0.0
    tried: list[float] = []
    while len(tried) < 9:
        now += 1.0
        if most(clamp, now) == 3:
            tried.append(now)
            clamp = observed(clamp, scheduled=2, stuck=1, now=now)
    waits = [later - earlier for earlier, later in pairwise(tried)]
    assert waits[:4] == [2 * FIRST_SECONDS, 4 * FIRST_SECONDS, 8 * FIRST_SECONDS, 16 * FIRST_SECONDS]
    assert waits[-1] == LONGEST_SECONDS


def test_it_is_forgotten_when_nobody_asks_any_more() -> None:
    assert observed(Clamp(2, 0.0, 5), scheduled=2, stuck=0, now=2 * LONGEST_SECONDS - 1) is not None
    assert observed(Clamp(2, 0.0, 5), scheduled=2, stuck=0, now=2 * LONGEST_SECONDS) is None


@given(st.integers(1, 10_000), st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_a_clock_that_jumps_neither_ends_it_at_once_nor_keeps_it_for_ever(tries: int, since: float, now: float) -> None:
    clamp = Clamp(2, since, tries)
    assert most(clamp, now) in (2, 3)
    looked = observed(clamp, scheduled=2, stuck=1, now=now)
    assert looked is not None
    assert most(looked, max(now, looked.since) + LONGEST_SECONDS) == 3
