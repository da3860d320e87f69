"""Decides whether the status of a route must be written now.

Every router of the route and this operator are woken by a write. The ladder, the leases and the conditions are what
they and people wait for, and are written at once; what only follows the load waits, as for tiers (`throttle`).
"""

from __future__ import annotations

from tierwise import reasons
from tierwise.api.conditions import Condition
from tierwise.api.modelroute_status import BudgetStatus, ModelRouteStatus, QualityStatus, QualityWatch
from tierwise.report.throttle import QUIET_SECONDS

_VOLATILE = (
    "requests_per_second",
    "share",
    "cost_per_hour",
    "saved",
    "savings",
    "spent",
    "spill_cost",
    "waiting",
    "spilled",
    "fallbacks",
    "ttft_p95_seconds",
    "quality_percent",
    "pressed",
    "pressure",
)

_FOLLOWS_LOAD = {"share_percent": None, "quality_percent": "", "quality_lower_percent": ""}


def should_write_route(old: ModelRouteStatus, new: ModelRouteStatus, last_write_age: float | None) -> bool:
    """Whether `new` must replace `old` now. `last_write_age`: seconds since this process last wrote the status of
    this route, None when it never did."""
    if old == new:
        return False
    if _important(old) != _important(new):
        return True
    return last_write_age is None or last_write_age >= QUIET_SECONDS


def _important(status: ModelRouteStatus) -> ModelRouteStatus:
    blank = ModelRouteStatus()
    budget = None if status.budget is None else _leases(status.budget)
    classifier = None if status.classifier is None else status.classifier.model_copy(update=_FOLLOWS_LOAD)
    volatile = {name: getattr(blank, name) for name in _VOLATILE}
    acted_on = {
        "budget": budget,
        "classifier": classifier,
        "quality": _quality(status),
        "conditions": [_condition(each) for each in status.conditions],
    }
    return status.model_copy(update={**volatile, **acted_on})


def _condition(condition: Condition) -> Condition:
    """Without figures that change with every verdict."""
    return condition.model_copy(update={"message": ""}) if condition.type == reasons.QUALITY_KEPT else condition


def _quality(status: ModelRouteStatus) -> QualityStatus | None:
    """Only what routers act on, or people wait for: verdicts come all the time."""
    found = status.quality
    if found is None:
        return None
    return QualityStatus(
        added_share_percent=found.added_share_percent,
        classifier_hash=found.classifier_hash,
        moves=found.moves,
        since=found.since,
        watch=QualityWatch(alarm=found.watch.alarm),
    )


def _leases(budget: BudgetStatus) -> BudgetStatus:
    """Without what is only told, and not acted on."""
    leases = [lease.model_copy(update={"spent": ""}) for lease in budget.leases]
    return budget.model_copy(update={"spent": "", "leases": leases})
