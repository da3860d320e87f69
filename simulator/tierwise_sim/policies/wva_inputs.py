"""What both analyzers of llm-d's workload variant autoscaler read, and the HPA that its chart puts behind them.

After llm-d/llm-d-workload-variant-autoscaler: internal/collector/registration/saturation.go (maxima over a minute),
internal/engines/saturation/engine.go (a loop of 30 s), charts README (the HPA).
"""

from __future__ import annotations

from tierwise_sim.policies.hpa import Behavior, SpeedLimit
from tierwise_sim.policies.observation import PodObservation

PERIOD_SECONDS = 30.0


def chart_behavior(window_seconds: float, tolerance: float) -> Behavior:
    """The HPA of WVA's chart: one window both ways, 10 pods per 150 s."""
    limit = (SpeedLimit(10, 150),)
    return Behavior(up_window=window_seconds, down_window=window_seconds, up=limit, down=limit, tolerance=tolerance)


def peak(pod: PodObservation, attribute: str) -> float | None:
    """The largest value of the last minute; the last one where no maximum is kept."""
    most: float | None = getattr(pod, f"{attribute}_max_1m")
    last: float | None = getattr(pod, attribute)
    return last if most is None else most


def measured(pod: PodObservation) -> bool:
    """Whether Prometheus has a series of the pod that WVA asks for."""
    return peak(pod, "kv_usage") is not None or peak(pod, "waiting") is not None
