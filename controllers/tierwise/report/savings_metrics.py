"""Exports what routes have saved, as their statuses say it.

The amounts are of the last hour, so they are gauges in dollars an hour. A series goes when its figure is not known any
more: an old one would look like the present one.
"""

from __future__ import annotations

from decimal import Decimal

from prometheus_client import CollectorRegistry, Gauge

from tierwise.api.savings_status import SavingsStatus
from tierwise.routing.savings import TACTICS

ROUTE = ("route_namespace", "route")
_PREFIX = "tierwise_route_savings_"


class SavingsMetrics:
    """The `tierwise_route_savings_*` series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(_PREFIX + name, text, (*ROUTE, *labels), registry=registry)

        self._amounts = {
            "baseline": gauge(
                "baseline_usd_per_hour", "US dollars of the last hour's work on the reference tier, nothing cached."
            ),
            "lower_baseline": gauge(
                "lower_baseline_usd_per_hour",
                "US dollars of it that the reference tier would have cost at least: cached, full, answers as short as "
                "the pairs allow.",
            ),
            "actual": gauge("actual_usd_per_hour", "US dollars that were paid in the last hour, overheads included."),
        }
        self._part = gauge(
            "part_usd_per_hour",
            "US dollars that a tactic saved in the last hour; negative where it cost. They add up to baseline less "
            "actual.",
            "tactic",
        )
        self._ratio = gauge("length_ratio", "Output tokens of the reference tier for one of a cheaper tier.")
        self._pairs = gauge("pairs", "Requests of the last day that both tiers answered.")

    def show(self, labels: tuple[str, str], savings: SavingsStatus | None) -> None:
        """Show what the status of one route says."""
        if savings is None or not savings.baseline:
            self.forget(labels)
            return
        for name, family in self._amounts.items():
            family.labels(*labels).set(float(Decimal(getattr(savings, name))))
        amounts = {part.tactic: part.amount for part in savings.parts}
        for tactic in TACTICS:
            self._part.labels(*labels, tactic).set(float(Decimal(amounts.get(tactic, "0"))))
        self._ratio.labels(*labels).set(float(savings.length_ratio))
        self._pairs.labels(*labels).set(savings.pairs)

    def forget(self, labels: tuple[str, str]) -> None:
        """The route is gone, or nothing is known of it."""
        named = dict(zip(ROUTE, labels, strict=True))
        for family in (*self._amounts.values(), self._part, self._ratio, self._pairs):
            family.remove_by_labels(named)
