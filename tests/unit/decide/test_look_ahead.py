"""Checks the bound on what may come while a replica starts, and that it only ever raises a target."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.decide.make import NOW, decision, pod, sample, spec, value, view
from tests.unit.decide.make import plan as make_plan
from tierwise import reasons
from tierwise.decide.capacity_estimate import learned_for
from tierwise.decide.flow import watch
from tierwise.decide.look_ahead import arrivals, bound, kept, startup, steady
from tierwise.types import Flow, LengthCapacity, Signal, State, TierSignals, TierState, TierView

WINDOW = 600.0


def history(*rates: float, step: float = 20.0) -> tuple[Flow, ...]:
    """These rates, the last of them now."""
    last = len(rates) - 1
    return tuple(Flow(NOW - step * (last - number), rate) for number, rate in enumerate(rates))


def test_a_steady_rate_stays() -> None:
    found = bound(history(*[4.0] * 20), 120)
    assert found is not None
    assert found.level == 4.0
    assert found.most == pytest.approx(4.0)


def test_a_rise_goes_on_over_the_start_and_the_minute_of_the_rate() -> None:
    found = bound(history(*[1.0 + 0.1 * number for number in range(20)]), 120)
    assert found is not None
    assert found.most == pytest.approx(2.9 + 0.1 / 20 * 180, rel=1e-6)


def test_a_fall_promises_nothing() -> None:
    found = bound(history(*[4.0 - 0.1 * number for number in range(20)]), 120)
    assert found is not None
    assert found.most == pytest.approx(2.1)


def test_what_varies_is_bounded_above_its_mean() -> None:
    found = bound(history(*[4.0, 6.0] * 10), 120)
    assert found is not None
    assert 6.0 <= found.most < 8.0


def test_a_longer_start_sees_more_of_a_rise() -> None:
    rising = history(*[1.0 + 0.1 * number for number in range(20)])
    short, long = bound(rising, 60), bound(rising, 300)
    assert short is not None
    assert long is not None
    assert short.most < long.most


def test_too_little_says_nothing() -> None:
    assert bound((), 120) is None
    assert bound(history(1.0, 2.0), 120) is None


def reckoned(flows: tuple[Flow, ...], seconds: float) -> float:
    """The bound once more, from docs/service-levels.md and the textbook's regression."""
    times, rates = [flow.at - NOW for flow in flows], [flow.rate for flow in flows]
    slope, start = statistics.linear_regression(times, rates)
    squares = sum((rate - (start + slope * at)) ** 2 for at, rate in zip(times, rates, strict=True))
    spread = math.sqrt(squares / max(1, len(rates) - 2))
    doubt = spread / math.sqrt(sum((at - statistics.mean(times)) ** 2 for at in times))
    rising = max(0.0, slope - 3 * doubt) * (seconds + 60) if times[-1] - times[0] >= 180 else 0.0
    last = start + slope * times[-1]
    now = max(last, statistics.mean(rates)) if slope > 0 else last
    return max(rates[-1], now + rising + 1.5 * spread)


@pytest.mark.parametrize("step", [20.0, 60.0, 90.0])
@pytest.mark.parametrize(
    "rates",
    [
        (1.0, 3.0, 2.0),
        (1.0, 2.0, 4.0, 3.5),
        (1.0, 1.3, 1.5, 1.9, 2.2),
        (4.0, 2.0, 3.0, 1.0, 1.5),
        tuple(1.0 + 0.2 * number + 0.1 * (number % 3) for number in range(12)),
    ],
)
def test_the_bound_is_a_line_its_trend_beyond_doubt_and_a_spread(rates: tuple[float, ...], step: float) -> None:
    flows = history(*rates, step=step)
    for seconds in (0.0, 120.0):
        found = bound(flows, seconds)
        assert found is not None
        assert found.most == pytest.approx(reckoned(flows, seconds), rel=1e-9)


@pytest.mark.parametrize(("span", "counts"), [(180.0, True), (179.0, False)])
def test_a_trend_counts_once_it_was_seen_for_three_minutes(span: float, counts: bool) -> None:
    found = bound(history(1.0, 2.0, 3.0, 4.0, step=span / 3), 120.0)
    assert found is not None
    assert (found.most > 4.1) == counts


def test_values_of_one_moment_have_no_trend() -> None:
    found = bound(tuple(Flow(NOW, rate) for rate in (1.0, 3.0, 2.0)), 120.0)
    assert found is not None
    assert found.most == pytest.approx(2.0 + 1.5 * math.sqrt(2.0))


@given(st.lists(st.floats(0, 1e6), min_size=3, max_size=40), st.floats(0, 3600))
def test_it_is_never_below_what_comes_now(rates: list[float], seconds: float) -> None:
    found = bound(history(*rates), seconds)
    assert found is not None
    assert found.most >= rates[-1] == found.level


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(1, 400)), max_size=200))
def test_the_memory_is_bounded(came: list[tuple[float, float]]) -> None:
    flows: tuple[Flow, ...] = ()
    at = NOW
    for rate, later in came:
        at += later
        flows = kept(flows, Flow(at, rate), WINDOW)
        assert len(flows) <= 2 * (WINDOW / 20 + 1)
        assert flows[-1].rate >= rate or flows[-1].at == at
        assert all(at - flow.at <= WINDOW for flow in flows)


def test_what_is_older_than_the_memory_is_forgotten_and_what_is_as_old_is_kept() -> None:
    flows = (Flow(NOW - 601, 1.0), Flow(NOW - 600, 2.0))
    assert kept(flows, Flow(NOW, 3.0), 600) == (Flow(NOW - 600, 2.0), Flow(NOW, 3.0))


@pytest.mark.parametrize(("came", "stays"), [(3.0, 3.0), (1.0, 2.0)], ids=["a larger one", "a smaller one"])
def test_of_values_that_are_close_together_the_largest_stays_at_the_time_of_the_first(
    came: float, stays: float
) -> None:
    flows = (Flow(NOW, 9.0), Flow(NOW + 30, 8.0), Flow(NOW + 60, 7.0), Flow(NOW + 70, 2.0))
    assert kept(flows, Flow(NOW + 75, came), WINDOW) == (*flows[:3], Flow(NOW + 70, stays))
    assert kept(flows[2:], Flow(NOW + 75, came), WINDOW) == (flows[2], Flow(NOW + 70, stays))


def test_of_two_values_of_one_time_the_larger_stays() -> None:
    flows = (Flow(NOW, 1.0), Flow(NOW + 10, 5.0))
    assert kept(flows, Flow(NOW + 10, 3.0), WINDOW) == flows


def test_values_that_are_as_far_apart_as_the_spacing_stay_two() -> None:
    flows = (Flow(NOW, 1.0), Flow(NOW, 1.0))
    assert kept(flows, Flow(NOW + 20, 2.0), WINDOW) == (*flows, Flow(NOW + 20, 2.0))


def seen(begun: float = 120, *, current: int = 2, seconds: float = 30) -> TierView:
    """A tier whose two replicas have begun so many requests in a minute, and are nearly idle."""
    pods = tuple(sample(name, 1) for name in ("a", "b"))
    found = view(spec(), pods, current=current)
    signals = replace(found.signals, begun_lately=value(begun), first_token_seconds=value(seconds))
    return replace(found, signals=signals)


KNOWN = TierState(
    recommended=2,
    measured=(("a", 0.0), ("b", 0.0)),
    flows=history(*[2.0 + 0.1 * number for number in range(20)]),
    learned_for=learned_for(spec()),
    capacities=(LengthCapacity(1024, 128, 1.0, 0.8),),
    startup_seconds=120.0,
)


def test_what_may_come_raises_the_target() -> None:
    found = decision(seen(60 * 4), KNOWN)
    assert found.target > 2
    assert next(step.reason for step in found.steps if step.name == "ahead") == reasons.LOOK_AHEAD
    assert found.reason == reasons.LOOK_AHEAD


@pytest.mark.parametrize(
    "unknown", [{"flows": ()}, {"capacities": ()}], ids=["nothing is remembered", "no capacity is known"]
)
def test_without_a_memory_or_a_capacity_nothing_is_said(unknown: dict[str, object]) -> None:
    some = TierSignals(pods=seen().signals.pods)
    found = decision(replace(seen(), signals=some), replace(KNOWN, **unknown))  # type: ignore[arg-type]
    assert [step.name for step in found.steps if step.name == "ahead"] == []
    assert found.target == 2


def test_what_came_long_ago_says_nothing_about_now() -> None:
    """Prometheus was away, or nothing is measured any more."""
    old = tuple(replace(flow, at=flow.at - 61) for flow in KNOWN.flows)
    silent = replace(seen(), signals=TierSignals(pods=seen().signals.pods))
    assert decision(silent, replace(KNOWN, flows=old)).target == 2
    assert "ahead" not in [step.name for step in decision(silent, replace(KNOWN, flows=old)).steps]
    assert decision(silent, KNOWN).target > 2, "one lost answer is no doubt"


@given(
    st.lists(st.floats(0, 50), max_size=30),
    st.floats(0, 3000),
    st.floats(0, 3000),
    st.floats(0.1, 50),
    st.integers(1, 9),
)
def test_it_never_lowers_a_target(
    rates: list[float], begun: float, seconds: float, capacity: float, current: int
) -> None:
    given_to = seen(begun, current=current, seconds=seconds)
    without = replace(given_to, signals=replace(given_to.signals, begun_lately=Signal(State.MISSING)))
    blind = replace(KNOWN, flows=(), capacities=())
    state = replace(KNOWN, flows=history(*rates), capacities=(LengthCapacity(1024, 128, capacity, 0.8),))
    assert decision(given_to, state).target >= decision(without, blind).target


def test_what_comes_counts_those_who_wait_and_those_who_were_turned_away() -> None:
    state = replace(KNOWN, backlog=(Flow(NOW - 60, 0.0), Flow(NOW, 60.0)))
    assert arrivals(seen(120), TierState(), 0.0, NOW) == 2.0
    assert arrivals(seen(120), state, 60.0, NOW) == 3.0
    refusing = seen(120)
    refusing = replace(refusing, signals=replace(refusing.signals, rejected_lately=value(600)))
    assert arrivals(refusing, TierState(), 0.0, NOW) == 4.0
    assert arrivals(view(spec(), (sample("a", 1),)), TierState(), 0.0, NOW) is None


def started(took: float, *, restarts: int = 0) -> TierView:
    """A tier with an old replica and one that is new and took so long."""
    new = replace(pod("b"), created_at=NOW - took, ready_at=NOW, restarts=restarts)
    return view(spec(), (sample("a", 1), sample("b", 1)), pods=(pod("a"), new))


def test_the_time_of_a_start_is_measured() -> None:
    one = TierState(measured=(("a", 0.0),))
    assert startup(started(90), one, 1800) == 90
    assert startup(started(1), one, 1800) == 1
    assert startup(started(1800), one, 1800) == 1800, "as long as it may take"
    assert startup(started(90), replace(one, startup_seconds=60.0), 1800) == 90, "it rises at once"
    assert startup(started(90), replace(one, startup_seconds=190.0), 1800) == 160, "it falls slowly"


def test_what_is_no_start_is_not_measured() -> None:
    one = TierState(measured=(("a", 0.0),), startup_seconds=60.0)
    assert startup(started(90, restarts=1), one, 1800) == 60
    assert startup(started(2000), one, 1800) == 60
    assert startup(started(90), replace(one, measured=None), 1800) == 60, "after a restart of the operator"
    assert startup(started(90), replace(one, measured=(("a", 0.0), ("b", 0.0))), 1800) == 60


def test_no_more_is_remembered_than_the_scale_down_window() -> None:
    """What came before it must not hold replicas for longer than somebody asks for."""
    begun: dict[str, Any] = {"begun_lately": value(60.0), "first_token_seconds": value(1.0)}
    for window in (60, 120):
        tier = view(spec(scaleDownWindowSeconds=window), (sample("a", 1), sample("b", 1)), current=2)
        found = make_plan(replace(tier, signals=replace(tier.signals, **begun)), KNOWN)
        assert NOW - found.state.flows[0].at == window


LEVEL = tuple(Flow(NOW - at, 2.0) for at in (60, 40, 20))


def sampled(flows: tuple[Flow, ...] = LEVEL, **first: float) -> TierState:
    """What is remembered after a sample of two replicas that were measured first at these times."""
    found = seen()
    lengths = replace(found.signals, prompt_tokens_per_request=value(1000), tokens_per_request=value(1100))
    state = replace(KNOWN, flows=flows, measured=tuple(first.items()))
    return watch(replace(found, signals=lengths), spec(), state, 0.0)


@pytest.mark.parametrize(("since", "counts"), [(60, False), (61, True)])
def test_a_replica_counts_after_more_than_a_minute(since: float, counts: bool) -> None:
    found = sampled(a=NOW - since, b=NOW - since)
    assert found.flows == ((*LEVEL, Flow(NOW, 2.0)) if counts else LEVEL)
    assert (found.capacities != KNOWN.capacities) == counts


def test_a_replica_that_was_never_measured_before_is_a_young_one() -> None:
    """What comes to the tier is known by the older one; what a replica can take is not."""
    found = sampled(a=0.0)
    assert found.flows == (*LEVEL, Flow(NOW, 2.0))
    assert found.capacities == KNOWN.capacities


@pytest.mark.parametrize(
    ("rates", "now", "level"),
    [
        ((1.0, 1.0, 1.0), 1.0, True),
        ((1.0, 1.2, 0.9), 1.3, True),
        ((1.0, 1.0, 1.0), 1.5, True),
        ((1.0, 1.0, 1.0), 1.51, False),
        ((1.0, 1.0, 1.51), 1.0, False),
        ((0.0, 0.5, 1.0), 1.5, False),
        ((1.0, 1.0), 1.0, False),
        ((), 1.0, False),
    ],
)
def test_a_level_is_what_came_for_a_minute(rates: tuple[float, ...], now: float, level: bool) -> None:
    flows = tuple(Flow(NOW - 20 * (len(rates) - number), rate) for number, rate in enumerate(rates))
    assert steady(flows, Flow(NOW, now)) is level


def test_what_came_more_than_a_minute_ago_does_not_count_as_lately() -> None:
    old = (Flow(NOW - 61, 9.0), *(Flow(NOW - at, 1.0) for at in (60, 40, 20)))
    assert steady(old, Flow(NOW, 1.0))


def test_while_a_load_begins_nothing_is_learned() -> None:
    """A minute's rate counts the time before the load: replicas that fill up would seem to take a fraction."""
    begins = tuple(Flow(NOW - at, rate) for at, rate in ((60, 0.0), (40, 0.6), (20, 1.3)))
    assert sampled(begins, a=0.0, b=0.0).capacities == KNOWN.capacities
    assert sampled(LEVEL, a=0.0, b=0.0).capacities != KNOWN.capacities
