"""Checks when the last replica of a tier ends, and that no doubt ever ends one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders.workloads import scale_to
from tests.unit.decide.make import (
    HEALTHY,
    NOW,
    decision,
    heard,
    measured_as,
    pod,
    sample,
    spec,
    spread,
    view,
)
from tests.unit.decide.make import plan as make_plan
from tests.unit.decide.zero_tiers import AT_ZERO, BORED, IDLE, STARTUP, WANTING, asleep, quiet, seen, step, zero
from tierwise import reasons
from tierwise.decide import from_zero
from tierwise.types import (
    MISSING,
    UNKNOWN_ROUTERS,
    MetricsHealth,
    PodFacts,
    RouterSample,
    Signal,
    State,
    TierState,
    TierView,
)

DEAF = MetricsHealth(ok=False, problem="no answer")


# --- the last replica ends ------------------------------------------------------------------------------------------


def test_the_last_replica_ends_when_nobody_wanted_it_for_the_idle_time() -> None:
    found = decision(seen(), BORED)
    assert step(found) == (0, reasons.IDLE, "no request wanted it for 60 s")
    assert (found.current, found.target, found.reason, found.limited_by) == (1, 0, reasons.IDLE, "")
    assert found.message == "no request wanted it for 60 s"
    assert scale_to(make_plan(seen(), BORED)) == 0


def test_not_a_second_earlier() -> None:
    found = decision(seen(), replace(BORED, wanted_at=NOW - IDLE + 1))
    assert step(found) == (1, reasons.WANTED, "it was wanted within 60 s, or it or a router has just started")
    assert (found.target, found.limited_by) == (1, "")


def test_what_is_known_ends_with_the_oldest_measurement() -> None:
    """The decision is made now, but the routers were scraped five seconds ago."""
    assert decision(seen(quiet(NOW - 5)), BORED).target == 1
    assert decision(seen(quiet(NOW - 5)), replace(BORED, wanted_at=NOW - IDLE - 5)).target == 0
    two = (quiet(), quiet(NOW - 5, name="router-1"))
    known = replace(BORED, wants=(("router-0", 7.0), ("router-1", 7.0)))
    assert decision(seen(*two), known).target == 1
    old = replace(seen(), signals=replace(seen().signals, pods=(sample("pod-000", 0, at=NOW - 5),)))
    assert decision(old, BORED).target == 1


def test_a_tier_with_one_replica_or_more_as_its_least_has_no_such_step() -> None:
    found = decision(replace(view(spec(), spread(0, 1)), routers=heard(quiet())), BORED)
    assert "idle" not in [each.name for each in found.steps]
    assert found.target == 1


def test_more_than_one_replica_never_end_for_being_idle() -> None:
    """First the window lets them fall to one."""
    for current, recommended in ((3, 3), (2, 2)):
        found = decision(seen(current=current), replace(BORED, recommended=recommended))
        assert (step(found), found.target) == ((current, "", ""), current)
        assert found.limited_by == reasons.SCALE_DOWN_WINDOW


@pytest.mark.parametrize("mode", ["Advisory", "HPA"])
def test_where_others_scale_it_is_computed_and_not_written(mode: str) -> None:
    foreign = ("HorizontalPodAutoscaler/chat",) if mode == "HPA" else ()
    given = zero(mode="Advisory") if mode == "Advisory" else zero()
    found = replace(view(given, spread(0, 1), foreign_scalers=foreign), routers=heard(quiet()))
    plan = make_plan(found, BORED)
    assert plan.decision is not None
    assert plan.decision.target == 0
    assert scale_to(plan) is None


def test_a_pin_is_exact_whoever_wants_it() -> None:
    pinned = replace(view(spec(minReplicas=0, replicas=2), spread(0, 2), current=2), routers=heard(quiet()))
    assert decision(pinned, BORED).target == 2
    stopped = replace(view(spec(minReplicas=0, replicas=0), (), current=0), routers=heard(quiet(waiting=5)))
    assert decision(stopped, BORED).target == 0


# --- who wants it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanting", WANTING.values(), ids=WANTING)
def test_whoever_wants_it_keeps_it(wanting: RouterSample) -> None:
    plan = make_plan(seen(quiet(), wanting) if wanting.router != "router-0" else seen(wanting), BORED)
    assert plan.decision is not None
    assert step(plan.decision) == (1, reasons.WANTED, "a request wants it")
    assert plan.state.wanted_at == NOW


@pytest.mark.parametrize("load", [(1.0, 0.0), (0.0, 1.0)])
def test_requests_on_a_replica_keep_it_whoever_sent_them(load: tuple[float, float]) -> None:
    found = seen()
    busy = replace(found, signals=replace(found.signals, pods=(sample("pod-000", *load),)))
    assert step(decision(busy, BORED))[1] == reasons.WANTED


@pytest.mark.parametrize(
    "same",
    [quiet(), quiet(wanted=0.0), quiet(ready=False)],
    ids=["as before", "it began anew and has not counted", "as before, and not ready any more"],
)
def test_a_counter_that_has_not_grown_wants_nothing(same: RouterSample) -> None:
    plan = make_plan(asleep(same), AT_ZERO)
    assert plan.decision is not None
    assert plan.decision.target == 0


def test_the_counters_are_kept_for_the_next_look() -> None:
    two = seen(quiet(wanted=9.0), replace(quiet(name="router-1"), wanted=MISSING))
    state = make_plan(two, replace(BORED, wants=(("gone", 1.0), ("router-0", 7.0), ("router-1", 3.0)))).state
    assert state.wants == (("router-0", 9.0), ("router-1", 3.0)), "one that is not measured keeps what it said"
    assert make_plan(two, state, now=NOW + 1).state.wanted_at == NOW, "and the same number is no news"
    silent = seen(replace(quiet(), wanted=MISSING))
    assert make_plan(silent, BORED).state.wants == BORED.wants
    assert make_plan(silent, replace(BORED, wants=None)).state.wants is None


def test_an_unknown_number_wants_nothing() -> None:
    stale = Signal(State.STALE, 5.0, NOW)
    unheard = replace(quiet(), waiting=stale, in_flight=stale, wanted=stale)
    assert decision(asleep(unheard), AT_ZERO).target == 0


def test_a_tier_that_no_route_names_keeps_its_counters_and_loses_its_clock() -> None:
    unrouted = seen(said=heard(quiet(wanted=9.0), routes=()))
    before = TierState(wants=(("router-0", 7.0),), wanted_at=1.0, heard_at=2.0, called=True)
    found, _ = from_zero.look(unrouted, before, HEALTHY, NOW)
    assert (found.wants, found.wanted_at, found.heard_at) == ((("router-0", 9.0),), None, None)
    assert found.called is False


def test_at_zero_the_clock_does_not_run() -> None:
    found, _ = from_zero.look(asleep(), replace(AT_ZERO, wanted_at=1.0, heard_at=2.0), HEALTHY, NOW)
    assert (found.wanted_at, found.heard_at) == (None, None)


# --- doubt ----------------------------------------------------------------------------------------------------------


def _unmeasured(kind: str, state: State) -> TierView:
    return seen(quiet(), measured_as(quiet(name="router-1", wanted=0.0), kind, Signal(state)))


DOUBTS: dict[str, tuple[TierView, str]] = {
    "the routes are not known": (seen(said=UNKNOWN_ROUTERS), "the ModelRoutes of the cluster are not known yet"),
    "a route has no ready router": (
        seen(said=heard(quiet(), routes=("chat", "dead"), unserved=("dead",))),
        "dead has no ready router",
    ),
    "no router at all": (seen(said=heard(unserved=("chat",))), "chat has no ready router"),
    **{
        f"{kind} is {state.value}": (_unmeasured(kind, state), f"router-1: {state.value.lower()}")
        for kind in ("wanted", "waiting", "in_flight")
        for state in (State.MISSING, State.STALE, State.INVALID)
    },
    "a replica is not measured": (
        replace(seen(), signals=replace(seen().signals, pods=())),
        "pod-000: missing",
    ),
    "four doubts": (
        seen(said=heard(*(RouterSample(f"router-{number}", 0.0) for number in range(4)))),
        "router-0: missing, router-1: missing, router-2: missing and 1 more",
    ),
}


@pytest.mark.parametrize(("doubtful", "said"), DOUBTS.values(), ids=DOUBTS)
def test_doubt_keeps_the_last_replica_and_says_what_is_not_known(doubtful: TierView, said: str) -> None:
    found = decision(doubtful, BORED)
    assert step(found) == (1, reasons.NO_ROUTER_METRICS, said)
    assert (found.target, found.limited_by) == (1, reasons.NO_ROUTER_METRICS)


def test_so_does_a_prometheus_that_does_not_answer() -> None:
    found = decision(seen(), BORED, metrics=DEAF)
    assert step(found) == (1, reasons.NO_ROUTER_METRICS, "Prometheus has not answered")


def test_a_router_that_is_not_ready_need_not_be_measured() -> None:
    starting = replace(quiet(name="router-1", ready=False), wanted=MISSING, waiting=MISSING, in_flight=MISSING)
    assert decision(seen(quiet(), starting), BORED).target == 0
    old = quiet(NOW - 25, name="router-1", ready=False)
    assert decision(seen(quiet(), old), replace(BORED, wants=(("router-0", 7.0), ("router-1", 7.0)))).target == 0


STANDS = {name: each for name, (each, _) in DOUBTS.items() if name != "no router at all"}  # one that went, is below


@pytest.mark.parametrize("doubtful", STANDS.values(), ids=STANDS)
def test_the_clock_stands_while_anything_is_doubtful(doubtful: TierView) -> None:
    """It was wanted long ago; then nothing was known for an hour. What is known counts on from where it stood."""
    memory = replace(BORED, wanted_at=NOW - 50, heard_at=NOW - 10)
    state = make_plan(doubtful, memory).state
    assert (state.wanted_at, state.heard_at) == (NOW - 50, NOW - 10)
    later = NOW + 3600
    gap = later - (NOW - 10) - 3 * HEALTHY.interval_seconds
    known = (quiet(later, name=name, wanted=count) for name, count in state.wants or ())
    plan = make_plan(seen(*known, requests=0), state, now=later)
    assert (plan.state.wanted_at, plan.state.heard_at) == (NOW - 50 + gap, later)


def test_with_a_router_that_goes_the_idle_time_begins_anew() -> None:
    """What it counted since the last look, nobody knows."""
    two = replace(BORED, wants=(("router-0", 7.0), ("router-1", 3.0)))
    assert step(decision(seen(quiet(), quiet(name="router-1", wanted=3.0)), two))[:2] == (0, reasons.IDLE)
    plan = make_plan(seen(quiet()), two)
    assert plan.state.wanted_at == NOW
    assert plan.decision is not None
    assert step(plan.decision)[:2] == (1, reasons.WANTED)
    assert make_plan(seen(quiet()), plan.state).state.wants == (("router-0", 7.0),), "and only once"


def test_with_a_router_that_begins_anew_so_it_does() -> None:
    """Its counter may show what it showed before."""
    for since, target in ((NOW - IDLE + 1, 1), (NOW - IDLE, 0)):
        assert decision(seen(replace(quiet(), ready_at=since)), BORED).target == target


def test_at_zero_a_router_that_goes_wakes_nothing() -> None:
    two = replace(AT_ZERO, wants=(("router-0", 7.0), ("router-1", 3.0)))
    assert decision(asleep(), two).target == 0


def test_three_intervals_without_a_measurement_count_as_watched() -> None:
    memory = replace(BORED, wanted_at=NOW - 50)
    for gap, moved in ((30.0, 0.0), (31.0, 1.0)):
        state = make_plan(seen(), replace(memory, heard_at=NOW - gap)).state
        assert (state.wanted_at, state.heard_at) == (NOW - 50 + moved, NOW)
    deaf = make_plan(seen(), replace(memory, heard_at=NOW - 99), metrics=DEAF).state
    assert (deaf.wanted_at, deaf.heard_at) == (NOW - 50, NOW - 99)


def test_time_before_the_first_complete_measurement_is_no_idle_time() -> None:
    """Operator and Prometheus begin together; that one answers after an hour, in which somebody may have asked."""
    unread = view(zero(), (), ready=("a",))
    unread = replace(unread, routers=heard(replace(quiet(), wanted=MISSING, waiting=MISSING, in_flight=MISSING)))
    for metrics in (DEAF, HEALTHY):
        state = make_plan(unread, TierState(recommended=1), metrics=metrics).state
        assert (state.wanted_at, state.heard_at) == (NOW, None)
        later = NOW + 3600
        for passed in range(0, IDLE + 1, 10):
            at = later + passed
            read = replace(view(zero(), spread(0.0, 1, at=at)), routers=heard(quiet(at, wanted=999.0)))
            plan = make_plan(read, state, now=at)
            assert plan.decision is not None
            assert (plan.decision.target, plan.state.wanted_at) == (0 if passed == IDLE else 1, later)
            state = plan.state


# --- while it starts ------------------------------------------------------------------------------------------------


def starting(*pods: PodFacts, ready: tuple[str, ...] = ()) -> TierView:
    samples = tuple(sample(name, 0) for name in ready)
    found = view(zero(), samples, current=1, ready=ready, pods=pods)
    return replace(found, routers=heard(quiet()))


def test_a_replica_that_starts_has_the_time_that_a_start_may_take() -> None:
    loading = starting(pod("a", ready=False))
    for ago, target in ((IDLE + STARTUP - 1, 1), (IDLE + STARTUP, 0)):
        assert decision(loading, replace(BORED, wanted_at=NOW - ago)).target == target


def test_one_that_has_just_become_ready_has_its_idle_time_before_it() -> None:
    for ago, target in ((IDLE - 1, 1), (IDLE, 0)):
        since = replace(pod("a"), ready_at=NOW - ago)
        others = (replace(pod("b", ready=False), ready_at=NOW), pod("c"))
        assert decision(starting(since, *others, ready=("a",)), replace(BORED, wanted_at=NOW - 999)).target == target


def test_where_nobody_has_said_anything_nothing_ends() -> None:
    """No router is named, none is missed, and the one replica does not answer yet: found by a property."""
    silent = replace(seen(), workloads=tuple(replace(each, ready_endpoints=frozenset()) for each in seen().workloads))
    silent = replace(silent, routers=replace(silent.routers, routers=(), unserved=()))
    assert step(decision(silent, BORED))[:2] == (1, reasons.WANTED)
