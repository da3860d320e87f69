"""Adds to the plan of a route what its routers may spend.

A route that is not accepted, or is being deleted, may still be served by the routers that it has, so its money is
looked after as well. What is spent is forgotten only with the budget itself.
"""

from __future__ import annotations

from dataclasses import replace

from tierwise import reasons
from tierwise.decide.leases import renew
from tierwise.pod_diagnosis import FINISHED
from tierwise.types import RoutePlan, RouteView


def with_leases(plan: RoutePlan, view: RouteView, at: float) -> RoutePlan:
    """The plan with the leases from `at` (seconds since the epoch) on."""
    spec, before = view.route.spec, view.route.status.budget
    if spec is None:
        return replace(plan, budget=before)
    if spec.budget is None:
        return plan
    # A pod that has ended starts no container again: its router is gone.
    routers = {pod.uid: view.signals.wallets.get(pod.name) for pod in view.pods if pod.phase not in FINISHED}
    try:
        return replace(plan, budget=renew(before, spec.budget, routers, spec.replicas, at))
    except (LookupError, ValueError, OSError):
        zone = f"budget.timeZone {spec.budget.time_zone} is no IANA time zone, such as Europe/Berlin"
        return replace(plan, serve=False, invalid=plan.invalid or (reasons.INVALID_SPEC, zone), budget=before)
