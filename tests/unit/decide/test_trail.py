"""Checks every step that `tierwise explain` shows, one situation per case.

The steps are what people read in conditions, Events and the explanation, so their names, numbers and sentences are part
of the product.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.decide.make import HEALTHY, NOW, SETTLED, decision, plan, sample, spec, spread, value, view
from tierwise import reasons
from tierwise.types import (
    MISSING,
    Decision,
    MetricsHealth,
    NamedSignal,
    Peak,
    PodSample,
    Signal,
    State,
    Step,
    TierState,
)

NAMES = ("load", "tolerance", "bounds", "metrics", "window", "headroom", "pin", "mode")
At = tuple[int, str, str]


def told(first: int, **steps: At | int) -> tuple[Step, ...]:
    """All steps: those that are named here, and between them the replicas of the one before, without a word."""
    found, replicas = [], first
    for name in NAMES:
        step = steps.get(name, replicas)
        replicas, reason, message = (step, "", "") if isinstance(step, int) else step
        found.append(Step(name, replicas, reason, message))
    return tuple(found)


def load(requests: int, tokens: int, where: str, compute: str, memory: str) -> str:
    """The sentence of the first step."""
    return (
        f"{requests} requests and {tokens} cached tokens on {where} fill {compute} replicas by requests, "
        f"{memory} by KV memory"
    )


def summary(found: Decision) -> tuple[int, int, str, str]:
    return found.current, found.target, found.reason, found.limited_by


def settled(replicas: int, *peaks: Peak) -> TierState:
    """Of a tier that has stood at this number for long."""
    return TierState(recommended=replicas, peaks=peaks, observed_at=NOW - 10)


def test_nothing_is_measured() -> None:
    found = decision(view(spec(), (), current=2, ready=("a",)), settled(2))
    assert found.steps == told(2, load=(2, "", "nothing is measured"), metrics=(2, reasons.NO_METRICS, "a: missing"))
    assert (*summary(found), found.message) == (2, 2, reasons.NO_METRICS, reasons.NO_METRICS, "a: missing")


def test_the_load_asks_for_what_runs() -> None:
    found = decision(view(spec(), spread(30, 2), current=2), settled(2))
    said = load(30, 3000, "2 replicas", "1.50", "0.04")
    assert found.steps == told(2, load=(2, "", said))
    assert (*summary(found), found.message) == (2, 2, reasons.LOAD, "", said)


@pytest.mark.parametrize(("percent", "most"), [(10, "2.2"), (50, "3"), (25, "2.5")])
def test_a_small_overload(percent: int, most: str) -> None:
    found = decision(view(spec(tolerancePercent=percent), spread(42, 2), current=2), settled(2))
    said = load(42, 3200, "2 replicas", "2.10", "0.05")
    tolerated = (2, reasons.TOLERANCE, f"2.10 is not above {most}")
    assert found.steps == told(2, load=(3, reasons.LOAD, said), tolerance=tolerated)
    assert summary(found) == (2, 2, reasons.LOAD, "")


def test_a_load_of_exactly_the_tolerance_is_tolerated_and_a_little_more_is_not() -> None:
    for percent, requests, target in ((50, 60.0, 2), (50, 60.4, 4), (50, 59.8, 2), (10, 44.0, 2), (10, 44.3, 3)):
        seen = view(spec(tolerancePercent=percent), spread(requests, 2), current=2)
        assert decision(seen, settled(2)).target == target, (percent, requests)


def test_up() -> None:
    found = decision(view(spec(), spread(60, 2), current=2), settled(2))
    said = load(60, 3200, "2 replicas", "3.00", "0.07")
    assert found.steps == told(3, load=(3, reasons.LOAD, said))
    assert (*summary(found), found.message) == (2, 3, reasons.LOAD, "", said)


def test_a_new_replica_that_has_not_settled() -> None:
    samples = (sample("old", 16, 44), sample("new-1", 16, 4), sample("new-2", 16, 4))
    memory = replace(settled(3), measured=(("old", NOW - 60),))
    found = decision(view(spec(), samples, current=3), memory)
    said = load(100, 0, "3 replicas", "5.00", "0.00")
    again = (3, reasons.SETTLING, "requests of a new replica may be counted twice")
    assert found.steps == told(3, load=(5, reasons.LOAD, said), tolerance=again)


def test_the_maximum() -> None:
    found = decision(view(spec(maxReplicas=4), spread(130, 1)))
    said = load(130, 1600, "1 replica", "6.50", "0.16")
    bound = (4, reasons.MAX_REPLICAS, "7 replicas, of which maxReplicas allows 4")
    assert found.steps == told(7, load=(7, reasons.LOAD, said), bounds=bound)
    assert (*summary(found), found.message) == (1, 4, reasons.LOAD, reasons.MAX_REPLICAS, said)


def test_a_load_of_exactly_the_maximum_is_not_limited_by_it() -> None:
    found = decision(view(spec(maxReplicas=3), spread(60, 2), current=2), settled(2))
    assert found.steps[2] == Step("bounds", 3)
    assert summary(found) == (2, 3, reasons.LOAD, "")


def test_at_the_maximum() -> None:
    found = decision(view(spec(maxReplicas=2), spread(60, 2), current=2), settled(2))
    assert found.message == "3 replicas, of which maxReplicas allows 2"
    assert summary(found) == (2, 2, reasons.MAX_REPLICAS, reasons.MAX_REPLICAS)


def test_a_window_that_holds_nothing_up_says_nothing() -> None:
    found = decision(view(spec(), spread(55, 3), current=3), settled(3, Peak(7, NOW - 10)))
    assert found.steps[4] == Step("window", 3)
    assert summary(found) == (3, 3, reasons.LOAD, "")


def test_a_tolerated_load_is_tolerated_also_while_a_replica_is_new() -> None:
    memory = replace(settled(2), measured=(("pod-000", NOW - 60),))
    found = decision(view(spec(), spread(44, 2), current=2), memory)
    assert found.steps[1] == Step("tolerance", 2, reasons.TOLERANCE, "2.20 is not above 2.2")


def test_a_replica_without_memory_has_none() -> None:
    empty = replace(sample("a", 1), kv_capacity_tokens=value(0.0))
    assert decision(view(spec(), (empty,))).signals[3] == NamedSignal("kvCapacityTokens", value(0.0))


def test_the_minimum() -> None:
    found = decision(view(spec(minReplicas=3), spread(0, 2), current=2), settled(2))
    said = load(0, 0, "2 replicas", "0.00", "0.00")
    bound = (3, reasons.MIN_REPLICAS, "1 replicas, minReplicas asks for 3")
    assert found.steps == told(1, load=(1, reasons.LOAD, said), bounds=bound)
    assert (*summary(found), found.message) == (2, 3, reasons.MIN_REPLICAS, reasons.MIN_REPLICAS, bound[2])


def test_a_lowered_maximum() -> None:
    found = decision(view(spec(maxReplicas=4), spread(150, 8), current=8), settled(8))
    bound = (4, reasons.MAX_REPLICAS, "8 replicas, of which maxReplicas allows 4")
    assert found.steps == told(8, load=(8, "", load(150, 12800, "8 replicas", "7.50", "0.19")), bounds=bound)
    assert found.message == "maxReplicas allows 4"
    assert summary(found) == (8, 4, reasons.MAX_REPLICAS, reasons.MAX_REPLICAS)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (1, "pod-000: missing"),
        (3, "pod-000: missing, pod-001: missing, pod-002: missing"),
        (4, "pod-000: missing, pod-001: missing, pod-002: missing and 1 more"),
    ],
)
def test_replicas_without_metrics(missing: int, said: str) -> None:
    samples = tuple(
        replace(each, running=MISSING) if number < missing else each for number, each in enumerate(spread(6, 6))
    )
    found = decision(view(spec(), samples, current=6), settled(6))
    assert found.steps[0].reason == reasons.LOAD
    assert found.steps[3:] == told(1, metrics=(6, reasons.NO_METRICS, said))[3:]
    assert (*summary(found), found.message) == (6, 6, reasons.NO_METRICS, reasons.NO_METRICS, said)


def test_no_answer_from_prometheus() -> None:
    found = decision(view(spec(), spread(5, 5), current=5), settled(5), metrics=MetricsHealth(ok=False))
    assert found.message == "Prometheus has not answered"
    assert summary(found) == (5, 5, reasons.NO_METRICS, reasons.NO_METRICS)


def test_the_window() -> None:
    found = decision(view(spec(), spread(5, 5), current=5), settled(5, Peak(9, NOW - 400), Peak(7, NOW - 100)))
    said = "7 replicas were recommended until 2027-01-15T07:58:20Z, 300 s count"
    first = (1, reasons.LOAD, load(5, 500, "5 replicas", "0.25", "0.01"))
    assert found.steps == told(1, load=first, window=(5, reasons.SCALE_DOWN_WINDOW, said))
    assert (*summary(found), found.message) == (5, 5, reasons.SCALE_DOWN_WINDOW, reasons.SCALE_DOWN_WINDOW, said)


def test_a_window_that_lets_some_go() -> None:
    found = decision(view(spec(), spread(5, 5), current=5), replace(settled(1, Peak(3, NOW - 100)), resumed=False))
    said = "3 replicas were recommended until 2027-01-15T07:58:20Z, 300 s count"
    assert found.steps[4] == Step("window", 3, reasons.SCALE_DOWN_WINDOW, said)
    assert summary(found) == (5, 3, reasons.LOAD, reasons.SCALE_DOWN_WINDOW)


def test_a_lost_memory_counts_for_one_window() -> None:
    first = plan(view(spec(), spread(5, 5), current=5), TierState())
    assert first.decision is not None
    said = "5 replicas were recommended until 2027-01-15T08:00:00Z, 300 s count"
    assert first.decision.steps[4] == Step("window", 5, reasons.NO_MEMORY, said)
    assert summary(first.decision) == (5, 5, reasons.NO_MEMORY, reasons.NO_MEMORY)
    assert first.state.forgotten_until == NOW + 300
    later = replace(first.state, peaks=(Peak(5, NOW + 290),))
    for now, reason in ((NOW + 299, reasons.NO_MEMORY), (NOW + 300, reasons.SCALE_DOWN_WINDOW)):
        samples = spread(5, 5, at=now)
        assert decision(view(spec(), samples, current=5), later, now=now).limited_by == reason


def test_a_resumed_memory_is_no_lost_one() -> None:
    found = plan(view(spec(), spread(5, 5), current=5), replace(settled(5), resumed=True))
    assert found.decision is not None
    assert found.decision.limited_by == reasons.SCALE_DOWN_WINDOW
    assert (found.state.resumed, found.state.forgotten_until) == (False, None)


def test_headroom() -> None:
    seen = view(spec(scaleDownWindowSeconds=0), spread(70, 5), current=5)
    found = decision(seen, settled(5))
    said = "with 4 replicas the rest would be above 80% of their share"
    first = (4, reasons.LOAD, load(70, 7000, "5 replicas", "3.50", "0.09"))
    assert found.steps == told(4, load=first, headroom=(5, reasons.HEADROOM, said))
    assert (*summary(found), found.message) == (5, 5, reasons.HEADROOM, reasons.HEADROOM, said)


def test_a_pin() -> None:
    found = decision(view(spec(replicas=4), spread(100, 5), current=5), settled(5))
    pinned = (4, reasons.PINNED, "spec.replicas fixes 4 replicas")
    assert found.steps == told(5, load=(5, "", load(100, 8000, "5 replicas", "5.00", "0.12")), pin=pinned)
    assert (*summary(found), found.message) == (5, 4, reasons.PINNED, reasons.PINNED, pinned[2])


def test_somebody_else_scales() -> None:
    others = ("HorizontalPodAutoscaler/a", "ScaledObject/b")
    found = decision(view(spec(mode="Advisory"), spread(60, 2), current=2, foreign_scalers=others), settled(2))
    assert found.steps[-1] == Step("mode", 3, reasons.FOREIGN_SCALER, "HorizontalPodAutoscaler/a, ScaledObject/b")
    assert summary(found) == (2, 3, reasons.LOAD, "")


def test_advisory() -> None:
    found = decision(view(spec(mode="Advisory"), spread(60, 2), current=2), settled(2))
    assert found.steps[-1] == Step("mode", 3, reasons.ADVISORY, "computed, not written")
    assert summary(found) == (2, 3, reasons.LOAD, "")


def test_before_there_is_a_deployment() -> None:
    found = decision(view(spec(), (), current=None))
    bound = (1, reasons.MIN_REPLICAS, "0 replicas, minReplicas asks for 1")
    assert found.steps == told(0, load=(0, "", "nothing is measured"), bounds=bound)
    assert (*summary(found), found.message) == (0, 1, reasons.MIN_REPLICAS, reasons.MIN_REPLICAS, bound[2])


def test_large_numbers_stay_readable() -> None:
    first = decision(view(spec(), (sample("a", 999_999_999, 0),))).steps[0]
    assert first.message.startswith("999999999 requests and 0 cached tokens")
    assert decision(view(spec(), (sample("a", 2.5e9, 0),))).steps[0].message.startswith("2.5e+09 requests")


def test_the_signals_are_sums_and_means_over_the_replicas_that_answer() -> None:
    def one(name: str, numbers: tuple[float, float, float, float], at: float) -> PodSample:
        return PodSample(name, *(value(number, at) for number in numbers))

    samples = (
        one("a", (4, 1, 0.2, 100.0), NOW - 3),
        one("b", (6, 3, 0.4, 300.0), NOW - 1),
        one("c", (8, 5, 0.6, 500.0), NOW - 2),
        one("starting", (2, 2, 0.9, 900.0), NOW),
    )
    seen = view(spec(), samples, current=4, ready=("a", "b", "c"), tokens=value(700.0, NOW - 5))
    named = {each.name: each.signal for each in decision(seen, settled(4)).signals}
    assert list(named) == [
        *("running", "waiting", "kvCacheUsage", "kvCapacityTokens", "tokensPerRequest", "requestsPerReplica")
    ]
    assert named["running"] == Signal(State.VALUE, 18, NOW - 3)
    assert named["waiting"] == Signal(State.VALUE, 9, NOW - 3)
    assert replace(named["kvCacheUsage"], value=0.0) == Signal(State.VALUE, 0.0, NOW - 3)
    assert named["kvCacheUsage"].value == pytest.approx(0.4)
    assert named["kvCapacityTokens"] == Signal(State.VALUE, 300.0, NOW - 3)
    assert named["tokensPerRequest"] == value(700.0, NOW - 5)
    assert named["requestsPerReplica"] == Signal(State.VALUE, 16.0)


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        ((State.VALUE, State.MISSING), State.MISSING),
        ((State.STALE, State.MISSING), State.STALE),
        ((State.INVALID, State.STALE), State.INVALID),
    ],
)
def test_a_sum_is_as_bad_as_its_worst_part(states: tuple[State, ...], worst: State) -> None:
    samples = tuple(
        replace(sample(name, 1), running=Signal(state, 1.0, NOW)) for name, state in zip("ab", states, strict=True)
    )
    found = decision(view(spec(), samples, current=2), settled(2)).signals[0]
    assert found == NamedSignal("running", Signal(worst))


def test_what_was_asked_is_remembered_with_its_time() -> None:
    seen = view(spec(), spread(60, 2, runs=8, at=NOW - 4), current=2)
    kept = plan(seen, replace(SETTLED, recommended=2), metrics=HEALTHY).state
    assert kept == replace(
        kept,
        recommended=3,
        requests_per_replica=None,
        learned_for="",
        observed_at=NOW,
        sampled_at=NOW - 4,
        queued=(("pod-000", 8.0), ("pod-001", 8.0)),
        measured=(("pod-000", 0.0), ("pod-001", 0.0)),
    )
