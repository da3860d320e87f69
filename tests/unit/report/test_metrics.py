"""The operator's own metrics: named as Prometheus wants, bounded, and gone with their tier."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.builders.workloads import outcome_of
from tests.unit.report.cases import (
    EXTERNAL,
    KEY,
    NOW,
    case,
    decision,
    pod,
    spec,
    told_all,
)
from tierwise.api.modeltier import ModelTierSpec
from tierwise.report.metrics import OperatorMetrics
from tierwise.report.report_context import ReportContext
from tierwise.types import (
    ActionError,
    Advice,
    Outcome,
    Plan,
    SampleTimes,
    Snapshot,
    TierKey,
)

LABELS = {"tier_namespace": "team-a", "tier": "chat"}


class Watch:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry, watch: Watch) -> OperatorMetrics:
    return OperatorMetrics(registry, watch)


def show(metrics: OperatorMetrics, *cases: ReportContext) -> None:
    """One round over these cases."""
    snapshot = Snapshot(NOW, tuple(each.view for each in cases), cases[0].metrics if cases else case().metrics)
    plan, outcome = Plan(tuple(each.plan for each in cases)), Outcome(tuple(each.outcome for each in cases))
    metrics.update(snapshot, plan, outcome, told_all(*cases))


def renamed(the_case: ReportContext, name: str) -> ReportContext:
    key = TierKey("team-a", name)
    view = replace(the_case.view, tier=replace(the_case.view.tier, key=key))
    return replace(
        the_case, view=view, plan=replace(the_case.plan, key=key), outcome=replace(the_case.outcome, key=key)
    )


def measured(the_case: ReportContext, oldest: float) -> ReportContext:
    return replace(the_case, view=replace(the_case.view, sampled=SampleTimes(oldest, NOW)))


def test_replicas_cost_and_conditions_of_a_tier(registry: CollectorRegistry, metrics: OperatorMetrics) -> None:
    two = case(spec(price={"gpuHour": "2.5"}), pods=[pod("a"), pod("b")], decided=decision(2, 3))
    show(metrics, measured(two, NOW - 3))
    get = registry.get_sample_value
    assert get("tierwise_tier_desired_replicas", LABELS) == 3
    assert get("tierwise_tier_ready_replicas", LABELS) == 2
    assert get("tierwise_tier_cost_usd_per_hour", LABELS) == 5.0
    assert get("tierwise_signal_age_seconds", LABELS) == 3.0
    assert get("tierwise_decisions_total", LABELS | {"reason": "Load"}) == 1
    for status, expected in (("true", 1), ("false", 0), ("unknown", 0)):
        labels = LABELS | {"type": "Ready", "status": status}
        assert get("tierwise_tier_condition", labels) == expected


def test_writes_and_errors_are_counted(registry: CollectorRegistry, metrics: OperatorMetrics) -> None:
    up = case(decided=decision(1, 3), outcome=outcome_of(KEY, scaled=(1, 3)))
    down = case(decided=decision(3, 1), outcome=outcome_of(KEY, scaled=(3, 1)))
    refused = case(outcome=outcome_of(KEY, error=ActionError("Conflict", "no", True)))
    for each in (up, down, up, refused):
        show(metrics, each)
    get = registry.get_sample_value
    assert get("tierwise_scalings_total", LABELS | {"direction": "up"}) == 2
    assert get("tierwise_scalings_total", LABELS | {"direction": "down"}) == 1
    assert get("tierwise_apply_errors_total", {"reason": "Conflict"}) == 1
    assert get("tierwise_decisions_total", LABELS | {"reason": "Load"}) == 4


def test_an_external_tier_has_no_cost_per_hour_and_no_decision(
    registry: CollectorRegistry, metrics: OperatorMetrics
) -> None:
    show(metrics, case(ModelTierSpec.model_validate(EXTERNAL)))
    text = generate_latest(registry).decode()
    assert "tierwise_tier_cost_usd_per_hour{" not in text
    assert "tierwise_decisions_total{" not in text
    assert 'tierwise_tier_condition{status="true",tier="chat",tier_namespace="team-a",type="Ready"} 1.0' in text


def test_what_is_no_longer_known_is_no_longer_shown(registry: CollectorRegistry, metrics: OperatorMetrics) -> None:
    show(metrics, measured(case(spec(price={"gpuHour": "1"})), NOW - 3))
    show(metrics, case())
    assert registry.get_sample_value("tierwise_tier_cost_usd_per_hour", LABELS) is None
    assert registry.get_sample_value("tierwise_signal_age_seconds", LABELS) is None


def test_a_measurement_from_the_future_is_of_now(registry: CollectorRegistry, metrics: OperatorMetrics) -> None:
    show(metrics, measured(case(), NOW + 5))
    assert registry.get_sample_value("tierwise_signal_age_seconds", LABELS) == 0


def test_advice_that_is_taken_back_is_no_longer_shown(registry: CollectorRegistry, metrics: OperatorMetrics) -> None:
    """And that of another tier stays."""
    given = ("NoEffect", "PrefixCacheUnused")
    advice = tuple(Advice(reason, "said") for reason in given)
    advised = replace(case(), plan=replace(case().plan, advice=advice))
    other = renamed(advised, "chat-2")
    show(metrics, advised, other)
    show(metrics, replace(case(), plan=replace(case().plan, advice=advice[:1])), other)
    shown = [registry.get_sample_value("tierwise_tier_advice", LABELS | {"reason": reason}) for reason in given]
    assert shown == [1, None]
    for reason in given:
        assert registry.get_sample_value("tierwise_tier_advice", LABELS | {"tier": "chat-2", "reason": reason}) == 1


def test_a_deleted_tier_takes_all_its_series_along(registry: CollectorRegistry, metrics: OperatorMetrics) -> None:
    scaled = case(spec(price={"gpuHour": "1"}), decided=decision(1, 2), outcome=outcome_of(KEY, scaled=(1, 2)))
    show(metrics, scaled, renamed(scaled, "chat-2"))
    show(metrics, renamed(scaled, "chat-2"))
    text = generate_latest(registry).decode()
    assert 'tier="chat"' not in text
    assert text.count('tier="chat-2"') > 20
    show(metrics)
    assert "team-a" not in generate_latest(registry).decode()


def test_age_of_the_loop(registry: CollectorRegistry, metrics: OperatorMetrics, watch: Watch) -> None:
    watch.at = 107.0
    assert registry.get_sample_value("tierwise_cycle_age_seconds") == 7.0
    metrics.cycle_ended(0.02)
    watch.at = 110.0
    assert metrics.cycle_age() == registry.get_sample_value("tierwise_cycle_age_seconds") == 3.0
    assert registry.get_sample_value("tierwise_cycle_duration_seconds_count") == 1
    assert registry.get_sample_value("tierwise_cycle_duration_seconds_bucket", {"le": "0.025"}) == 1
    assert registry.get_sample_value("tierwise_cycle_duration_seconds_bucket", {"le": "0.01"}) == 0


def test_names_follow_the_conventions(registry: CollectorRegistry, metrics: OperatorMetrics) -> None:
    show(metrics, case())
    metrics.cycle_ended(0.1)
    for family in registry.collect():
        assert re.fullmatch(r"tierwise_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        for each in family.samples:
            assert "namespace" not in each.labels
            assert set(each.labels) <= {"tier_namespace", "tier", "reason", "type", "status", "direction", "le"}
