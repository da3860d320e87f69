"""Generated traces have the rate that was asked for, at every time, and are the same for the same seed."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise_sim.traces.arrival import Trace
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.generator_text import SHAPES, generated, is_generator
from tierwise_sim.traces.generators import Constant, Draw, Peaks, Ramp, Shape, Sine, Step, generate
from tierwise_sim.traces.lengths import CONVERSATION, Lengths, fixed, inverse

SHORT = Draw(lengths=fixed(10, 10))


def between(trace: Trace, start: float, end: float, model: str | None = None) -> int:
    return sum(start <= each.at < end and model in (None, each.model) for each in trace.arrivals)


def is_poisson(found: int, meant: float) -> bool:
    """Whether a count is within five standard deviations of a Poisson variable's mean."""
    return abs(found - meant) <= 5 * math.sqrt(meant) + 1


def test_constant() -> None:
    trace = generate("c", Constant(rate=5, seconds=4000), SHORT)
    assert trace.duration == 4000
    assert is_poisson(len(trace.arrivals), 20_000)
    assert all(is_poisson(between(trace, at, at + 500), 2500) for at in range(0, 4000, 500))


def test_step() -> None:
    trace = generate("s", Step(before=2, after=10, at=300, seconds=600), SHORT)
    assert is_poisson(between(trace, 0, 300), 600)
    assert is_poisson(between(trace, 300, 600), 3000)


def test_ramp_is_that_of_llm_d() -> None:
    shape = Ramp(stage=300)
    trace = generate("r", shape, SHORT)
    assert trace.duration == 2100
    for place, rate in enumerate((2, 4, 6, 8, 10, 4, 1)):
        assert is_poisson(between(trace, place * 300, place * 300 + 300), 300 * rate)


def test_sine_begins_in_its_valley_and_peaks_half_a_period_later() -> None:
    trace = generate("w", Sine(mean=10, swing=0.5, period=1000, seconds=2000), SHORT)
    assert is_poisson(len(trace.arrivals), 20_000)
    for middle, rate in ((0, 5), (500, 15), (1000, 5), (1500, 15)):
        start, end = max(0, middle - 20), middle + 20
        assert is_poisson(between(trace, start, end), rate * (end - start))


def test_bursts_come_on_top() -> None:
    calm = generate("b", Sine(mean=2, swing=0, seconds=18_000), SHORT)
    wild = generate("b", Sine(mean=2, swing=0, seconds=18_000, bursts=6, burst_factor=4, burst_seconds=60), SHORT)
    counts = Counter(int(each.at // 60) for each in wild.arrivals)
    minutes = sorted(counts[minute] for minute in range(300))
    assert minutes[-1] > 360  # a whole minute at four times 120 requests, or nearly
    assert minutes[150] == pytest.approx(120, rel=0.1)
    extra = len(wild.arrivals) - len(calm.arrivals)
    # 30 bursts of 360 requests more each, a few on top of others; their number is Poisson's.
    assert abs(extra - 30 * 360 * 0.95) < 4 * 360 * math.sqrt(30)


@pytest.mark.parametrize("together", [True, False])
def test_tiers_peak_together_or_apart(together: bool) -> None:
    shape = Peaks(models=("a", "b"), together=together, mean=5, swing=0.8, period=1000, seconds=4000)
    trace = generate("p", shape, SHORT)
    assert is_poisson(between(trace, 0, 4000, "a"), 20_000)
    assert is_poisson(between(trace, 0, 4000, "b"), 20_000)
    assert is_poisson(between(trace, 480, 520, "a"), 40 * 9)
    assert is_poisson(between(trace, 480, 520, "b"), 40 * 9 if together else 40 * 1)


@pytest.mark.parametrize("burstiness", [0.0, 0.5, 1.0, 3.0])
def test_gaps_are_as_bursty_as_asked(burstiness: float) -> None:
    trace = generate("c", Constant(rate=5, seconds=4000), Draw(burstiness=burstiness, lengths=fixed(1, 1)))
    gaps = [after.at - before.at for before, after in pairwise(trace.arrivals)]
    mean = sum(gaps) / len(gaps)
    found = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) / mean
    assert found == pytest.approx(burstiness, rel=0.08, abs=1e-6)
    assert len(trace.arrivals) == pytest.approx(20_000, rel=0.15 if burstiness > 1 else 0.05)


def test_lengths_are_those_of_the_conversation() -> None:
    trace = generate("c", Constant(rate=5, seconds=4000))
    for name, quantiles in (("prompt_tokens", CONVERSATION.prompt), ("output_tokens", CONVERSATION.output)):
        found = sorted(getattr(each, name) for each in trace.arrivals)
        for share in (0.25, 0.5, 0.75):
            assert found[int(share * len(found))] == pytest.approx(inverse(quantiles, share), rel=0.05)


SHAPE: st.SearchStrategy[Shape] = st.one_of(
    st.builds(Constant, rate=st.floats(0.05, 20), seconds=st.floats(60, 600)),
    st.builds(Step, before=st.floats(0, 5), after=st.floats(0.5, 9), at=st.floats(0, 100), seconds=st.floats(200, 400)),
    st.builds(Ramp, steps=st.lists(st.floats(0.2, 9), min_size=1, max_size=5).map(tuple), stage=st.floats(20, 90)),
    st.builds(Sine, mean=st.floats(0.2, 9), swing=st.floats(0, 1), seconds=st.floats(60, 600), bursts=st.floats(0, 99)),
    st.builds(Peaks, together=st.booleans(), mean=st.floats(0.5, 9), seconds=st.floats(60, 600)),
)


@settings(max_examples=50, deadline=None)
@given(shape=SHAPE, seed=st.integers(0, 5), burstiness=st.floats(0, 4))
def test_every_shape_makes_a_trace_and_the_same_again(shape: Shape, seed: int, burstiness: float) -> None:
    draw = Draw(seed=seed, burstiness=burstiness)
    try:
        trace = generate("x", shape, draw)
    except TraceError:
        with pytest.raises(TraceError, match="an empty trace"):
            generate("x", shape, draw)
        return
    assert trace == generate("x", shape, draw)
    assert trace.duration == shape.seconds


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (Constant(seconds=0), "0 s; expected more than 0"),
        (Constant(seconds=math.nan), "nan s; expected more than 0"),
        (Constant(rate=-1), "a rate of -1 per second at 0 s; expected a number from 0 on"),
        (Constant(rate=math.inf), "a rate of inf per second"),
        (Constant(rate=0), "an empty trace"),
        (Constant(rate=1e6), "3,600,000,000 requests; expected at most 5,000,000"),
        (Sine(swing=2), "a rate of -"),
        (Sine(period=0), "a period of 0 s"),
        (Ramp(steps=()), "0 s; expected more than 0"),
    ],
)
def test_what_is_no_rate_is_refused(shape: Shape, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        generate("x", shape, SHORT)


@pytest.mark.parametrize("quantiles", [(), ((0, 1),), ((0, 1), (0.5, 3)), ((0, 1), (0.5, 9), (1, 3)), ((0, 0), (1, 3))])
def test_what_are_no_quantiles_is_refused(quantiles: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(TraceError, match="prompt quantiles"):
        Lengths(quantiles, CONVERSATION.output)


# --- as text ----------------------------------------------------------------------------------------------------------


def test_a_text_asks_for_the_same_as_the_value() -> None:
    text = "sine:mean=5,bursts=4,seed=7,burstiness=0.5,prompt_tokens=9,output_tokens=8"
    value = generate(text, Sine(mean=5, bursts=4), Draw(seed=7, burstiness=0.5, lengths=fixed(9, 8)))
    assert generated(text) == value
    apart = generated("apart:models=a/b/c,seconds=600")
    assert apart.arrivals == generate("x", Peaks(models=("a", "b", "c"), together=False, seconds=600)).arrivals
    assert generated("ramp:steps=1/2,stage=30").duration == 60


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_every_name_alone_makes_a_trace(name: str) -> None:
    assert is_generator(name)
    assert is_generator(f"{name}:seed=1")
    assert generated(name).source == f"generated: {name}, seed 0"


def test_a_file_is_no_generator() -> None:
    assert not is_generator("step.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("saw", "no generator 'saw'; expected one of apart, constant, ramp, sine, step, together"),
        ("constant:mean=1", "constant has no mean; expected one of rate, seconds, seed, burstiness, prompt_tokens"),
        ("together:together=1", "together has no together"),
        ("constant:rate", "'rate'; expected NAME=VALUE"),
        ("constant:rate=1,rate=2", "rate is set twice"),
        ("constant:rate=fast", "rate is 'fast'; expected a number"),
        ("constant:seed=-1", "seed is '-1'; expected a whole number"),
        ("constant:burstiness=-1", "burstiness is -1"),
        ("ramp:steps=1/x", "steps is 'x'; expected a number"),
        ("apart:models=a/a", "models is 'a/a'; expected different names"),
        ("constant:prompt_tokens=5", "no output_tokens; expected both"),
        ("constant:prompt_tokens=0,output_tokens=1", "prompt quantiles"),
    ],
)
def test_a_text_that_asks_for_nothing(text: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        generated(text)
