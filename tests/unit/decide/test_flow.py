"""Checks what is remembered of what came, and what the steps `ahead` and `targets` ask for and say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.decide.make import NOW, pod, sample, spec, value, view
from tierwise import reasons
from tierwise.decide.capacity_estimate import learned_for
from tierwise.decide.flow import ask_ahead, ask_for_targets, watch
from tierwise.decide.look_ahead import STARTUP_SECONDS, arrivals, bound, steady
from tierwise.decide.trail import Trail
from tierwise.types import Flow, LengthCapacity, Step, TierState, TierView

RISING = tuple(Flow(NOW - 20 * (19 - number), 2.0 + 0.1 * number) for number in range(20))
# A replica takes a request per second, and is to have four fifths of that.
STATE = TierState(
    recommended=2,
    measured=(("a", 0.0), ("b", 0.0)),
    flows=RISING,
    learned_for=learned_for(spec()),
    capacities=(LengthCapacity(1024, 128, 1.0, 0.8),),
    startup_seconds=120.0,
)
TARGETS = {"ttft": {"percentile": 95, "milliseconds": 2500}}


def seen(running: float = 10, *, current: int = 2, late: float = 50, **scaling: Any) -> TierView:
    """Two replicas that have begun 120 requests in a minute, so many of them late."""
    made = view(spec(**scaling), (sample("a", running), sample("b", running)), current=current)
    signals = replace(
        made.signals, begun_lately=value(120), first_token_seconds=value(30), late_first_tokens=value(late)
    )
    return replace(made, signals=signals)


def asked_ahead(state: TierState = STATE, *, replicas: int = 2) -> Step | None:
    trail = Trail(replicas)
    ask_ahead(trail, seen(), state)
    return next(iter(trail.steps), None)


# --- what is remembered -----------------------------------------------------------------------------------------------


def started(took: float) -> TierView:
    """The tier whose replica b is new and took so long to start."""
    new = replace(pod("b"), created_at=NOW - took, ready_at=NOW)
    return view(spec(), (sample("a", 1), sample("b", 1)), pods=(pod("a"), new), current=2)


def test_the_time_of_a_start_is_remembered_if_it_is_one() -> None:
    state = replace(STATE, measured=(("a", 0.0),), startup_seconds=None)
    patience = spec().startup_timeout_seconds
    assert watch(started(90), spec(), state, 0.0).startup_seconds == 90
    assert watch(started(patience + 1), spec(), state, 0.0).startup_seconds is None


def test_what_was_learned_of_another_spec_is_forgotten_and_nothing_else() -> None:
    kept = watch(seen(), spec(), STATE, 0.0)
    assert kept.capacities == STATE.capacities
    other = watch(seen(), spec(), replace(STATE, learned_for="other"), 0.0)
    assert other.capacities == ()
    assert (other.flows, other.startup_seconds) == (kept.flows, 120.0)


LEVEL = tuple(Flow(NOW - at, 2.0) for at in (60, 40, 20))


def watched(state: TierState = STATE, *, late: float = 50, elsewhere: float = 0.0, **scaling: Any) -> TierState:
    """The state after a sample of replicas with five waiting requests in all, whose requests have a known length."""
    given = seen(late=late, **scaling)
    pods = (sample("a", 10, 2), sample("b", 10, 3))
    signals = replace(given.signals, pods=pods, prompt_tokens_per_request=value(1000), tokens_per_request=value(1100))
    return watch(replace(given, signals=signals), spec(**scaling), replace(state, flows=LEVEL), elsewhere)


@pytest.mark.parametrize(("before", "new"), [(0.0, False), (0.4, False), (-0.4, False), (0.6, True), (NOW, True)])
def test_the_same_sample_again_says_nothing_new(before: float, new: bool) -> None:
    found = watched(replace(STATE, sampled_at=NOW - before))
    assert (found.flows != LEVEL) == new


def test_who_waits_is_remembered_for_a_minute_with_those_in_the_routers() -> None:
    """Of those who wait now only those count who did not a minute ago."""
    old, kept_ = Flow(NOW - 61, 9.0), Flow(NOW - 60, 3.0)
    found = watched(replace(STATE, backlog=(old, kept_)), elsewhere=4.0)
    assert found.backlog == (kept_, Flow(NOW, 9.0))
    assert found.flows[-1] == Flow(NOW, 2.0 + 6.0 / 60)


def test_what_a_replica_is_to_have_follows_the_level_of_service() -> None:
    def share(late: float, state: TierState = STATE, **scaling: Any) -> float:
        return watched(state, late=late, **scaling).capacities[0].share

    assert share(50, targets=TARGETS) < share(0, targets=TARGETS)
    assert share(50) == 0.8, "nobody asks for a level"
    young = replace(STATE, measured=(("a", 0.0), ("b", NOW - 30)))
    assert share(50, young, targets=TARGETS) == 0.8, "what a young replica has missed is no verdict"


@pytest.mark.parametrize(
    ("kind", "running", "late", "elsewhere", "moves"),
    [("ttft", 16, 0, 0, 1), ("ttft", 16, 0, 1, 0), ("ttft", 2, 50, 1, -1), ("interToken", 16, 0, 1, 1)],
)
def test_nothing_says_that_first_tokens_are_in_time_while_requests_wait_in_routers(
    kind: str, running: float, late: float, elsewhere: float, moves: int
) -> None:
    targets, state = {kind: {"percentile": 95, "milliseconds": 500}}, replace(STATE, flows=LEVEL)
    given = seen(running, late=late, targets=targets)
    signals = replace(
        given.signals,
        prompt_tokens_per_request=value(1000),
        tokens_per_request=value(1100),
        spoken_lately=value(120),
        late_answers=value(late),
    )
    share = watch(replace(given, signals=signals), spec(targets=targets), state, elsewhere).capacities[0].share
    assert (share > 0.8) - (share < 0.8) == moves


@pytest.mark.parametrize(("before", "comes"), [(0.0, 3.0), (30.0, 2.5), (60.0, 2.0), (90.0, 2.0)])
def test_of_those_who_wait_only_those_who_came_in_the_minute_count(before: float, comes: float) -> None:
    state = replace(STATE, backlog=(Flow(NOW - 60, before), Flow(NOW, 60.0)))
    assert arrivals(seen(), state, 60.0, NOW) == comes


def test_the_newest_rate_counts_for_a_level_in_both_directions() -> None:
    level = tuple(Flow(NOW - at, 3.0) for at in (60, 40, 20))
    assert steady(level, Flow(NOW, 2.0))
    assert not steady(level, Flow(NOW, 1.9)), "it falls"
    assert not steady(level, Flow(NOW, 4.6)), "it rises"


# --- ahead ------------------------------------------------------------------------------------------------------------


def test_ahead_asks_for_what_takes_the_bound_and_says_how() -> None:
    coming = bound(RISING, 120.0)
    assert coming is not None
    assert coming.most == pytest.approx(4.8)
    said = "4.8 requests/s may come within 120 s (3.9 now), 0.8 are a replica's"
    assert asked_ahead() == Step("ahead", 6, reasons.LOOK_AHEAD, said)


def test_ahead_has_a_reason_only_where_it_asks_for_more() -> None:
    for replicas in (6, 7):
        found = asked_ahead(replicas=replicas)
        assert found is not None
        assert (found.replicas, found.reason) == (replicas, "")


def test_until_a_start_was_measured_a_usual_one_is_assumed() -> None:
    unknown = asked_ahead(replace(STATE, startup_seconds=None))
    assert unknown == asked_ahead(replace(STATE, startup_seconds=STARTUP_SECONDS))
    long = asked_ahead(replace(STATE, startup_seconds=600.0))
    assert long is not None
    assert long.replicas > 6


@pytest.mark.parametrize(("age", "asks"), [(60, True), (61, False)])
def test_ahead_follows_the_newest_rate_for_a_minute(age: float, asks: bool) -> None:
    flows = tuple(replace(flow, at=flow.at - age) for flow in RISING)
    assert (asked_ahead(replace(STATE, flows=flows)) is not None) == asks


# --- targets ----------------------------------------------------------------------------------------------------------


def asked_for_targets(
    view_: TierView | None = None, *, asked: int = 2, state: TierState = STATE, late: float = 50
) -> Step:
    given = seen(targets=TARGETS, late=late) if view_ is None else view_
    trail = Trail(given.replicas)
    trail.step("load", asked)
    ask_for_targets(trail, given, spec(targets=TARGETS), state)
    return trail.steps[-1]


MISSED = "50 of 120 requests had no token after 2500 ms, 5% may"


def test_a_missed_level_asks_for_one_more_than_there_are() -> None:
    assert asked_for_targets() == Step("targets", 3, reasons.TARGET, MISSED)
    assert asked_for_targets(seen(targets=TARGETS, current=4)) == Step("targets", 4, reasons.TARGET, MISSED)


@pytest.mark.parametrize("asked", [3, 7])
def test_where_the_load_asks_for_as_much_the_level_is_no_reason(asked: int) -> None:
    assert asked_for_targets(asked=asked) == Step("targets", asked, "", MISSED)


def test_replicas_with_room_would_not_be_helped_and_that_is_said() -> None:
    idle = seen(0, targets=TARGETS)
    idle = replace(idle, signals=replace(idle.signals, first_token_seconds=value(1.0)))
    found = asked_for_targets(idle)
    assert (found.replicas, found.reason) == (2, reasons.TARGET_OUT_OF_REACH)
    assert found.message.startswith(f"{MISSED}; the replicas are ")
    assert found.message.endswith("% full, more of them would not help")
