"""Parts, copies and other rates of a trace are what their names say, and copies are other users."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.simulator.traces.strategies import traces
from tierwise_sim.traces.arrival import Arrival, Trace
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.gathering import WHOLE, Window
from tierwise_sim.traces.generators import Constant, Draw, Sine, generate
from tierwise_sim.traces.lengths import fixed
from tierwise_sim.traces.summary import cacheable
from tierwise_sim.traces.transform import SHIFT_SECONDS, cut, first_half, repeat, scale, second_half

SECONDS = Trace("t", tuple(Arrival(float(n), n + 1, 1) for n in range(100)), 100.0, "s", ("so",))


def test_a_part_is_moved_to_0() -> None:
    part = cut(SECONDS, Window(40, 43))
    assert [(each.at, each.prompt_tokens) for each in part.arrivals] == [(0, 41), (1, 42), (2, 43)]
    assert part.duration == 3
    assert part.notes == ("so",)
    assert cut(SECONDS, Window(90)).duration == 10
    assert cut(SECONDS, WHOLE) is SECONDS


def test_where_nothing_is_there_is_no_part() -> None:
    with pytest.raises(TraceError, match=r"s: no request from 99.5 s to 99.9 s; the trace has 100 in 100 s"):
        cut(SECONDS, Window(99.5, 99.9))


@given(trace=traces())
def test_the_halves_are_the_whole(trace: Trace) -> None:
    halves: list[Trace | None] = []
    for half in (first_half, second_half):
        try:
            halves.append(half(trace))
        except TraceError:
            halves.append(None)
    kept = [each for half in halves if half is not None for each in half.arrivals]
    assert Counter((a.prompt_tokens, a.prefix) for a in kept) == Counter(
        (a.prompt_tokens, a.prefix) for a in trace.arrivals
    )
    assert all(half.duration == 1800 for half in halves if half is not None)


@given(trace=traces(), times=st.integers(1, 4))
def test_a_repetition_follows_itself(trace: Trace, times: int) -> None:
    again = repeat(trace, times)
    assert again.duration == trace.duration * times
    assert len(again.arrivals) == times * len(trace.arrivals)
    many = len(trace.arrivals)
    for number, arrival in enumerate(again.arrivals):
        original = trace.arrivals[number % many]
        assert arrival.at == pytest.approx(original.at + (number // many) * trace.duration)
        assert replace(arrival, at=0, prefix=()) == replace(original, at=0, prefix=())


def test_a_repetition_is_asked_by_others() -> None:
    one = Trace("t", (Arrival(0.0, 64, 1, (1, 2), 32), Arrival(1.0, 64, 1, (1, 3), 32)), 2.0, "s")
    again = repeat(one, 3)
    blocks = [set(each.prefix) for each in again.arrivals]
    assert blocks[0] & blocks[1]
    assert blocks[2] & blocks[3]
    assert not (blocks[0] | blocks[1]) & (blocks[2] | blocks[3])
    assert cacheable(again.arrivals) == cacheable(one.arrivals)
    assert again.notes == ("repeated by 3",)


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.5, 2.0, 3.7])
def test_a_rate_is_scaled_over_the_same_time_with_the_same_shape(factor: float) -> None:
    wave = generate("w", Sine(mean=4, swing=0.6, period=3600, seconds=3600), Draw(lengths=fixed(9, 9)))
    scaled = scale(wave, factor, seed=5)
    assert scaled.duration == wave.duration
    assert len(scaled.arrivals) == pytest.approx(factor * len(wave.arrivals), rel=0.03)
    for start in range(0, 3600, 600):
        meant = factor * sum(start <= each.at < start + 600 for each in wave.arrivals)
        found = sum(start <= each.at < start + 600 for each in scaled.arrivals)
        assert abs(found - meant) < 5 * math.sqrt(meant) + 0.1 * meant  # a copy is moved by up to 30 s
    assert scaled.notes == (f"scaled in rate by {factor:g}",)


@given(trace=traces(), whole=st.integers(1, 4), part=st.floats(0, 0.99), seed=st.integers(0, 9))
def test_scaling_keeps_every_whole_copy(trace: Trace, whole: int, part: float, seed: int) -> None:
    scaled = scale(trace, whole + part, seed)
    originals = Counter((a.prompt_tokens, a.output_tokens, a.tenant, a.model, a.label) for a in trace.arrivals)
    found = Counter((a.prompt_tokens, a.output_tokens, a.tenant, a.model, a.label) for a in scaled.arrivals)
    assert all(whole * many <= found[each] <= (whole + 1) * many for each, many in originals.items())
    assert set(found) == set(originals)
    assert scale(trace, whole + part, seed) == scaled


def test_copies_come_at_other_times_and_keep_their_order() -> None:
    trace = generate("c", Constant(rate=1, seconds=1000), Draw(lengths=fixed(9, 9)))
    marked = replace(trace, arrivals=tuple(replace(a, prompt_tokens=n + 1) for n, a in enumerate(trace.arrivals)))
    doubled = scale(marked, 2, seed=1)
    times: dict[int, list[float]] = {}
    for each in doubled.arrivals:
        times.setdefault(each.prompt_tokens, []).append(each.at)
    shifts = {round((high - low), 6) for low, high in times.values() if high - low < 500}
    assert len(shifts) == 1
    assert 0 < shifts.pop() <= SHIFT_SECONDS


@pytest.mark.parametrize("factor", [0.0, -1.0, math.nan, math.inf])
def test_a_factor_that_is_none(factor: float) -> None:
    with pytest.raises(TraceError, match="expected a number above 0"):
        scale(SECONDS, factor)


def test_too_little_and_too_much() -> None:
    with pytest.raises(TraceError, match="no request is left at 1e-09 times"):
        scale(SECONDS, 1e-9)
    with pytest.raises(TraceError, match="100,000,000 requests; expected at most"):
        scale(SECONDS, 1e6)
    with pytest.raises(TraceError, match="expected at most 5,000,000"):
        repeat(SECONDS, 1_000_000)
    with pytest.raises(TraceError, match="0 repetitions; expected at least 1"):
        repeat(SECONDS, 0)
    assert scale(SECONDS, 1) is SECONDS
