"""Exports the operator's own metrics.

Names and units follow Prometheus' conventions. Labels are bounded: tiers that exist, reasons of the table. The label
is `tier_namespace`, since a scrape adds a `namespace` of its own (the operator's). Series of a deleted tier go with
it, or a dashboard shows its last value for ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.report.build import Report
from tierwise.types import Outcome, Plan, Snapshot, State, TierKey, TierView

TIER = ("tier_namespace", "tier")
_CYCLE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TRUTHS = ("True", "False", "Unknown")


class OperatorMetrics:
    """The `tierwise_*` series. `monotonic` is the process's monotonic clock, in seconds."""

    def __init__(self, registry: CollectorRegistry, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._started = monotonic()
        self._finished: float | None = None
        self._tiers: frozenset[TierKey] = frozenset()
        self._cycle = Histogram(
            "tierwise_cycle_duration_seconds",
            "Duration of one cycle: observe, decide, act, report.",
            buckets=_CYCLE_BUCKETS,
            registry=registry,
        )
        age = Gauge(
            "tierwise_cycle_age_seconds", "Seconds since the last cycle ended, or since the start.", registry=registry
        )
        age.set_function(self.cycle_age)
        self._decisions = Counter(
            "tierwise_decisions", "Decisions about a tier, by their reason.", (*TIER, "reason"), registry=registry
        )
        self._scalings = Counter(
            "tierwise_scalings", "Changes of replicas that were written.", (*TIER, "direction"), registry=registry
        )
        self._desired = Gauge(
            "tierwise_tier_desired_replicas", "Target: replicas that the operator wants.", TIER, registry=registry
        )
        self._ready = Gauge("tierwise_tier_ready_replicas", "Replicas that answer requests.", TIER, registry=registry)
        self._cost = Gauge(
            "tierwise_tier_cost_usd_per_hour",
            "US dollars per hour, now; absent without a price.",
            TIER,
            registry=registry,
        )
        self._signal_age = Gauge(
            "tierwise_signal_age_seconds",
            "Age of the oldest measurement of a ready replica; absent when nothing is measured.",
            TIER,
            registry=registry,
        )
        self._condition = Gauge(
            "tierwise_tier_condition",
            "1 for the present status of a condition, 0 for the other two.",
            (*TIER, "type", "status"),
            registry=registry,
        )
        self._advice = Gauge(
            "tierwise_tier_advice",
            "1 for each recommendation (advice) on a tier, by its reason.",
            (*TIER, "reason"),
            registry=registry,
        )
        self._errors = Counter(
            "tierwise_apply_errors", "Writes that failed, by reason.", ("reason",), registry=registry
        )

    def cycle_age(self) -> float:
        """Seconds since a round last ended, or since the start while none has."""
        return self._monotonic() - (self._started if self._finished is None else self._finished)

    def cycle_ended(self, duration_seconds: float) -> None:
        """A round ended, after so many seconds."""
        self._finished = self._monotonic()
        self._cycle.observe(duration_seconds)

    def update(self, snapshot: Snapshot, plan: Plan, outcome: Outcome, report: Report) -> None:
        """Show what one round found and did; forget the tiers that are gone."""
        alive = frozenset(view.tier.key for view in snapshot.tiers)
        for key in sorted(self._tiers - alive):
            self._forget(key)
        self._tiers = alive
        for planned in plan.tiers:
            if planned.decision is not None:
                self._decisions.labels(*_labels(planned.key), planned.decision.reason).inc()
        for done in outcome.tiers:
            if done.error is not None:
                self._errors.labels(done.error.reason).inc()
            if done.scaled_by is not None:
                direction = "up" if done.scaled_by > 0 else "down"
                self._scalings.labels(*_labels(done.key), direction).inc()
        for told in report.tiers:
            self._show(told.key, told.status)
        for view in snapshot.tiers:
            self._show_age(view, snapshot.at)

    def _show(self, key: TierKey, status: ModelTierStatus) -> None:
        labels = _labels(key)
        self._desired.labels(*labels).set(status.desired_replicas)
        self._ready.labels(*labels).set(status.ready_replicas)
        if status.cost_per_hour:
            self._cost.labels(*labels).set(float(Decimal(status.cost_per_hour)))
        else:
            self._cost.remove_by_labels(dict(zip(TIER, labels, strict=True)))
        for condition in status.conditions:
            for truth in _TRUTHS:
                self._condition.labels(*labels, condition.type, truth.lower()).set(condition.status == truth)

        self._advice.remove_by_labels(dict(zip(TIER, labels, strict=True)))
        for advice in status.advice:
            self._advice.labels(*labels, advice.reason).set(1)

    def _show_age(self, view: TierView, at: float) -> None:
        labels = _labels(view.tier.key)
        age = _oldest(view, at)
        if math.isnan(age):
            self._signal_age.remove_by_labels(dict(zip(TIER, labels, strict=True)))
        else:
            self._signal_age.labels(*labels).set(age)

    def _forget(self, key: TierKey) -> None:
        labels = dict(zip(TIER, _labels(key), strict=True))
        for family in (
            self._decisions,
            self._scalings,
            self._desired,
            self._ready,
            self._cost,
            self._signal_age,
            self._condition,
            self._advice,
        ):
            family.remove_by_labels(labels)


def _labels(key: TierKey) -> tuple[str, str]:
    return key.namespace, key.name


def _oldest(view: TierView, at: float) -> float:
    """Age in seconds of the oldest measurement of the ready replicas; NaN when there is none."""
    times = [
        signal.at
        for sample in view.signals.pods
        if sample.pod in view.ready_endpoints
        for signal in (sample.running, sample.waiting, sample.kv_usage)
        if signal.at is not None and signal.state in (State.VALUE, State.STALE)
    ]
    return max(0.0, at - min(times)) if times else math.nan
