"""Builds the status and the Events of a route.

The ladder and the leases in it are what the routers act on, so a status is written as soon as these change, and never
when nothing has. What only follows the load can wait (`route_throttle`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tierwise import reasons
from tierwise.api.conditions import Condition
from tierwise.api.modelroute_status import ModelRouteStatus
from tierwise.kube.objects import DEPLOYMENTS
from tierwise.ports import EventRecord
from tierwise.report.classifier_condition import classifier_condition, classifier_status
from tierwise.report.conditions import ConditionUpdate, condition_update, find, merge
from tierwise.report.events import APPLY, OBSERVE, record
from tierwise.report.messages import message_for
from tierwise.report.quality_condition import moves, pressure_shown, quality_condition, quality_shown
from tierwise.report.route_columns import budget_spent, columns
from tierwise.report.route_metrics_condition import metrics_available, stops_spending
from tierwise.report.router_pods import router_problem
from tierwise.report.urls import service_url
from tierwise.text_sanitize import sanitize, truncate
from tierwise.types import RouteKey, RouteOutcome, RoutePlan, RouteView

KIND = "ModelRoute"
_NAMES = 2112  # as in the CRD
_STARTS = frozenset({reasons.ROUTER_STARTING, reasons.TIERS_STARTING})
_PASSING = frozenset({reasons.CREATING, reasons.DELETING, reasons.NOT_ACCEPTED}) | _STARTS
_CONDITIONS = (
    reasons.ACCEPTED,
    reasons.PROVISIONED,
    reasons.METRICS_AVAILABLE,
    *reasons.ROUTE_CONDITION_TYPES,
    reasons.READY,
)


@dataclass(frozen=True, slots=True)
class RouteReport:
    """What is to be told about one route: its new status, and the Events on the way there."""

    key: RouteKey
    uid: str
    status: ModelRouteStatus
    events: tuple[EventRecord, ...] = ()


def report_route(view: RouteView, plan: RoutePlan, outcome: RouteOutcome, now: float) -> RouteReport:
    """The report on one route after one cycle. `now`: seconds since the epoch."""
    route = view.route
    updates = evaluate_route(view, plan, outcome, now)
    word, reason = route_state(view, {update.type: update for update in updates})
    deployment = view.child(DEPLOYMENTS)
    desired = route.spec.replicas if route.spec is not None else 0
    scheme = "http" if route.spec is None or route.spec.tls is None else "https"
    status = ModelRouteStatus(
        observed_generation=route.generation,
        url=service_url(route.key.name, route.key.namespace, scheme=scheme),
        model_names=truncate(", ".join(route.model_names), _NAMES),
        tiers=f"{len(plan.ready)}/{len(plan.ladder)}",
        ready=f"{deployment.ready_replicas if deployment is not None else 0}/{desired}",
        state=word,
        reason=reason,
        ladder=list(plan.ladder),
        budget=plan.budget,
        quality=plan.quality,
        pressure=plan.pressure,
        quality_percent=quality_shown(plan),
        pressed=pressure_shown(plan),
        classifier=classifier_status(view),
        **columns(view, plan),
        conditions=merge(_still_ours(route.status.conditions, updates), updates, route.generation, now),
    )
    events = (*_written(view, outcome), *_turned(view, status.conditions), *moves(view, plan))
    return RouteReport(route.key, route.uid, status, events)


def evaluate_route(view: RouteView, plan: RoutePlan, outcome: RouteOutcome, now: float) -> tuple[ConditionUpdate, ...]:
    """The verdicts on a route, in the order in which a person should read them; those on its classifier and its
    quality only where it has them. `now`: seconds since 1970."""
    classifier = classifier_condition(view)
    verdicts = (_accepted(view, plan), _provisioned(view, plan, outcome, now), metrics_available(view, now))
    quality = quality_condition(view, plan)
    others = (each for each in (classifier, quality) if each is not None)
    return (*verdicts, *others, _ready(view, plan))


def route_state(view: RouteView, verdicts: Mapping[str, ConditionUpdate]) -> tuple[str, str]:
    """The word for the whole route and the reason behind it, from the verdicts by their type."""
    accepted, provisioned = verdicts[reasons.ACCEPTED], verdicts[reasons.PROVISIONED]
    ready = verdicts[reasons.READY]
    if provisioned.reason == reasons.DELETING:
        return "Deleting", provisioned.reason
    if provisioned.reason == reasons.NOT_ACCEPTED:
        return "Rejected", accepted.reason
    if provisioned.status == "False" and provisioned.reason != reasons.CREATING:
        return ("Degraded" if ready.status == "True" else "Failed"), provisioned.reason
    if ready.status == "False":
        return ("Starting" if ready.reason in _STARTS else "Failed"), ready.reason
    if accepted.status == "False":
        return "Degraded", accepted.reason
    if ready.reason != reasons.ROUTE_READY:
        return "Degraded", ready.reason
    measured = verdicts[reasons.METRICS_AVAILABLE]
    if stops_spending(view, measured):
        return "Degraded", measured.reason
    classifier = verdicts.get(reasons.CLASSIFIER_READY)
    if classifier is not None and (classifier.status == "False" or classifier.reason == reasons.TRAFFIC_SHIFTED):
        return "Degraded", classifier.reason
    quality = verdicts.get(reasons.QUALITY_KEPT)
    if quality is not None and quality.status == "False":
        return "Degraded", quality.reason
    return "Ready", ready.reason


def _still_ours(old: Iterable[Condition], updates: Iterable[ConditionUpdate]) -> list[Condition]:
    """Without our conditions that no longer apply: a policy that has gone leaves no verdict behind."""
    told = {update.type for update in updates}
    return [each for each in old if each.type in told or each.type not in reasons.ROUTE_CONDITION_TYPES]


def _accepted(view: RouteView, plan: RoutePlan) -> ConditionUpdate:
    if plan.invalid is not None:
        return condition_update(reasons.ACCEPTED, "False", *plan.invalid)
    spec = view.route.spec
    if spec is not None and spec.policy.type == "Cascade":
        return condition_update(reasons.ACCEPTED, "True", reasons.CASCADE_EXPERIMENTAL)
    return condition_update(reasons.ACCEPTED, "True", reasons.VALID)


def _provisioned(view: RouteView, plan: RoutePlan, outcome: RouteOutcome, now: float) -> ConditionUpdate:
    if view.route.deleting:
        return _not_provisioned(reasons.DELETING)
    if not plan.serve:
        return condition_update(reasons.PROVISIONED, "Unknown", reasons.NOT_ACCEPTED)
    if outcome.error is not None and outcome.error.reason != reasons.CONFLICT:
        return _not_provisioned(outcome.error.reason, outcome.error.message)
    deployment = view.child(DEPLOYMENTS)
    if deployment is None:
        return _not_provisioned(reasons.CREATING)
    if deployment.failed_create:
        return _not_provisioned(reasons.POD_REFUSED, deployment.failed_create)
    problem = router_problem(view, plan, now)
    if problem is not None:
        return _not_provisioned(*problem)
    if view.scalers:
        said = f"{', '.join(view.scalers)} scales the routers, and the operator sets their number back"
        return _not_provisioned(reasons.ROUTERS_SCALED, said)
    return condition_update(reasons.PROVISIONED, "True", reasons.ROUTER_EXISTS)


def _not_provisioned(reason: str, detail: str = "") -> ConditionUpdate:
    return condition_update(reasons.PROVISIONED, "False", reason, detail)


def _ready(view: RouteView, plan: RoutePlan) -> ConditionUpdate:
    deployment = view.child(DEPLOYMENTS)
    if deployment is None or deployment.ready_replicas == 0:
        return condition_update(reasons.READY, "False", reasons.ROUTER_STARTING, _waits(view))
    if not (plan.ready or plan.asleep):
        if plan.starting:
            said = f"no replica answers yet of: {', '.join(plan.starting)}"
            return condition_update(reasons.READY, "False", reasons.TIERS_STARTING, said)
        return condition_update(reasons.READY, "False", reasons.NO_TIER_READY)
    silent = [tier.name for tier in plan.ladder if tier.name not in (*plan.ready, *plan.asleep)]
    if silent:
        said = f"no replica answers of: {', '.join(silent)}"
        return condition_update(reasons.READY, "True", reasons.SOME_TIERS_READY, said)
    if budget_spent(view, plan):
        return condition_update(reasons.READY, "True", reasons.BUDGET_SPENT)
    asleep = f"the next request starts a replica of: {', '.join(plan.asleep)}" if plan.asleep else ""
    return condition_update(reasons.READY, "True", reasons.ROUTE_READY, asleep)


def _waits(view: RouteView) -> str:
    """What the first pod that waits is waiting for, as Kubernetes says it."""
    for pod in view.pods:
        if pod.waiting_reason and not pod.ready and not pod.terminating:
            said = f": {sanitize(pod.waiting_message)}" if pod.waiting_message else ""
            return f"No router is ready yet: its container waits ({pod.waiting_reason}{said})"
    return ""


def _written(view: RouteView, outcome: RouteOutcome) -> Iterable[EventRecord]:
    """One Event for each word, which names all children."""
    for word in (reasons.CREATED, reasons.UPDATED, reasons.HEALED):
        mine = [each for each in outcome.written if each.reason == word]
        if mine:
            names = ", ".join(each.child + (f" ({each.detail})" if each.detail else "") for each in mine)
            yield record(view.route, word, message_for(word, f"{names}: {word.lower()}"), APPLY, kind=KIND)


def _turned(view: RouteView, conditions: Iterable[Condition]) -> Iterable[EventRecord]:
    """What has changed for the worse, and what is well again."""
    for kind in _CONDITIONS:
        before, after = find(view.route.status.conditions, kind), find(conditions, kind)
        if after is None or (before is not None and (before.status, before.reason) == (after.status, after.reason)):
            continue
        if (after.status == "False" and after.reason not in _PASSING) or after.reason == reasons.TRAFFIC_SHIFTED:
            yield record(view.route, after.reason, after.message, OBSERVE, warning=True, kind=KIND)
        elif after.status == "True" and (kind == reasons.READY or (before is not None and before.status == "False")):
            yield record(view.route, after.reason, after.message, OBSERVE, kind=KIND)
