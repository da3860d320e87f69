"""Turns Prometheus' last answers into signals: a value, missing, stale or invalid.

A number alone is not a measurement. A series may be absent (the target is gone, or its /metrics hangs), old (Prometheus
itself stood still) or not a number. So each becomes a Signal in one of four states, and only a value may lower a
target. Ages come from Prometheus (`time() - timestamp(...)`), since the time in its answers is that of the query.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tierwise.types import MISSING, MetricsHealth, PodSample, Signal, State, TierSignals

RUNNING, WAITING, KV_USAGE, AGE, KV_CAPACITY = "running", "waiting", "kv_usage", "age", "kv_capacity"
UP = "up"
PROMPT_TOKENS, ANSWER_TOKENS, FINISHED = "prompt_tokens", "answer_tokens", "finished"
PREFIX_QUERIES, PREFIX_HITS = "prefix_queries", "prefix_hits"
DRAFTED, ACCEPTED = "drafted", "accepted"
TOKEN_RATE, DRAFT_RATE = "token_rate", "draft_rate"

# Beyond this many intervals a sample is stale: one lost scrape is normal, three are not.
STALE_INTERVALS = 3.0


class PodKey(NamedTuple):
    """Whose series it is, by the labels that the scrape configuration sets (not those that a target may forge)."""

    namespace: str
    tier: str
    pod: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one series. `at`: when it was true, in seconds since the epoch on this machine's clock."""

    value: float
    at: float


@dataclass(frozen=True, slots=True)
class Samples:
    """The last answers. `answered_at` is when all questions were answered last; `problem` why they are not now;
    `interval_seconds` how often a value can be new: the longer of the scrape interval and the sampler's tick."""

    pods: Mapping[PodKey, Mapping[str, Reading]] = field(default_factory=dict)
    answered_at: float | None = None
    problem: str = ""
    interval_seconds: float = 10.0

    @property
    def stale_after(self) -> float:
        """Age in seconds beyond which a reading is stale."""
        return STALE_INTERVALS * self.interval_seconds


def health(samples: Samples, now: float) -> MetricsHealth:
    """Whether Prometheus answers. One failed round is not an outage: the last answers are still fresh."""
    answered = samples.answered_at
    if answered is not None and now - answered <= samples.stale_after:
        return MetricsHealth(ok=True, at=answered, interval_seconds=samples.interval_seconds)
    problem = samples.problem
    if not problem and answered is not None:
        problem = "Prometheus was not asked in time: the operator is overloaded or its sampler hangs"
    return MetricsHealth(False, problem, answered, samples.interval_seconds)


def tier_signals(
    samples: Samples, namespace: str, tier: str, pods: Sequence[str], ready: frozenset[str], now: float
) -> TierSignals:
    """The signals of one tier. `pods`: names that the cluster knows (series of any other are not the tier's);
    `ready`: those that receive requests, each of which is listed even without a series."""
    found = {pod: samples.pods.get(PodKey(namespace, tier, pod), {}) for pod in sorted({*pods, *ready})}
    judge = _SignalEvaluator(now, samples.stale_after)
    up = [judge.signal(found[pod].get(UP)) for pod in sorted(ready)]
    return TierSignals(
        pods=tuple(_pod(pod, series, judge) for pod, series in found.items() if series.keys() - {UP} or pod in ready),
        tokens_per_request=judge.ratio(found.values(), (PROMPT_TOKENS, ANSWER_TOKENS), FINISHED),
        tokens_per_second=judge.total(found.values(), TOKEN_RATE),
        prefix_hit_ratio=judge.ratio(found.values(), (PREFIX_HITS,), PREFIX_QUERIES),
        accepted_ratio=judge.ratio(found.values(), (ACCEPTED,), DRAFTED),
        draft_tokens_per_second=judge.total(found.values(), DRAFT_RATE),
        finished_requests=judge.total(found.values(), FINISHED),
        drafted_tokens=judge.total(found.values(), DRAFTED),
        targets_up=sum(1 for signal in up if signal.has_value and signal.value > 0),
        targets_down=sum(1 for signal in up if signal.has_value and signal.value == 0),
    )


def _pod(name: str, series: Mapping[str, Reading], judge: _SignalEvaluator) -> PodSample:
    capacity = judge.signal(series.get(KV_CAPACITY))
    if capacity.has_value and capacity.value == 0:
        capacity = Signal(State.INVALID, at=capacity.at)
    return PodSample(
        pod=name,
        running=judge.signal(series.get(RUNNING)),
        waiting=judge.signal(series.get(WAITING)),
        kv_usage=judge.signal(series.get(KV_USAGE)),
        kv_capacity_tokens=capacity,
    )


@dataclass(frozen=True, slots=True)
class _SignalEvaluator:
    """Turns readings into signals at one moment."""

    now: float
    stale_after: float

    def signal(self, reading: Reading | None) -> Signal:
        if reading is None:
            return MISSING
        if not math.isfinite(reading.value) or reading.value < 0:
            return Signal(State.INVALID, at=reading.at)
        if self.now - reading.at > self.stale_after:
            return Signal(State.STALE, at=reading.at)
        return Signal(State.VALUE, reading.value, reading.at)

    def total(self, pods: Iterable[Mapping[str, Reading]], name: str) -> Signal:
        """The sum over the pods that have it; the worst state of any of them."""
        signals = [self.signal(series[name]) for series in pods if name in series]
        for state in (State.INVALID, State.STALE):
            if any(signal.state is state for signal in signals):
                return Signal(state)
        if not signals:
            return MISSING
        return Signal(State.VALUE, sum(signal.value for signal in signals), min(s.at or 0.0 for s in signals))

    def ratio(self, pods: Iterable[Mapping[str, Reading]], parts: Sequence[str], whole: str) -> Signal:
        """Sum of `parts` by `whole`, over all pods; missing while there is nothing to divide by."""
        pods = list(pods)
        below = self.total(pods, whole)
        above = [self.total(pods, part) for part in parts]
        broken = next((signal for signal in (below, *above) if not signal.has_value), None)
        if broken is not None:
            return broken
        if below.value == 0:
            return MISSING
        return Signal(State.VALUE, sum(signal.value for signal in above) / below.value, below.at)
