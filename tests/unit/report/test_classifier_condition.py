"""What is told of a route's classifier: the worst of what its routers say, and the numbers of those that use one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders.routes import route, spec
from tests.unit.report.test_routes import Case, deployment
from tierwise import reasons
from tierwise.api.conditions import Condition
from tierwise.api.modelroute_status import ClassifierStatus, ModelRouteStatus
from tierwise.report.classifier_condition import classifier_condition, classifier_status
from tierwise.report.route_throttle import should_write_route
from tierwise.types import ClassifierReport, ClassifierStanding, RouteSignals, RouteView

POLICY = {"type": "Classifier", "classifier": {"configMapName": "chat-classifier"}}
SERVES = ClassifierStanding("Serves", reasons.CLASSIFIER_SERVES, "abc123", 2)


def said(*standings: tuple[str, str, int]) -> ClassifierReport:
    """By state, reason and number of routers."""
    found = tuple(
        ClassifierStanding(state, reason, "" if state == "Refused" else "abc123", count)
        for state, reason, count in standings
    )
    return ClassifierReport(found, 812, 43.4, 39.6, 96.24, 95.06)


def seen(report: ClassifierReport | None, **policy: Any) -> RouteView:
    made = route(given=spec("small", "large", policy={**POLICY, **policy}))
    return RouteView(made, (deployment(),), signals=RouteSignals(classifier=report))


def classified(*standings: tuple[str, str, int]) -> Case:
    return Case(view=seen(said(*standings)))


CASES: dict[str, tuple[Case, tuple[str, str]]] = {
    "it serves": (classified(("Serves", reasons.CLASSIFIER_SERVES, 2)), ("Ready", reasons.ROUTE_READY)),
    "it shadows": (classified(("Shadows", reasons.CLASSIFIER_SHADOWS, 2)), ("Ready", reasons.ROUTE_READY)),
    "the traffic has shifted": (
        classified(("Serves", reasons.TRAFFIC_SHIFTED, 1)),
        ("Degraded", reasons.TRAFFIC_SHIFTED),
    ),
    "no router has said anything": (Case(view=seen(None)), ("Ready", reasons.ROUTE_READY)),
    **{
        reason: (classified(("Refused", reason, 2)), ("Degraded", reason))
        for reason in (
            reasons.CLASSIFIER_MISSING,
            reasons.CLASSIFIER_INVALID,
            reasons.CLASSIFIER_MISFIT,
            reasons.TOO_FEW_LABELS,
            reasons.PROMISE_NOT_KEPT,
        )
    },
}


@pytest.mark.parametrize(("case", "word"), CASES.values(), ids=list(CASES))
def test_the_route_says_how_its_classifier_stands(case: Case, word: tuple[str, str]) -> None:
    status = case.report().status
    assert (status.state, status.reason) == word
    types = ["Accepted", "Provisioned", "MetricsAvailable", "ClassifierReady", "Ready"]
    assert [each.type for each in status.conditions] == types


@pytest.mark.parametrize(
    ("report", "verdict"),
    [
        (None, ("Unknown", reasons.CLASSIFIER_UNKNOWN)),
        (ClassifierReport(()), ("Unknown", reasons.CLASSIFIER_UNKNOWN)),
        (said(("Refused", "WordOfAnotherRelease", 1)), ("Unknown", reasons.CLASSIFIER_UNKNOWN)),
        (said(("Serves", reasons.CLASSIFIER_SERVES, 2)), ("True", reasons.CLASSIFIER_SERVES)),
        (said(("Shadows", reasons.CLASSIFIER_SHADOWS, 2)), ("True", reasons.CLASSIFIER_SHADOWS)),
        (
            said(("Serves", reasons.CLASSIFIER_SERVES, 2), ("Serves", reasons.TRAFFIC_SHIFTED, 1)),
            ("True", reasons.TRAFFIC_SHIFTED),
        ),
        (
            said(("Serves", reasons.TRAFFIC_SHIFTED, 9), ("Refused", reasons.CLASSIFIER_INVALID, 1)),
            ("False", reasons.CLASSIFIER_INVALID),
        ),
    ],
)
def test_the_worst_that_a_router_says_counts(report: ClassifierReport | None, verdict: tuple[str, str]) -> None:
    found = classifier_condition(seen(report))
    assert found is not None
    assert (found.status, found.reason) == verdict


def test_the_status_has_the_numbers_of_the_routers_that_use_one() -> None:
    assert classifier_status(seen(said(("Serves", reasons.CLASSIFIER_SERVES, 2)))) == ClassifierStatus(
        config_map_name="chat-classifier",
        hash="abc123",
        mode="Act",
        labels=812,
        needed_share_percent=43,
        share_percent=40,
        quality_percent="96.2",
        quality_lower_percent="95.1",
    )
    shadow = classifier_status(seen(said(("Shadows", reasons.CLASSIFIER_SHADOWS, 2))))
    assert shadow is not None
    assert shadow.mode == "Shadow"


def test_without_one_in_use_only_its_name_is_known() -> None:
    for report in (None, said(("Refused", reasons.CLASSIFIER_MISSING, 2))):
        assert classifier_status(seen(report)) == ClassifierStatus(config_map_name="chat-classifier")


@pytest.mark.parametrize("policy", [{"type": "Rules"}, {"type": "Cascade", "cascade": {}}])
def test_a_route_without_the_policy_says_nothing_and_forgets_what_it_said(policy: dict[str, Any]) -> None:
    view = seen(said(("Serves", reasons.CLASSIFIER_SERVES, 2)), **policy)
    assert classifier_condition(view) is None
    assert classifier_status(view) is None
    old = [
        Condition(type=kind, status="True", reason="x", last_transition_time="2026-01-01T00:00:00Z")
        for kind in (reasons.CLASSIFIER_READY, "Audited")
    ]
    before = replace(view, route=replace(view.route, status=ModelRouteStatus(conditions=old)))
    after = Case(view=before).report().status.conditions
    assert [each.type for each in after] == ["Accepted", "Provisioned", "MetricsAvailable", "Ready", "Audited"]


def test_a_turn_for_the_worse_is_an_event_and_so_is_the_way_back() -> None:
    before = classified(("Serves", reasons.CLASSIFIER_SERVES, 2)).report().status
    for reason, state in ((reasons.CLASSIFIER_INVALID, "Refused"), (reasons.TRAFFIC_SHIFTED, "Serves")):
        worse = Case(view=told(seen(said((state, reason, 2))), before)).report()
        assert [(event.reason, event.warning) for event in worse.events] == [(reason, True)]
        well = Case(view=told(seen(said(("Serves", reasons.CLASSIFIER_SERVES, 2))), worse.status)).report()
        words = [event.reason for event in well.events]
        assert words == ([reasons.CLASSIFIER_SERVES] if state == "Refused" else [])


def told(view: RouteView, status: ModelRouteStatus) -> RouteView:
    return replace(view, route=replace(view.route, status=status))


def test_a_share_that_only_follows_the_load_waits_and_another_file_does_not() -> None:
    old = classified(("Serves", reasons.CLASSIFIER_SERVES, 2)).report().status
    assert old.classifier is not None
    moved = old.classifier.model_copy(update={"share_percent": 12, "quality_percent": "91.0"})
    assert not should_write_route(old, old.model_copy(update={"classifier": moved}), 1.0)
    another = old.classifier.model_copy(update={"hash": "def456"})
    assert should_write_route(old, old.model_copy(update={"classifier": another}), 1.0)
    assert should_write_route(old, old.model_copy(update={"classifier": None}), 1.0)
