"""Checks when a tier at zero gets its first replica, and what is known of it after a restart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders.workloads import scale_to
from tests.unit.decide.make import (
    HEALTHY,
    NOW,
    decision,
    heard,
    pod,
    spec,
    spread,
    value,
    view,
)
from tests.unit.decide.make import plan as make_plan
from tests.unit.decide.test_replicas import reason_of
from tests.unit.decide.zero_tiers import AT_ZERO, BORED, WANTING, asleep, last_change, quiet, seen, step, zero
from tierwise import reasons
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.decide import again, decide, from_zero, remember, resume, stands
from tierwise.decide.state_codec import restore
from tierwise.types import (
    UNKNOWN_ROUTERS,
    RouterSample,
    RouterSignals,
    Signal,
    Snapshot,
    State,
    TierPlan,
    TierState,
    TierView,
)

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
    unheard = RouterSample("router-1", ready_at=0.0)
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
