"""A status is written when it matters, seldom when it flickers, and never when it says the same."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.workloads import outcome_of
from tests.unit.report.cases import (
    KEY,
    NOW,
    after,
    case,
    decision,
    deployment,
    pod,
    sample,
    spec,
    told,
    value,
    waiting,
    workload,
)
from tierwise import reasons
from tierwise.api.modeltier_status import ModelTierStatus, ScalingMemory
from tierwise.report import should_write
from tierwise.report.report_context import ReportContext
from tierwise.report.throttle import QUIET_SECONDS, important
from tierwise.types import NamedSignal, Signal, State, Step, TierSignals

SERVING = told(case()).status


def changed(**update: Any) -> ModelTierStatus:
    return SERVING.model_copy(update=update)


def turned(kind: str, **update: Any) -> ModelTierStatus:
    return changed(
        conditions=[
            condition.model_copy(update=update) if condition.type == kind else condition
            for condition in SERVING.conditions
        ]
    )


def scaling(**update: Any) -> ModelTierStatus:
    return changed(scaling=SERVING.scaling.model_copy(update=update))


DECIDED = told(case(decided=decision(1, 2), outcome=outcome_of(KEY, scaled=(1, 2)))).status.scaling.decisions

AT_ONCE = {
    "replicas": changed(replicas=9),
    "ready": changed(ready_replicas=9),
    "desired": changed(desired_replicas=9),
    "generation": changed(observed_generation=9),
    "state": changed(state="Failed"),
    "cost": changed(cost_per_hour="9.99"),
    "child": changed(inference_services=[]),
    "condition": turned(reasons.READY, status="False"),
    "reason": turned(reasons.PROVISIONED, reason="ImagePullFailed"),
    "a decision": scaling(decisions=DECIDED),
}
LATER = {
    "waiting": changed(waiting=9),
    "KV": changed(kv_cache_percent=99),
    "prefix": changed(prefix_hit_percent=9),
    "accepted": changed(accepted_percent=9),
    "token": changed(cost_per_million_tokens="9.99"),
    "limit": changed(limited_by="Headroom"),
    "limited": turned(reasons.SCALING_LIMITED, status="True", reason="Headroom", last_transition_time="later"),
    "wording": turned(reasons.PROVISIONED, message="the same in other words"),
    "signals": scaling(signals=[]),
    "steps": scaling(steps=[]),
    "memory": scaling(memory=ScalingMemory(recommended=9)),
}


@pytest.mark.parametrize("new", AT_ONCE.values(), ids=AT_ONCE)
def test_what_people_wait_for_is_written_at_once(new: ModelTierStatus) -> None:
    assert should_write(SERVING, new, 0.0)


@pytest.mark.parametrize("new", LATER.values(), ids=LATER)
def test_what_follows_the_load_waits(new: ModelTierStatus) -> None:
    assert new != SERVING
    assert not should_write(SERVING, new, 0.0)
    assert not should_write(SERVING, new, QUIET_SECONDS - 0.1)
    assert should_write(SERVING, new, QUIET_SECONDS)
    assert should_write(SERVING, new, None)


def test_what_is_the_same_is_never_written() -> None:
    assert not should_write(SERVING, ModelTierStatus.model_validate(SERVING.model_dump()), None)
    assert not should_write(SERVING, SERVING, 1e9)


def test_every_field_is_one_or_the_other() -> None:
    """A field that is added must be thought about: it is important unless it is named volatile."""
    blank, kept = ModelTierStatus(), important(SERVING.model_copy(update={"waiting": 1, "limited_by": "x"}))
    volatile = {name for name in ModelTierStatus.model_fields if getattr(kept, name) == getattr(blank, name)}
    assert volatile >= {"waiting", "kv_cache_percent", "prefix_hit_percent", "accepted_percent", "limited_by"}
    assert not volatile & {"conditions", "state", "replicas", "ready_replicas", "desired_replicas", "url"}


def idle(at: float) -> tuple[TierSignals, tuple[NamedSignal, ...]]:
    """What an idle tier measures: the same figures, scraped again."""
    zero = value(0, at - 3)
    measured = sample("chat-0", running=zero, waiting=zero, kv_usage=zero, kv_capacity_tokens=value(1e5, at - 3))
    never = Signal(State.MISSING)
    signals = TierSignals(
        pods=(measured,), targets_up=1, tokens_per_request=never, tokens_per_second=zero, prefix_hit_ratio=never
    )
    return signals, (NamedSignal("running", zero), NamedSignal("tokensPerRequest", never))


def written(cases: list[ReportContext], ticks: list[float]) -> list[float]:
    """The moments at which a cycle would write the status."""
    status, last, moments = ModelTierStatus(), None, []
    for the_case, at in zip(cases, ticks, strict=True):
        new = told(after(the_case, status, at)).status
        if should_write(status, new, None if last is None else at - last):
            status, last = new, at
            moments.append(at)
    return moments


@settings(max_examples=30)
@given(st.lists(st.floats(0.1, 30), min_size=5, max_size=30))
def test_an_idle_tier_is_written_once(steps: list[float]) -> None:
    cases, ticks, at = [], [], NOW
    for step in steps:
        at += step
        signals, named = idle(at)
        cases.append(case(spec(price={"gpuHour": "1"}), signals=signals, decided=decision(signals=named)))
        ticks.append(at)
    assert written(cases, ticks) == ticks[:1]


@pytest.mark.parametrize(
    "ill",
    [
        waiting(reason="ErrImagePull", message="not found"),
        waiting(last_exit_code=1, last_exit_message="boom", restarts=3),
        waiting(scheduled=False, unschedulable_message="2 Insufficient nvidia.com/gpu"),
    ],
    ids=lambda each: each.waiting_reason or each.unschedulable_message or "crash",
)
def test_an_ill_tier_is_written_once_as_well(ill: Any) -> None:
    ticks = [NOW + 10 * number for number in range(30)]
    cases = [
        case(pods=[pod(), replace(ill, restarts=number // 5)], decided=decision(2, 2)) for number in range(len(ticks))
    ]
    assert written(cases, ticks) == ticks[:1]


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.floats(0, 1), st.sampled_from(["", reasons.HEADROOM, reasons.MAX_REPLICAS])),
        min_size=10,
        max_size=40,
    ),
    st.floats(0.5, 10),
)
def test_under_load_a_settled_tier_is_written_at_most_every_15_seconds(
    load: list[tuple[int, float, str]], tick: float
) -> None:
    cases, ticks = [], [NOW + tick * number for number in range(len(load))]
    for (queue, usage, limit), at in zip(load, ticks, strict=True):
        measured = sample("chat-0", waiting=value(queue, at - 1), kv_usage=value(usage, at - 1))
        signals = TierSignals(pods=(measured,), targets_up=1, tokens_per_second=value(1 + queue, at - 1))
        decided = decision(
            limited_by=limit,
            message=f"{queue} requests",
            steps=(Step("load", 1, limit, f"{queue} requests"),),
            signals=(NamedSignal("waiting", value(queue, at - 1)),),
        )
        cases.append(case(spec(price={"gpuHour": "1"}), signals=signals, decided=decided))
    moments = written(cases, ticks)
    assert all(later - earlier >= QUIET_SECONDS for earlier, later in pairwise(moments))


def test_a_change_of_replicas_is_written_in_the_same_cycle() -> None:
    ticks = [NOW, NOW + 1, NOW + 2]
    cases = [
        case(),
        case(decided=decision(1, 2)),
        case(work=workload([pod(), waiting()], deployment=deployment(2)), decided=decision(2, 2)),
    ]
    assert written(cases, ticks) == ticks
