"""Builders: a tier that serves well, and what to change to make it ill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict, Unpack

from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import ModelTierStatus, ScalingMemory
from tierwise.report.build import Report, TierReport, report_tier
from tierwise.report.conditions import ConditionUpdate
from tierwise.report.report_context import ReportContext
from tierwise.types import (
    Decision,
    DeploymentFacts,
    InferenceServiceFacts,
    MetricsHealth,
    NamedSignal,
    PodFacts,
    PodSample,
    Signal,
    Snapshot,
    State,
    Step,
    TierKey,
    TierObject,
    TierOutcome,
    TierPlan,
    TierSignals,
    TierState,
    TierView,
    Workload,
)

NOW = 1_800_000_000.0
KEY = TierKey("team-a", "chat")
SERVED: dict[str, Any] = {"model": {"name": "chat", "uri": "hf://Qwen/Qwen3-8B"}}
EXTERNAL: dict[str, Any] = {
    "external": {
        "baseURL": "https://api.example.com/v1",
        "model": "big-1",
        "apiKeySecretRef": {"name": "provider"},
        "prices": {"input": "2", "output": "10"},
    }
}


def spec(**changes: Any) -> ModelTierSpec:
    """A spec that is served here, with `changes` at its top level."""
    return ModelTierSpec.model_validate({**SERVED, **changes})


def value(number: float, at: float = NOW - 3) -> Signal:
    """A measured value."""
    return Signal(State.VALUE, number, at)


def pod(name: str = "chat-0", **changes: Any) -> PodFacts:
    """A pod that serves."""
    plain = PodFacts(
        name=name,
        uid=f"uid-{name}",
        phase="Running",
        ready=True,
        terminating=False,
        scheduled=True,
        node="gpu-0",
        created_at=NOW - 1000,
        scheduled_at=NOW - 1000,
        ready_at=NOW - 900,
    )
    return replace(plain, **changes)


def waiting(name: str = "chat-1", reason: str = "", message: str = "", **changes: Any) -> PodFacts:
    """A pod that was scheduled a minute ago and does not answer yet."""
    plain: dict[str, Any] = {
        "phase": "Pending",
        "ready": False,
        "created_at": NOW - 60,
        "scheduled_at": NOW - 60,
        "ready_at": None,
        "waiting_reason": reason,
        "waiting_message": message,
    }
    return pod(name, **(plain | changes))


def sample(name: str = "chat-0", **changes: Any) -> PodSample:
    """A replica's metrics, complete."""
    plain = PodSample(name, running=value(3), waiting=value(0), kv_usage=value(0.4), kv_capacity_tokens=value(100_000))
    return replace(plain, **changes)


def deployment(replicas: int = 1, **changes: Any) -> DeploymentFacts:
    """The predictor's Deployment, all replicas made and up to date."""
    plain = DeploymentFacts(
        name="chat-predictor",
        uid="uid-d",
        resource_version="5",
        generation=1,
        observed_generation=1,
        spec_replicas=replicas,
        replicas=replicas,
        ready_replicas=replicas,
        updated_replicas=replicas,
    )
    return replace(plain, **changes)


def service(**changes: Any) -> InferenceServiceFacts:
    """The InferenceService, ours."""
    return replace(InferenceServiceFacts("chat", "uid-i", "4", {}, owned=True), **changes)


def workload(pods: Sequence[PodFacts] = (pod(),), **changes: Any) -> Workload:
    """What runs: by default everything for these pods, the ready ones behind the Service."""
    plain = Workload(
        "chat",
        inference_service=service(),
        deployment=deployment(len(pods)),
        pods=tuple(pods),
        ready_endpoints=frozenset(each.name for each in pods if each.ready and not each.terminating),
    )
    return replace(plain, **changes)


def decision(current: int = 1, target: int = 1, **changes: Any) -> Decision:
    """A decision with two steps and two signals."""
    plain = Decision(
        current=current,
        target=target,
        reason="Load",
        message="3 requests fill 0.5 replicas",
        steps=(Step("load", target, "Load", "3 requests fill 0.5 replicas"), Step("bounds", target)),
        signals=(NamedSignal("running", value(3)), NamedSignal("waiting", value(0))),
    )
    return replace(plain, **changes)


class Given(TypedDict, total=False):
    """What a test says of a tier; what it leaves out is as of a tier in good health."""

    pods: Sequence[PodFacts]
    work: Workload
    signals: TierSignals
    decided: Decision
    invalid: tuple[str, str]
    status: ModelTierStatus
    outcome: TierOutcome
    metrics: MetricsHealth
    kserve_present: bool
    at: float
    generation: int
    deleting: bool


def case(the_spec: ModelTierSpec | None = None, **given: Unpack[Given]) -> ReportContext:
    """A tier in good health, but for what is given."""
    the_spec = spec() if the_spec is None else the_spec
    external = the_spec.external is not None
    at = given.get("at", NOW)
    work = given.get("work", workload(given.get("pods", (pod(),))))
    measured = [] if external else sorted(work.ready_endpoints)
    health = TierSignals(pods=tuple(sample(name) for name in measured), targets_up=len(measured))
    decided = given.get("decided")
    if decided is None and "invalid" not in given and not external:
        decided = decision(len(work.pods), len(work.pods))
    tier = TierObject(
        key=KEY,
        uid="uid-t",
        generation=given.get("generation", 1),
        resource_version="9",
        spec=the_spec,
        status=given.get("status", ModelTierStatus()),
        deleting=given.get("deleting", False),
    )
    return ReportContext(
        view=TierView(tier, (Workload("chat") if external else work,), given.get("signals", health)),
        plan=TierPlan(KEY, decided, TierState(), serve=not external, invalid=given.get("invalid")),
        outcome=given.get("outcome", TierOutcome(KEY)),
        metrics=given.get("metrics", MetricsHealth(ok=True, at=at)),
        kserve_present=given.get("kserve_present", True),
        at=at,
    )


def told(the_case: ReportContext) -> TierReport:
    """The report on one case."""
    snapshot = Snapshot(the_case.at, (the_case.view,), the_case.metrics, the_case.kserve_present)
    return report_tier(snapshot, the_case.view, the_case.plan, the_case.outcome, the_case.at, ScalingMemory())


def told_all(*cases: ReportContext) -> Report:
    """The report on several cases."""
    return Report(tuple(map(told, cases)))


def after(the_case: ReportContext, status: ModelTierStatus, at: float, **changes: Any) -> ReportContext:
    """The same tier later, with `status` written."""
    tier = replace(the_case.view.tier, status=status)
    return replace(the_case, view=replace(the_case.view, tier=tier), at=at, outcome=TierOutcome(KEY), **changes)


def by_type(verdicts: Sequence[ConditionUpdate]) -> Mapping[str, ConditionUpdate]:
    """Verdicts by their type."""
    return {verdict.type: verdict for verdict in verdicts}
