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

from tierwise.api.service_targets import InterTokenTarget, ServiceTargets, TTFTTarget
from tierwise.observe.route_readings import RouteReadings
from tierwise.types import MISSING, MetricsHealth, PodSample, RouterSample, SampleTimes, Signal, State, TierSignals

RUNNING, WAITING, KV_USAGE, AGE, KV_CAPACITY = "running", "waiting", "kv_usage", "age", "kv_capacity"
UP = "up"
PROMPT_TOKENS, ANSWER_TOKENS, FINISHED = "prompt_tokens", "answer_tokens", "finished"
PREFIX_QUERIES, PREFIX_HITS = "prefix_queries", "prefix_hits"
DRAFTED, ACCEPTED = "drafted", "accepted"
TOKEN_RATE, DRAFT_RATE = "token_rate", "draft_rate"
FINISHED_LATELY, REJECTED_LATELY = "finished_lately", "rejected_lately"
BEGUN_LATELY, FIRST_TOKEN_SECONDS = "begun_lately", "first_token_seconds"
# How many in a minute were within a bound of a histogram (`within`), and of how many the third kind is.
TTFT_WITHIN, INTER_TOKEN_WITHIN, SPOKEN_LATELY = "ttft_within", "inter_token_within", "spoken_lately"
# Of a router, about one tier; they are kept under the router's pod.
WANTED, QUEUED, IN_FLIGHT, REFUSED = "router_wanted", "router_waiting", "router_in_flight", "router_refused"

_REQUESTS = (PROMPT_TOKENS, ANSWER_TOKENS, FINISHED, PREFIX_QUERIES, PREFIX_HITS)
_TOTALS = (*_REQUESTS, DRAFTED, ACCEPTED, TOKEN_RATE, DRAFT_RATE, FINISHED_LATELY, REJECTED_LATELY)
_LATELY = (BEGUN_LATELY, FIRST_TOKEN_SECONDS, SPOKEN_LATELY)
_LOAD = (RUNNING, WAITING, KV_USAGE)

# Beyond this many intervals a sample is stale: one lost scrape is normal, three are not.
STALE_INTERVALS = 3.0
_STALE, _INVALID = Signal(State.STALE), Signal(State.INVALID)


def within(kind: str, seconds: float) -> str:
    """The kind of series of what was within so many seconds."""
    return f"{kind}:{seconds:g}"


class PodKey(NamedTuple):
    """Whose series it is, by the labels that the scrape configuration sets (not those that a target may forge)."""

    namespace: str
    tier: str
    pod: str


class PodReadings(NamedTuple):
    """What was measured of one pod: by kind of series the value, and when it was true, in seconds since the epoch on
    this machine's clock."""

    values: Mapping[str, float]
    times: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Samples:
    """The last answers. `answered_at` is when all questions were answered last; `problem` why they are not now;
    `interval_seconds` how often a value can be new: the longer of the scrape interval and the sampler's tick.
    `latency_problem`: why it is not known any more whether service levels are kept, which concerns no other tier."""

    pods: Mapping[PodKey, PodReadings] = field(default_factory=dict)
    answered_at: float | None = None
    problem: str = ""
    interval_seconds: float = 10.0
    routes: RouteReadings = field(default_factory=RouteReadings)
    latency_problem: str = ""

    @property
    def stale_after(self) -> float:
        """Age in seconds beyond which a reading is stale."""
        return STALE_INTERVALS * self.interval_seconds


_NOTHING = PodReadings({}, {})


def health(samples: Samples, now: float) -> MetricsHealth:
    """Whether Prometheus answers. One failed round is not an outage: the last answers are still fresh."""
    answered = samples.answered_at
    if answered is not None and now - answered <= samples.stale_after:
        unjudged = samples.latency_problem
        return MetricsHealth(True, at=answered, interval_seconds=samples.interval_seconds, latency_problem=unjudged)
    problem = samples.problem
    if not problem and answered is not None:
        problem = "Prometheus was not asked in time: the operator is overloaded or its sampler hangs"
    return MetricsHealth(False, problem, answered, samples.interval_seconds)


def tier_readings(samples: Samples, namespace: str, tier: str, pods: Iterable[str]) -> Mapping[str, PodReadings]:
    """What was measured of these pods of a tier, by their names."""
    return {pod: samples.pods.get(PodKey(namespace, tier, pod), _NOTHING) for pod in pods}


def tier_signals(
    samples: Samples,
    namespace: str,
    tier: str,
    pods: Iterable[str],
    ready: frozenset[str],
    now: float,
    targets: ServiceTargets | None = None,
) -> TierSignals:
    """The signals of one tier. `pods`: names that the cluster knows (series of any other are not the tier's);
    `ready`: those that receive requests, each of which is listed even without a series; `targets`: its service
    level."""
    found = tier_readings(samples, namespace, tier, sorted({*pods, *ready}))
    return signals_of(found, ready, now, samples.stale_after, targets)


def signals_of(
    found: Mapping[str, PodReadings],
    ready: frozenset[str],
    now: float,
    stale_after: float,
    targets: ServiceTargets | None = None,
) -> TierSignals:
    """The signals of one tier, from what was measured of its pods. `targets`: its service level."""
    judge = _SignalEvaluator(now, stale_after)
    up = [judge.signal(found[pod], UP) for pod in ready]
    total = {kind: judge.total(found.values(), kind) for kind in (*_TOTALS, *_LATELY)}
    return TierSignals(
        pods=tuple(_pod(pod, each, judge) for pod, each in found.items() if pod in ready or each.values.keys() - {UP}),
        tokens_per_request=_ratio((total[PROMPT_TOKENS], total[ANSWER_TOKENS]), total[FINISHED]),
        prompt_tokens_per_request=_ratio((total[PROMPT_TOKENS],), total[FINISHED]),
        tokens_per_second=total[TOKEN_RATE],
        prefix_hit_ratio=_ratio((total[PREFIX_HITS],), total[PREFIX_QUERIES]),
        accepted_ratio=_ratio((total[ACCEPTED],), total[DRAFTED]),
        draft_tokens_per_second=total[DRAFT_RATE],
        finished_requests=total[FINISHED],
        drafted_tokens=total[DRAFTED],
        finished_lately=total[FINISHED_LATELY],
        rejected_lately=total[REJECTED_LATELY],
        begun_lately=total[BEGUN_LATELY],
        first_token_seconds=total[FIRST_TOKEN_SECONDS],
        spoken_lately=total[SPOKEN_LATELY],
        late_first_tokens=_late(judge, found, TTFT_WITHIN, targets.ttft) if targets is not None else MISSING,
        late_answers=_late(judge, found, INTER_TOKEN_WITHIN, targets.inter_token) if targets is not None else MISSING,
        targets_up=sum(1 for signal in up if signal.has_value and signal.value > 0),
        targets_down=sum(1 for signal in up if signal.has_value and signal.value == 0),
    )


def _late(
    judge: _SignalEvaluator,
    found: Mapping[str, PodReadings],
    kind: str,
    target: TTFTTarget | InterTokenTarget | None,
) -> Signal:
    """How many were later than the target."""
    if target is None:
        return MISSING
    inside = judge.total(found.values(), within(kind, target.milliseconds / 1000))
    counted = judge.total(found.values(), BEGUN_LATELY if kind == TTFT_WITHIN else SPOKEN_LATELY)
    broken = next((signal for signal in (counted, inside) if not signal.has_value), None)
    if broken is not None:
        return broken
    return Signal(State.VALUE, max(0.0, counted.value - inside.value), inside.at)


def router_samples(
    samples: Samples, namespace: str, tier: str, routers: Mapping[str, float | None], now: float
) -> tuple[RouterSample, ...]:
    """What these routers say of a tier, sorted. `routers`: the names of their pods, and since when each is ready, in
    seconds since 1970; None: it is not."""
    judge = _SignalEvaluator(now, samples.stale_after)
    found = tier_readings(samples, namespace, tier, sorted(routers))
    return tuple(
        RouterSample(
            router=name,
            ready_at=routers[name],
            wanted=judge.signal(said, WANTED),
            waiting=judge.signal(said, QUEUED),
            in_flight=judge.signal(said, IN_FLIGHT),
            refused=judge.signal(said, REFUSED),
        )
        for name, said in found.items()
    )


def _pod(name: str, readings: PodReadings, judge: _SignalEvaluator) -> PodSample:
    capacity = judge.signal(readings, KV_CAPACITY)
    if capacity.state is State.VALUE and capacity.value == 0:
        capacity = Signal(State.INVALID, at=capacity.at)
    return PodSample(
        pod=name,
        running=judge.signal(readings, RUNNING),
        waiting=judge.signal(readings, WAITING),
        kv_usage=judge.signal(readings, KV_USAGE),
        kv_capacity_tokens=capacity,
        tokens_per_second=judge.signal(readings, TOKEN_RATE),
    )


@dataclass(frozen=True, slots=True)
class _SignalEvaluator:
    """Turns readings into signals at one moment."""

    now: float
    stale_after: float

    def signal(self, readings: PodReadings, kind: str) -> Signal:
        value = readings.values.get(kind)
        if value is None:
            return MISSING
        at = readings.times[kind]
        if not 0.0 <= value < math.inf:
            return Signal(State.INVALID, at=at)
        if self.now - at > self.stale_after:
            return Signal(State.STALE, at=at)
        return Signal(State.VALUE, value, at)

    def total(self, pods: Iterable[PodReadings], kind: str) -> Signal:
        """The sum over the pods that have it; the worst state of any of them."""
        value, oldest, found, stale = 0.0, math.inf, False, False
        for values, times in pods:
            if kind in values:
                one, at, found = values[kind], times[kind], True
                if not 0.0 <= one < math.inf:
                    return _INVALID
                stale = stale or self.now - at > self.stale_after
                value += one
                oldest = min(oldest, at)
        if not found:
            return MISSING
        return _STALE if stale else Signal(State.VALUE, value, oldest)


def _ratio(parts: Sequence[Signal], whole: Signal) -> Signal:
    """Sum of `parts` by `whole`; missing while there is nothing to divide by."""
    broken = next((signal for signal in (whole, *parts) if not signal.has_value), None)
    if broken is not None:
        return broken
    if whole.value == 0:
        return MISSING
    return Signal(State.VALUE, sum(signal.value for signal in parts) / whole.value, whole.at)


def sample_times(found: Mapping[str, PodReadings], ready: frozenset[str]) -> SampleTimes:
    """When the measurements of a tier were taken. Values that are no number do not count."""
    oldest, newest = math.inf, -math.inf
    for pod, (values, times) in found.items():
        numbers = [kind for kind in _LOAD if 0.0 <= values.get(kind, -1.0) < math.inf]
        if pod in ready:
            oldest = min(oldest, *(times[kind] for kind in numbers), math.inf)
        if RUNNING in numbers and WAITING in numbers:
            newest = max(newest, times[RUNNING])
    return SampleTimes(None if oldest == math.inf else oldest, None if newest == -math.inf else newest)


def all_fresh(found: Mapping[str, PodReadings], since: float) -> bool:
    """Whether everything was measured after this time."""
    return all(not times or min(times.values()) >= since for _, times in found.values())


def measured_again(before: Mapping[str, PodReadings], found: Mapping[str, PodReadings]) -> bool:
    """Whether the same values were measured of the same pods, in no older samples: as long as all of them are fresh,
    the signals then differ in their times alone."""
    if before.keys() != found.keys():
        return False
    for pod, (values, times) in found.items():
        then = before[pod]
        if then.values != values or times.get(RUNNING, 0.0) < then.times.get(RUNNING, 0.0):
            return False
    return True
