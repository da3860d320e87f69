"""KEDA's ScaledObject with Prometheus triggers, over an HPA: waiting requests, running requests, tokens.

After kedacore/keda: pkg/scalers/prometheus_scaler.go (an empty or NaN result is 0, `ignoreNullValues`), and the HPA
that it makes. As it is installed by default an exporter that dies reads as no load; `fixed` is the same ScaledObject
with `ignoreNullValues: false` and queries that return nothing while a ready pod is not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tierwise_sim.policies.hpa import SYNC_SECONDS, Behavior, HorizontalPodAutoscaler
from tierwise_sim.policies.observation import TierObservation, Wish
from tierwise_sim.policies.signals import bounded, complete_sum, known, series_sum

COOLDOWN_SECONDS = 300.0  # before the last replica goes; cooldownPeriod

# (tier, whether a gap is to be an error) -> the value, None for an empty result
Query = Callable[[TierObservation, bool], float | None]


@dataclass(frozen=True, slots=True)
class Trigger:
    """One metric, and how much of it a replica is given (`threshold`, AverageValue)."""

    name: str
    query: Query
    threshold: float


def pod_sum(attribute: str) -> Query:
    """The sum of one figure over the pods."""

    def query(seen: TierObservation, strict: bool) -> float | None:
        return complete_sum(seen.pods, attribute) if strict else series_sum(seen.pods, attribute)

    return query


def held_back(seen: TierObservation, strict: bool) -> float | None:
    """Requests that wait for a replica: those in the router, and those that it would have held.

    The endpoint picker's flow control dispatches only while a pod has room. A router that sends everything on at once
    shows the same requests as waiting in the engines; without them this trigger would be silent by accident. What the
    router holds counts as waiting in the pods as well (`replay.rivals`): it is not counted twice.
    """
    if not known(seen.router_queue):
        return seen.router_queue
    return max(seen.router_queue, sum(pod.waiting for pod in seen.pods if pod.exists and known(pod.waiting)))


def dispatched(seen: TierObservation, strict: bool) -> float | None:
    """Requests that the router has sent to replicas and not got back in full (llm_d_epp_request_running)."""
    if not known(seen.in_flight) or not known(seen.router_queue):
        return seen.in_flight if seen.router_queue is not None else None
    return max(0.0, seen.in_flight - seen.router_queue)


def prefill_seconds(tokens_per_second: float) -> Query:
    """Seconds that one replica would need for the prompts that are not read yet, at this measured speed."""

    def query(seen: TierObservation, strict: bool) -> float | None:
        return None if seen.queued_tokens is None else seen.queued_tokens / tokens_per_second

    return query


class Keda:
    """Scales to the largest of what the triggers ask for.

    `guard` is llm-d's formula against overshoot (keda-epp, overlay queue-guard): replicas that start are subtracted
    from what is wanted above the present number.
    """

    period_seconds = SYNC_SECONDS

    def __init__(
        self, triggers: Sequence[Trigger], behavior: Behavior | None = None, *, fixed: bool = False, guard: bool = False
    ) -> None:
        self._triggers = tuple(triggers)
        self._hpa = HorizontalPodAutoscaler(behavior or Behavior())
        self._fixed = fixed
        self._guard = guard
        self._active_at: float | None = None

    def __call__(self, seen: TierObservation) -> Wish:
        """The replicas wanted now."""
        self._hpa.observe(seen)
        if self._active_at is None:
            self._active_at = seen.at
        if not seen.prometheus_up:
            return Wish(bounded(seen.desired, seen), "Prometheus does not answer: the HPA keeps what there is")
        values, failed = self._read(seen)
        active = any(value > 0 for value in values.values()) or (seen.router_queue or 0.0) > 0
        if active or failed:
            self._active_at = seen.at
        if seen.desired == 0:
            replicas = 1 if active else 0
            return Wish(bounded(replicas, seen), "a trigger is active" if active else "no trigger is active")
        if seen.minimum == 0 and seen.at - self._active_at >= COOLDOWN_SECONDS:
            return Wish(0, f"no trigger was active for {COOLDOWN_SECONDS:.0f} s")
        if not values:
            return Wish(bounded(seen.desired, seen), f"no value of {', '.join(failed)}: hold")
        wanted, why = self._wanted(seen, values)
        if failed and wanted < seen.desired:
            return Wish(bounded(seen.desired, seen), f"no value of {', '.join(failed)}: nothing is removed")
        return Wish(self._hpa.settle(seen, wanted), why)

    def _read(self, seen: TierObservation) -> tuple[dict[str, float], list[str]]:
        values: dict[str, float] = {}
        failed: list[str] = []
        for trigger in self._triggers:
            value = trigger.query(seen, self._fixed)
            if known(value):
                values[trigger.name] = value
            elif self._fixed:
                failed.append(trigger.name)
            else:
                values[trigger.name] = 0.0
        return values, failed

    def _wanted(self, seen: TierObservation, values: dict[str, float]) -> tuple[int, str]:
        thresholds = {trigger.name: trigger.threshold for trigger in self._triggers}
        if self._guard:
            demand = max(value / thresholds[name] for name, value in values.items())
            pending = max(0, seen.desired - seen.ready)
            guarded = demand if demand <= seen.desired else max(demand - pending, float(seen.desired))
            wanted = self._hpa.asked(guarded, 1.0, seen.desired)
            return max(1, wanted), f"demand {demand:.2f} replicas, {pending} start"
        asked = {name: self._hpa.asked(value, thresholds[name], seen.desired) for name, value in values.items()}
        most = max(asked, key=lambda name: asked[name])
        return max(1, asked[most]), f"{most} {values[most]:.2f} at {thresholds[most]:g} per replica"
