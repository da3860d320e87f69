"""Checks that what waits in the routers, or was turned away, is demand: as much as it is, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.decide.make import (
    NOW,
    SETTLED,
    decision,
    heard,
    measured_as,
    plan,
    router,
    sample,
    spec,
    spread,
    value,
    view,
    without,
)
from tests.unit.decide.test_replicas import reason_of
from tierwise import reasons
from tierwise.decide.router_demand import LATELY_SECONDS, RouterDemand, gaps, router_demand
from tierwise.types import (
    MISSING,
    MetricsHealth,
    PodSample,
    RouterSignals,
    Signal,
    State,
    Step,
    TierState,
    TierView,
)

LONG_AGO = (("pod-000", NOW - LATELY_SECONDS),)
STEADY = TierState(recommended=1, measured=LONG_AGO)


def seen(
    requests: float,
    replicas: int = 1,
    *,
    said: RouterSignals | None = None,
    finished: Signal = MISSING,
    rejected: Signal = MISSING,
    current: int | None = None,
) -> TierView:
    """So many requests on these replicas, and what the routers and the counters say."""
    found = view(spec(), spread(requests, replicas), current=replicas if current is None else current)
    signals = replace(found.signals, finished_lately=finished, rejected_lately=rejected)
    return replace(found, signals=signals, routers=heard() if said is None else said)


def step(found: TierView, name: str, memory: TierState = STEADY) -> Step:
    return next(each for each in decision(found, memory).steps if each.name == name)


@pytest.mark.parametrize(("finished", "more"), [(0.5, 16), (0.0, 16), (80, 8)])
def test_those_who_were_turned_away_count_by_their_share_of_those_who_were_answered(
    finished: float, more: float
) -> None:
    found = router_demand(seen(20, finished=value(finished), rejected=value(40)), STEADY)
    assert found.refused == more
    few = router_demand(seen(20, finished=value(finished / 100), rejected=value(0.2)), STEADY)
    assert few.refused == (16 if finished <= 0.5 else 4)


def test_a_full_router_in_front_of_a_full_engine_is_no_calm_tier() -> None:
    """The engine has all it is given, and says that one replica is filled; sixty more wait in the routers."""
    full = seen(20, said=heard(router("a", waiting=40), router("b", waiting=20)))
    assert step(full, "load").replicas == 1
    assert step(full, "routers") == Step(
        "routers",
        4,
        reasons.ROUTER_DEMAND,
        "60 requests wait in the routers, 0 more were refused: with them the load fills 4.00 replicas by requests, "
        "0.10 by KV memory",
    )
    found = decision(full, STEADY)
    assert (found.target, found.reason) == (4, reasons.ROUTER_DEMAND)
    assert found.message.startswith("60 requests wait in the routers")


def test_requests_that_wait_in_a_router_need_kv_memory_too() -> None:
    """Each of the running ones holds a fiftieth of the memory; so will those that wait."""
    long = view(spec(), (sample("a", 10, kv=0.4),))
    waits = replace(long, routers=heard(router(waiting=40)))
    assert step(long, "load").replicas == 1
    assert step(waits, "routers").replicas == 3
    assert "2.50 replicas by requests, 2.50 by KV memory" in step(waits, "routers").message


def test_without_routes_and_refusals_there_is_no_such_step() -> None:
    assert "routers" not in [each.name for each in decision(view(spec(), spread(50, 1))).steps]


def test_a_route_that_has_nothing_to_say_leaves_the_target_as_it_is() -> None:
    assert step(seen(20), "routers") == Step("routers", 1, "", "0 requests wait in the routers, 0 more were refused")
    assert decision(seen(20), STEADY).reason == reasons.LOAD


def test_a_little_that_waits_is_within_the_tolerance() -> None:
    assert decision(seen(20, said=heard(router(waiting=2))), STEADY).target == 1
    assert reason_of(decision(seen(20, said=heard(router(waiting=2))), STEADY), "tolerance") == reasons.TOLERANCE
    assert decision(seen(20, said=heard(router(waiting=3))), STEADY).target == 2


def test_what_waits_while_nothing_is_measured_asks_for_replicas_too() -> None:
    """They start, so none is measured. A hundred wait: with five replicas nobody would."""
    starting = replace(view(spec(), (), current=2), routers=heard(router(waiting=100)))
    found = decision(starting)
    assert (found.target, found.reason, found.limited_by) == (5, reasons.ROUTER_DEMAND, "")
    few = replace(starting, routers=heard(router(waiting=1)))
    assert (decision(few).target, decision(few).limited_by) == (2, reasons.NO_METRICS)


def test_a_pin_is_exact_whatever_waits() -> None:
    pinned = replace(view(spec(replicas=0), (), current=0), routers=heard(router(waiting=100)))
    assert decision(pinned).target == 0


@pytest.mark.parametrize(
    ("refused", "finished", "expected"),
    [(0, 10, 0.0), (5, 10, 8.0), (10, 10, 16.0), (11, 10, 16.0), (1e9, 10, 16.0), (1, 0, 16.0)],
)
def test_refused_requests_would_have_needed_what_the_answered_ones_needed(
    refused: float, finished: float, expected: float
) -> None:
    """Sixteen run. At most as many again: clients that are refused ask again, and are counted each time."""
    said = heard(router(refused=refused))
    assert router_demand(seen(20, said=said, finished=value(finished)), STEADY).refused == expected
    rejected = seen(20, finished=value(finished), rejected=value(refused))
    assert router_demand(rejected, STEADY).refused == expected, "the engines' rejections count alike"


def test_refusals_of_routers_and_engines_count_together() -> None:
    said = heard(router("a", refused=2), router("b", refused=1))
    assert router_demand(seen(20, said=said, finished=value(16), rejected=value(1)), STEADY).refused == 4.0


def test_engines_that_reject_make_a_tier_grow_without_any_route() -> None:
    refusing = replace(seen(20, finished=value(10), rejected=value(10)), routers=RouterSignals())
    assert decision(refusing, STEADY).target == 2
    assert step(refusing, "routers").message == (
        "0 requests wait in the routers, 16 more were refused: with them the load fills 1.80 replicas by requests, "
        "0.05 by KV memory"
    )


def test_an_unknown_number_of_finished_requests_counts_as_none() -> None:
    said = heard(router(refused=1))
    assert router_demand(seen(20, said=said), STEADY).refused == 16.0
    assert router_demand(seen(20, said=said, finished=Signal(State.STALE, 100.0)), STEADY).refused == 16.0


def test_new_replicas_take_what_was_refused_before_they_were_there() -> None:
    """Two replicas, one of them for less than the minute in which requests were refused."""
    refusing = seen(40, 2, said=heard(router(refused=10)), finished=value(10))
    at = NOW - LATELY_SECONDS
    for since, expected in ((at, 32.0), (at + 1, 0.0)):
        memory = TierState(recommended=2, measured=(("pod-000", at), ("pod-001", since)))
        assert router_demand(refusing, memory).refused == expected
    half = replace(refusing, signals=replace(refusing.signals, pods=(*spread(20, 1), sample("new", 4))))
    assert router_demand(half, TierState(measured=LONG_AGO)).refused == 12.0, "it is sampled for the first time"
    assert router_demand(half, TierState(measured=None)).refused == 20.0, "a restarted operator finds both"


def test_unknown_values_count_as_nothing() -> None:
    stale = Signal(State.STALE, 50.0, NOW - 99)
    said = heard(replace(router("a"), waiting=stale, refused=stale), router("b", waiting=3))
    pods = without(spread(20, 1), "pod-000", running=stale)
    found = seen(20, said=said, rejected=stale)
    assert router_demand(found, STEADY) == RouterDemand(3.0, 0.0)
    unmeasured = replace(found, signals=replace(found.signals, pods=pods, rejected_lately=value(9)))
    assert router_demand(unmeasured, STEADY) == RouterDemand(3.0, 0.0)
    late = PodSample("late", Signal(State.VALUE, 16.0), value(0))
    timeless = replace(found, signals=replace(found.signals, pods=(late,), rejected_lately=value(9)))
    assert router_demand(timeless, TierState(measured=(("late", -LATELY_SECONDS),))).refused == 16.0


def test_absurd_numbers_stay_finite() -> None:
    most = 1.7e308
    assert router_demand(seen(20, said=heard(router("a", waiting=most), router("b", waiting=most))), STEADY)
    assert RouterDemand(most, most).requests < float("inf")


@pytest.mark.parametrize("kind", ["wanted", "waiting", "in_flight"])
@pytest.mark.parametrize("state", [State.MISSING, State.STALE, State.INVALID])
def test_a_ready_router_that_is_not_measured_forbids_lowering_and_is_named(kind: str, state: State) -> None:
    broken = measured_as(router("b"), kind, Signal(state))
    unheard = seen(5, 5, said=heard(router("a"), broken))
    found = decision(unheard, TierState(recommended=1))
    assert (found.target, found.limited_by) == (5, reasons.NO_ROUTER_METRICS)
    assert found.message == f"b: {state.value.lower()}"
    assert [each.name for each in found.steps if each.reason == reasons.NO_ROUTER_METRICS] == ["metrics"]
    assert decision(seen(5, 5, said=heard(router("a"), router("b"))), TierState(recommended=1)).target == 1


def test_one_that_is_not_ready_or_has_no_rate_yet_forbids_nothing() -> None:
    starting = replace(router("b", ready=False), wanted=MISSING)
    new = replace(router("c"), refused=MISSING)
    found = seen(5, 5, said=heard(router("a"), starting, new))
    assert gaps(found) == ()
    assert decision(found, TierState(recommended=1)).target == 1


def test_the_replicas_come_first_when_neither_is_measured() -> None:
    blind = replace(seen(5, 5, said=heard(replace(router(), wanted=MISSING))))
    blind = replace(blind, signals=replace(blind.signals, pods=()))
    found = decision(blind, TierState(recommended=1))
    assert (found.target, found.limited_by) == (5, reasons.NO_METRICS)


def test_what_is_not_measured_keeps_nothing_from_growing() -> None:
    unheard = seen(50, said=heard(replace(router("a"), wanted=MISSING), router("b", waiting=30)))
    assert decision(unheard, STEADY).target == 4
    assert decision(unheard, STEADY, metrics=MetricsHealth(ok=False)).target == 4


def test_the_clock_of_the_window_stands_while_a_router_is_not_measured() -> None:
    calm = seen(5, said=heard(replace(router(), waiting=MISSING)))
    assert plan(calm, SETTLED, now=NOW + 10).state.observed_at is None
    assert plan(seen(5, said=heard(router())), SETTLED, now=NOW + 10).state.observed_at == NOW + 10


def test_headroom_counts_what_waits() -> None:
    """Twenty requests and 14 that wait fill 1.7 replicas: two of them would be above 80 % of their share."""
    found = seen(20, 3, said=heard(router(waiting=14)))
    assert step(found, "bounds", SETTLED).replicas == 2
    assert decision(found, SETTLED).limited_by == reasons.HEADROOM
    assert decision(found, SETTLED).target == 3
    assert decision(seen(20, 3), SETTLED).target == 2
