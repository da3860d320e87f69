"""Checks what holds for every decision, whatever was measured, remembered or asked for.

The values come from Hypothesis, the worst first: infinities that were taken for values, empty pages, one replica of a
hundred without a sample, clocks that jump.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.builders.workloads import scale_to
from tests.unit.decide.make import HEALTHY, KEY, NOW, SEQUENCES, WAITING, Loop, plan, pod, sample, spec, spread, view
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.decide import decide, remember
from tierwise.decide.capacity_estimate import learned_for
from tierwise.decide.state_codec import restore
from tierwise.types import MetricsHealth, Peak, PodSample, Signal, Snapshot, State, TierKey, TierState, TierView

FAST = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SIMULATED = settings(max_examples=6, deadline=None)

SHARE = SEQUENCES + WAITING
number = st.one_of(st.floats(0, 500), st.sampled_from([0.0, -0.0, 1e-308, 1e308, 5e5]))
value = st.builds(Signal, st.just(State.VALUE), number, st.floats(NOW - 40, NOW))
broken = st.builds(
    Signal,
    st.sampled_from([State.MISSING, State.STALE, State.INVALID]),
    st.sampled_from([0.0, math.nan, math.inf, -1.0]),
)
signal = st.one_of(value, value, value, broken)
kv = st.builds(Signal, st.just(State.VALUE), st.floats(0, 1), st.just(NOW))
capacity = st.builds(Signal, st.just(State.VALUE), st.sampled_from([5e4, 1e5, 2e5]), st.just(NOW))


@st.composite
def replicas(draw: st.DrawFn, signals: st.SearchStrategy[Signal] = signal) -> tuple[PodSample, ...]:
    """Up to six replicas."""
    names = draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=6))
    kinds = (signals, signals, st.one_of(kv, signals), st.one_of(capacity, signals))
    return tuple(PodSample(name, *(draw(kind) for kind in kinds)) for name in sorted(names))


memories = st.builds(
    TierState,
    recommended=st.one_of(st.none(), st.integers(1, 30)),
    peaks=st.lists(st.builds(Peak, st.integers(1, 30), st.floats(NOW - 900, NOW + 900)), max_size=5).map(tuple),
    requests_per_replica=st.one_of(st.none(), st.floats(1, 16)),
    learned_for=st.sampled_from(["", learned_for(spec())]),
    resumed=st.booleans(),
    queued=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 20)), max_size=3).map(tuple),
    measured=st.one_of(
        st.none(), st.dictionaries(st.sampled_from("abcdef"), st.floats(NOW - 900, NOW)).map(lambda d: tuple(d.items()))
    ),
    sampled_at=st.one_of(st.none(), st.floats(NOW - 60, NOW)),
    observed_at=st.one_of(st.none(), st.floats(NOW - 900, NOW + 900)),
)


@st.composite
def tiers(draw: st.DrawFn, signals: st.SearchStrategy[Signal] = signal) -> TierView:
    """A tier in any state."""
    low = draw(st.integers(1, 6))
    wanted = spec(
        minReplicas=low,
        maxReplicas=low + draw(st.integers(0, 20)),
        tolerancePercent=draw(st.integers(0, 50)),
        scaleDownWindowSeconds=draw(st.sampled_from([0, 20, 300, 3600])),
    )
    samples = draw(replicas(signals))
    ready = tuple(sorted({each.pod for each in samples} | draw(st.frozensets(st.sampled_from("abcxyz"), max_size=3))))
    tokens = draw(st.one_of(signals, st.just(Signal(State.MISSING))))
    return view(wanted, samples, current=draw(st.integers(0, 30)), ready=ready, tokens=tokens)


@FAST
@given(tiers(), memories, st.booleans())
def test_the_target_is_always_within_its_bounds(seen: TierView, memory: TierState, ok: bool) -> None:
    made = plan(seen, memory, metrics=MetricsHealth(ok))
    assert made.decision is not None
    assert seen.tier.spec is not None
    scaling = seen.tier.spec.scaling
    assert scaling.min_replicas <= made.decision.target <= scaling.max_replicas
    assert scale_to(made) in (None, made.decision.target)
    assert all(len(step.message) <= 256 for step in made.decision.steps)
    remember(made.state)


@FAST
@given(tiers(), memories, st.integers(0, 40))
def test_a_pin_is_exact_whatever_else_is(seen: TierView, memory: TierState, pinned: int) -> None:
    assert seen.tier.spec is not None
    fixed = replace(seen, tier=replace(seen.tier, spec=seen.tier.spec.model_copy(update={"replicas": pinned})))
    made = plan(fixed, memory)
    assert made.decision is not None
    assert made.decision.target == pinned


@FAST
@given(tiers(value), memories, st.data())
def test_one_signal_that_is_no_value_never_lowers(seen: TierView, memory: TierState, data: st.DataObject) -> None:
    assume(seen.workloads[0].ready_endpoints and seen.signals.pods)
    assert seen.tier.spec is not None
    assume(seen.workloads[0].deployment is not None)
    name = data.draw(st.sampled_from(sorted({each.pod for each in seen.signals.pods})))
    kind = data.draw(st.sampled_from(["running", "waiting", "kv_usage", "kv_capacity_tokens"]))
    bad: dict[str, Any] = {kind: data.draw(broken)}
    pods = tuple(replace(each, **bad) if each.pod == name else each for each in seen.signals.pods)
    made = plan(replace(seen, signals=replace(seen.signals, pods=pods)), memory)
    assert made.decision is not None
    assert made.decision.target >= min(made.decision.current, seen.tier.spec.scaling.max_replicas)


@FAST
@given(tiers(value), memories, st.booleans())
def test_absence_never_lowers(seen: TierView, memory: TierState, ok: bool) -> None:
    """No series at all, or an answer without the last replica, or no answer."""
    assert seen.tier.spec is not None
    for pods in ((), seen.signals.pods[:-1]):
        assume(len(pods) < len(seen.signals.pods) or not ok)
        less = replace(seen, signals=replace(seen.signals, pods=pods))
        made = plan(less, memory, metrics=MetricsHealth(ok))
        assert made.decision is not None
        assert made.decision.target >= min(made.decision.current, seen.tier.spec.scaling.max_replicas)


@FAST
@given(tiers(value), memories, st.data())
def test_more_load_never_gives_fewer_replicas(seen: TierView, memory: TierState, data: st.DataObject) -> None:
    more = tuple(
        replace(
            each,
            running=replace(each.running, value=each.running.value + data.draw(st.floats(0, 300))),
            waiting=replace(each.waiting, value=each.waiting.value + data.draw(st.floats(0, 300))),
            kv_usage=replace(each.kv_usage, value=each.kv_usage.value + data.draw(st.floats(0, 1))),
        )
        for each in seen.signals.pods
    )
    tokens = Signal(State.VALUE, 500.0, NOW)  # a known mean: an estimated one falls when more requests share the memory
    low, high = (
        plan(replace(seen, signals=replace(seen.signals, pods=pods, tokens_per_request=tokens)), memory).decision
        for pods in (seen.signals.pods, more)
    )
    assert low is not None
    assert high is not None
    assert high.target >= low.target


@FAST
@given(tiers(), memories)
def test_the_same_input_gives_the_same_plan(seen: TierView, memory: TierState) -> None:
    others = [replace(seen, tier=replace(seen.tier, key=TierKey("n", name))) for name in "cab"]
    plans = [decide(Snapshot(NOW, tuple(order), HEALTHY), {KEY: memory}) for order in (others, others[::-1])]
    assert plans[0] == plans[1] == decide(Snapshot(NOW, tuple(others), HEALTHY), {KEY: memory})
    assert [each.key for each in plans[0].tiers] == sorted(each.key for each in plans[0].tiers)


@FAST
@given(tiers(value), memories)
def test_deciding_again_from_the_same_samples_changes_nothing(seen: TierView, memory: TierState) -> None:
    """Events wake the loop between two scrapes. The second decision may use what the first has learned."""
    second = plan(seen, plan(seen, memory).state)
    third = plan(seen, second.state)
    assert (third.state, scale_to(third)) == (second.state, scale_to(second))


@FAST
@given(tiers(), memories)
def test_a_memory_survives_the_status_and_never_lowers_after_it(seen: TierView, memory: TierState) -> None:
    """A process that decided before, against one that starts now with what the status has of it."""
    lived = plan(seen, memory).state
    later = NOW + 10
    scaling = ModelTierStatus().scaling.model_copy(update={"memory": remember(lived)})
    back = restore(ModelTierStatus().model_copy(update={"scaling": scaling}), later)
    ran_on, started = (plan(seen, each, now=later).decision for each in (lived, back))
    assert ran_on is not None
    assert started is not None
    assert started.target >= ran_on.target


loads = st.lists(st.floats(0, 180), min_size=3, max_size=60)


@settings(max_examples=25, deadline=None)
@given(loads, st.integers(0, 59), st.integers(0, 1), st.sampled_from([0.0, 30.0]), st.sampled_from([6.0, 16.0]))
def test_a_restart_at_any_tick_gives_no_lower_target(
    load: list[float], at: int, behind: int, start: float, runs: float
) -> None:
    """Also when the status that it reads was written a tick before. What was learned in that tick only is lost, so the
    learned number is kept out of that case."""
    assume(behind == 0 or runs == SEQUENCES)
    loop, statuses = Loop(spec(), start=start), [TierState(recommended=1)]
    for requests in load[: at % len(load) + 1]:
        statuses.append(loop.memory)
        before = replace(loop, ready=list(loop.ready), history=list(loop.history))
        loop.tick(requests, runs=runs)
    again = replace(before, ready=list(before.ready), history=list(before.history))
    again.memory = statuses[-1 - behind] if behind < len(statuses) else statuses[0]
    again.restart()
    again.tick(load[at % len(load)], runs=runs)
    assert again.replicas >= loop.replicas
    held = again.replicas
    for _ in range(29):
        again.tick(0.0, runs=runs)
        assert again.replicas >= min(held, before.replicas), "nothing falls for a window"


def _turns(history: list[int]) -> int:
    """Changes of direction."""
    moves = [after - before for before, after in pairwise(history) if after != before]
    return sum(1 for before, after in pairwise(moves) if (before > 0) != (after > 0))


@SIMULATED
@given(
    st.floats(1, 180),
    st.integers(1, 10),
    st.integers(0, 2**32),
    st.sampled_from(["uniform", "extremes", "slow"]),
    st.sampled_from([0.0, 120.0]),
    st.sampled_from([20, 300]),
)
def test_a_load_that_wavers_by_ten_percent_never_turns_after_settling(
    requests: float, replicas_first: int, seed: int, kind: str, start: float, window: int
) -> None:
    """Two hours. `slow` stays at one end of the band for longer than the window, which is the worst case."""
    rng = random.Random(seed)
    loop = Loop(spec(scaleDownWindowSeconds=window), replicas=replicas_first, start=start)
    loop.ready = [0.0] * replicas_first
    for step in range(720):
        if kind == "slow":
            noise = 0.1 if (step // 40) % 2 else -0.1
        else:
            noise = rng.uniform(-0.1, 0.1) if kind == "uniform" else rng.choice([-0.1, 0.1])
        loop.tick(requests * (1 + noise))
    # What lets it fall (80 %) and what lets it rise (110 %) are further apart than the ends of the noise.
    assert _turns(loop.history[60:]) == 0
    assert _turns(loop.history) <= 2
    assert requests * 0.9 <= loop.replicas * SHARE * 1.1
    assert loop.replicas <= max(replicas_first, math.ceil(requests * 1.1 / SHARE) + 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(21, 190), st.sampled_from([0.0, 60.0, 300.0]))
def test_a_load_step_goes_up_in_one_decision_and_never_beyond(users: int, start: float) -> None:
    """A fixed number of users: whatever the replicas do, so many requests are in the tier."""
    offered = math.ceil(users / SHARE)
    loop = Loop(spec(), start=start)
    loop.tick(0)
    assert loop.tick(users).target == (offered if users > SHARE * 1.1 else 1)
    for _ in range(40):
        loop.tick(users)
    assert max(loop.history) <= offered
    for _ in range(31):
        loop.tick(0)
    assert loop.replicas == 1
    assert _turns(loop.history) <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(30, 150), st.integers(3, 15))
def test_what_is_learned_never_takes_a_step_beyond_one_more(users: int, runs: int) -> None:
    """Replicas run fewer at once than allowed, which only shows under load: more replicas follow, and no more than
    that number asks for (five per cent off, at most one more)."""
    loop = Loop(spec(maxReplicas=60))
    for _ in range(60):
        loop.tick(users, runs=float(runs))
    assert max(loop.history) <= math.ceil(users / (runs + WAITING)) + 1
    assert _turns(loop.history) == 0


@pytest.mark.parametrize("hostile", [0, 1, 4])
def test_replicas_that_never_become_ready_do_not_make_more_of_them(hostile: int) -> None:
    loop = Loop(spec(), start=1e9)
    loop.tick(60)
    for _ in range(hostile * 50 + 10):
        loop.tick(60)
    assert loop.replicas == 3


def test_unready_pods_are_counted_when_they_hold_requests() -> None:
    samples = (*spread(40, 2), sample("drowning", 16, 30))
    names = tuple(each.pod for each in samples[:2])
    seen = view(spec(), samples, current=3, ready=names, pods=tuple(pod(each.pod) for each in samples))
    assert scale_to(plan(seen, TierState(recommended=3))) == 5
