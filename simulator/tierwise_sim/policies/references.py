"""The two ends that every autoscaler is measured against: a fixed number of replicas, and an oracle.

The oracle is llm-d's (issue 1499): it knows the rate, and has the replicas for it at once, so no policy can be cheaper
at its attainment by being clever. It is made with the trace.
"""

from __future__ import annotations

from collections.abc import Callable

from tierwise_sim.policies.observation import TierObservation, Wish
from tierwise_sim.policies.signals import bounded, whole

PERIOD_SECONDS = 15.0


class Static:
    """Always the same number, within the bounds."""

    period_seconds = PERIOD_SECONDS

    def __init__(self, *, replicas: int) -> None:
        self._replicas = replicas

    def __call__(self, seen: TierObservation) -> Wish:
        """The replicas wanted now."""
        return Wish(bounded(self._replicas, seen), "static")


class Oracle:
    """ceil(rate(t) / m): `rate` gives the requests per second of the coming period, m what a replica answers within the
    service level. Its replicas are to be ready at once (`Policy.instant`)."""

    period_seconds = PERIOD_SECONDS

    def __init__(self, *, rate: Callable[[float], float], requests_per_second: float) -> None:
        self._rate = rate
        self._each = requests_per_second

    def __call__(self, seen: TierObservation) -> Wish:
        """The replicas wanted now."""
        rate = self._rate(seen.at)
        return Wish(bounded(whole(rate / self._each), seen), f"{rate:.2f} requests/s at {self._each:g} per replica")
