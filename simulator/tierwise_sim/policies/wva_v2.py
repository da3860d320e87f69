"""llm-d's workload variant autoscaler, second analyzer: demand and capacity of a replica in tokens.

After llm-d/llm-d-workload-variant-autoscaler: internal/engines/analyzers/saturation_v2/analyzer.go and
internal/engines/pipeline/cost_aware_optimizer.go. Replicas that start count as capacity, and several steps are taken at
once. As coded a pod that lacks a figure counts as 0, and one without any does not count; `fixed` takes its last value
of at most 60 s ago, and else holds.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import median

from tierwise_sim.policies.hpa import TOLERANCE, HorizontalPodAutoscaler
from tierwise_sim.policies.observation import PodObservation, TierObservation, Wish
from tierwise_sim.policies.signals import bounded, known
from tierwise_sim.policies.wva_inputs import PERIOD_SECONDS, chart_behavior, measured, peak

TO_ZERO_SECONDS = 600.0
FRESH_SECONDS = 60.0
HISTORY = 10
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class _Replica:
    """One replica: tokens in its KV memory, tokens that memory holds, requests that wait."""

    used: float
    capacity: float
    waiting: float


class WvaV2:
    """`up` and `down`: the share of the capacity that is used at most, and below which a replica goes.

    `count_outputs` False is the analyzer of February 2026, which counted only the prompts of waiting requests.
    """

    period_seconds = PERIOD_SECONDS

    def __init__(
        self,
        *,
        window_seconds: float = 240.0,
        tolerance: float = TOLERANCE,
        kv_threshold: float = 0.80,
        up: float = 0.85,
        down: float = 0.70,
        count_outputs: bool = True,
        fixed: bool = False,
    ) -> None:
        self._kv = kv_threshold
        self._queue = 5.0
        self._up = up
        self._down = down
        self._count_outputs = count_outputs
        self._fixed = fixed
        self._hpa = HorizontalPodAutoscaler(chart_behavior(window_seconds, tolerance))
        self._wanted: int | None = None
        self._capacity: float | None = None  # tokens per replica, as last seen
        self._history: dict[int, deque[float]] = {}  # k2 by the bucket of the output length
        self._last: dict[str, tuple[float, _Replica]] = {}
        self._since: float | None = None

    def __call__(self, seen: TierObservation) -> Wish:
        """The replicas wanted now."""
        self._hpa.observe(seen)
        if self._since is None:
            self._since = seen.at
        if seen.desired == 0:
            self._wanted = 1 if (seen.router_queue or 0.0) > 0 else 0
            return Wish(bounded(self._wanted, seen), "no replica")
        if not seen.prometheus_up:
            return self._emit(seen, "Prometheus does not answer: the last target is kept")
        quiet = seen.at - (seen.last_success_at if seen.last_success_at is not None else self._since)
        if seen.minimum == 0 and quiet > TO_ZERO_SECONDS and not seen.router_queue:
            self._wanted = 0
            return Wish(0, f"no request succeeded for {quiet:.0f} s")
        replicas = self._replicas(seen)
        if not replicas:
            return self._emit(seen, "no replica is measured, or not all of them: the last target is kept")
        self._capacity = median(self._effective(replica, seen) for replica in replicas)
        if self._capacity <= 0:
            return self._emit(seen, "the capacity of a replica is unknown: the last target is kept")
        demand = self._demand(replicas, seen)
        self._wanted = self._target(seen, demand, self._capacity)
        return self._emit(seen, f"demand {demand:.0f} tokens, {self._capacity:.0f} per replica")

    def _replicas(self, seen: TierObservation) -> list[_Replica]:
        """The measured replicas; in the fixed form all that are ready, or none."""
        if not self._fixed:
            return [
                _Replica(_or_zero(peak(pod, "kv_usage")) * pod.kv_capacity_tokens, pod.kv_capacity_tokens, waiting)
                for pod in seen.pods
                if measured(pod) and known(pod.kv_capacity_tokens) and pod.kv_capacity_tokens > 0
                for waiting in [_or_zero(peak(pod, "waiting"))]
            ]
        found: list[_Replica] = []
        for pod in seen.pods:
            replica = self._latest(pod, seen.at) if pod.exists else None
            if replica is not None:
                found.append(replica)
            elif pod.exists and pod.ready and not pod.terminating:
                return []
        return found

    def _latest(self, pod: PodObservation, now: float) -> _Replica | None:
        kv, waiting, capacity = peak(pod, "kv_usage"), peak(pod, "waiting"), pod.kv_capacity_tokens
        if known(kv) and known(waiting) and known(capacity) and capacity > 0:
            self._last[pod.name] = (now, _Replica(kv * capacity, capacity, waiting))
        at, replica = self._last.get(pod.name, (-math.inf, None))
        return replica if now - at <= FRESH_SECONDS else None

    def _effective(self, replica: _Replica, seen: TierObservation) -> float:
        """min(k1, k2): what memory allows, and what computing allowed when a queue stood."""
        memory = self._kv * replica.capacity
        return min(memory, self._by_compute(replica, seen, memory))

    def _by_compute(self, replica: _Replica, seen: TierObservation, memory: float) -> float:
        inputs, outputs = _or_zero(seen.input_tokens), _or_zero(seen.output_tokens)
        bucket = 0 if outputs < 100 else 1 if outputs < 500 else 2
        if replica.waiting >= self._queue and replica.used > 0:
            self._history.setdefault(bucket, deque(maxlen=HISTORY)).append(replica.used)
            return replica.used
        if bucket in self._history:
            history = self._history[bucket]
            return math.fsum(history) / len(history)
        if outputs > 0:
            steady = min(seen.max_batched_tokens * outputs / (inputs + outputs), float(seen.max_sequences))
            return steady * (inputs + outputs / 2)
        return memory

    def _demand(self, replicas: list[_Replica], seen: TierObservation) -> float:
        inputs, outputs = _or_zero(seen.input_tokens), _or_zero(seen.output_tokens)
        each = inputs + outputs if self._count_outputs else inputs
        inside = math.fsum(replica.used + replica.waiting * each for replica in replicas)
        missed = 1 - min(1.0, _or_zero(seen.prefix_hit_ratio))
        return inside + _or_zero(seen.router_queue) * (missed * inputs + outputs)

    def _target(self, seen: TierObservation, demand: float, capacity: float) -> int:
        required = demand / self._up - seen.desired * capacity
        spare = seen.ready * capacity - demand / self._down
        if required > 0:
            more = min(required / capacity, float(seen.maximum))  # of replicas that take next to nothing: no more
            return bounded(seen.desired + math.ceil(more - _ROUNDING), seen)
        if spare > 0:
            fewer = min(spare / capacity, float(seen.desired))
            return bounded(max(1, seen.desired - math.floor(fewer + _ROUNDING)), seen)
        return seen.desired

    def _emit(self, seen: TierObservation, why: str) -> Wish:
        wanted = self._wanted if self._wanted is not None else seen.desired
        return Wish(self._hpa.settle(seen, self._hpa.asked(wanted, 1.0, seen.desired)), why)


def _or_zero(value: float | None) -> float:
    return value if known(value) else 0.0
