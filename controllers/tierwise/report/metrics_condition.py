"""Evaluates MetricsAvailable: whether every ready replica has fresh metrics, and what is missing where.

Only replicas that receive requests are expected to be measured, and only some scrapes after they became ready: a new
replica is not a fault. Up to three replicas are named, in order, so that the message stays the same while the problem
does.
"""

from __future__ import annotations

from collections.abc import Sequence

from tierwise import reasons
from tierwise.report.conditions import ConditionUpdate, Truth, condition_update, find
from tierwise.report.report_context import ReportContext
from tierwise.types import PodSample, State

# A new replica has this long until it must be measured: three scrapes, and Prometheus' own discovery of the target.
GRACE_INTERVALS, DISCOVERY_SECONDS = 3.0, 15.0
_NAMED = 3


def metrics_available(case: ReportContext) -> ConditionUpdate:
    """Whether decisions can be made from measurements."""
    if case.rejected is not None:
        return _verdict("Unknown", reasons.NOT_ACCEPTED)
    if case.external:
        return _verdict("True", reasons.EXTERNAL)
    if not case.metrics.ok:
        return _unanswered(case)
    if case.ready == 0:
        return _verdict("Unknown", reasons.METRICS_NOT_NEEDED)
    states = {pod: _state(_sample(case, pod)) for pod in sorted(case.view.ready_endpoints)}
    if all(state is State.VALUE for state in states.values()):
        if case.metrics.latency_problem and case.spec is not None and case.spec.scaling.targets is not None:
            return _verdict("False", reasons.LATENCY_UNKNOWN, case.metrics.latency_problem)
        return _verdict("True", reasons.METRICS_OK)
    return _incomplete(case, states)


def _unanswered(case: ReportContext) -> ConditionUpdate:
    if case.metrics.problem:
        return _verdict("False", reasons.PROMETHEUS_ERROR, case.metrics.problem)
    # Nobody has asked yet (the operator has just started): what was said before stands.
    before = find(case.old.conditions, reasons.METRICS_AVAILABLE)
    if before is None:
        return _verdict("Unknown", reasons.METRICS_PENDING)
    return ConditionUpdate(before.type, before.status, before.reason, before.message)


def _incomplete(case: ReportContext, states: dict[str, State]) -> ConditionUpdate:
    invalid = [pod for pod, state in states.items() if state is State.INVALID]
    if invalid:
        return _verdict("False", reasons.METRICS_INVALID, f"NaN, infinite or negative values from {_names(invalid)}")
    gone = [pod for pod, state in states.items() if state is not State.VALUE]
    if all(_new(case, pod) for pod in gone):
        return _verdict("Unknown", reasons.METRICS_PENDING)
    if len(gone) < len(states):
        return _verdict("False", reasons.METRICS_PARTIAL, f"no fresh metrics from {_names(gone)}")
    if all(state is State.STALE for state in states.values()):
        return _verdict("False", reasons.METRICS_STALE, f"the last metrics of {_names(gone)} are too old")
    return _verdict("False", reasons.METRICS_MISSING, _why_missing(case))


def _why_missing(case: ReportContext) -> str:
    """The three ways to have no series: no target, a target that does not answer, an answer without the series."""
    signals, tier = case.view.signals, case.view.tier.key.name
    if signals.targets_up == 0 and signals.targets_down == 0:
        return f"Prometheus has no scrape target with the label tierwise_io_tier={tier!r} in this namespace"
    if signals.targets_up == 0:
        return f"Prometheus cannot scrape any replica of the tier (targets labelled tierwise_io_tier={tier!r})"
    return f"the replicas are scraped, but their series with the label tierwise_io_tier={tier!r} are missing"


def _sample(case: ReportContext, pod: str) -> PodSample | None:
    return next((sample for sample in case.view.signals.pods if sample.pod == pod), None)


def _state(sample: PodSample | None) -> State:
    """The worst of what a decision needs from one replica."""
    if sample is None:
        return State.MISSING
    states = {sample.running.state, sample.waiting.state, sample.kv_usage.state, sample.kv_capacity_tokens.state}
    return next(state for state in (State.INVALID, State.MISSING, State.STALE, State.VALUE) if state in states)


def _new(case: ReportContext, name: str) -> bool:
    pod = next((pod for pod in case.view.pods if pod.name == name), None)
    grace = GRACE_INTERVALS * case.metrics.interval_seconds + DISCOVERY_SECONDS
    return pod is not None and pod.ready_at is not None and case.at - pod.ready_at < grace


def _names(pods: Sequence[str]) -> str:
    more = f" and {len(pods) - _NAMED} more" if len(pods) > _NAMED else ""
    return ", ".join(pods[:_NAMED]) + more


def _verdict(status: Truth, reason: str, detail: str = "") -> ConditionUpdate:
    return condition_update(reasons.METRICS_AVAILABLE, status, reason, detail)
