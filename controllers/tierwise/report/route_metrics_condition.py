"""Evaluates MetricsAvailable of a route: whether what its routers serve and spend is known.

Without it a budget is handed out no further, and external tiers stop although money is left: nothing else would say
why. A router that has just become ready, one that has just been given a budget, and a scrape or two that are missing
are no fault yet.
"""

from __future__ import annotations

from tierwise import reasons
from tierwise.report.conditions import ConditionUpdate, Truth, condition_update, find
from tierwise.times import seconds
from tierwise.types import PodFacts, RouteView

# Silence is a fault when it lasts longer than Prometheus' own discovery of a router and three scrapes of 10 s.
GRACE_SECONDS = 45.0
_NAMED = 3


def metrics_available(view: RouteView, now: float) -> ConditionUpdate:
    """Whether the ready routers are measured. `now`: seconds since the epoch."""
    signals = view.signals
    if signals.heard is None:
        return _as_before(view)
    if not signals.heard:
        return _verdict("False", reasons.PROMETHEUS_ERROR)
    ready = [pod for pod in view.pods if pod.ready and not pod.terminating]
    if not ready:
        return _verdict("Unknown", reasons.METRICS_NOT_NEEDED)
    if _has_budget(view):
        silent = [pod for pod in ready if pod.name not in signals.wallets]
    else:
        silent = ready if signals.waiting is None else []
    if not silent:
        return _verdict("True", reasons.METRICS_OK)
    if all(_new(pod, now) for pod in silent) or not _lasts(view, now):
        return _verdict("Unknown", reasons.METRICS_PENDING)
    return _verdict("False", reasons.ROUTERS_NOT_MEASURED, f"no fresh metrics from {_names(silent)}")


def stops_spending(view: RouteView, verdict: ConditionUpdate) -> bool:
    """Whether this verdict is that of a route whose budget is handed out no further."""
    return verdict.reason == reasons.ROUTERS_NOT_MEASURED and _has_budget(view)


def _has_budget(view: RouteView) -> bool:
    spec = view.route.spec
    return view.route.status.budget is not None if spec is None else spec.budget is not None


def _as_before(view: RouteView) -> ConditionUpdate:
    """Nobody has asked yet, since the operator has just started."""
    before = find(view.route.status.conditions, reasons.METRICS_AVAILABLE)
    if before is None:
        return _verdict("Unknown", reasons.METRICS_PENDING)
    return ConditionUpdate(before.type, before.status, before.reason, before.message)


def _new(pod: PodFacts, now: float) -> bool:
    return pod.ready_at is not None and now - pod.ready_at < GRACE_SECONDS


def _lasts(view: RouteView, now: float) -> bool:
    """Whether it was silent before, and for how long is told by the condition itself."""
    before = find(view.route.status.conditions, reasons.METRICS_AVAILABLE)
    if before is None or before.status == "True":
        return False
    since = seconds(before.last_transition_time)
    return before.status == "False" or since is None or now - since >= GRACE_SECONDS


def _names(pods: list[PodFacts]) -> str:
    names = [pod.name for pod in pods]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _verdict(status: Truth, reason: str, detail: str = "") -> ConditionUpdate:
    return condition_update(reasons.METRICS_AVAILABLE, status, reason, detail)
