"""Exports what GPUPools have and what tiers use of it.

Series of a deleted pool go with it, and a standby, which counts for nobody, shows none.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Gauge

from tierwise.api.gpupool import GPUPoolStatus
from tierwise.report.costs import number
from tierwise.report.pools import PoolReport

POOL = ("gpupool",)
_TRUTHS = ("True", "False", "Unknown")


class PoolMetrics:
    """The `tierwise_gpupool_*` series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._shown: dict[str, GPUPoolStatus] = {}
        self._capacity = Gauge(
            "tierwise_gpupool_capacity_gpus",
            "GPUs of the pool's Ready nodes; absent when not known.",
            POOL,
            registry=registry,
        )
        self._used = Gauge(
            "tierwise_gpupool_used_gpus", "GPUs that tiers hold or have asked for.", POOL, registry=registry
        )
        self._pending = Gauge(
            "tierwise_gpupool_pending_gpus",
            "GPUs of these that replicas have asked for and no node runs yet.",
            POOL,
            registry=registry,
        )
        self._others = Gauge(
            "tierwise_gpupool_others_gpus",
            "GPUs that pods of no tier of the pool hold; absent when not known.",
            POOL,
            registry=registry,
        )
        self._free = Gauge(
            "tierwise_gpupool_free_gpus", "GPUs that nobody holds; absent when not known.", POOL, registry=registry
        )
        self._cost = Gauge(
            "tierwise_gpupool_cost_usd_per_hour",
            "US dollars per hour of what tiers hold, now; absent without a price.",
            (*POOL, "price"),
            registry=registry,
        )
        self._tiers = Gauge("tierwise_gpupool_tiers", "Tiers that name the pool.", POOL, registry=registry)
        self._condition = Gauge(
            "tierwise_gpupool_condition",
            "1 for the present status of a condition of a pool, 0 for the other two.",
            (*POOL, "type", "status"),
            registry=registry,
        )

    def update(self, reports: Iterable[PoolReport]) -> None:
        """Show what one cycle found; forget the pools that are not among the reports."""
        found = {each.name: each.status for each in reports}
        for gone in sorted(self._shown.keys() - found.keys()):
            self._forget(gone)
        for name, status in found.items():
            if self._shown.get(name) != status:
                self._show(name, status)

    def _show(self, name: str, status: GPUPoolStatus) -> None:
        self._shown[name] = status
        for gauge, value in (
            (self._capacity, status.capacity),
            (self._used, status.used),
            (self._pending, status.pending),
            (self._others, status.others),
            (self._free, status.free),
            (self._tiers, status.tiers),
        ):
            if value is None:
                gauge.remove_by_labels({"gpupool": name})
            else:
                gauge.labels(name).set(value)
        self._cost.remove_by_labels({"gpupool": name})
        if status.cost_per_hour:
            price = "assumed" if status.price_source else "declared"
            self._cost.labels(name, price).set(float(number(status.cost_per_hour)))
        for condition in status.conditions:
            for truth in _TRUTHS:
                self._condition.labels(name, condition.type, truth.lower()).set(condition.status == truth)

    def _forget(self, name: str) -> None:
        del self._shown[name]
        for family in (
            self._capacity,
            self._used,
            self._pending,
            self._others,
            self._free,
            self._cost,
            self._tiers,
            self._condition,
        ):
            family.remove_by_labels({"gpupool": name})
