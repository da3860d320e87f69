"""AIBrix' PodAutoscaler: APA (ratio to a target) and KPA (after Knative: stable and panic windows).

After vllm-project/aibrix (e3e10f9e): pkg/controller/podautoscaler, there {autoscaler,podautoscaler_controller}.go,
algorithm/{apa,kpa}.go, metrics/{client,fetcher}.go. It scrapes the pods itself, so Prometheus may be away. As coded, a
pod that cannot be scraped counts as 0 in the mean (a starting one halves it), and the down window takes the lowest
recommendation, which undoes it. `fixed`: only ready pods are in the mean; pending ones count as idle for growth and as
used to the target for shrinking (their pull request 2671, merged); the window takes the highest (their issue 2821,
closed); a gap holds.
"""

from __future__ import annotations

import math

from tierwise_sim.policies.observation import TierObservation, Wish
from tierwise_sim.policies.signals import bounded, complete_sum, known, whole
from tierwise_sim.policies.windows import Window

PERIOD_SECONDS = 10.0
STABLE_SECONDS = 180.0
PANIC_SECONDS = 60.0
PANIC_THRESHOLD = 2.0
DOWN_WINDOW_SECONDS = 300.0
MAX_UP_RATE = 2.0
MAX_DOWN_RATE = 2.0
TOLERANCE = 0.1
_ROUNDING = 1e-9


def mean_over_all_pods(seen: TierObservation, attribute: str) -> float:
    """The mean over every pod there is; one without the figure counts as 0. NaN stays NaN."""
    pods = [pod for pod in seen.pods if pod.exists]
    if not pods:
        return 0.0
    values = [getattr(pod, attribute) for pod in pods]
    return math.fsum(0.0 if value is None else value for value in values) / len(pods)


def mean_over_ready(seen: TierObservation, attribute: str) -> float | None:
    """The mean over the ready pods; None when one of them has no number."""
    ready = [pod for pod in seen.pods if pod.exists and pod.ready and not pod.terminating]
    values = [getattr(pod, attribute) for pod in ready]
    return math.fsum(values) / len(values) if values and all(known(value) for value in values) else None


class _DownWindow:
    """The cool-down of scaling down: as coded the lowest recommendation of the window, fixed the highest."""

    def __init__(self, *, fixed: bool) -> None:
        self._recommended = Window(DOWN_WINDOW_SECONDS)
        self._fixed = fixed

    def settle(self, seen: TierObservation, recommended: int) -> int:
        self._recommended.add(seen.at, recommended)
        if recommended >= seen.desired:
            return bounded(recommended, seen)
        values = self._recommended.values
        chosen = min(float(seen.desired), max(values)) if self._fixed else min(values)
        return bounded(int(chosen), seen)


class Apa:
    """Scales so that the mean KV use per pod over 180 s comes to `target` (0 to 1)."""

    period_seconds = PERIOD_SECONDS

    def __init__(self, *, target: float = 0.5, fixed: bool = False) -> None:
        self._target = target
        self._fixed = fixed
        self._use = Window(STABLE_SECONDS)
        self._window = _DownWindow(fixed=fixed)

    def __call__(self, seen: TierObservation) -> Wish:
        """The replicas wanted now."""
        current = seen.desired
        if current == 0:
            return Wish(0, "disabled: AIBrix leaves a workload of no replicas alone")
        sample = mean_over_ready(seen, "kv_usage") if self._fixed else mean_over_all_pods(seen, "kv_usage")
        if sample is None:
            return Wish(bounded(current, seen), "a ready pod was not measured: hold")
        self._use.add(seen.at, sample)
        ratio = self._use.mean / self._target
        recommended = current
        if ratio > 1 + TOLERANCE:
            recommended = min(whole(current * ratio), whole(MAX_UP_RATE * current))
        elif ratio < 1 - TOLERANCE:
            recommended = max(whole(current * ratio), math.floor(current / MAX_DOWN_RATE))
        if self._fixed:
            recommended = self._without_pending(seen, recommended, ratio)
        return Wish(self._window.settle(seen, recommended), f"KV use {ratio:.2f} times the target of {self._target:g}")

    def _without_pending(self, seen: TierObservation, recommended: int, ratio: float) -> int:
        """The merged guard: pending replicas count as idle when growing, as used to the target when shrinking."""
        ready = min(seen.ready, seen.desired)
        pending = seen.desired - ready
        if pending <= 0:
            return recommended
        if recommended > seen.desired:
            return min(recommended, max(seen.desired, whole(ready * ratio)))
        if recommended < seen.desired:
            return max(recommended, min(seen.desired, whole(ready * ratio + pending)))
        return recommended


class Kpa:
    """Scales by two windows; in panic (the short one far above the long one) it takes the larger answer.

    As coded the windows hold the mean KV use per pod, which the formula then divides as if it were a total: never more
    than two replicas at a target of 0.5. `fixed` is Knative's meaning: the total of running and waiting requests over
    `target` (requests per replica), and no scaling down in panic nor for 60 s after.
    """

    period_seconds = PERIOD_SECONDS

    def __init__(self, *, target: float, fixed: bool = False) -> None:
        self._target = target
        self._fixed = fixed
        self._values = Window(STABLE_SECONDS)
        self._window = _DownWindow(fixed=fixed)
        self._panic_until = -math.inf

    def __call__(self, seen: TierObservation) -> Wish:
        """The replicas wanted now."""
        current = seen.desired
        if current == 0:
            return Wish(0, "disabled: AIBrix leaves a workload of no replicas alone")
        sample = self._requests(seen) if self._fixed else mean_over_all_pods(seen, "kv_usage")
        if sample is None:
            return Wish(bounded(current, seen), "a ready pod was not measured: hold")
        self._values.add(seen.at, sample)
        stable = self._values.mean
        short = self._values.mean_since(seen.at - PANIC_SECONDS)
        by_stable, by_panic = self._asked(stable, current), self._asked(short, current)
        panic = stable <= 0 or short / stable > PANIC_THRESHOLD
        recommended = max(by_stable, by_panic) if panic else by_stable
        if panic and stable > 0:
            self._panic_until = seen.at + PANIC_SECONDS
        if self._fixed and seen.at <= self._panic_until:
            recommended = max(recommended, current)
        why = f"{stable:.2f} over {STABLE_SECONDS:.0f} s, {short:.2f} over {PANIC_SECONDS:.0f} s"
        return Wish(self._window.settle(seen, recommended), why + (", panic" if panic else ""))

    def _requests(self, seen: TierObservation) -> float | None:
        running, waiting = complete_sum(seen.pods, "running"), complete_sum(seen.pods, "waiting")
        return None if running is None or waiting is None else running + waiting

    def _asked(self, value: float, current: int) -> int:
        given = self._target * (current if self._fixed else 1)
        if not abs(value - given) > TOLERANCE * given + _ROUNDING:  # NaN too keeps what there is
            return current
        low, high = math.floor(current / MAX_DOWN_RATE), max(1, math.ceil(MAX_UP_RATE * current))
        return max(low, min(whole(value / self._target), high))
