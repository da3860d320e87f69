"""llm-d's SLO-aware law: the 90th percentiles of latency, measured in service levels, over an HPA.

After llm-d/llm-d: guides/workload-autoscaling/README.slo-aware.md. The guide prefers predicted latencies and falls back
to measured ones; this is the fallback. No traffic reads as 0 there, and so does a latency that is not measured; and
the credit for starting replicas can make the branch that grows ask for fewer. `fixed` holds while requests are in
flight and no latency is known, and never shrinks in that branch.
"""

from __future__ import annotations

import math

from tierwise_sim.policies.hpa import SYNC_SECONDS, TOLERANCE, Behavior, HorizontalPodAutoscaler, SpeedLimit
from tierwise_sim.policies.observation import TierObservation, Wish
from tierwise_sim.policies.signals import bounded, known
from tierwise_sim.policies.windows import Window

CLAMP = 2.0
SMOOTHING_SECONDS = 45.0
_ROUNDING = 1e-9
_UP = (SpeedLimit(100, 60, percent=True), SpeedLimit(4, 60))
_DOWN = (SpeedLimit(1, 120),)


class SloLaw:
    """Grows above `up` of the service level, shrinks below `down`, holds between them."""

    period_seconds = SYNC_SECONDS

    def __init__(
        self, *, up: float = 0.55, down: float = 0.40, tolerance: float = TOLERANCE, fixed: bool = False
    ) -> None:
        self._up = up
        self._down = down
        self._fixed = fixed
        self._saturation = Window(SMOOTHING_SECONDS)
        self._hpa = HorizontalPodAutoscaler(Behavior(30, 180, _UP, _DOWN, tolerance))

    def __call__(self, seen: TierObservation) -> Wish:
        """The replicas wanted now."""
        self._hpa.observe(seen)
        current = seen.desired
        if not seen.prometheus_up:
            return Wish(bounded(current, seen), "Prometheus does not answer: the HPA keeps what there is")
        if current == 0:
            return Wish(bounded(1 if (seen.router_queue or 0.0) > 0 else 0, seen), "no replica")
        latencies = [
            value / target
            for value, target in ((seen.ttft_p90, seen.ttft_target), (seen.inter_token_p90, seen.inter_token_target))
            if known(value)
        ]
        if self._fixed and not latencies and seen.in_flight != 0:
            return Wish(bounded(current, seen), "requests are in flight and no latency is known: hold")
        self._saturation.add(seen.at, min(max(latencies, default=0.0), CLAMP))
        saturation = self._saturation.mean
        wanted = max(1, self._law(seen, saturation))
        # The formula is a metric of the HPA, whose tolerance applies to it.
        return Wish(
            self._hpa.settle(seen, self._hpa.asked(wanted, 1.0, current)), f"{saturation:.2f} of the service level"
        )

    def _law(self, seen: TierObservation, saturation: float) -> int:
        current, ready = seen.desired, seen.ready
        credit = ready / current if 0 < ready < current else 1.0
        if saturation > self._up:
            more = math.ceil(current * (saturation * credit / self._up - 1) - _ROUNDING)
            return current + (max(0, more) if self._fixed else more)
        if saturation < self._down:
            return current - math.floor(current * (1 - saturation / self._down) + _ROUNDING)
        return current
