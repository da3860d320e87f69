"""Adds to the plan of a route what its routers may spend.

A route that is not accepted, or is being deleted, may still be served by the routers that it has, so its money is
looked after as well: while its spec cannot be used, by the budget that was understood last, or its external tiers would
stop when the leases run out. What is spent is forgotten only with the budget itself.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import ValidationError

from tierwise import reasons
from tierwise.api.modelroute import RouteBudget
from tierwise.api.modelroute_status import BudgetStatus
from tierwise.decide.leases import renew
from tierwise.pod_diagnosis import FINISHED
from tierwise.types import RoutePlan, RouteView


def with_leases(plan: RoutePlan, view: RouteView, at: float) -> RoutePlan:
    """The plan with the leases from `at` (seconds since the epoch) on."""
    spec = view.route.spec
    if spec is None:
        return replace(plan, budget=_gone_on(view, at))
    if spec.budget is None:
        return plan
    budget = _renewed(view, spec.budget, spec.replicas, at)
    if budget is not None:
        return replace(plan, budget=budget)
    zone = f"budget.timeZone {spec.budget.time_zone} is no IANA time zone, such as Europe/Berlin"
    invalid = plan.invalid or (reasons.INVALID_SPEC, zone)
    return replace(plan, serve=False, invalid=invalid, budget=_gone_on(view, at))


def _gone_on(view: RouteView, at: float) -> BudgetStatus | None:
    """The leases by the budget that was understood last; as they are where nothing of it is known."""
    before = view.route.status.budget
    understood = None if before is None else _understood(before)
    renewed = None if understood is None else _renewed(view, understood, len(view.pods), at)
    return before if renewed is None else renewed


def _understood(before: BudgetStatus) -> RouteBudget | None:
    """The budget that these leases are of; None where the status does not say it, or somebody has spoilt it."""
    try:
        return None if before.terms is None else RouteBudget.model_validate(before.terms.model_dump())
    except ValidationError:
        return None


def _renewed(view: RouteView, budget: RouteBudget, replicas: int, at: float) -> BudgetStatus | None:
    """The leases of this budget; None where nobody knows its time zone."""
    # A pod that has ended starts no container again: its router is gone.
    routers = {pod.uid: view.signals.wallets.get(pod.name) for pod in view.pods if pod.phase not in FINISHED}
    try:
        return renew(view.route.status.budget, budget, routers, replicas, at)
    except (LookupError, ValueError, OSError):
        return None
