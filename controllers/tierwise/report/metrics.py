"""Exports the operator's own metrics.

Names and units follow Prometheus' conventions. Labels are bounded: tiers that exist, reasons of the table. The label
is `tier_namespace`, since a scrape adds a `namespace` of its own (the operator's). Series of a deleted tier go with
it, or a dashboard shows its last value for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.report.build import Report
from tierwise.report.costs import number
from tierwise.report.pool_metrics import PoolMetrics
from tierwise.report.route_metrics import RouteMetrics
from tierwise.runtime.turns import at_once
from tierwise.types import Outcome, Plan, Snapshot, TierKey, TierView

TIER = ("tier_namespace", "tier")
_CYCLE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TRUTHS = ("True", "False", "Unknown")


class OperatorMetrics:
    """The `tierwise_*` series; those of routes are in `routes`, those of pools in `pools`. `monotonic`: the process's
    monotonic clock, seconds."""

    def __init__(self, registry: CollectorRegistry, monotonic: Callable[[], float]) -> None:
        self.routes = RouteMetrics(registry)
        self.pools = PoolMetrics(registry)
        self._monotonic = monotonic
        self._started = monotonic()
        self._finished: float | None = None
        self._tiers: frozenset[TierKey] = frozenset()
        # By tier: what was shown last, and the series that move in every round.
        self._shown: dict[TierKey, ModelTierStatus] = {}
        self._counted: dict[TierKey, tuple[str, Counter]] = {}
        self._aged: dict[TierKey, Gauge] = {}
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
        at_once(self.update_in_turns(snapshot, plan, outcome, report))

    def update_in_turns(
        self, snapshot: Snapshot, plan: Plan, outcome: Outcome, report: Report
    ) -> Generator[None, None, None]:
        """The same, a tier at a time. A status that was shown is not shown again."""
        alive = frozenset(view.tier.key for view in snapshot.tiers)
        for key in sorted(self._tiers - alive):
            self._forget(key)
        self._tiers = alive
        for planned in plan.tiers:
            if planned.decision is not None:
                self._count(planned.key, planned.decision.reason)
            yield
        for done in outcome.tiers:
            if done.error is not None:
                self._errors.labels(done.error.reason).inc()
            if done.scaled_by is not None:
                direction = "up" if done.scaled_by > 0 else "down"
                self._scalings.labels(*_labels(done.key), direction).inc()
        for told in report.tiers:
            if self._shown.get(told.key) is not told.status:
                self._show(told.key, told.status)
            yield
        for view in snapshot.tiers:
            self._show_age(view, snapshot.at)
            yield

    def _count(self, key: TierKey, reason: str) -> None:
        counted = self._counted.get(key)
        if counted is None or counted[0] != reason:
            counted = self._counted[key] = reason, self._decisions.labels(*_labels(key), reason)
        counted[1].inc()

    def _show(self, key: TierKey, status: ModelTierStatus) -> None:
        labels, before = _labels(key), self._shown.get(key)
        self._shown[key] = status
        self._desired.labels(*labels).set(status.desired_replicas)
        self._ready.labels(*labels).set(status.ready_replicas)
        if status.cost_per_hour:
            self._cost.labels(*labels).set(float(number(status.cost_per_hour)))
        else:
            self._cost.remove(*labels)
        for condition in status.conditions:
            for truth in _TRUTHS:
                self._condition.labels(*labels, condition.type, truth.lower()).set(condition.status == truth)
        # Each by its own labels: `remove_by_labels` looks at the series of all tiers.
        for gone in () if before is None else before.advice:
            self._advice.remove(*labels, gone.reason)
        for advice in status.advice:
            self._advice.labels(*labels, advice.reason).set(1)

    def _show_age(self, view: TierView, at: float) -> None:
        key, oldest = view.tier.key, view.sampled.oldest
        if oldest is None:
            self._aged.pop(key, None)
            self._signal_age.remove(*_labels(key))
            return
        if key not in self._aged:
            self._aged[key] = self._signal_age.labels(*_labels(key))
        self._aged[key].set(max(0.0, at - oldest))

    def _forget(self, key: TierKey) -> None:
        for kept in (self._shown, self._counted, self._aged):
            kept.pop(key, None)
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
