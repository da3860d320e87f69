"""llm-d's workload variant autoscaler, first analyzer: spare KV memory and queue, one replica at a time.

After llm-d/llm-d-workload-variant-autoscaler: internal/saturation/analyzer.go with the thresholds of its ConfigMap,
over the HPA of its chart. While a replica starts, the model is held: n steps take n times the start-up and the window.
"""

from __future__ import annotations

import math

from tierwise_sim.policies.hpa import TOLERANCE, HorizontalPodAutoscaler
from tierwise_sim.policies.observation import PodObservation, TierObservation, Wish
from tierwise_sim.policies.signals import bounded, known
from tierwise_sim.policies.wva_inputs import PERIOD_SECONDS, chart_behavior, measured, peak

_ROUNDING = 1e-9


class WvaV1:
    """`spare_kv` (share) and `spare_queue` (requests): below that mean spare of the unsaturated pods one is added."""

    period_seconds = PERIOD_SECONDS

    def __init__(
        self,
        *,
        window_seconds: float = 240.0,
        tolerance: float = TOLERANCE,
        kv_threshold: float = 0.80,
        queue_threshold: float = 5.0,
        spare_kv: float = 0.10,
        spare_queue: float = 3.0,
        fixed: bool = False,
    ) -> None:
        self._kv = kv_threshold
        self._queue = queue_threshold
        self._spare_kv = spare_kv
        self._spare_queue = spare_queue
        self._fixed = fixed
        self._hpa = HorizontalPodAutoscaler(chart_behavior(window_seconds, tolerance))
        self._wanted: int | None = None

    def __call__(self, seen: TierObservation) -> Wish:
        """The replicas wanted now."""
        self._hpa.observe(seen)
        current = seen.desired
        if self._wanted is None:
            self._wanted = current
        if current == 0:
            # Without an HPA from zero: WVA itself wakes the variant.
            self._wanted = 1 if (seen.router_queue or 0.0) > 0 else 0
            return Wish(bounded(self._wanted, seen), "no replica")
        if not seen.prometheus_up:
            return self._emit(seen, "Prometheus does not answer: the last target is kept")
        pods = [pod for pod in seen.pods if measured(pod)]
        if not pods:
            return self._emit(seen, "no replica has metrics: the last target is kept")
        if self._wanted != current or len(pods) != current:
            return self._emit(seen, f"{self._wanted} wanted, {current} asked for, {len(pods)} measured: in transition")
        if self._fixed and not all(known(peak(p, "kv_usage")) and known(peak(p, "waiting")) for p in pods):
            return self._emit(seen, "a replica is not measured in full: the last target is kept")
        change, why = self._analyze(pods)
        self._wanted = bounded(max(1, current + change), seen)
        return self._emit(seen, why)

    def _analyze(self, pods: list[PodObservation]) -> tuple[int, str]:
        free: list[tuple[float, float]] = []
        for pod in pods:
            kv, queue = peak(pod, "kv_usage"), peak(pod, "waiting")
            used, waiting = kv if known(kv) else 0.0, queue if known(queue) else 0.0  # a gap counts as 0
            if used < self._kv and waiting < self._queue:
                free.append((self._kv - used, self._queue - waiting))
        spare_kv = math.fsum(kv for kv, _ in free) / len(free) if free else 0.0
        spare_queue = math.fsum(queue for _, queue in free) / len(free) if free else 0.0
        why = f"{len(free)} of {len(pods)} unsaturated, spare KV {spare_kv:.2f}, spare queue {spare_queue:.1f}"
        if spare_kv < self._spare_kv - _ROUNDING or spare_queue < self._spare_queue - _ROUNDING:
            return 1, why
        if len(free) >= 2:
            share = len(free) / (len(free) - 1)  # what the others carry when one goes
            kv_after = self._kv - (self._kv - spare_kv) * share
            queue_after = self._queue - (self._queue - spare_queue) * share
            if kv_after >= self._spare_kv and queue_after >= self._spare_queue:
                return -1, why
        return 0, why

    def _emit(self, seen: TierObservation, why: str) -> Wish:
        wanted = self._wanted if self._wanted is not None else seen.desired
        # wva_desired_replicas is a metric of the HPA, whose tolerance applies to it.
        return Wish(self._hpa.settle(seen, self._hpa.asked(wanted, 1.0, seen.desired)), why)
