"""Checks that the bridge to the wall clock wakes whoever is due, and nobody else."""

import asyncio
from dataclasses import replace
from random import Random

import pytest

from tests.jumping import jumping
from tierwise_sim.driver import Driver, Ticket
from tierwise_sim.engine import Engine
from tierwise_sim.sequence import Rejection, Request
from tierwise_sim.settings import EngineSettings

SETTINGS = EngineSettings(max_model_len=32768, speed=20.0, max_num_queued_reqs=3)


def driver(settings: EngineSettings = SETTINGS, tick: float = 0.01) -> Driver:
    loop = asyncio.get_running_loop()
    return Driver(Engine(settings, Random(0), loop.time()), loop.time, tick)


def submit(driven: Driver, name: str, prompt: int, output: int, stream: bool = False) -> Ticket:
    ticket = driven.submit(Request(name, prompt, output), stream)
    assert isinstance(ticket, Ticket)
    return ticket


@jumping
async def test_a_stream_hears_of_tokens_and_a_plain_request_only_of_its_end() -> None:
    driven = driver()
    pump = asyncio.create_task(driven.run())
    plain, stream = submit(driven, "plain", 10, 100), submit(driven, "stream", 10, 100, stream=True)
    pieces = 0
    while not stream.done():
        await stream.changed.wait()
        stream.changed.clear()
        assert stream.sequence.generated > stream.seen
        stream.seen = stream.sequence.generated
        pieces += 1
        assert plain.changed.is_set() == plain.done()
    await plain.changed.wait()
    assert plain.done()
    assert 2 < pieces < 60
    await driven.drained()
    pump.cancel()


async def test_work_after_an_abort_in_a_long_step_is_not_kept_waiting() -> None:
    driven = driver(replace(SETTINGS, speed=0.05, max_num_batched_tokens=32768, gpu_memory_utilization=0.99))
    pump = asyncio.create_task(driven.run())
    slow = submit(driven, "a step of many seconds", 30000, 10)
    await asyncio.sleep(0.05)
    due = driven.engine.next_event
    assert due is not None
    assert due - asyncio.get_running_loop().time() > 20
    driven.abort(slow)
    # Far below the step's 20 s, and far above what a busy machine delays.
    await asyncio.wait_for(driven.drained(), 10)
    quick = submit(driven, "quick", 1, 1)
    await asyncio.wait_for(quick.changed.wait(), 15)
    assert quick.done()
    pump.cancel()


async def test_a_rejection_is_handed_through() -> None:
    driven = driver()
    for name in "abc":
        submit(driven, name, 10, 1000)
    assert driven.submit(Request("d", 10, 10), stream=False) == Rejection("max_num_queued_reqs")
    assert driven.open == 3


async def test_killing_wakes_everybody_and_ends_the_pump() -> None:
    driven = driver()
    pump = asyncio.create_task(driven.run())
    ticket = submit(driven, "a", 10, 10000)
    await asyncio.sleep(0.02)
    driven.kill()
    await asyncio.wait_for(pump, 10)
    assert ticket.changed.is_set()
    assert not ticket.done()


async def test_an_idle_engine_has_no_timer() -> None:
    driven = driver()
    pump = asyncio.create_task(driven.run())
    ticket = submit(driven, "a", 10, 5)
    await asyncio.wait_for(ticket.changed.wait(), 10)
    await asyncio.sleep(0.1)
    assert driven.engine.next_event is None
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(pump), 0.1)
    pump.cancel()


@jumping
async def test_a_slow_engine_takes_so_many_times_as_long_and_then_its_own_time_again() -> None:
    driven = driver()
    pump = asyncio.create_task(driven.run())
    loop = asyncio.get_running_loop()
    driven.slow(1e9)
    hangs = submit(driven, "hangs", 10, 5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hangs.changed.wait(), 0.5)
    driven.slow(1.0)
    await asyncio.wait_for(hangs.changed.wait(), 10)
    assert hangs.done()
    driven.slow(20.0)
    slow, began = submit(driven, "slow", 10, 20), loop.time()
    await asyncio.wait_for(slow.changed.wait(), 30)
    took = loop.time() - began
    driven.slow(1.0)
    quick, began = submit(driven, "quick", 10, 20), loop.time()
    await asyncio.wait_for(quick.changed.wait(), 30)
    assert took > 5 * (loop.time() - began)
    assert quick.done()
    pump.cancel()
