"""Checks that the loop runs once per burst, soon after it, and once per tick without one."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise_operator.debounce import DebounceConfig, Debouncer, due

RHYTHM = DebounceConfig(tick=10.0, quiet=0.5, limit=2.0)
moments = st.floats(0, 100, allow_nan=False)


@given(started=moments, first=moments, later=moments)
def test_a_wake_up_is_answered_within_the_limit_and_never_later_than_the_tick(
    started: float, first: float, later: float
) -> None:
    last = first + later
    at = due(RHYTHM, started, first, last)
    assert at <= started + RHYTHM.tick
    assert at <= first + RHYTHM.limit
    assert at <= last + RHYTHM.quiet
    assert at in (started + RHYTHM.tick, first + RHYTHM.limit, last + RHYTHM.quiet)


def test_without_a_wake_up_the_tick_decides() -> None:
    assert due(RHYTHM, 5.0, None, None) == 15.0


class Time:
    """A clock that only waiting moves, and wake-ups that come at set moments."""

    def __init__(self, *wakes: float) -> None:
        self.at = 0.0
        self.wakes = sorted(wakes)
        self.pulse = Debouncer(RHYTHM, monotonic=lambda: self.at, wait_for=self.wait_for)

    async def wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        until = self.at + seconds
        if self.wakes and self.wakes[0] <= until:
            self.at = max(self.at, self.wakes.pop(0))
            self.pulse.wake()
            return True
        self.at = until
        return False


@pytest.mark.parametrize(
    ("wakes", "at", "changed"),
    [
        ((), 10.0, False),
        ((3.0,), 3.5, True),
        ((3.0, 3.2, 3.4), 3.9, True),
        (tuple(3.0 + 0.3 * n for n in range(30)), 5.0, True),
        ((9.9,), 10.0, True),
    ],
)
async def test_when_a_cycle_is_due(wakes: tuple[float, ...], at: float, changed: bool) -> None:
    time = Time(*wakes)
    assert await time.pulse.beat() is changed
    assert time.at == pytest.approx(at)


async def test_what_wakes_during_a_cycle_starts_the_next_one() -> None:
    time = Time()
    await time.pulse.beat()
    time.pulse.wake()
    time.at += 30  # a long cycle
    assert await time.pulse.beat() is True
    assert time.at == pytest.approx(40.0)


async def test_one_burst_is_one_cycle() -> None:
    time = Time(*(n / 100 for n in range(200)))
    beats = [await time.pulse.beat() for _ in range(3)]
    assert beats == [True, False, False]


async def test_with_real_time() -> None:
    pulse = Debouncer(DebounceConfig(tick=5.0, quiet=0.02, limit=0.1))
    loop = asyncio.get_running_loop()
    began = loop.time()
    loop.call_later(0.02, pulse.wake)
    assert await pulse.beat() is True
    assert loop.time() - began < 2.0
    assert await Debouncer(DebounceConfig(tick=0.01, quiet=0.001, limit=0.002)).beat() is False
