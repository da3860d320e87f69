"""Long work lets others run, and its result comes out all the same."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque
from collections.abc import Generator

import pytest

from tierwise.runtime.turns import TURN_SECONDS, at_once, emptied, in_turns, let_go


def work(steps: int, seconds: float = 0.0) -> Generator[None, None, int]:
    for _ in range(steps):
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass
        yield
    return steps


async def test_others_run_whenever_a_turn_is_over() -> None:
    ran = 0

    async def another() -> None:
        nonlocal ran
        while True:
            ran += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(another())
    assert await in_turns(work(10, TURN_SECONDS)) == 10
    task.cancel()
    assert ran >= 10


async def test_short_work_makes_no_pause() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    assert await in_turns(work(3)) == 3
    assert not task.done()
    await task


def test_without_an_event_loop() -> None:
    assert at_once(work(3)) == 3


async def test_what_goes_wrong_comes_out() -> None:
    def broken() -> Generator[None, None, None]:
        yield
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await in_turns(broken())


class Value:
    """Something that can be watched while it is alive."""


def test_what_was_read_is_let_go_of_before_the_rest_is_read() -> None:
    values = deque(Value() for _ in range(3))
    alive = [weakref.ref(each) for each in values]
    for number, _ in enumerate(emptied(values)):
        assert [each() is None for each in alive] == [position < number for position in range(3)]


def test_values_are_let_go_of_one_with_each_step() -> None:
    values = deque(Value() for _ in range(3))
    alive = [weakref.ref(each) for each in values]
    left = [sum(each() is not None for each in alive) for _ in let_go(values)]
    assert left == [2, 1, 0]
