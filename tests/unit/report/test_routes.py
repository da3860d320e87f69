"""What is told about a route: conditions, one word, Events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.builders.routes import route, snapshot, spec, tier
from tests.unit.decide.make import spec as make_spec
from tests.unit.decide.zero_tiers import last_change
from tests.unit.report.cases import NOW, pod, waiting
from tierwise import reasons
from tierwise.decide.routes import plan_routes
from tierwise.report.routes import RouteReport, evaluate_route, report_route, route_state
from tierwise.times import rfc3339
from tierwise.types import (
    ActionError,
    ChildEvent,
    RouteChild,
    RouteObject,
    RouteOutcome,
    RoutePlan,
    RouteSignals,
    RouteView,
    TierView,
)

TIERS = [tier("small"), tier("large")]


@dataclass(frozen=True)
class Case:
    """A route over two tiers with two routers, all well."""

    view: RouteView = field(default_factory=lambda: RouteView(route(given=spec("small", "large")), (deployment(),)))
    tiers: tuple[TierView, ...] = (TIERS[0], TIERS[1])
    outcome: RouteOutcome | None = None

    @property
    def plan(self) -> RoutePlan:
        (plan,) = plan_routes(snapshot(list(self.tiers), self.view))
        return plan

    def verdicts(self) -> Any:
        return evaluate_route(self.view, self.plan, self.outcome or RouteOutcome(self.plan.key), NOW)

    def report(self) -> RouteReport:
        return report_route(self.view, self.plan, self.outcome or RouteOutcome(self.plan.key), NOW)


def deployment(ready: int = 2, **fields: Any) -> RouteChild:
    return RouteChild("deployments", "chat-router", {}, ready_replicas=ready, **fields)


def failed(reason: str, message: str = "because") -> Case:
    well = Case()
    return Case(outcome=RouteOutcome(well.plan.key, error=ActionError(reason, message)))


def seen(**changes: Any) -> RouteView:
    return replace(Case().view, **changes)


def asleep(name: str) -> TierView:
    """A tier at zero, where we put it."""
    found = tier(name, make_spec(minReplicas=0), ready=False)
    down = replace(found.workloads[0], pods=(), deployment=replace(found.deployments[0], spec_replicas=0))
    return last_change(replace(found, workloads=(down,)), 0)


WAITING = pod("chat-router-1", ready=False, waiting_reason="ImagePullBackOff", waiting_message="no such image")
NEW = (tier("small", ready=False), tier("large", ready=False))


def said(found: TierView, word: str) -> TierView:
    """The tier whose status has this word."""
    status = found.tier.status.model_copy(update={"state": word})
    return replace(found, tier=replace(found.tier, status=status))


def ill(found: TierView) -> TierView:
    """The tier with a replica that has answered and does so no more."""
    pods = (pod("small-1", ready=False, was_ready=True),)
    return replace(found, workloads=(replace(found.workloads[0], pods=pods),))


def advisory(name: str) -> TierView:
    """A tier at zero whose replicas we may not write."""
    found = tier(name, make_spec(mode="Advisory"), ready=False)
    down = replace(found.workloads[0], pods=(), deployment=replace(found.deployments[0], spec_replicas=0))
    return replace(found, workloads=(down,))


def ending(found: TierView) -> TierView:
    """The tier, which is being deleted."""
    return replace(found, tier=replace(found.tier, deleting=True))


SILENT = (said(NEW[0], "Failed"), said(NEW[1], "Ready"))
MOUNTING = waiting("chat-router-9", "ContainerCreating", mounting=True)


def keyed() -> RouteObject:
    """A route whose clients have keys."""
    return route(given=spec("small", "large", clients={"secretName": "chat-clients"}))


def poor() -> RouteObject:
    """A route whose budget is spent, by routers that are gone."""
    began = f"{datetime.fromtimestamp(NOW, UTC):%Y-%m-01T00:00:00Z}"
    budget = {"period": began, "spent": "10", "vanished": "10"}
    return route(given=spec("small", "large", budget={"amount": "10"}), status={"budget": budget})


def unmeasured(*, budget: bool = False) -> RouteView:
    """A route of which Prometheus says nothing, for longer than a new router may take."""
    given = spec("small", "large", **({"budget": {"amount": "10"}} if budget else {}))
    here = pod("chat-router-1", ready_at=NOW - 600)
    told = {"type": "MetricsAvailable", "status": "Unknown", "reason": "AwaitingScrape"}
    status = {"conditions": [{**told, "lastTransitionTime": rfc3339(NOW - 60)}]}
    return seen(route=route(given=given, status=status), pods=(here,), signals=RouteSignals(heard=True))


CASES: dict[str, tuple[Case, tuple[str, str]]] = {
    "well": (Case(), ("Ready", reasons.ROUTE_READY)),
    "one tier is silent": (Case(tiers=(TIERS[0], SILENT[1])), ("Degraded", reasons.SOME_TIERS_READY)),
    "one tier is at zero": (Case(tiers=(TIERS[0], asleep("large"))), ("Ready", reasons.ROUTE_READY)),
    "all tiers are at zero": (Case(tiers=(asleep("small"), asleep("large"))), ("Ready", reasons.ROUTE_READY)),
    "one is at zero and one silent": (Case(tiers=(SILENT[0], asleep("large"))), ("Degraded", reasons.SOME_TIERS_READY)),
    "no tier has said anything yet": (Case(tiers=NEW), ("Starting", reasons.TIERS_STARTING)),
    "all tiers start": (Case(tiers=(said(NEW[0], "Starting"), NEW[1])), ("Starting", reasons.TIERS_STARTING)),
    "one tier starts, and one cannot": (Case(tiers=(NEW[0], SILENT[1])), ("Starting", reasons.TIERS_STARTING)),
    "the only replica that answered is ill": (Case(tiers=(ill(NEW[0]), SILENT[1])), ("Failed", reasons.NO_TIER_READY)),
    "nobody starts it": (Case(tiers=(advisory("small"), SILENT[1])), ("Failed", reasons.NO_TIER_READY)),
    "it ends": (Case(tiers=(ending(NEW[0]), SILENT[1])), ("Failed", reasons.NO_TIER_READY)),
    "one tier answers, and one starts": (Case(tiers=(TIERS[0], NEW[1])), ("Degraded", reasons.SOME_TIERS_READY)),
    "all tiers are silent": (Case(tiers=SILENT), ("Failed", reasons.NO_TIER_READY)),
    "starting": (Case(view=seen(children=(deployment(0),))), ("Starting", reasons.ROUTER_STARTING)),
    "no children yet": (Case(view=seen(children=())), ("Starting", reasons.ROUTER_STARTING)),
    "no image": (failed(reasons.ROUTER_IMAGE_MISSING, ""), ("Degraded", reasons.ROUTER_IMAGE_MISSING)),
    "a stranger": (failed(reasons.NOT_OURS), ("Degraded", reasons.NOT_OURS)),
    "forbidden": (failed(reasons.FORBIDDEN), ("Degraded", reasons.FORBIDDEN)),
    "refused and nothing runs": (
        Case(view=seen(children=()), outcome=failed(reasons.APPLY_REFUSED).outcome),
        ("Failed", reasons.APPLY_REFUSED),
    ),
    "a quota": (
        Case(view=seen(children=(deployment(0, failed_create="exceeded quota"),))),
        ("Failed", reasons.POD_REFUSED),
    ),
    "a new router cannot start, and the old ones serve on": (
        Case(view=seen(pods=(waiting("chat-router-9", "ErrImagePull", "no such image"),))),
        ("Degraded", reasons.ROUTER_STUCK),
    ),
    "no router can start": (
        Case(view=seen(children=(deployment(0),), pods=(waiting("chat-router-9", "CrashLoopBackOff"),))),
        ("Failed", reasons.ROUTER_STUCK),
    ),
    "a Secret is missing": (Case(view=seen(route=keyed(), pods=(MOUNTING,))), ("Degraded", reasons.SECRET_MISSING)),
    "somebody scales its routers": (
        Case(view=replace(seen(), scalers=("HorizontalPodAutoscaler/theirs",))),
        ("Degraded", reasons.ROUTERS_SCALED),
    ),
    "the budget is spent": (Case(view=seen(route=poor())), ("Degraded", reasons.BUDGET_SPENT)),
    "what the routers spend is not known": (
        Case(view=unmeasured(budget=True)),
        ("Degraded", reasons.ROUTERS_NOT_MEASURED),
    ),
    "what they serve is not known, and costs no budget": (Case(view=unmeasured()), ("Ready", reasons.ROUTE_READY)),
    "a cascade": (
        Case(view=seen(route=route(given=spec("small", "large", policy={"type": "Cascade", "cascade": {}})))),
        ("Ready", reasons.ROUTE_READY),
    ),
    "a tier is missing": (Case(tiers=(TIERS[0],)), ("Degraded", reasons.TIER_NOT_FOUND)),
    "the spec is not understood": (
        Case(view=seen(route=replace(Case().view.route, spec=None, invalid="no tiers"))),
        ("Rejected", reasons.INVALID_SPEC),
    ),
    "deleting": (Case(view=seen(route=replace(Case().view.route, deleting=True))), ("Deleting", reasons.DELETING)),
}


@pytest.mark.parametrize(("case", "expected"), CASES.values(), ids=list(CASES))
def test_the_word_and_its_reason(case: Case, expected: tuple[str, str]) -> None:
    assert route_state(case.view, {verdict.type: verdict for verdict in case.verdicts()}) == expected
    status = case.report().status
    assert (status.state, status.reason) == expected


def test_a_route_with_a_cascade_says_that_it_is_experimental() -> None:
    def accepted(**policy: object) -> str:
        given = spec("small", "large", policy=policy) if policy else spec("small", "large")
        status = Case(RouteView(route(given=given), (deployment(),))).report().status
        return next(one.reason for one in status.conditions if one.type == reasons.ACCEPTED)

    assert accepted() == accepted(type="Rules", cascade={}) == reasons.VALID
    assert accepted(type="Cascade", cascade={}) == reasons.CASCADE_EXPERIMENTAL
    assert reasons.CASCADE_EXPERIMENTAL == "CascadeExperimental"


def test_a_write_that_somebody_else_overtook_is_tried_again_and_no_news() -> None:
    assert failed(reasons.CONFLICT).report().status.state == "Ready"


def test_the_figures() -> None:
    status = Case(tiers=(TIERS[0], SILENT[1])).report().status
    assert (status.url, status.model_names) == ("http://chat.team.svc/v1", "chat")
    assert (status.tiers, status.ready, status.observed_generation) == ("1/2", "2/2", 1)
    assert [each.name for each in status.ladder] == ["small", "large"]


def test_with_tls_the_address_says_so() -> None:
    given = spec("small", "large", tls={"secretName": "chat-tls"})
    secure = Case(RouteView(route(given=given), (deployment(),))).report().status
    assert secure.url == "https://chat.team.svc/v1"


def test_a_status_that_is_told_is_told_again_in_the_same_bytes() -> None:
    first = Case()
    told = first.report().status
    again = replace(first, view=replace(first.view, route=replace(first.view.route, status=told)))
    later = report_route(again.view, again.plan, RouteOutcome(again.plan.key), NOW + 100)
    assert later.status == told
    assert later.events == ()


def test_why_a_pod_waits_is_said_and_who_must_act() -> None:
    (ready,) = [v for v in Case(view=seen(children=(deployment(0),), pods=(WAITING,))).verdicts() if v.type == "Ready"]
    assert "ImagePullBackOff: no such image" in ready.message


def test_one_event_names_all_children_that_were_made() -> None:
    case = Case(view=seen(children=()))
    written = (ChildEvent(reasons.CREATED, "Service chat"), ChildEvent(reasons.CREATED, "Deployment chat-router"))
    (event,) = replace(case, outcome=RouteOutcome(case.plan.key, written)).report().events
    assert (event.kind, event.reason, event.warning) == ("ModelRoute", reasons.CREATED, False)
    assert event.message.startswith("Service chat, Deployment chat-router: created")


def test_a_change_for_the_worse_is_a_warning_and_recovery_is_told() -> None:
    well = Case()
    told = well.report().status
    before = replace(well.view, route=replace(well.view.route, status=told))
    (warning,) = replace(well, view=before, tiers=SILENT).report().events
    assert (warning.reason, warning.warning) == (reasons.NO_TIER_READY, True)
    ill = replace(well, view=before, tiers=SILENT).report().status
    after = replace(well.view, route=replace(well.view.route, status=ill))
    (event,) = replace(well, view=after).report().events
    assert (event.reason, event.warning) == (reasons.ROUTE_READY, False)


def test_who_is_at_zero_is_named() -> None:
    case = Case(tiers=(TIERS[0], asleep("large")))
    (said,) = [each.message for each in case.verdicts() if each.type == reasons.READY]
    assert "the next request starts a replica of: large" in said
    assert case.report().status.tiers == "1/2"
