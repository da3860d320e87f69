"""Exports what the operator knows and does about routes.

The routers export what they serve; these series say whether they are there and why not. Labels are bounded: routes that
exist, reasons of the table. Series of a deleted route go with it, and a standby, which decides nothing about routes,
shows none.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from tierwise import reasons
from tierwise.api.modelroute_status import ModelRouteStatus
from tierwise.report.routes import RouteReport
from tierwise.report.savings_metrics import SavingsMetrics
from tierwise.types import RouteKey, RouteOutcome, RoutePlan

ROUTE = ("route_namespace", "route")
_TRUTHS = ("True", "False", "Unknown")


class RouteMetrics:
    """The `tierwise_route_*` series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._routes: frozenset[RouteKey] = frozenset()
        self._shown: dict[RouteKey, ModelRouteStatus] = {}
        self._state = Gauge(
            "tierwise_route_state", "1 for the present state of a route.", (*ROUTE, "state"), registry=registry
        )
        self._condition = Gauge(
            "tierwise_route_condition",
            "1 for the present status of a condition of a route, 0 for the other two.",
            (*ROUTE, "type", "status"),
            registry=registry,
        )
        self._ready_routers = Gauge(
            "tierwise_route_ready_routers", "Routers that answer requests.", ROUTE, registry=registry
        )
        self._routers = Gauge("tierwise_route_routers", "Routers that the route asks for.", ROUTE, registry=registry)
        self._ready_tiers = Gauge("tierwise_route_ready_tiers", "Tiers that answer.", ROUTE, registry=registry)
        self._tiers = Gauge("tierwise_route_tiers", "Tiers that the route names.", ROUTE, registry=registry)
        self._spent = Gauge(
            "tierwise_route_spent_usd",
            "US dollars of the budget that are spent in the present period; absent without a budget.",
            ROUTE,
            registry=registry,
        )
        self._budget = Gauge(
            "tierwise_route_budget_usd", "US dollars of the budget; absent without one.", ROUTE, registry=registry
        )
        self._savings = SavingsMetrics(registry)
        self._decisions = Counter(
            "tierwise_route_decisions",
            "Decisions about a route, by the reason of its condition Accepted; InternalError is a defect.",
            (*ROUTE, "reason"),
            registry=registry,
        )
        self._children = Counter(
            "tierwise_route_children_written",
            "Objects of a route that were written: Created, Updated by a change of the route, or Healed.",
            (*ROUTE, "reason"),
            registry=registry,
        )
        self._errors = Counter(
            "tierwise_route_apply_errors", "Writes for a route that failed.", (*ROUTE, "reason"), registry=registry
        )

    def update(
        self,
        alive: Iterable[RouteKey],
        plans: Iterable[RoutePlan],
        outcomes: Iterable[RouteOutcome],
        reports: Iterable[RouteReport],
    ) -> None:
        """Show what one cycle found and did; forget the routes that are not `alive`."""
        routes = frozenset(alive)
        for key in sorted(self._routes - routes):
            self._forget(key)
        self._routes = routes
        for plan in plans:
            word = plan.invalid[0] if plan.invalid is not None else reasons.VALID
            self._decisions.labels(*_labels(plan.key), reasons.INTERNAL_ERROR if plan.failure else word).inc()
        for done in outcomes:
            for child in done.written:
                self._children.labels(*_labels(done.key), child.reason).inc()
            if done.error is not None:
                self._errors.labels(*_labels(done.key), done.error.reason).inc()
        for told in reports:
            if self._shown.get(told.key) != told.status:
                self._show(told.key, told.status)

    def _show(self, key: RouteKey, status: ModelRouteStatus) -> None:
        labels, before = _labels(key), self._shown.get(key)
        self._shown[key] = status
        if before is not None and before.state != status.state:
            self._state.remove(*labels, before.state)
        self._state.labels(*labels, status.state).set(1)
        for condition in status.conditions:
            for truth in _TRUTHS:
                self._condition.labels(*labels, condition.type, truth.lower()).set(condition.status == truth)
        for said, ready, all_ in (
            (status.ready, self._ready_routers, self._routers),
            (status.tiers, self._ready_tiers, self._tiers),
        ):
            some, _, most = said.partition("/")
            ready.labels(*labels).set(int(some))
            all_.labels(*labels).set(int(most))
        spent, _, budget = status.spent.partition("/")
        for amount, family in ((spent, self._spent), (budget, self._budget)):
            if amount:
                family.labels(*labels).set(float(amount))
            else:
                family.remove(*labels)
        self._savings.show(labels, status.savings)

    def _forget(self, key: RouteKey) -> None:
        self._shown.pop(key, None)
        self._savings.forget(_labels(key))
        labels = dict(zip(ROUTE, _labels(key), strict=True))
        for family in (
            self._state,
            self._condition,
            self._ready_routers,
            self._routers,
            self._ready_tiers,
            self._tiers,
            self._spent,
            self._budget,
            self._decisions,
            self._children,
            self._errors,
        ):
            family.remove_by_labels(labels)


def _labels(key: RouteKey) -> tuple[str, str]:
    return key.namespace, key.name
