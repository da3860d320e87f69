"""Evaluates ScalingActive and ScalingLimited: whether replicas follow the load, and what limits them.

These are the two conditions of the HorizontalPodAutoscaler, under its names, since users know them.
"""

from __future__ import annotations

from tierwise import reasons
from tierwise.report.conditions import ConditionUpdate, Truth, condition_update
from tierwise.report.report_context import ReportContext

_WRITE_ERRORS = frozenset({reasons.FORBIDDEN, reasons.API_UNAVAILABLE, reasons.CONFLICT})
_BLIND = frozenset({reasons.PROMETHEUS_ERROR, reasons.METRICS_MISSING, reasons.METRICS_STALE})


def scaling_active(case: ReportContext, metrics: ConditionUpdate) -> ConditionUpdate:
    """Whether replicas are written at all. `metrics` is the verdict MetricsAvailable of the same case."""
    if case.rejected is not None:
        return _active("Unknown", reasons.NOT_ACCEPTED)
    spec = case.spec
    if spec is None or case.external:
        return _active("False", reasons.EXTERNAL)
    if case.view.foreign_scalers:
        return _active("False", reasons.FOREIGN_SCALER, f"{', '.join(case.view.foreign_scalers)} scales this tier")
    if spec.scaling.mode == "Advisory":
        return _active("False", reasons.ADVISORY)
    if spec.replicas is not None:
        return _active("False", reasons.PINNED, f"spec.replicas fixes {spec.replicas} replicas")
    error = case.outcome.error
    if error is not None and error.reason in _WRITE_ERRORS:
        # what is tried again may be over in a second: not known, rather than false
        return _active("Unknown" if error.transient else "False", error.reason, error.message)
    if not case.view.deployments:
        return _active("Unknown", reasons.WAITING_FOR_CHILDREN)
    if metrics.status == "False" and metrics.reason in _BLIND:
        return _active("False", reasons.NO_METRICS)
    return _active("True", reasons.SCALING_OK)


def scaling_limited(case: ReportContext) -> ConditionUpdate:
    """Whether something keeps the target from what the load asks for."""
    if case.rejected is not None:
        return _limited("Unknown", reasons.NOT_ACCEPTED)
    decision = case.decision
    if decision is None or not decision.limited_by:
        return _limited("False", reasons.NOT_LIMITED)
    said = [step.message for step in decision.steps if step.reason == decision.limited_by and step.message]
    return _limited("True", decision.limited_by, said[-1] if said else "")


def _active(status: Truth, reason: str, detail: str = "") -> ConditionUpdate:
    return condition_update(reasons.SCALING_ACTIVE, status, reason, detail)


def _limited(status: Truth, reason: str, detail: str = "") -> ConditionUpdate:
    return condition_update(reasons.SCALING_LIMITED, status, reason, detail)
