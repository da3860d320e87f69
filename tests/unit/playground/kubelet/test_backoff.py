"""Checks that crashing containers are started again when a real kubelet would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.kubelet.backoff import MAXIMUM_S, Backoff, describe, restart_wanted


def test_the_first_restart_is_immediate_then_ten_seconds_doubling_to_five_minutes() -> None:
    backoff, now, waits = Backoff(), 1000.0, []
    for _ in range(8):
        wait = backoff.remaining(now, now)
        waits.append(wait)
        now += wait
        backoff = backoff.next(now - wait, now)
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_container_that_stayed_up_long_enough_starts_afresh() -> None:
    backoff = Backoff(delay=300, updated=1000)
    assert backoff.remaining(1000 + 2 * MAXIMUM_S + 1, 1000 + 2 * MAXIMUM_S + 1) == 0
    assert backoff.next(1000 + 2 * MAXIMUM_S + 1, 2000).delay == 10
    assert backoff.remaining(1000 + 2 * MAXIMUM_S, 1000 + 2 * MAXIMUM_S) == 300


@given(st.lists(st.floats(min_value=0, max_value=2000), max_size=30))
def test_the_wait_is_never_negative_never_above_the_maximum_and_passes(lifetimes: list[float]) -> None:
    backoff, now = Backoff(), 5000.0
    for lifetime in lifetimes:
        ended = now + lifetime
        wait = backoff.remaining(ended, ended)
        assert 0 <= wait <= MAXIMUM_S
        assert backoff.remaining(ended, ended + wait) == pytest.approx(0, abs=1e-6)
        now = ended + wait
        backoff = backoff.next(ended, now)


@pytest.mark.parametrize(("seconds", "text"), [(10, "10s"), (40, "40s"), (160, "2m40s"), (300, "5m0s")])
def test_delays_are_written_as_go_does(seconds: float, text: str) -> None:
    assert describe(seconds) == text


@pytest.mark.parametrize(
    ("policy", "exit_code", "wanted"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_restart_policies(policy: str, exit_code: int, wanted: bool) -> None:
    assert restart_wanted(policy, exit_code) is wanted
