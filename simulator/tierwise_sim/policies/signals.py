"""Reads figures of a tier as PromQL would, and as a careful reader would.

Two ways of adding up pods, because the difference is what policies fail by: `series_sum` is the `sum()` of a query,
which a silent pod makes smaller and a dead pod's last series keeps too large; `complete_sum` is unknown when a ready
pod is not measured, and leaves out pods that are gone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeGuard

from tierwise_sim.policies.observation import PodObservation, TierObservation

_ROUNDING = 1e-9  # 3.0000000001 replicas are three


def known(value: float | None) -> TypeGuard[float]:
    """Whether this is a number: neither missing nor NaN nor infinite."""
    return value is not None and math.isfinite(value)


def series_sum(pods: Iterable[PodObservation], attribute: str) -> float | None:
    """PromQL `sum()` over the pods' series: None of no series, NaN if one is NaN."""
    found = [value for pod in pods if (value := getattr(pod, attribute)) is not None]
    return math.fsum(found) if found else None


def complete_sum(pods: Iterable[PodObservation], attribute: str) -> float | None:
    """The sum over the pods that exist; None unless every ready pod has a number and one is ready."""
    present = [pod for pod in pods if pod.exists]
    ready = [getattr(pod, attribute) for pod in present if pod.ready and not pod.terminating]
    if not ready or not all(known(value) for value in ready):
        return None
    return math.fsum(value for pod in present if known(value := getattr(pod, attribute)))


def whole(replicas: float) -> int:
    """The next whole number of replicas; 10**6 of more than that."""
    return math.ceil(min(replicas, 1e6) - _ROUNDING)


def bounded(replicas: int, seen: TierObservation) -> int:
    """These replicas, within the tier's bounds."""
    return max(seen.minimum, min(replicas, seen.maximum))
