"""Computes what `kubectl get modelroutes` shows of a route's traffic and money.

What is not known is empty, never 0. Values are rounded to what a person compares, so that the status of a route whose
traffic only flickers stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_UP, Decimal, InvalidOperation
from typing import Any

from tierwise.report.costs import money
from tierwise.report.route_savings import route_savings
from tierwise.types import RoutePlan, RouteView

_SIGNIFICANT = 2
_NEARLY = Decimal("0.95")
_MOST_USD = Decimal(10) ** 15


def columns(view: RouteView, plan: RoutePlan) -> dict[str, Any]:
    """The fields of the status, by their names in ModelRouteStatus."""
    signals, savings = view.signals, route_savings(view, plan)
    saved = None if savings is None else savings.saved_percent
    return {
        "requests_per_second": _figure(signals.requests_per_second),
        "share": share(signals.share, [tier.name for tier in plan.ladder]),
        "cost_per_hour": "" if signals.cost_per_hour is None else money(Decimal(_figure(signals.cost_per_hour))),
        "saved": "" if saved is None else f"{saved}%",
        "savings": savings,
        "spent": _spent(view, plan),
        "spill_cost": _spill_cost(view),
        "waiting": _count(signals.waiting),
        "spilled": _count(signals.spilled),
        "fallbacks": _count(signals.fallbacks),
        "ttft_p95_seconds": _figure(signals.ttft_p95),
    }


def share(by_tier: Mapping[str, float], ladder: list[str]) -> str:
    """Whole percents by tier, in the order of the ladder, that add up to 100: what rounding leaves over goes to those
    that lost most by it. Empty without a request."""
    counts = [by_tier.get(name, 0.0) for name in ladder]
    total = sum(counts)
    if not total > 0:
        return ""
    exact = [100 * count / total for count in counts]
    shown = [math.floor(part) for part in exact]
    order = sorted(range(len(exact)), key=lambda place: (shown[place] - exact[place], place))
    for place in order[: 100 - sum(shown)]:
        shown[place] += 1
    return "/".join(map(str, shown))


def budget_spent(view: RouteView, plan: RoutePlan) -> bool:
    """Whether hardly any request fits any more: nothing is left to lease, and little of what is leased."""
    spec, budget = view.route.spec, plan.budget
    if budget is None or spec is None or spec.budget is None:
        return False
    left, spent = _dollars(budget.left), _dollars(budget.spent)
    if left is None or spent is None:
        return False
    return left <= 0 and spent >= _NEARLY * Decimal(spec.budget.amount)


def _spent(view: RouteView, plan: RoutePlan) -> str:
    spec, budget = view.route.spec, plan.budget
    spent = None if budget is None else _dollars(budget.spent)
    if spent is None or spec is None or spec.budget is None:
        return ""
    return f"{money(spent)}/{spec.budget.amount}"


def _spill_cost(view: RouteView) -> str:
    """Three digits, rounded up: routers keep within the hour's cap by it. Empty without a cap, and if not known."""
    spec, cost = view.route.spec, view.signals.spill_cost
    if spec is None or spec.overflow.max_cost_per_hour is None or cost is None:
        return ""
    if cost <= 0:
        return "0"
    amount = Decimal(repr(cost))
    step = Decimal(1).scaleb(max(-6, amount.adjusted() - 2))
    text = f"{amount.quantize(step, ROUND_UP):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _dollars(text: str) -> Decimal | None:
    """Of a status. What is no number was written by somebody else, and is not known."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount < _MOST_USD else None


def _count(value: float | None) -> int | None:
    """Two significant digits are what changes meaningfully."""
    return None if value is None else int(Decimal(_figure(value)))


def _figure(value: float | None) -> str:
    """Two significant digits, whole numbers above ten: 0.042, 1.3, 18, 240."""
    if value is None:
        return ""
    if value <= 0:
        return "0"
    digits = _SIGNIFICANT - 1 - math.floor(math.log10(value))
    text = f"{Decimal(repr(round(value, digits))):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
