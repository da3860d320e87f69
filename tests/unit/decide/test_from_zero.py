"""Checks when the last replica of a tier ends, when one starts, and that no doubt ever ends one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders.workloads import scale_to
from tests.unit.decide.make import (
    HEALTHY,
    NOW,
    decision,
    heard,
    measured_as,
    pod,
    router,
    sample,
    spec,
    spread,
    value,
    view,
)
from tests.unit.decide.make import plan as make_plan
from tests.unit.decide.test_replicas import reason_of
from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import DecisionStatus, ModelTierStatus
from tierwise.decide import again, decide, from_zero, remember, resume, stands
from tierwise.decide.state_codec import restore
from tierwise.times import rfc3339
from tierwise.types import (
    MISSING,
    UNKNOWN_ROUTERS,
    Decision,
    MetricsHealth,
    PodFacts,
    RouterSample,
    RouterSignals,
    Signal,
    Snapshot,
    State,
    TierPlan,
    TierState,
    TierView,
)

IDLE = 60
STARTUP = 1800
DEAF = MetricsHealth(ok=False, problem="no answer")
# Watched for long: the last want was exactly so long ago that the replica may end.
BORED = TierState(recommended=1, wants=(("router-0", 7.0),), wanted_at=NOW - IDLE, heard_at=NOW - 10)


def zero(**scaling: Any) -> ModelTierSpec:
    return spec(**{"minReplicas": 0, "idleSeconds": IDLE, **scaling})


def quiet(at: float = NOW, **said: Any) -> RouterSample:
    """A router that nobody asks; its counter says 7."""
    return router(**{"wanted": 7.0, "at": at, **said})


def seen(
    *routers: RouterSample, current: int = 1, requests: float = 0.0, said: RouterSignals | None = None
) -> TierView:
    """A tier with minReplicas 0 that is measured in full; without routers given: one that nobody asks."""
    found = view(zero(), spread(requests, current), current=current)
    return replace(found, routers=heard(*(routers or (quiet(),))) if said is None else said)


def last_change(found: TierView, to: int, at: float = NOW - 900) -> TierView:
    """The tier with a last change of replicas in its status."""
    said = {"time": rfc3339(at), "from": 1, "to": to, "reason": "Idle", "message": ""}
    scaling = found.tier.status.scaling.model_copy(update={"decisions": [DecisionStatus.model_validate(said)]})
    status = found.tier.status.model_copy(update={"scaling": scaling})
    return replace(found, tier=replace(found.tier, status=status))


def asleep(*routers: RouterSample, said: RouterSignals | None = None) -> TierView:
    """The tier at zero, where we put it."""
    return last_change(seen(*routers, current=0, said=said), 0)


AT_ZERO = TierState(recommended=1, wants=(("router-0", 7.0),))


def step(found: Decision) -> tuple[int, str, str]:
    return next((each.replicas, each.reason, each.message) for each in found.steps if each.name == "idle")


# --- the last replica ends ------------------------------------------------------------------------------------------


def test_the_last_replica_ends_when_nobody_wanted_it_for_the_idle_time() -> None:
    found = decision(seen(), BORED)
    assert step(found) == (0, reasons.IDLE, "no request wanted it for 60 s")
    assert (found.current, found.target, found.reason, found.limited_by) == (1, 0, reasons.IDLE, "")
    assert found.message == "no request wanted it for 60 s"
    assert scale_to(make_plan(seen(), BORED)) == 0


def test_not_a_second_earlier() -> None:
    found = decision(seen(), replace(BORED, wanted_at=NOW - IDLE + 1))
    assert step(found) == (1, reasons.WANTED, "it was wanted within 60 s, or has just started")
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


WANTING = {
    "the counter has grown": quiet(wanted=8.0),
    "a request waits": quiet(waiting=1.0),
    "a request is under way": quiet(in_flight=1.0),
    "the counter began anew and has counted": quiet(wanted=1.0),
    "a router that was not there before has counted": quiet(name="router-1", wanted=1.0),
}


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
        seen(said=heard(*(RouterSample(f"router-{number}", True) for number in range(4)))),
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


@pytest.mark.parametrize("doubtful", [each for each, _ in DOUBTS.values()], ids=DOUBTS)
def test_the_clock_stands_while_anything_is_doubtful(doubtful: TierView) -> None:
    """It was wanted long ago; then nothing was known for an hour. What is known counts on from where it stood."""
    memory = replace(BORED, wanted_at=NOW - 50, heard_at=NOW - 10)
    state = make_plan(doubtful, memory).state
    assert (state.wanted_at, state.heard_at) == (NOW - 50, NOW - 10)
    later = NOW + 3600
    gap = later - (NOW - 10) - 3 * HEALTHY.interval_seconds
    plan = make_plan(seen(quiet(later), requests=0), state, now=later)
    assert (plan.state.wanted_at, plan.state.heard_at) == (NOW - 50 + gap, later)


def test_three_intervals_without_a_measurement_count_as_watched() -> None:
    memory = replace(BORED, wanted_at=NOW - 50)
    for gap, moved in ((30.0, 0.0), (31.0, 1.0)):
        state = make_plan(seen(), replace(memory, heard_at=NOW - gap)).state
        assert (state.wanted_at, state.heard_at) == (NOW - 50 + moved, NOW)
    assert make_plan(seen(), replace(memory, heard_at=None)).state.wanted_at == NOW - 50
    deaf = make_plan(seen(), replace(memory, heard_at=NOW - 99), metrics=DEAF).state
    assert (deaf.wanted_at, deaf.heard_at) == (NOW - 50, NOW - 99)


# --- no route -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("current", [0, 1])
def test_a_tier_that_no_route_names_keeps_a_replica_and_says_why(current: int) -> None:
    alone = last_change(seen(current=current, said=RouterSignals()), 0)
    found = decision(alone, BORED)
    assert step(found) == (1, reasons.NOT_ROUTED, "minReplicas is 0, but no ModelRoute names this tier")
    assert (found.target, found.limited_by, found.reason) == (1, reasons.NOT_ROUTED, reasons.NOT_ROUTED)


def test_its_idle_time_begins_when_a_route_names_it() -> None:
    """Before that nobody could have asked a router for it."""
    alone = make_plan(seen(said=RouterSignals()), BORED)
    assert (alone.state.wanted_at, alone.state.heard_at) == (None, None)
    named_now = make_plan(seen(quiet(NOW + 10)), alone.state, now=NOW + 10)
    assert named_now.decision is not None
    assert (named_now.decision.target, named_now.state.wanted_at) == (1, NOW + 10)


def test_it_is_not_woken_while_the_routes_are_not_known() -> None:
    """As after every start of the operator."""
    found = decision(asleep(said=UNKNOWN_ROUTERS), AT_ZERO)
    assert (found.target, found.reason) == (0, reasons.IDLE)


# --- from zero ------------------------------------------------------------------------------------------------------


def test_what_we_put_to_zero_stays_there() -> None:
    found = decision(asleep(), AT_ZERO)
    assert step(found) == (0, reasons.IDLE, "nobody wants it")
    assert (found.current, found.target, found.reason, found.limited_by) == (0, 0, reasons.IDLE, "")
    assert scale_to(make_plan(asleep(), AT_ZERO)) is None


@pytest.mark.parametrize("wanting", WANTING.values(), ids=WANTING)
def test_whoever_wants_it_starts_one(wanting: RouterSample) -> None:
    found = asleep(wanting) if wanting.router == "router-0" else asleep(quiet(), wanting)
    plan = make_plan(found, AT_ZERO)
    assert plan.decision is not None
    assert (plan.decision.target, plan.decision.reason, scale_to(plan)) == (1, reasons.WANTED, 1)
    assert plan.decision.message == "a request wants it"


def test_one_measured_router_is_enough_to_start_one() -> None:
    unheard = RouterSample("router-1", ready=True)
    assert decision(asleep(quiet(wanted=8.0), unheard), AT_ZERO).target == 1
    dead = heard(quiet(wanted=8.0), routes=("chat", "dead"), unserved=("dead",))
    assert decision(asleep(said=dead), AT_ZERO).target == 1


def test_a_crowd_starts_as_many_as_it_fills() -> None:
    found = decision(asleep(quiet(waiting=50.0)), AT_ZERO)
    assert (found.target, found.reason) == (3, reasons.ROUTER_DEMAND)


def test_a_want_stands_until_a_replica_is_asked_for() -> None:
    """The write fails; the counter does not grow again."""
    called = make_plan(asleep(quiet(wanted=8.0)), AT_ZERO).state
    assert called.called
    for later in (10, 3600):
        assert decision(asleep(quiet(NOW + later, wanted=8.0)), called, now=NOW + later).target == 1
    started = make_plan(last_change(seen(quiet(wanted=8.0)), 1), called).state
    assert (started.called, started.wanted_at) == (False, NOW)


def test_the_first_look_after_a_restart_only_learns_the_counters() -> None:
    for memory in (TierState(), replace(AT_ZERO, wants=None)):
        plan = make_plan(asleep(quiet(wanted=100.0)), memory)
        assert plan.decision is not None
        assert (plan.decision.target, plan.state.wants) == (0, (("router-0", 100.0),))
        assert decision(asleep(quiet(wanted=101.0)), plan.state).target == 1
    assert decision(asleep(quiet(wanted=100.0, waiting=1.0)), TierState()).target == 1, "unless somebody waits"


def test_a_new_tier_starts_one_replica_first() -> None:
    new = seen(current=0)
    found = decision(new, TierState())
    assert step(found) == (1, reasons.FIRST_REPLICA, "no replica runs, and not because the tier was idle")
    assert (found.target, found.reason, found.limited_by) == (1, reasons.FIRST_REPLICA, "")
    assert decision(last_change(new, 3), TierState(recommended=3)).target == 1, "its Deployment was made anew"


def test_the_idle_time_begins_when_it_is_first_looked_at() -> None:
    """Also after a restart of the operator."""
    plan = make_plan(seen(), TierState(recommended=1))
    assert plan.decision is not None
    assert (plan.decision.target, plan.state.wanted_at, plan.state.heard_at) == (1, NOW, NOW)


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


# --- rest, and restarts ---------------------------------------------------------------------------------------------


def planned(found: TierView, memory: TierState, now: float = NOW) -> TierPlan:
    state = resume(memory, found.tier.status, now)
    return decide(Snapshot(now, (found,), HEALTHY), {found.tier.key: state}).tiers[0]


def test_a_tier_at_zero_is_at_rest_until_a_router_says_something_else() -> None:
    found = asleep()
    first = planned(found, AT_ZERO)
    before = first.state
    plan = planned(found, before)
    assert stands(found, before, plan, Snapshot(NOW, (found,), HEALTHY))
    later = replace(found, routers=heard(quiet(NOW + 10)))
    assert again(plan, found, NOW, later, NOW + 10) is not None
    for news in (quiet(NOW + 10, wanted=8.0), quiet(NOW + 10, waiting=1.0), quiet(ready=False)):
        assert again(plan, found, NOW, replace(later, routers=heard(news)), NOW + 10) is None
    stale = replace(quiet(), wanted=Signal(State.STALE))
    for said in (heard(stale), heard(quiet(), routes=("other",)), heard(quiet(), unserved=("chat",)), UNKNOWN_ROUTERS):
        assert again(plan, found, NOW, replace(later, routers=said), NOW + 10) is None


def test_one_that_runs_is_never_at_rest_for_its_clock_runs() -> None:
    since = replace(pod("pod-000"), ready_at=NOW - 9999)
    running = replace(view(zero(), spread(0, 1, at=NOW), pods=(since,)), routers=heard(quiet()))
    memory = replace(BORED, wanted_at=NOW, measured=(("pod-000", NOW - 99),), sampled_at=NOW, observed_at=NOW)
    before = planned(running, replace(memory, heard_at=NOW)).state
    plan = planned(running, before)
    assert plan.state == before
    assert not stands(running, before, plan, Snapshot(NOW, (running,), HEALTHY))
    one = replace(running, tier=replace(running.tier, spec=spec()))
    resting = planned(one, before)
    assert stands(one, resting.state, planned(one, resting.state), Snapshot(NOW, (one,), HEALTHY))


def test_nothing_of_it_is_written_into_the_status() -> None:
    """A busy tier would be written in every cycle."""
    assert remember(BORED) == remember(TierState(recommended=1))
    back = restore(ModelTierStatus(), NOW)
    assert (back.wants, back.wanted_at, back.heard_at, back.called, back.slept) == (None, None, None, False, False)


@pytest.mark.parametrize(("to", "slept"), [(0, True), (1, False)])
def test_who_put_it_to_zero_is_known_after_a_restart(to: int, slept: bool) -> None:
    status = last_change(seen(), to).tier.status
    assert restore(status, NOW).slept is slept
    assert resume(TierState(slept=not slept), status, NOW).slept is slept


@pytest.mark.parametrize(
    ("sleeper", "expected"),
    [
        (asleep(), True),
        (seen(current=0), False),
        (last_change(seen(current=0), 2), False),
        (last_change(seen(current=1), 0), False),
    ],
)
def test_a_tier_sleeps_when_we_have_put_it_to_zero(sleeper: TierView, expected: bool) -> None:
    spec_ = sleeper.tier.spec
    assert spec_ is not None
    assert from_zero.sleeps(sleeper, spec_) is expected
    assert not from_zero.sleeps(sleeper, spec(minReplicas=0, replicas=0))
    assert not from_zero.sleeps(sleeper, spec())


def test_the_steps_of_a_tier_that_may_be_at_zero() -> None:
    names = [each.name for each in decision(seen(), BORED).steps]
    assert names == ["load", "routers", "tolerance", "bounds", "metrics", "window", "headroom", "idle", "pin", "mode"]
    assert reason_of(decision(seen(), BORED), "pin") == ""
    assert value(1.0).has_value
