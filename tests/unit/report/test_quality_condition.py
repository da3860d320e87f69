"""What is told of a route's quality: the condition, columns, Events, and when a status is worth a write."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders.routes import route, snapshot, spec, tier
from tests.unit.report.cases import NOW
from tests.unit.report.test_routes import deployment
from tierwise import reasons
from tierwise.api.modelroute_status import (
    ModelRouteStatus,
    PressureStatus,
    QualityMove,
    QualityStatus,
    QualityWatch,
    RouterVerdicts,
)
from tierwise.decide.routes import plan_routes
from tierwise.report.quality_condition import quality_condition
from tierwise.report.route_throttle import should_write_route
from tierwise.report.routes import RouteReport, report_route
from tierwise.types import RouteOutcome, RoutePlan, RouteView

FIELDS: dict[str, Any] = {
    "quality": {"judgeTier": "large", "budgetUSDPerDay": "5"},
    "policy": {"type": "Classifier", "classifier": {"configMapName": "weights", "qualityPercent": 95}},
}
VIEW = RouteView(route(given=spec("small", "large", **FIELDS)), (deployment(),))
USUAL = QualityWatch(usual_good=1920, usual_bad=80)
SEEN = QualityStatus(
    parity_percent="96.1", lower_percent="93.8", upper_percent="97.9", samples=412, share_percent=40, watch=USUAL
)


def plan(quality: QualityStatus | None, view: RouteView = VIEW) -> RoutePlan:
    (made,) = plan_routes(snapshot([tier("small"), tier("large")], view))
    return replace(made, quality=quality)


def report(quality: QualityStatus | None, view: RouteView = VIEW, **changes: Any) -> RouteReport:
    made = replace(plan(quality, view), **changes)
    return report_route(view, made, RouteOutcome(made.key), NOW)


CASES: list[tuple[dict[str, Any], str, str]] = [
    ({}, "True", reasons.QUALITY_AS_PROMISED),
    ({"watch": QualityWatch(usual_good=1920, usual_bad=80, alarm=True)}, "False", reasons.QUALITY_FELL),
    ({"upper_percent": "94.9"}, "False", reasons.QUALITY_BELOW_TARGET),
    ({"watch": QualityWatch(usual_good=100, usual_bad=2)}, "Unknown", reasons.QUALITY_LEARNING),
    ({"samples": 0, "watch": QualityWatch()}, "Unknown", reasons.NO_VERDICTS),
]


def changed(changes: dict[str, Any]) -> RoutePlan:
    """The plan of the route with other figures of its quality."""
    return plan(SEEN.model_copy(update=changes))


@pytest.mark.parametrize(("changes", "status", "reason"), CASES)
def test_the_condition_says_what_is_known(changes: dict[str, Any], status: str, reason: str) -> None:
    found = quality_condition(VIEW, changed(changes))
    assert found is not None
    assert (found.status, found.reason) == (status, reason)


def test_a_route_whose_quality_nobody_measures_has_no_such_condition() -> None:
    other = RouteView(route(given=spec("small", "large")), (deployment(),))
    assert quality_condition(other, plan(None, other)) is None
    assert "QualityKept" not in {each.type for each in report(None, other).status.conditions}


def test_a_promise_that_is_not_kept_is_written_at_once_and_its_figure_with_the_load() -> None:
    """The upper bound is in the sentence and moves with every verdict: each write wakes all routers."""
    view = replace(VIEW, route=replace(VIEW.route, status=report(SEEN).status))
    below = report(SEEN.model_copy(update={"upper_percent": "94.9"}), view).status
    assert should_write_route(view.route.status, below, 1.0)
    known = replace(view, route=replace(view.route, status=below))
    later = report(SEEN.model_copy(update={"upper_percent": "94.8"}), known).status
    assert later.conditions != below.conditions
    assert not should_write_route(below, later, 1.0)
    assert should_write_route(below, later, 15.0)


def test_a_fall_is_told_by_an_event_a_word_and_a_reason() -> None:
    fallen = SEEN.model_copy(update={"watch": USUAL.model_copy(update={"alarm": True})})
    told = report(fallen)
    assert (told.status.state, told.status.reason) == ("Degraded", reasons.QUALITY_FELL)
    (event,) = [each for each in told.events if each.reason == reasons.QUALITY_FELL]
    assert event.warning
    assert "4 %" in event.message


def test_each_change_of_the_share_is_told_once() -> None:
    up = QualityMove(at="2026-11-29T12:00:00Z", points=10, quality="93.0 (91.2-94.8)")
    down = QualityMove(at="2026-11-20T12:00:00Z", points=-5, quality="97.0 (95.2-98.8)")
    moved = SEEN.model_copy(update={"moves": [down, up]})
    words = [each.reason for each in report(moved).events if each.reason.startswith("Share")]
    assert words == [reasons.SHARE_LOWERED, reasons.SHARE_RAISED]
    before = replace(VIEW, route=replace(VIEW.route, status=ModelRouteStatus(quality=moved)))
    assert not [each for each in report(moved, before).events if each.reason.startswith("Share")]


def test_the_columns_show_quality_with_its_interval_and_pressure_with_its_cost() -> None:
    pressed = PressureStatus(wanted_percent=40, applied_percent=21, quality_cost_points="-2.1")
    told = report(SEEN, pressure=pressed).status
    assert told.quality_percent == "96.1 (93.8-97.9)"
    assert told.pressed == "21/40 -2.1"
    assert (report(None).status.quality_percent, report(None).status.pressed) == ("", "")


def test_verdicts_alone_wait_with_their_write_and_a_changed_share_does_not() -> None:
    old = ModelRouteStatus(quality=SEEN)
    more = SEEN.model_copy(update={"samples": 413, "routers": [RouterVerdicts(router="a", counts=[1])]})
    assert not should_write_route(old, ModelRouteStatus(quality=more), 1.0)
    assert should_write_route(old, ModelRouteStatus(quality=more), 3600.0)
    for changes in ({"added_share_percent": 5}, {"watch": USUAL.model_copy(update={"alarm": True})}):
        assert should_write_route(old, ModelRouteStatus(quality=SEEN.model_copy(update=changes)), 1.0)
