"""Checks that every step of a decision does what it says, and says what it does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders.workloads import scale_to
from tests.unit.decide.make import (
    NOW,
    SETTLED,
    Loop,
    decision,
    plan,
    pod,
    sample,
    spec,
    spread,
    value,
    view,
    without,
)
from tierwise import reasons
from tierwise.types import MISSING, Decision, MetricsHealth, Peak, PodSample, Signal, State, TierState

STEPS = ("load", "tolerance", "bounds", "metrics", "window", "headroom", "pin", "mode")


def reason_of(found: Decision, step: str) -> str:
    return next(each.reason for each in found.steps if each.name == step)


def test_the_steps_are_always_the_same_and_end_at_the_target() -> None:
    found = decision(view(spec(), spread(50, 1)))
    assert tuple(step.name for step in found.steps) == STEPS
    assert found.steps[-1].replicas == found.target == 3


def test_up_goes_at_once_and_in_one_jump() -> None:
    found = decision(view(spec(), spread(130, 1)))
    assert (found.current, found.target, found.reason, found.limited_by) == (1, 7, reasons.LOAD, "")
    assert found.message == (
        "130 requests and 1600 cached tokens on 1 replica fill 6.50 replicas by requests, 0.16 by KV memory"
    )


def test_replicas_that_are_not_ready_yet_count_as_capacity() -> None:
    """Seven were asked for, one is there: the same load asks for the same seven."""
    found = decision(view(spec(), spread(130, 1), current=7), TierState(recommended=7))
    assert found.target == 7


def test_a_small_overload_changes_nothing() -> None:
    found = decision(view(spec(), spread(5 * 20 * 1.09, 5), current=5), TierState(recommended=5))
    assert (found.target, reason_of(found, "tolerance")) == (5, reasons.TOLERANCE)
    assert decision(view(spec(), spread(5 * 20 * 1.11, 5), current=5), TierState(recommended=5)).target == 6
    exact = decision(view(spec(tolerancePercent=0), spread(101, 5), current=5), TierState(recommended=5))
    assert exact.target == 6


def test_the_first_sample_of_a_replica_is_not_counted_upwards() -> None:
    """Forty requests moved to two new replicas; the old one's sample is from before and still has them."""
    samples = (sample("old", 16, 44), sample("new-1", 16, 4), sample("new-2", 16, 4))
    memory = TierState(recommended=3, measured=(("old", NOW - 60),))
    found = plan(view(spec(), samples, current=3), memory)
    assert found.decision is not None
    assert (found.decision.target, reason_of(found.decision, "tolerance")) == (3, reasons.SETTLING)
    assert decision(view(spec(), samples, current=3), found.state, now=NOW + 1).target == 3, "the same sample again"
    later = tuple(sample(each.pod, each.running.value, each.waiting.value, at=NOW + 10) for each in samples)
    assert decision(view(spec(), later, current=3), found.state, now=NOW + 10).target == 5, "it was true after all"


def test_the_first_sample_of_a_tier_is_counted() -> None:
    for measured in (None, (), (("gone", NOW - 60),), (("pod-000", NOW),)):
        assert decision(view(spec(), spread(50, 1)), TierState(recommended=1, measured=measured)).target == 3


def test_settled_replicas_never_fill_more_than_all_do() -> None:
    """Capacities 1, K and K: the median of all is K, that of the two settled ones is 1."""
    odd = replace(sample("odd", 0, at=NOW), kv_capacity_tokens=value(1.0))
    pods = (sample("a", 0, kv=1.0), odd, sample("new", 0))
    memory = TierState(recommended=1, measured=(("a", NOW - 60), ("odd", NOW - 60)))
    assert decision(view(spec(tolerancePercent=0), pods), memory).target == 2


def test_the_maximum_holds_the_target_down_and_says_so() -> None:
    found = decision(view(spec(maxReplicas=4), spread(130, 1)))
    assert (found.target, found.limited_by, found.reason) == (4, reasons.MAX_REPLICAS, reasons.LOAD)
    assert found.steps[2].message == "7 replicas, of which maxReplicas allows 4"


def test_a_lowered_maximum_holds_at_once_even_without_metrics() -> None:
    for samples, ready in ((spread(150, 8), None), ((), ("a",))):
        found = decision(view(spec(maxReplicas=4), samples, current=8, ready=ready), TierState(recommended=8))
        assert (found.target, found.reason) == (4, reasons.MAX_REPLICAS)


def test_the_minimum_holds_the_target_up_and_says_so() -> None:
    found = decision(view(spec(minReplicas=3), spread(0, 3), current=3), TierState(recommended=1))
    assert (found.target, found.limited_by) == (3, reasons.MIN_REPLICAS)


def test_a_tier_at_its_minimum_of_one_is_not_limited() -> None:
    found = decision(view(spec(), spread(0, 1)))
    assert (found.target, found.limited_by, found.reason) == (1, "", reasons.LOAD)


def test_from_zero_the_minimum_comes_at_once() -> None:
    found = decision(view(spec(minReplicas=2), (), current=0))
    assert (found.target, found.reason) == (2, reasons.MIN_REPLICAS)
    assert decision(view(spec(), (), current=None)).target == 1
    assert decision(view(spec(), spread(50, 1), current=0)).target == 3


BAD = {
    "missing": MISSING,
    "stale": Signal(State.STALE, 0.0, NOW - 60),
    "invalid": Signal(State.INVALID, at=NOW),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("signal", ["running", "waiting", "kv_usage", "kv_capacity_tokens"])
def test_one_bad_signal_of_one_ready_replica_forbids_lowering(signal: str, bad: Signal) -> None:
    samples = without(spread(5, 5), "pod-003", **{signal: bad})
    found = decision(view(spec(), samples, current=5))
    assert (found.target, found.limited_by) == (5, reasons.NO_METRICS)
    assert found.steps[3].message == f"pod-003: {bad.state.value.lower()}"


def test_a_ready_replica_without_a_sample_forbids_lowering() -> None:
    found = decision(view(spec(), spread(5, 2), current=8, ready=tuple(f"pod-{n:03d}" for n in range(8))))
    assert (found.target, found.limited_by) == (8, reasons.NO_METRICS)
    assert found.steps[3].message == "pod-002: missing, pod-003: missing, pod-004: missing and 3 more"


def test_a_starting_replica_without_a_sample_does_not() -> None:
    samples = spread(5, 2)
    seen = view(spec(), samples, current=3, pods=(*(pod(s.pod) for s in samples), pod("starting", ready=False)))
    assert decision(seen).target == 1


def test_no_ready_replica_is_no_sign_of_no_load() -> None:
    found = decision(view(spec(), (), current=5))
    assert (found.target, found.limited_by) == (5, reasons.NO_METRICS)
    assert found.message == "no replica is ready"
    assert found.steps[0].message == "nothing is measured"


def test_a_tier_that_starts_is_not_limited() -> None:
    found = decision(view(spec(), (), current=1))
    assert (found.target, found.limited_by, found.reason) == (1, "", reasons.LOAD)
    assert found.message == "nothing is measured"


def test_a_prometheus_that_does_not_answer_forbids_lowering_not_raising() -> None:
    away = MetricsHealth(ok=False, problem="refused")
    found = decision(view(spec(), spread(5, 5), current=5), metrics=away)
    assert (found.target, found.limited_by, found.message) == (5, reasons.NO_METRICS, "Prometheus has not answered")
    assert decision(view(spec(), spread(200, 5), current=5), metrics=away).target == 10


def test_up_goes_from_what_is_known_and_is_remembered() -> None:
    samples = (*spread(130, 1), PodSample("hung"))
    found = plan(view(spec(), samples, current=2), TierState(recommended=2))
    assert scale_to(found) == 7
    assert found.state.recommended == 7
    lower = plan(view(spec(), (*spread(5, 1), PodSample("hung")), current=7), found.state)
    assert scale_to(lower) is None
    assert lower.state.recommended == 7


def test_down_goes_to_the_highest_of_the_window() -> None:
    loop = Loop(spec(), replicas=6, memory=TierState(recommended=6))
    for number in range(30):
        found = loop.tick(50 if number < 10 else 10)
        assert (found.target, found.limited_by) == (6, reasons.SCALE_DOWN_WINDOW)
    assert found.steps[4].message == "6 replicas were recommended until 2027-01-15T08:00:10Z, 300 s count"
    found = loop.tick(10)
    assert (found.target, found.limited_by) == (3, reasons.SCALE_DOWN_WINDOW), "three were asked for 200 s ago"


def test_down_jumps_over_several_replicas_at_once() -> None:
    loop = Loop(spec(), replicas=10, memory=TierState(recommended=10))
    for _ in range(40):
        loop.tick(0)
    assert sorted(set(loop.history), reverse=True) == [10, 1]


def test_a_window_of_zero_seconds_holds_nothing() -> None:
    assert decision(view(spec(scaleDownWindowSeconds=0), spread(0, 8), current=8), TierState(recommended=8)).target == 1


def test_down_leaves_headroom() -> None:
    found = decision(view(spec(), spread(75, 5), current=5), TierState(recommended=4))
    assert (found.target, found.limited_by) == (5, reasons.HEADROOM)
    assert found.steps[5].message == "with 4 replicas the rest would be above 80% of their share"
    assert decision(view(spec(), spread(64, 5), current=5), TierState(recommended=4)).target == 4


def test_headroom_never_raises() -> None:
    found = decision(view(spec(), spread(59, 3), current=3), TierState(recommended=3))
    assert (found.target, found.limited_by) == (3, "")


def test_a_window_never_raises() -> None:
    memory = TierState(recommended=3, peaks=(Peak(9, NOW - 10),), observed_at=NOW - 10)
    assert decision(view(spec(), spread(59, 3), current=3), memory).target == 3


@pytest.mark.parametrize("replicas", [0, 3, 25])
def test_a_pin_is_exact(replicas: int) -> None:
    found = decision(view(spec(replicas=replicas), spread(130, 5), current=5), TierState(recommended=5))
    assert (found.target, found.reason, found.limited_by) == (replicas, reasons.PINNED, reasons.PINNED)
    assert found.message == f"spec.replicas fixes {replicas} replicas"


def test_what_the_load_asked_for_while_pinned_is_remembered() -> None:
    loop = Loop(spec(replicas=5), replicas=5, memory=TierState(recommended=5))
    for _ in range(40):
        loop.tick(5)
    loop.spec = spec()
    assert loop.tick(5).target == 1


def test_advisory_and_a_foreign_scaler_are_steps() -> None:
    assert reason_of(decision(view(spec(mode="Advisory"), spread(50, 1))), "mode") == reasons.ADVISORY
    foreign = decision(view(spec(), spread(50, 1), foreign_scalers=("HorizontalPodAutoscaler/x",)))
    assert reason_of(foreign, "mode") == reasons.FOREIGN_SCALER
    assert foreign.steps[-1].message == "HorizontalPodAutoscaler/x"
    assert foreign.target == 3


def test_the_signals_are_named() -> None:
    found = decision(view(spec(), (sample("a", 4, 1, kv=0.2), sample("b", 6, 0, kv=0.4)), current=2, tokens=value(500)))
    named = {each.name: each.signal for each in found.signals}
    assert named["running"] == value(10)
    assert named["waiting"] == value(1)
    assert named["kvCacheUsage"].value == pytest.approx(0.3)
    assert named["kvCapacityTokens"] == value(100_000)
    assert named["tokensPerRequest"] == value(500)
    assert named["requestsPerReplica"].value == 16
    assert len(named) <= 16


def test_messages_fit_the_status() -> None:
    many = tuple(f"{'x' * 60}-{n}" for n in range(9))
    found = decision(view(spec(), (), current=9, ready=many), TierState(recommended=9))
    assert all(len(step.message) <= 256 for step in found.steps)


def test_a_gap_in_the_metrics_does_not_let_a_window_pass() -> None:
    loop = Loop(spec(), replicas=5, memory=TierState(recommended=5))
    loop.tick(5)
    loop.now += 600
    for _ in range(27):
        assert loop.tick(5).target == 5
    assert loop.tick(5).target == 1


def test_a_wall_clock_that_is_set_changes_no_target() -> None:
    for jump in (86_400.0, -86_400.0):
        loop = Loop(spec(), replicas=5, memory=TierState(recommended=5))
        for number in range(20):
            loop.tick(5)
            if number == 10:
                loop.now += jump
            assert loop.replicas == 5
        for _ in range(31):
            loop.tick(5)
        assert loop.replicas == 1


def test_settled_means_nothing_changes() -> None:
    assert scale_to(plan(view(spec(), spread(0, 1)), SETTLED)) is None
