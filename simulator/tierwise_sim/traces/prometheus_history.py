"""Makes a trace of what a Prometheus remembers of vLLM: requests, tokens and lengths, step by step.

vLLM counts requests when they end, prompt and generated tokens as it computes them, and lengths in histograms. Each is
asked for as its increase per step, summed over replicas, per served model; within a step the requests are spread (see
`spread`). So a request appears up to its own duration late, and a peak shorter than the step is not seen. Metric names
are those of vLLM's V1 engine (vllm/v1/metrics/loggers.py).
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from tierwise.engines import MetricNames
from tierwise.observe.queries import quote
from tierwise.ports import History
from tierwise_sim.traces.arrival import Trace
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.gathering import LONGEST_SECONDS
from tierwise_sim.traces.lengths import Quantiles
from tierwise_sim.traces.spread import Counted, Spreading, spread

REQUESTS = "vllm:request_success_total"
MODEL = "model_name"
MOST_POINTS = 1000
"""Steps in one query: Prometheus allows 11,000, but 20 buckets of a thousand replicas are many samples for each."""
_NAMES = MetricNames()
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ROUNDING = 1e-6  # 2.9999999 requests are three


class RangeQueries(Protocol):
    """Whoever answers range queries; see `tierwise.prom.client.PrometheusMetrics`."""

    async def query_range(self, promql: str, start: float, end: float, step: float) -> Sequence[History]:
        """Raises tierwise.errors.Transient when nobody answers."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """From `start` to `end` (seconds since 1970) in steps of so many whole seconds; only series that have all of these
    labels. Raises TraceError for what cannot be asked."""

    start: float
    end: float
    step: float = 60.0
    matchers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a range or a label that Prometheus would refuse, in words that say what is meant."""
        if not (self.step >= 1 and self.step == int(self.step)):
            raise TraceError(f"a step of {self.step} s; expected whole seconds, 4 times the scrape interval or more")
        if not 0 < self.end - self.start <= LONGEST_SECONDS:
            raise TraceError(f"from {self.start:g} to {self.end:g}; expected the end after the start, at most a year")
        for label in self.matchers:
            if not _LABEL.fullmatch(label):
                raise TraceError(f"{label!r} is no label; expected letters, digits and _, such as namespace")

    @property
    def steps(self) -> int:
        """How many there are; the last one may go beyond the end."""
        return math.ceil((self.end - self.start) / self.step)

    def increase(self, metric: str, by: str = MODEL) -> str:
        """The query for the growth of this counter in the step before each moment, summed by these labels."""
        selector = ",".join(f"{label}={quote(value)}" for label, value in sorted(self.matchers.items()))
        return f"sum by ({by}) (increase({metric}{{{selector}}}[{self.step:.0f}s]))"


async def read(source: RangeQueries, asked: Asked, spreading: Spreading, shown: str) -> Trace:
    """The trace of this range. `shown`: the address of Prometheus as a person may read it.

    Raises TraceError when it remembers no request, tierwise.errors.Transient when it does not answer.
    """
    requests = await _series(source, asked, asked.increase(REQUESTS))
    if not any(value > 0 for steps in requests.values() for value in steps.values()):
        raise TraceError(
            f"Prometheus at {shown} remembers no request of vLLM in these {asked.end - asked.start:g} s "
            f"({asked.increase(REQUESTS)} is empty or 0); expected some: check the range against its retention, the "
            f"labels, and that a step of {asked.step:g} s is at least 4 scrape intervals"
        )
    metrics = _Metrics(
        requests=requests,
        prompt=await _series(source, asked, asked.increase(_NAMES.prompt_tokens)),
        output=await _series(source, asked, asked.increase(_NAMES.generation_tokens)),
        cache_hits=await _series(source, asked, asked.increase(_NAMES.prefix_hits)),
        cache_queries=await _series(source, asked, asked.increase(_NAMES.prefix_queries)),
        prompt_lengths=await _lengths(source, asked, _NAMES.request_prompt_tokens),
        output_lengths=await _lengths(source, asked, _NAMES.request_generation_tokens),
    )
    counts = [counted for model in sorted(requests) for counted in _counts(model, metrics, asked)]
    arrivals, notes = spread(counts, spreading)
    if not arrivals:
        raise TraceError(f"Prometheus at {shown} remembers less than one request in this range; expected some")
    seen = {step for steps in requests.values() for step in steps}
    source_text = f"Prometheus at {shown}, {asked.steps} steps of {asked.step:g} s"
    trace = Trace("prometheus", arrivals, asked.steps * asked.step, source_text, notes)
    missing = asked.steps - len(seen)
    if missing:
        gap = f"{missing} of {asked.steps} steps have no sample of {REQUESTS}: they are taken to be without requests"
        trace = replace(trace, notes=(gap, *trace.notes))
    return trace


Steps = Mapping[int, float]
"""Values by the number of their step, from 0."""
_Buckets = Mapping[tuple[str, str], Steps]


@dataclass(frozen=True, slots=True)
class _Metrics:
    """Increases per step: by model; the buckets of lengths by (model, le)."""

    requests: Mapping[str, Steps]
    prompt: Mapping[str, Steps]
    output: Mapping[str, Steps]
    cache_hits: Mapping[str, Steps]
    cache_queries: Mapping[str, Steps]
    prompt_lengths: _Buckets
    output_lengths: _Buckets


async def _series(source: RangeQueries, asked: Asked, promql: str) -> dict[str, dict[int, float]]:
    found = await _ask(source, asked, promql, (MODEL,))
    return {model: steps for (model,), steps in found.items()}


async def _lengths(source: RangeQueries, asked: Asked, metric: str) -> dict[tuple[str, str], dict[int, float]]:
    found = await _ask(source, asked, asked.increase(f"{metric}_bucket", f"{MODEL}, le"), (MODEL, "le"))
    return {(model, le): steps for (model, le), steps in found.items()}


async def _ask(
    source: RangeQueries, asked: Asked, promql: str, labels: tuple[str, ...]
) -> dict[tuple[str, ...], dict[int, float]]:
    """Values by the series' labels and by step; NaN and infinite ones are as if they were missing."""
    found: dict[tuple[str, ...], dict[int, float]] = defaultdict(dict)
    for low in range(0, asked.steps, MOST_POINTS):
        high = min(low + MOST_POINTS, asked.steps)
        # A step is what grew before its end.
        ends = (asked.start + (low + 1) * asked.step, asked.start + high * asked.step)
        for history in await source.query_range(promql, *ends, asked.step):
            steps = found[tuple(history.labels.get(label, "") for label in labels)]
            for at, value in history.points:
                step = round((at - asked.start) / asked.step) - 1
                if math.isfinite(value) and 0 <= step < asked.steps:
                    steps[step] = max(0.0, value)
    return found


def _counts(model: str, metrics: _Metrics, asked: Asked) -> Iterator[Counted]:
    """Whole requests per step. `increase` extrapolates, so its values are fractions; what is left of a step goes to the
    next, with its tokens, and so does a step in which tokens were computed but no request ended."""
    due = prompt = output = cached = 0.0
    prompt_bounds, output_bounds = (_bounds(model, each) for each in (metrics.prompt_lengths, metrics.output_lengths))
    for step in range(asked.steps):
        due += metrics.requests[model].get(step, 0.0)
        computed = metrics.prompt.get(model, {}).get(step, 0.0)
        prompt += computed
        cached += computed * _cached_share(model, step, metrics)
        output += metrics.output.get(model, {}).get(step, 0.0)
        last = step == asked.steps - 1
        requests = round(due) if last else math.floor(due + _ROUNDING)
        if requests < 1:
            continue
        yield Counted(
            start=step * asked.step,
            seconds=asked.step,
            requests=requests,
            prompt_tokens=round(prompt),
            output_tokens=round(output),
            cached_tokens=round(cached),
            model=model,
            prompt_lengths=_quantiles(prompt_bounds, metrics.prompt_lengths, model, step),
            output_lengths=_quantiles(output_bounds, metrics.output_lengths, model, step),
        )
        due, prompt, output, cached = due - requests, 0.0, 0.0, 0.0


def _cached_share(model: str, step: int, metrics: _Metrics) -> float:
    asked_for = metrics.cache_queries.get(model, {}).get(step, 0.0)
    return min(1.0, metrics.cache_hits.get(model, {}).get(step, 0.0) / asked_for) if asked_for > 0 else 0.0


def _bounds(model: str, buckets: _Buckets) -> tuple[tuple[float, str], ...]:
    """The upper bounds of the histogram's buckets, rising, with their label."""
    found = []
    for of, label in buckets:
        try:
            bound = float(label)
        except ValueError:
            continue
        if of == model and bound > 0:
            found.append((bound, label))
    return tuple(sorted(found))


def _quantiles(bounds: Sequence[tuple[float, str]], buckets: _Buckets, model: str, step: int) -> Quantiles:
    """The lengths in one step as quantiles; empty when the histogram says nothing of them.

    The last bucket has no upper bound: it is taken to be as wide as its lower bound. Over empty buckets the quantiles
    jump, within a share too small to be drawn."""
    reached, low = 0.0, 1.0
    points = [(0.0, low)]
    for bound, label in bounds:
        count = buckets[model, label].get(step, 0.0)
        high = max(1.0, bound if math.isfinite(bound) else 2 * low)
        if count > reached + _ROUNDING:
            if not reached:
                points = [(0.0, low)]
            elif points[-1][1] < low:
                points.append((reached + _ROUNDING / 2, low))
            points.append((count, high))
            reached = count
        low = high
    return tuple((count / reached, tokens) for count, tokens in points) if reached else ()
