"""Checks that advice is reported once, with what to do about it, in the status, an Event, a metric and `explain`."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

from prometheus_client import CollectorRegistry
from rich.console import Console

from tests.unit.report.cases import KEY, NOW, after, case, told, told_all
from tierwise import reasons
from tierwise.api.modeltier_status import AdviceStatus, ModelTierStatus, SpeculationStatus
from tierwise.report.explain import as_text, explain
from tierwise.report.metrics import OperatorMetrics
from tierwise.report.report_context import ReportContext
from tierwise.report.throttle import should_write
from tierwise.types import Advice, Outcome, Plan, Snapshot

UNUSED = Advice(reasons.PREFIX_CACHE_UNUSED, "No prompt token is found in the prefix cache")


def advised(*advice: Advice) -> ReportContext:
    plain = case()
    return replace(plain, plan=replace(plain.plan, advice=advice))


def test_it_stands_in_the_status_with_what_to_do_about_it() -> None:
    status = told(advised(UNUSED)).status
    assert status.advice == [
        AdviceStatus(
            reason="PrefixCacheUnused",
            message="No prompt token is found in the prefix cache. "
            "Put the shared part of prompts at their beginning, or set caching.prefix: Disabled.",
        )
    ]
    assert told(case()).status.advice == []


def test_it_is_told_by_one_event_when_it_appears() -> None:
    first = told(advised(UNUSED))
    (event,) = [each for each in first.events if each.reason == reasons.PREFIX_CACHE_UNUSED]
    assert not event.warning
    again = told(after(advised(UNUSED), first.status, NOW + 10))
    assert [each for each in again.events if each.reason == reasons.PREFIX_CACHE_UNUSED] == []


def test_it_is_written_at_once_and_the_state_of_speculation_with_the_load() -> None:
    old = ModelTierStatus()
    assert should_write(old, old.model_copy(update={"advice": [AdviceStatus(reason="NoEffect")]}), 0.0)
    drafting = old.model_copy(update={"speculation": SpeculationStatus(state="Drafting", drafted_per_second=7)})
    assert not should_write(old, drafting, 0.0)
    assert should_write(old, drafting, 15.0)


def test_a_metric_has_one_series_for_each_reason_and_loses_it() -> None:
    registry = CollectorRegistry()
    metrics = OperatorMetrics(registry, lambda: 0.0)

    def show(found: ReportContext) -> float | None:
        snapshot = Snapshot(NOW, (found.view,), found.metrics)
        plan, outcome = Plan((found.plan,)), Outcome((found.outcome,))
        metrics.update(snapshot, plan, outcome, told_all(found))
        labels = {"tier_namespace": KEY.namespace, "tier": KEY.name, "reason": UNUSED.reason}
        return registry.get_sample_value("tierwise_tier_advice", labels)

    assert [show(advised(UNUSED)), show(case())] == [1.0, None]


def test_explain_shows_advice_and_speculation() -> None:
    found = advised(UNUSED)
    status = told(found).status.model_copy(
        update={"speculation": SpeculationStatus(state="Paused", drafted_per_second=0)}
    )
    said = explain(replace(found.view.tier, status=status), NOW)
    assert said["speculation"] == {"state": "Paused", "draftedPerSecond": 0}
    assert [each["reason"] for each in said["advice"]] == ["PrefixCacheUnused"]
    out = StringIO()
    Console(file=out, width=200, no_color=True).print(as_text(said))
    text = out.getvalue()
    assert "Speculation: Paused" in text
    assert "What does not pay" in text
    assert "No prompt token is found" in text
