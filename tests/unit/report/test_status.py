"""The status of a tier: identity, replicas, figures, the decision and its history."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.workloads import outcome_of
from tests.unit.report.cases import (
    EXTERNAL,
    KEY,
    NOW,
    after,
    case,
    decision,
    deployment,
    pod,
    sample,
    service,
    spec,
    told,
    value,
    waiting,
    workload,
)
from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import ModelTierStatus, ScalingMemory
from tierwise.report.pool_placing import placed
from tierwise.report.report_context import ReportContext
from tierwise.report.status import build, figure
from tierwise.times import rfc3339
from tierwise.types import MISSING, NamedSignal, Signal, State, Step, TierSignals, Workload


def status(the_case: ReportContext, memory: ScalingMemory | None = None) -> ModelTierStatus:
    built = build(the_case, memory or ScalingMemory())
    # the CRD's bounds hold, and nothing is lost on the wire
    assert ModelTierStatus.model_validate(built.model_dump(mode="json", by_alias=True, exclude_none=True)) == built
    return built


def test_identity_of_a_served_tier() -> None:
    found = status(case(spec(quantization={"method": "fp8_per_block", "kvCacheDtype": "fp8"}), generation=7))
    assert found.observed_generation == 7
    assert {condition.observed_generation for condition in found.conditions} == {7}
    assert (found.model, found.engine, found.quantization) == ("chat", "vllm 0.33.0", "fp8_per_block, KV fp8")
    assert found.url == "http://chat-predictor.team-a.svc/v1"
    assert found.selector == "app.kubernetes.io/managed-by=tierwise,tierwise.io/tier=chat"
    assert [child.name for child in found.inference_services] == ["chat"]
    assert status(case()).quantization == "none"


def test_a_headless_service_is_reached_on_the_port_of_the_engine() -> None:
    plain = case()
    headless = case(work=replace(plain.workloads[0], headless=True))
    assert status(headless).url == "http://chat-predictor.team-a.svc:8000/v1"
    empty = case(work=workload([], headless=True))
    assert status(empty).url == "http://chat-predictor.team-a.svc:8000/v1", "also while no replica runs"


def test_identity_of_an_external_tier() -> None:
    found = status(case(ModelTierSpec.model_validate(EXTERNAL)))
    assert (found.model, found.engine, found.url) == ("big-1", "external API", "https://api.example.com/v1")
    assert (found.ready, found.selector, found.inference_services) == ("", "", [])
    assert (found.cost_per_hour, found.cost_per_million_tokens) == ("", "2.00 in, 10.00 out")
    assert (found.waiting, found.kv_cache_percent) == (None, None)


def test_the_childs_name_is_recorded_when_it_exists_and_never_changes() -> None:
    not_yet = case(work=Workload("chat"))
    assert status(not_yet).inference_services == []
    just_made = replace(not_yet, outcome=outcome_of(KEY, applied=True, event=reasons.CREATED))
    assert [child.name for child in status(just_made).inference_services] == ["chat"]
    strangers = case(work=workload(inference_service=service(owned=False)))
    assert status(strangers).inference_services == []
    recorded = ModelTierStatus.model_validate({"inferenceServices": [{"name": "chat-old"}]})
    found = status(case(work=Workload("chat-old"), status=recorded))
    assert [child.name for child in found.inference_services] == ["chat-old"]
    assert found.url == "http://chat-old-predictor.team-a.svc/v1"


def test_replicas() -> None:
    found = status(case(pods=[pod("a"), waiting("b")], decided=decision(2, 3)))
    assert (found.replicas, found.ready_replicas, found.desired_replicas, found.ready) == (2, 1, 3, "1/3")
    bare = status(case(work=Workload("chat"), decided=decision(0, 1)))
    assert (bare.replicas, bare.ready) == (0, "0/1")


def test_a_spec_that_is_not_accepted_leaves_what_was_decided() -> None:
    good = status(case(spec(price={"gpuHour": "2"}), pods=[pod("a"), pod("b")], decided=decision(2, 2)))
    bad = after(case(pods=[pod("a"), pod("b")], invalid=(reasons.INVALID_SPEC, "no")), good, NOW + 60)
    unread = replace(bad, view=replace(bad.view, tier=replace(bad.view.tier, spec=None)))
    found = status(unread)
    assert (found.ready, found.state, found.reason) == ("2/2", "Rejected", "InvalidSpec")
    assert found.scaling.steps == good.scaling.steps
    assert (found.model, found.url, found.selector) == (good.model, good.url, good.selector)
    assert found.cost_per_hour == ""


def figures(signals: TierSignals, **changes: Any) -> ModelTierStatus:
    pods = [pod("a"), pod("b")]
    return status(case(spec(**changes), pods=pods, signals=signals))


def test_figures_are_rounded_and_summed_over_ready_replicas() -> None:
    found = figures(
        TierSignals(
            pods=(
                sample("a", waiting=value(2), kv_usage=value(0.5)),
                sample("b", waiting=value(3), kv_usage=value(0.614)),
                sample("gone", waiting=value(100), kv_usage=value(1)),
            ),
            tokens_per_second=value(1000),
            prefix_hit_ratio=value(0.555),
            accepted_ratio=value(0.7049),
        ),
        price={"gpuHour": "3.60"},
    )
    assert (found.waiting, found.kv_cache_percent) == (5, 56)
    assert (found.prefix_hit_percent, found.accepted_percent) == (56, 70)
    assert (found.cost_per_hour, found.cost_per_million_tokens) == ("7.20", "2.00")


@pytest.mark.parametrize("absurd", [1e12, 1e40, 1.7e308])
def test_absurd_measurements_fit_their_fields(absurd: float) -> None:
    """One replica that measures nonsense must not end the cycle of all tiers."""
    pods = (sample("a", waiting=value(absurd), kv_usage=value(absurd)), sample("b", waiting=value(absurd)))
    signals = TierSignals(pods=pods, tokens_per_second=value(absurd), prefix_hit_ratio=value(absurd))
    found = figures(signals, price={"gpuHour": "999999999.999999999"})
    assert (found.waiting, found.kv_cache_percent, found.prefix_hit_percent) == (1_000_000_000, 100, 100)
    assert len(figure(absurd)) <= 8


def test_what_is_not_known_is_not_shown() -> None:
    stale = Signal(State.STALE, 9, NOW - 60)
    found = figures(TierSignals(pods=(sample("a", waiting=stale, kv_usage=MISSING),), prefix_hit_ratio=stale))
    assert (found.waiting, found.kv_cache_percent) == (None, None)
    assert (found.prefix_hit_percent, found.accepted_percent) == (None, None)
    assert (found.cost_per_hour, found.cost_per_million_tokens) == ("", "")


@given(st.floats(0, 10))
def test_percentages_stay_in_their_bounds(ratio: float) -> None:
    found = figures(TierSignals(pods=(sample("a", kv_usage=value(ratio)),), prefix_hit_ratio=value(ratio)))
    assert found.kv_cache_percent == min(100, round(ratio * 100)) == found.prefix_hit_percent


def test_a_service_level_is_shown_as_the_share_that_met_it_rounded_down() -> None:
    said = TierSignals(
        begun_lately=value(1000), late_first_tokens=value(4), spoken_lately=value(10), late_answers=value(10)
    )
    found = figures(said)
    assert (found.ttft_met_percent, found.inter_token_met_percent) == (99, 0)
    for unknown in (TierSignals(), TierSignals(begun_lately=value(0), late_first_tokens=value(0))):
        assert figures(unknown).ttft_met_percent is None


def test_the_decision_is_shown_in_full_and_in_bounds() -> None:
    long = decision(
        limited_by=reasons.HEADROOM,
        steps=tuple(Step(f"step {number} " + "x" * 40, number, "Load", "m" * 500) for number in range(20)),
        signals=tuple(NamedSignal(f"s{number}" + "y" * 80, value(number)) for number in range(20)),
    )
    found = status(case(decided=long), ScalingMemory(recommended=3))
    assert (len(found.scaling.steps), len(found.scaling.signals)) == (16, 16)
    assert len(found.scaling.steps[0].message) == 256
    assert found.limited_by == reasons.HEADROOM
    assert found.scaling.memory.recommended == 3


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (0.123456, "0.123"),
        (3, "3"),
        (42.25, "42.2"),
        (99.96, "100"),
        (123456.7, "123457"),
        (1e9, "1000000000"),
    ],
)
def test_figures_of_signals(number: float, text: str) -> None:
    assert figure(number) == text


@given(st.floats(0, 1e30))
def test_every_figure_fits(number: float) -> None:
    assert len(figure(number)) <= 32


def test_a_signal_keeps_its_time_while_its_value_stays() -> None:
    def at(moment: float, signal: Signal, old: ModelTierStatus) -> ModelTierStatus:
        decided = decision(signals=(NamedSignal("waiting", signal),))
        return status(case(decided=decided, status=old, at=moment))

    first = at(NOW, value(4.0001, NOW - 2), ModelTierStatus())
    assert first.scaling.signals[0].time == rfc3339(NOW - 2)
    same = at(NOW + 10, value(4.0002, NOW + 8), first)
    assert same.scaling.signals == first.scaling.signals
    changed = at(NOW + 20, value(5, NOW + 18), same)
    assert (changed.scaling.signals[0].value, changed.scaling.signals[0].time) == ("5", rfc3339(NOW + 18))
    gone = at(NOW + 30, Signal(State.STALE, 5, NOW + 18), changed)
    assert (gone.scaling.signals[0].state, gone.scaling.signals[0].value) == ("Stale", "")
    never = at(NOW + 40, MISSING, gone)
    assert (never.scaling.signals[0].state, never.scaling.signals[0].time) == ("Missing", "")


def test_a_change_of_replicas_is_remembered_when_it_was_written() -> None:
    wished = case(decided=decision(1, 3, message="why"))
    assert status(wished).scaling.decisions == []
    done = replace(wished, outcome=outcome_of(KEY, scaled=(1, 3)))
    (made,) = status(done).scaling.decisions
    assert made.model_dump(by_alias=True) == {
        "time": rfc3339(NOW),
        "from": 1,
        "to": 3,
        "reason": "Load",
        "message": "why",
    }
    unchanged = replace(wished, outcome=outcome_of(KEY, scaled=(1, 1)))
    assert status(unchanged).scaling.decisions == []


def test_the_last_five_changes_newest_first() -> None:
    now = ModelTierStatus()
    for number in range(1, 8):
        step = case(
            work=workload(deployment=deployment(number)),
            decided=decision(number, number + 1),
            outcome=outcome_of(KEY, scaled=(number, number + 1)),
            status=now,
        )
        now = status(step)
    assert [made.to_replicas for made in now.scaling.decisions] == [8, 7, 6, 5, 4]


def test_a_report_covers_every_tier_that_was_planned() -> None:
    found = told(case())
    assert (found.key, found.uid, found.status.state) == (KEY, "uid-t", "Ready")


def test_where_a_tier_runs_fits_its_field_however_many_pools_it_is_leaving() -> None:
    names = [f"pool-{number:035d}" for number in range(16)]
    many = tuple(workload(name=f"chat-{name}", pool=name, retired=number > 7) for number, name in enumerate(names))
    seen = case()
    said = placed(replace(seen, view=replace(seen.view, workloads=many)))
    assert said.startswith(f"{names[0]} ")
    assert len(said) == 512
