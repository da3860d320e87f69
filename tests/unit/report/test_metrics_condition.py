"""MetricsAvailable: which replicas are measured, and what is missing where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.report.cases import EXTERNAL, NOW, case, pod, sample, spec, value
from tierwise import reasons
from tierwise.api.conditions import Condition
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.report.conditions import Truth
from tierwise.report.metrics_condition import metrics_available
from tierwise.report.report_context import ReportContext
from tierwise.types import MISSING, MetricsHealth, PodSample, Signal, State, TierSignals

STALE, INVALID = Signal(State.STALE, 1, NOW - 60), Signal(State.INVALID, at=NOW)
PODS = (pod("a"), pod("b"))
TARGETS = spec(
    scaling={"minReplicas": 1, "maxReplicas": 3, "targets": {"ttft": {"percentile": 99, "milliseconds": 1000}}}
)


def measured(*samples: PodSample, up: int = 2, down: int = 0) -> ReportContext:
    """Two replicas, ready for long, with these samples."""
    return case(pods=PODS, signals=TierSignals(pods=samples, targets_up=up, targets_down=down))


CASES: dict[str, tuple[ReportContext, Truth, str, str]] = {
    "all": (measured(sample("a"), sample("b")), "True", reasons.METRICS_OK, ""),
    "none ready": (case(pods=[]), "Unknown", reasons.METRICS_NOT_NEEDED, ""),
    "an external API": (case(ModelTierSpec.model_validate(EXTERNAL)), "True", reasons.EXTERNAL, ""),
    "a spec that is not accepted": (
        case(invalid=(reasons.INVALID_SPEC, "no")),
        "Unknown",
        reasons.NOT_ACCEPTED,
        "",
    ),
    "wrong address": (
        case(metrics=MetricsHealth(ok=False, problem="cannot connect to prometheus:9090")),
        "False",
        reasons.PROMETHEUS_ERROR,
        "prometheus:9090. Check the chart value prometheus.url",
    ),
    "Prometheus is away and nothing is ready": (
        case(pods=[], metrics=MetricsHealth(ok=False, problem="timeout")),
        "False",
        reasons.PROMETHEUS_ERROR,
        "timeout",
    ),
    "not asked yet": (case(metrics=MetricsHealth(ok=False)), "Unknown", reasons.METRICS_PENDING, ""),
    "no target": (
        measured(up=0),
        "False",
        reasons.METRICS_MISSING,
        "label tierwise_io_tier='chat' in this namespace. Check that Prometheus selects the PodMonitor (chart value",
    ),
    "targets that do not answer": (measured(up=0, down=2), "False", reasons.METRICS_MISSING, "cannot scrape"),
    "targets without our series": (measured(), "False", reasons.METRICS_MISSING, "are scraped, but their series"),
    "an engine that tells half": (
        measured(sample("a", kv_usage=MISSING), sample("b", kv_usage=MISSING)),
        "False",
        reasons.METRICS_MISSING,
        "are scraped, but",
    ),
    "all stale": (
        measured(sample("a", running=STALE), sample("b", waiting=STALE)),
        "False",
        reasons.METRICS_STALE,
        "the last metrics of a, b are too old",
    ),
    "one stale": (
        measured(sample("a"), sample("b", waiting=STALE)),
        "False",
        reasons.METRICS_PARTIAL,
        "no fresh metrics from b",
    ),
    "one missing": (measured(sample("b")), "False", reasons.METRICS_PARTIAL, "no fresh metrics from a"),
    "a service level that nobody measures": (
        case(TARGETS, metrics=MetricsHealth(ok=True, latency_problem="query timed out")),
        "False",
        reasons.LATENCY_UNKNOWN,
        "query timed out",
    ),
    "no service level to be measured": (
        case(metrics=MetricsHealth(ok=True, latency_problem="query timed out")),
        "True",
        reasons.METRICS_OK,
        "",
    ),
    "not a number": (
        measured(sample("a", kv_usage=INVALID), sample("b", running=STALE)),
        "False",
        reasons.METRICS_INVALID,
        "values from a.",
    ),
}


@pytest.mark.parametrize(("given", "status", "reason", "words"), CASES.values(), ids=CASES)
def test_metrics_available(given: ReportContext, status: Truth, reason: str, words: str) -> None:
    found = metrics_available(given)
    assert (found.status, found.reason) == (status, reason)
    assert words in found.message


@pytest.mark.parametrize(("interval", "grace"), [(10.0, 45.0), (60.0, 195.0)])
def test_a_new_replica_is_no_fault_for_three_scrapes_and_the_discovery(interval: float, grace: float) -> None:
    def at(ready_at: float | None) -> str:
        pods, signals = (pod("a"), pod("b", ready_at=ready_at)), TierSignals(pods=(sample("a"),), targets_up=1)
        health = MetricsHealth(ok=True, at=NOW, interval_seconds=interval)
        return metrics_available(case(pods=pods, signals=signals, metrics=health)).reason

    assert at(NOW - grace + 1) == reasons.METRICS_PENDING
    assert at(NOW - grace) == reasons.METRICS_PARTIAL
    assert at(None) == reasons.METRICS_PARTIAL


def test_an_endpoint_whose_pod_is_not_known_yet_counts_as_unmeasured() -> None:
    known = case(pods=PODS)
    ready = replace(known.workloads[0], ready_endpoints=frozenset({"a", "b", "new"}))
    found = metrics_available(replace(known, view=replace(known.view, workloads=(ready,))))
    assert (found.reason, "from new" in found.message) == (reasons.METRICS_PARTIAL, True)


def test_many_unmeasured_replicas_are_counted_not_listed() -> None:
    pods = [pod(f"chat-{number}") for number in range(6)]
    found = metrics_available(case(pods=pods, signals=TierSignals(pods=(sample("chat-0"),), targets_up=6)))
    assert "from chat-1, chat-2, chat-3 and 2 more." in found.message


def test_right_after_a_start_what_was_said_before_stands() -> None:
    before = Condition(
        type=reasons.METRICS_AVAILABLE, status="True", reason="MetricsFound", message="m", last_transition_time="t"
    )
    found = metrics_available(
        case(metrics=MetricsHealth(ok=False), status=ModelTierStatus(conditions=[before]), pods=[pod()])
    )
    assert (found.status, found.reason, found.message) == ("True", "MetricsFound", "m")


def test_a_measurement_of_zero_is_a_measurement() -> None:
    zero = sample("a", running=value(0), kv_usage=value(0))
    assert metrics_available(measured(zero, sample("b"))).status == "True"
