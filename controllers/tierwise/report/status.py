"""Builds the status of a tier.

Everything is rounded before it is compared, and a measurement keeps the time of its first appearance while its value
stays the same. So a tier at rest has the same status, byte for byte, however often it is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import (
    AdviceStatus,
    DecisionStatus,
    InferenceServiceRef,
    ModelTierStatus,
    ScalingMemory,
    ScalingStatus,
    SignalStatus,
    StepStatus,
)
from tierwise.engines import profile
from tierwise.kube.objects import PREDICTOR_SUFFIX, SELECT_OURS, TIER_LABEL
from tierwise.pod_diagnosis import waits_for_nodes
from tierwise.report.conditions import ConditionUpdate, merge
from tierwise.report.costs import assumed, money, per_million_tokens, prices
from tierwise.report.messages import message_for
from tierwise.report.metrics_condition import metrics_available
from tierwise.report.pool_placing import by_list_price, cost_per_hour, placed, pool_statuses
from tierwise.report.provisioned_condition import accepted, provisioned
from tierwise.report.ready_condition import ready, state
from tierwise.report.report_context import ReportContext
from tierwise.report.scaling_conditions import scaling_active, scaling_limited
from tierwise.report.speculation import speculation
from tierwise.report.urls import service_url
from tierwise.report.workload_status import inference_services, rollout_status
from tierwise.text_sanitize import truncate
from tierwise.times import rfc3339
from tierwise.types import Decision, NamedSignal, Signal, State, Step, Workload

STEPS, SIGNALS, DECISIONS = 16, 16, 5  # the CRD's maxItems
_MESSAGE = 256
_MOST = 1e9  # more than any engine has: an absurd measurement must still fit its field


class _Identity(TypedDict):
    model: str
    engine: str
    quantization: str
    url: str
    selector: str
    inference_services: list[InferenceServiceRef]


class _Replicas(TypedDict):
    replicas: int
    ready_replicas: int
    desired_replicas: int
    ready: str


class _Figures(TypedDict):
    waiting: int | None
    kv_cache_percent: int | None
    prefix_hit_percent: int | None
    accepted_percent: int | None
    ttft_met_percent: int | None
    inter_token_met_percent: int | None
    cost_per_hour: str
    cost_per_million_tokens: str


def build(case: ReportContext, remembered: ScalingMemory) -> ModelTierStatus:
    """The status of one tier. `remembered` is what a restarted operator must know of its last decision."""
    updates = evaluate_conditions(case)
    waits = any(waits_for_nodes(workload, case.at) for workload in case.workloads)
    word, reason = state({update.type: update for update in updates}, waits_for_nodes=waits)
    given = ((each.reason, message_for(each.reason, each.message)) for each in case.plan.advice)
    return ModelTierStatus(
        observed_generation=case.view.tier.generation,
        state=word,
        reason=reason,
        conditions=merge(case.old.conditions, updates, case.view.tier.generation, case.at),
        scaling=_scaling(case, remembered),
        rollout=rollout_status(case),
        limited_by=case.decision.limited_by if case.decision is not None else "",
        advice=[AdviceStatus(reason=reason, message=message) for reason, message in given],
        speculation=speculation(case),
        pools=pool_statuses(case),
        placed=placed(case),
        **_replicas(case),
        **_figures(case),
        **_identity(case),
    )


def evaluate_conditions(case: ReportContext) -> tuple[ConditionUpdate, ...]:
    """The six verdicts on one tier, in the order in which a person should read them."""
    metrics = metrics_available(case)
    return (
        accepted(case),
        provisioned(case),
        metrics,
        scaling_active(case, metrics),
        scaling_limited(case),
        ready(case),
    )


def _identity(case: ReportContext) -> _Identity:
    """What the tier is: names, address, selector. Kept as it was when the spec does not parse."""
    key, spec, old = case.view.tier.key, case.serving, case.old
    if spec is None:
        return {
            "model": old.model,
            "engine": old.engine,
            "quantization": old.quantization,
            "url": old.url,
            "selector": old.selector,
            "inference_services": old.inference_services,
        }
    if spec.external is not None:
        return {
            "model": spec.external.model,
            "engine": "external API",
            "quantization": "",
            "url": spec.external.base_url,
            "selector": "",
            "inference_services": [],
        }
    return {
        "model": spec.model.name if spec.model is not None else "",
        "engine": f"{spec.engine.name} {spec.engine.version}",
        "quantization": _quantization(spec),
        "url": _url(case.workloads[0], key.namespace, spec),
        "selector": f"{SELECT_OURS},{TIER_LABEL}={key.name}",
        "inference_services": inference_services(case),
    }


def _url(workload: Workload, namespace: str, spec: ModelTierSpec) -> str:
    port = profile(spec.engine).port if workload.headless else None
    return service_url(workload.name + PREDICTOR_SUFFIX, namespace, port=port)


def _quantization(spec: ModelTierSpec) -> str:
    cache = spec.quantization.kv_cache_dtype
    return spec.quantization.method + ("" if cache == "auto" else f", KV {cache}")


def _replicas(case: ReportContext) -> _Replicas:
    if case.external:
        return {"replicas": 0, "ready_replicas": 0, "desired_replicas": 0, "ready": ""}
    return {
        "replicas": sum(deployment.replicas for deployment in case.view.deployments),
        "ready_replicas": case.ready,
        "desired_replicas": case.desired,
        "ready": f"{case.ready}/{case.desired}",
    }


def _figures(case: ReportContext) -> _Figures:
    """What was measured, and what it costs."""
    spec, signals = case.serving, case.view.signals
    by_list = any(by_list_price(case, workload) for workload in case.workloads)
    if spec is not None and spec.external is not None:
        tokens = prices(spec.external.prices)
        hourly = None
    else:
        hourly = cost_per_hour(case)
        tokens = assumed(money(per_million_tokens(hourly, signals.tokens_per_second)), by_list)
    measured = [sample for sample in signals.pods if sample.pod in case.view.ready_endpoints]
    usage = [sample.kv_usage.value for sample in measured if sample.kv_usage.has_value]
    waiting = [sample.waiting.value for sample in measured if sample.waiting.has_value]
    return {
        "waiting": round(min(sum(waiting), _MOST)) if waiting else None,
        "kv_cache_percent": _percent(sum(usage) / len(usage)) if usage else None,
        "prefix_hit_percent": _ratio(signals.prefix_hit_ratio),
        "accepted_percent": _ratio(signals.accepted_ratio),
        "ttft_met_percent": _met(signals.begun_lately, signals.late_first_tokens),
        "inter_token_met_percent": _met(signals.spoken_lately, signals.late_answers),
        "cost_per_hour": assumed(money(hourly), by_list),
        "cost_per_million_tokens": tokens,
    }


def _met(counted: Signal, late: Signal) -> int | None:
    """Rounded down: 99.6 % has not met 100 %."""
    if not (counted.has_value and late.has_value) or counted.value <= 0:
        return None
    return int(100 * (1 - min(1.0, late.value / counted.value)))


def _ratio(signal: Signal) -> int | None:
    return _percent(signal.value) if signal.has_value else None


def _percent(fraction: float) -> int:
    return round(100 * min(1.0, max(0.0, fraction)))


def _scaling(case: ReportContext, remembered: ScalingMemory) -> ScalingStatus:
    decision = case.decision
    if decision is None:  # rejected: the last decision stays readable
        return case.old.scaling.model_copy(update={"memory": remembered})
    return ScalingStatus(
        steps=[_step(step) for step in decision.steps[:STEPS]],
        signals=_signals(decision.signals[:SIGNALS], case.old.scaling.signals),
        decisions=_decisions(case, decision),
        memory=remembered,
    )


def _step(step: Step) -> StepStatus:
    return StepStatus(
        name=truncate(step.name, 32),
        replicas=step.replicas,
        reason=step.reason,
        message=truncate(step.message, _MESSAGE),
    )


def _decisions(case: ReportContext, decision: Decision) -> list[DecisionStatus]:
    """The last five changes, newest first; a change is what was written, not what was wished."""
    old = case.old.scaling.decisions
    written = {each.name: each.scaled_to for each in case.outcome.workloads if each.scaled_to is not None}
    after = case.view.replicas_with(written, decision.target)
    if not written or after == decision.current:
        return old
    return [change(decision, after, case.at), *old][:DECISIONS]


def change(decision: Decision, to: int, at: float) -> DecisionStatus:
    """A change of replicas as the status tells it. `to`: what was written; `at`: when, in seconds since the epoch."""
    return DecisionStatus.model_validate(
        {
            "time": rfc3339(at),
            "from": decision.current,
            "to": to,
            "reason": decision.reason,
            "message": truncate(decision.message, _MESSAGE),
        }
    )


def _signals(named: Sequence[NamedSignal], old: Iterable[SignalStatus]) -> list[SignalStatus]:
    before = {signal.name: signal for signal in old}
    return [_signal(each, before.get(truncate(each.name, 64))) for each in named]


def _signal(named: NamedSignal, before: SignalStatus | None) -> SignalStatus:
    signal = named.signal
    value = figure(signal.value) if signal.state is State.VALUE else ""
    if before is not None and (before.state, before.value) == (signal.state.value, value):
        return before
    return SignalStatus(
        name=truncate(named.name, 64),
        state=signal.state.value,
        value=value,
        time="" if signal.at is None else rfc3339(signal.at),
    )


def figure(value: float) -> str:
    """A measured value for people: three significant digits, and whole from 100 on. Never long, whatever it is."""
    return f"{value:.0f}" if 100 <= abs(value) <= _MOST else f"{value:.3g}"
