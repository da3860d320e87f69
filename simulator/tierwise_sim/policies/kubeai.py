"""KubeAI's model autoscaler: the ten-minute mean of active requests over a target per replica.

After kubeai-project/kubeai: internal/modelautoscaler/autoscaler.go, internal/modelclient/scale.go. The requests are
counted by its own proxies, so engines and Prometheus may be silent.
"""

from __future__ import annotations

import math
from collections import deque

from tierwise_sim.policies.observation import TierObservation, Wish
from tierwise_sim.policies.signals import bounded, known, whole

PERIOD_SECONDS = 10.0
WINDOW_SECONDS = 600.0
SCALE_DOWN_DELAY_SECONDS = 30.0


class KubeAi:
    """`target`: active requests (running and waiting) per replica; KubeAI's default is 100."""

    period_seconds = PERIOD_SECONDS

    def __init__(self, *, target: float = 100.0, window_seconds: float = WINDOW_SECONDS) -> None:
        self._target = target
        length = max(1, round(window_seconds / PERIOD_SECONDS))
        self._ring: deque[float] = deque([0.0] * length, maxlen=length)  # begins at 0, as the original does
        self._lower = 0

    def __call__(self, seen: TierObservation) -> Wish:
        """The replicas wanted now."""
        if not known(seen.in_flight):
            return Wish(bounded(seen.desired, seen), "the proxies could not be asked: this tick is skipped")
        self._ring.append(seen.in_flight)
        mean = math.fsum(self._ring) / len(self._ring)
        wanted = whole(mean / self._target)
        why = f"{mean:.1f} active requests at {self._target:g} per replica"
        if bounded(wanted, seen) < seen.desired:
            # The count stays at its limit, so that the next step down is immediate: as in the original.
            if self._lower < SCALE_DOWN_DELAY_SECONDS / PERIOD_SECONDS:
                self._lower += 1
                return Wish(bounded(seen.desired, seen), why + ", lowered later")
            return Wish(bounded(wanted, seen), why)
        self._lower = 0
        return Wish(bounded(wanted, seen), why)
