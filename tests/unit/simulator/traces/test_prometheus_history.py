"""What a Prometheus remembers becomes requests: sums kept, lengths of its histograms, gaps said."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise.ports import History
from tierwise_sim.traces.arrival import Trace
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.prometheus_history import MOST_POINTS, Asked, read
from tierwise_sim.traces.spread import Spreading

Increase = Callable[[int], float]
"""What a counter grew in this step."""
START, STEP = 1_772_409_600.0, 60.0
LE = "+Inf"


class Remembered:
    """Range queries over counters whose growth per step is known; `asked` keeps the queries."""

    def __init__(self, counters: dict[tuple[str, tuple[tuple[str, str], ...]], Increase]) -> None:
        self._counters = counters
        self.asked: list[tuple[str, float, float, float]] = []

    async def query_range(self, promql: str, start: float, end: float, step: float) -> Sequence[History]:
        self.asked.append((promql, start, end, step))
        metric = re.search(r"increase\(([\w:]+)", promql)
        assert metric is not None
        steps = range(round((start - START) / step) - 1, round((end - START) / step))
        found = []
        for (name, labels), grew in self._counters.items():
            if name == metric[1]:
                points = tuple((START + (number + 1) * step, grew(number)) for number in steps)
                found.append(History(dict(labels), tuple(each for each in points if each[1] != -1)))
        return found


def of(name: str, model: str = "m", le: str = "") -> tuple[str, tuple[tuple[str, str], ...]]:
    return f"vllm:{name}", (("model_name", model), *((("le", le),) if le else ()))


def trace(source: Remembered, steps: int = 10, **changes: float) -> Trace:
    asked = Asked(START, START + steps * STEP, STEP)
    return asyncio.run(read(source, asked, Spreading(**changes), "http://prometheus"))  # type: ignore[arg-type]


def simple(requests: Increase = lambda _: 6.0, prompt: Increase = lambda _: 600.0) -> Remembered:
    return Remembered(
        {
            of("request_success_total"): requests,
            of("prompt_tokens_total"): prompt,
            of("generation_tokens_total"): lambda _: 60.0,
        }
    )


def test_steps_become_requests() -> None:
    found = trace(simple())
    assert (len(found.arrivals), found.duration) == (60, 600)
    for step in range(10):
        inside = [each for each in found.arrivals if step * 60 <= each.at < step * 60 + 60]
        assert (len(inside), sum(a.prompt_tokens for a in inside), sum(a.output_tokens for a in inside)) == (6, 600, 60)
    assert {each.model for each in found.arrivals} == {"m"}
    assert found.source == "Prometheus at http://prometheus, 10 steps of 60 s"


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(st.tuples(st.floats(0, 20), st.floats(0, 5000), st.floats(0, 900)), min_size=1, max_size=12),
    seed=st.integers(0, 3),
)
def test_sums_are_kept_whatever_the_fractions(steps: list[tuple[float, float, float]], seed: int) -> None:
    requests, prompt, output = zip(*steps, strict=True)
    source = Remembered(
        {
            of("request_success_total"): lambda step: requests[step],
            of("prompt_tokens_total"): lambda step: prompt[step],
            of("generation_tokens_total"): lambda step: output[step],
        }
    )
    try:
        found = trace(source, len(steps), seed=seed)
    except TraceError:
        assert sum(requests) < 1
        return
    many = len(found.arrivals)
    assert abs(many - sum(requests)) <= 0.5 + 1e-5
    # Tokens of a last step without a request are lost, and every request has at least one of each.
    tokens = sum(each.prompt_tokens for each in found.arrivals)
    assert tokens <= sum(prompt) + many + len(steps)
    if requests[-1] >= 1:
        assert tokens >= sum(prompt) - len(steps)


def test_models_stay_apart_and_lengths_follow_their_histograms() -> None:
    """Model a: prompts of 100 to 200 tokens; model b: half up to 10, half 1,000 to 2,000, nothing between."""
    source = Remembered(
        {
            of("request_success_total", "a"): lambda _: 500.0,
            of("request_success_total", "b"): lambda _: 500.0,
            of("prompt_tokens_total", "a"): lambda _: 500.0 * 144,
            of("prompt_tokens_total", "b"): lambda _: 500.0 * 723,
            of("request_prompt_tokens_bucket", "a", "100.0"): lambda _: 0.0,
            of("request_prompt_tokens_bucket", "a", "200.0"): lambda _: 500.0,
            of("request_prompt_tokens_bucket", "a", LE): lambda _: 500.0,
            of("request_prompt_tokens_bucket", "b", "10.0"): lambda _: 250.0,
            of("request_prompt_tokens_bucket", "b", "1000.0"): lambda _: 250.0,
            of("request_prompt_tokens_bucket", "b", LE): lambda _: 500.0,
        }
    )
    found = trace(source, 2)
    a = sorted(each.prompt_tokens for each in found.arrivals if each.model == "a")
    b = sorted(each.prompt_tokens for each in found.arrivals if each.model == "b")
    assert (len(a), len(b)) == (1000, 1000)
    assert a[0] >= 90
    assert a[-1] <= 220
    assert sum(each <= 15 for each in b) == pytest.approx(500, abs=80)
    assert not [each for each in b if 15 < each < 900]


def test_cached_tokens_are_the_part_that_the_cache_found() -> None:
    source = simple()
    source._counters[of("prefix_cache_queries_total")] = lambda _: 6000.0
    source._counters[of("prefix_cache_hits_total")] = lambda _: 1500.0
    found = trace(source, 1000)
    cached = sum(len(each.prefix) * each.block_tokens for each in found.arrivals)
    assert cached == pytest.approx(0.25 * sum(each.prompt_tokens for each in found.arrivals), rel=0.01)
    assert any("same beginning" in note for note in found.notes)


def test_a_hole_is_said_and_is_without_requests() -> None:
    found = trace(simple(requests=lambda step: -1.0 if 3 <= step < 5 else 6.0))
    assert len(found.arrivals) == 48
    assert not [each for each in found.arrivals if 180 <= each.at < 300]
    assert found.notes[0].startswith("2 of 10 steps have no sample of vllm:request_success_total")


def test_values_that_are_no_numbers_are_as_if_missing() -> None:
    found = trace(simple(requests=lambda step: (math.nan, math.inf, 6.0)[step % 3]), 9)
    assert len(found.arrivals) == 18
    assert found.notes[0].startswith("6 of 9 steps")


def test_a_long_range_is_asked_in_parts_and_no_step_twice() -> None:
    source = simple()
    found = trace(source, MOST_POINTS * 2 + 5)
    assert len(found.arrivals) == 6 * (MOST_POINTS * 2 + 5)
    parts = [each[1:] for each in source.asked if "request_success_total" in each[0]]
    assert parts == [
        (START + STEP, START + MOST_POINTS * STEP, STEP),
        (START + (MOST_POINTS + 1) * STEP, START + 2 * MOST_POINTS * STEP, STEP),
        (START + (2 * MOST_POINTS + 1) * STEP, START + (2 * MOST_POINTS + 5) * STEP, STEP),
    ]


def test_a_label_is_escaped() -> None:
    asked = Asked(START, START + 60, matchers={"namespace": 'a"} or vector(1) #\\\n', "job": "x"})
    assert asked.increase("m_total") == (
        'sum by (model_name) (increase(m_total{job="x",namespace="a\\"} or vector(1) #\\\\\\n"}[60s]))'
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": 0.5}, "a step of 0.5 s; expected whole seconds"),
        ({"step": math.nan}, "a step of nan s"),
        ({"end": START}, "expected the end after the start"),
        ({"end": START + 400 * 86400}, "at most a year"),
        ({"matchers": {'x"}': "y"}}, "is no label; expected letters"),
    ],
)
def test_what_cannot_be_asked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        Asked(**{"start": START, "end": START + 600, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("grew", [0.0, -1.0, math.nan])
def test_a_prometheus_that_remembers_nothing(grew: float) -> None:
    with pytest.raises(TraceError, match=r"at http://prometheus remembers no request of vLLM in these 600 s \(sum by"):
        trace(simple(requests=lambda _: grew))


def test_a_prometheus_that_remembers_less_than_a_request() -> None:
    with pytest.raises(TraceError, match="less than one request"):
        trace(simple(requests=lambda _: 0.01))
