"""Computes what a HorizontalPodAutoscaler makes of a recommendation: tolerance, windows, speed limits, bounds.

After kubernetes/pkg/controller/podautoscaler: horizontal.go (stabilizeRecommendationWithBehaviors,
convertDesiredReplicasWithBehaviorRate) and replica_calculator.go (GetExternalPerPodMetricReplicas). KEDA, WVA and the
SLO law all end in one, so it is one class here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tierwise_sim.policies.observation import TierObservation
from tierwise_sim.policies.signals import bounded, whole
from tierwise_sim.policies.windows import Window

SYNC_SECONDS = 15.0  # --horizontal-pod-autoscaler-sync-period
TOLERANCE = 0.1  # --horizontal-pod-autoscaler-tolerance
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class SpeedLimit:
    """One policy of a behavior: at most so many pods, or so many percent of the replicas, within these seconds."""

    value: float
    seconds: float
    percent: bool = False


# What an HPA without `behavior` does.
UP_DEFAULT = (SpeedLimit(4, 15), SpeedLimit(100, 15, percent=True))
DOWN_DEFAULT = (SpeedLimit(100, 15, percent=True),)


@dataclass(frozen=True, slots=True)
class Behavior:
    """`spec.behavior`: stabilization windows in seconds, and speed limits, of which the most permissive counts.

    `tolerance` is one for both ways; Kubernetes before 1.33 has it only for the whole cluster.
    """

    up_window: float = 0.0
    down_window: float = 300.0
    up: tuple[SpeedLimit, ...] = UP_DEFAULT
    down: tuple[SpeedLimit, ...] = DOWN_DEFAULT
    tolerance: float = TOLERANCE


class HorizontalPodAutoscaler:
    """The part of an HPA after its metrics. Changes of the tier are read off its observations, so that a replica that
    a budget withheld counts towards no speed limit."""

    def __init__(self, behavior: Behavior) -> None:
        self._behavior = behavior
        self._up = Window(behavior.up_window, closed=True)
        self._down = Window(behavior.down_window, closed=True)
        self._changes: list[tuple[float, int]] = []
        self._before: tuple[float, int] | None = None

    def observe(self, seen: TierObservation) -> None:
        """Note what became of the last answer. Call it once per tick, before `settle`."""
        if self._before is not None and seen.desired != self._before[1]:
            self._changes.append((self._before[0], seen.desired - self._before[1]))
        self._before = (seen.at, seen.desired)
        longest = max(limit.seconds for limit in (*self._behavior.up, *self._behavior.down))
        self._changes = [(at, change) for at, change in self._changes if at > seen.at - longest]

    def asked(self, value: float, target: float, replicas: int) -> int:
        """The replicas that an AverageValue metric asks for: ceil(value / target), or `replicas` when the value is
        within the tolerance of what they are given.

        A metric that is a number of replicas passes through here too, with a target of 1: of ten replicas one more or
        one less is then within the tolerance, and nothing happens.
        """
        if replicas > 0 and abs(value / (target * replicas) - 1) <= self._behavior.tolerance + _ROUNDING:
            return replicas
        return whole(value / target)

    def settle(self, seen: TierObservation, recommended: int) -> int:
        """The replicas to ask for now when the metrics recommend so many."""
        current = seen.desired
        self._up.add(seen.at, recommended)
        self._down.add(seen.at, recommended)
        stable = min(max(current, int(min(self._up.values))), int(max(self._down.values)))
        if stable > current:
            stable = min(stable, self._most(seen))
        elif stable < current:
            stable = max(stable, self._least(seen))
        return bounded(stable, seen)

    def _most(self, seen: TierObservation) -> int:
        allowed = []
        for limit in self._behavior.up:
            start = self._at_start_of(limit, seen)
            more = start * (1 + limit.value / 100) if limit.percent else start + limit.value
            allowed.append(whole(more))
        return max(seen.desired, *allowed)

    def _least(self, seen: TierObservation) -> int:
        allowed = []
        for limit in self._behavior.down:
            start = self._at_start_of(limit, seen)
            less = start * (1 - limit.value / 100) if limit.percent else start - limit.value
            allowed.append(math.floor(less + _ROUNDING))
        return min(seen.desired, *allowed)

    def _at_start_of(self, limit: SpeedLimit, seen: TierObservation) -> int:
        return seen.desired - sum(change for at, change in self._changes if at > seen.at - limit.seconds)
