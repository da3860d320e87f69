"""The operator's metrics about routes: bounded, and gone with their route."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.builders.routes import route, snapshot, spec, tier
from tierwise import reasons
from tierwise.api.modelroute_status import ModelRouteStatus
from tierwise.decide.routes import plan_routes
from tierwise.report.route_metrics import RouteMetrics
from tierwise.report.routes import RouteReport, report_route
from tierwise.types import ActionError, ChildEvent, RouteChild, RouteKey, RouteOutcome, RoutePlan, RouteView, TierView

LABELS = {"route_namespace": "team", "route": "chat"}
WELL = RouteView(route(given=spec("small", "large")), (RouteChild("deployments", "chat-router", {}, ready_replicas=1),))


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> RouteMetrics:
    return RouteMetrics(registry)


def show(
    metrics: RouteMetrics,
    *views: RouteView,
    tiers: tuple[TierView, ...] = (tier("small"), tier("large")),
    written: tuple[ChildEvent, ...] = (),
    error: ActionError | None = None,
) -> None:
    """One cycle over these routes."""
    plans = plan_routes(snapshot(list(tiers), *views))
    outcomes = [RouteOutcome(plan.key, written, error) for plan in plans]
    known = {view.route.key: view for view in views}
    reports = [report_route(known[plan.key], plan, done, 1.0) for plan, done in zip(plans, outcomes, strict=True)]
    metrics.update(known, plans, outcomes, reports)


def test_state_conditions_routers_and_tiers_of_a_route(registry: CollectorRegistry, metrics: RouteMetrics) -> None:
    show(metrics, WELL, tiers=(tier("small"), tier("large", ready=False)))
    get = registry.get_sample_value
    assert get("tierwise_route_state", LABELS | {"state": "Degraded"}) == 1
    assert (get("tierwise_route_ready_routers", LABELS), get("tierwise_route_routers", LABELS)) == (1, 2)
    assert (get("tierwise_route_ready_tiers", LABELS), get("tierwise_route_tiers", LABELS)) == (1, 2)
    for status, expected in (("true", 1), ("false", 0), ("unknown", 0)):
        labels = LABELS | {"type": "Ready", "status": status}
        assert get("tierwise_route_condition", labels) == expected


def test_only_the_present_state_is_shown(registry: CollectorRegistry, metrics: RouteMetrics) -> None:
    show(metrics, WELL, tiers=(tier("small"), tier("large", ready=False)))
    show(metrics, WELL)
    assert registry.get_sample_value("tierwise_route_state", LABELS | {"state": "Degraded"}) is None
    assert registry.get_sample_value("tierwise_route_state", LABELS | {"state": "Ready"}) == 1


def test_money_is_shown_while_there_is_a_budget(registry: CollectorRegistry, metrics: RouteMetrics) -> None:
    key = RouteKey("team", "chat")
    for spent, expected in (("12.34/100", (12.34, 100)), ("", (None, None)), ("0.00/1.5", (0, 1.5))):
        metrics.update(
            [key], [], [], [RouteReport(key, "uid", ModelRouteStatus(ready="1/1", tiers="1/1", spent=spent))]
        )
        get = registry.get_sample_value
        assert (get("tierwise_route_spent_usd", LABELS), get("tierwise_route_budget_usd", LABELS)) == expected


def test_decisions_writes_and_errors_are_counted(registry: CollectorRegistry, metrics: RouteMetrics) -> None:
    healed = (ChildEvent(reasons.HEALED, "Service chat"), ChildEvent(reasons.HEALED, "Deployment chat-router"))
    show(metrics, WELL, written=healed)
    show(metrics, WELL, tiers=(tier("small"),), error=ActionError(reasons.FORBIDDEN, "no"))
    failed = RoutePlan(RouteKey("team", "chat"), (), failure="Traceback")
    metrics.update([failed.key], [failed], [], [])
    get = registry.get_sample_value
    assert get("tierwise_route_children_written_total", LABELS | {"reason": "Healed"}) == 2
    assert get("tierwise_route_apply_errors_total", LABELS | {"reason": "Forbidden"}) == 1
    for word in ("Valid", "TierNotFound", "InternalError"):
        assert get("tierwise_route_decisions_total", LABELS | {"reason": word}) == 1
    assert get("tierwise_route_tiers", LABELS) == 2, "what is not told anew stays as it was told"


def test_a_deleted_route_takes_all_its_series_along(registry: CollectorRegistry, metrics: RouteMetrics) -> None:
    other = replace(WELL, route=route("other", spec("small")))
    written, error = (ChildEvent(reasons.HEALED, "x"),), ActionError(reasons.FORBIDDEN, "no")
    show(metrics, WELL, other, written=written, error=error)
    show(metrics, other, written=written, error=error)
    text = generate_latest(registry).decode()
    assert 'route="chat"' not in text
    assert text.count('route="other"') > 10
    metrics.update((), (), (), ())
    assert "team" not in generate_latest(registry).decode()


def test_names_follow_the_conventions(registry: CollectorRegistry, metrics: RouteMetrics) -> None:
    show(metrics, WELL, written=(ChildEvent(reasons.HEALED, "x"),))
    for family in registry.collect():
        assert re.fullmatch(r"tierwise_route_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        for each in family.samples:
            assert set(each.labels) <= {"route_namespace", "route", "reason", "type", "status", "state"}
