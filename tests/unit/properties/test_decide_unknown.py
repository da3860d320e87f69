"""Checks what holds when Prometheus is wrong or silent, when clocks jump, and when numbers are at the limits of a
float.

Here the values pass through `observe` as they do in the process: readings become signals, signals become replicas. What
is not known must lower nothing, whether it is absent, old, no number, or a whole tick of it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.builders.workloads import deletion_costs, scale_to
from tests.unit.decide.make import KEY, NOW, K, Loop, pod, sample, spec, spread, value, view
from tests.unit.decide.make import plan as planned
from tests.unit.properties.test_decide import FAST, memories, tiers
from tierwise.decide import remember
from tierwise.decide.demand import demand, median, replica_capacity
from tierwise.observe import signals as kinds
from tierwise.observe.signals import PodKey, PodReadings, Samples, health, tier_signals
from tierwise.types import MetricsHealth, PodSample, Signal, State, TierPlan, TierState, TierView

DAY = 86_400.0
WINDOW = 300.0
INTERVAL = 10.0
KINDS = (kinds.RUNNING, kinds.WAITING, kinds.KV_USAGE, kinds.KV_CAPACITY)
FLOWS = (kinds.PROMPT_TOKENS, kinds.ANSWER_TOKENS, kinds.FINISHED)


class Reading(NamedTuple):
    """One value, and when it was true."""

    value: float
    at: float


def readings(page: dict[str, Reading]) -> PodReadings:
    return PodReadings({kind: one.value for kind, one in page.items()}, {kind: one.at for kind, one in page.items()})


fresh = st.floats(NOW - 29, NOW)
old = st.floats(NOW - 1e6, NOW - 31)
nonsense = st.sampled_from([math.nan, math.inf, -math.inf, -1.0, -1e308, -1e-308])
garbage = st.one_of(
    st.none(),
    st.builds(Reading, nonsense, fresh),
    st.builds(Reading, st.floats(0, 100), old),
)
extreme = st.sampled_from([0.0, -0.0, 5e-324, 1e-308, 1.0, 1e9, 1e200, 1e308, 1.7976931348623157e308])


def _target(made: TierPlan) -> int:
    assert made.decision is not None
    return made.decision.target


def _most(seen: TierView) -> int:
    assert seen.tier.spec is not None
    return seen.tier.spec.scaling.max_replicas


@st.composite
def answers(draw: st.DrawFn, names: str) -> dict[PodKey, dict[str, Reading]]:
    """What Prometheus says of these replicas, in full."""
    found = {}
    for name in names:
        page = {kind: Reading(draw(st.floats(0, 60)), draw(fresh)) for kind in (kinds.RUNNING, kinds.WAITING)}
        page[kinds.KV_USAGE] = Reading(draw(st.floats(0, 1)), draw(fresh))
        page[kinds.KV_CAPACITY] = Reading(draw(st.sampled_from([5e4, 1e5])), draw(fresh))
        page |= {kind: Reading(draw(st.floats(0, 1e6)), draw(fresh)) for kind in FLOWS}
        found[PodKey(KEY.namespace, KEY.name, name)] = page
    return found


def _seen(found: dict[PodKey, dict[str, Reading]], names: str, current: int, wanted: Any) -> TierView:
    samples = Samples(
        pods={key: readings(page) for key, page in found.items()}, answered_at=NOW, interval_seconds=INTERVAL
    )
    signals = tier_signals(samples, KEY.namespace, KEY.name, tuple(names), frozenset(names), NOW)
    return replace(view(wanted, (), current=current, ready=tuple(names)), signals=signals)


@FAST
@given(st.sampled_from(["a", "ab", "abcd"]), st.integers(0, 12), memories, st.data())
def test_a_reading_that_is_absent_old_or_no_number_never_lowers(
    names: str, current: int, memory: TierState, data: st.DataObject
) -> None:
    """Any of the four gauges of any replica, one or several at once; flows may be anything at all."""
    found = data.draw(answers(names))
    for key in sorted(found):
        for kind in FLOWS:
            if data.draw(st.booleans()):
                _put(found, key, kind, data.draw(garbage))
    victims = data.draw(st.sets(st.tuples(st.sampled_from(sorted(found)), st.sampled_from(KINDS)), min_size=1))
    for key, kind in sorted(victims):
        _put(found, key, kind, data.draw(garbage))
    seen = _seen(found, names, current, spec(minReplicas=1, maxReplicas=9))
    made = planned(seen, memory)
    assert made.decision is not None
    assert made.decision.target >= min(made.decision.current, _most(seen))


def _put(found: dict[PodKey, dict[str, Reading]], key: PodKey, kind: str, reading: Reading | None) -> None:
    if reading is None:
        found[key].pop(kind, None)
    else:
        found[key][kind] = reading


@FAST
@given(st.floats(30.1, 1e9), st.integers(0, 12), memories)
def test_answers_that_grew_old_never_lower(age: float, current: int, memory: TierState) -> None:
    """Prometheus is gone: the last answers stay, all of them idle."""
    idle = {kind: Reading(K if kind == kinds.KV_CAPACITY else 0.0, NOW - age) for kind in KINDS}
    samples = Samples({PodKey(KEY.namespace, KEY.name, "a"): readings(idle)}, NOW - age, "gone", INTERVAL)
    signals = tier_signals(samples, KEY.namespace, KEY.name, ("a",), frozenset("a"), NOW)
    seen = replace(view(spec(), (), current=current, ready=("a",)), signals=signals)
    made = planned(seen, memory, metrics=health(samples, NOW))
    assert _target(made) >= min(current, _most(seen))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 150), st.booleans()), min_size=4, max_size=50),
    st.integers(0, 120),
    st.sampled_from([60, 300]),
)
def test_ticks_without_measurements_lower_nothing_and_shorten_no_window(
    ticks: list[tuple[float, bool]], gap: int, window: int
) -> None:
    """After the last tick with load nothing falls before a window of observed time: each complete tick after a gap
    counts as three intervals at most."""
    loop = Loop(spec(scaleDownWindowSeconds=window))
    for requests, blind in ticks:
        before = loop.replicas
        _tick(loop, requests, blind=blind)
        assert not blind or loop.replicas >= before
    peak = loop.replicas
    _tick(loop, peak * 20.0)
    top, watched = loop.replicas, 0
    for _ in range(gap):
        _tick(loop, 0.0, blind=True)
        assert loop.replicas == top
    while loop.replicas == top and watched < 200:
        _tick(loop, 0.0)
        watched += 1
    assert top == 1 or watched >= window / (3 * INTERVAL)
    assert loop.replicas == 1 or watched < 200, "it falls in the end"


def _tick(loop: Loop, requests: float, *, blind: bool = False) -> None:
    """One decision; `blind`: without any measurement."""
    if not blind:
        loop.tick(requests)
        return
    loop.now += INTERVAL
    names = tuple(f"pod-{number:03d}" for number in range(loop.replicas))
    seen = view(loop.spec, (), current=loop.replicas, ready=names)
    made = planned(seen, loop.memory, now=loop.now, metrics=MetricsHealth(ok=False, problem="gone"))
    loop.memory = made.state
    target = scale_to(made)
    if target is not None:
        loop.replicas = target
        loop.ready = (loop.ready + [loop.now] * loop.replicas)[: loop.replicas]
    loop.history.append(loop.replicas)


@FAST
@given(tiers(), memories, st.sampled_from([-DAY, DAY, -400 * DAY, 400 * DAY]))
def test_another_date_changes_nothing_but_the_dates(seen: TierView, memory: TierState, days: float) -> None:
    """The same world and memory, told on another day."""
    seen, memory = _moved(seen, 0.0), _remembered(memory, 0.0)
    here = planned(seen, memory)
    there = planned(_moved(seen, days), _remembered(memory, days), now=NOW + days)
    assert here.decision is not None
    assert there.decision is not None
    assert scale_to(here) == scale_to(there)
    assert deletion_costs(here) == deletion_costs(there)
    told = [[(step.name, step.replicas, step.reason) for step in each.decision.steps] for each in (here, there)]  # type: ignore[union-attr]
    assert told[0] == told[1]
    assert (here.decision.reason, here.decision.limited_by) == (there.decision.reason, there.decision.limited_by)
    assert _remembered(here.state, days) == there.state


def _moved(seen: TierView, by: float) -> TierView:
    """All times of the signals as whole seconds, later by so many."""

    def moved(signal: Any) -> Any:
        return signal if signal.at is None else replace(signal, at=float(round(signal.at)) + by)

    fields = ("running", "waiting", "kv_usage", "kv_capacity_tokens")
    pods = tuple(replace(each, **{name: moved(getattr(each, name)) for name in fields}) for each in seen.signals.pods)
    tokens = moved(seen.signals.tokens_per_request)
    return replace(seen, signals=replace(seen.signals, pods=pods, tokens_per_request=tokens))


def _remembered(memory: TierState, by: float) -> TierState:
    def moved(at: float | None) -> float | None:
        return at if not at else float(round(at)) + by  # 0.0: long ago

    return replace(
        memory,
        peaks=tuple(replace(peak, at=float(round(peak.at)) + by) for peak in memory.peaks),
        measured=None if memory.measured is None else tuple((name, moved(at) or 0.0) for name, at in memory.measured),
        sampled_at=moved(memory.sampled_at),
        observed_at=moved(memory.observed_at),
        forgotten_until=moved(memory.forgotten_until),
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 180), min_size=2, max_size=50),
    st.integers(0, 49),
    st.sampled_from([DAY, -DAY, 3600.0, -3600.0, 400 * DAY]),
)
def test_a_clock_that_jumps_lowers_nothing_early(load: list[float], at: int, jump: float) -> None:
    """A jump forward counts as a gap, of which three intervals are observed time: what falls may fall two decisions
    earlier, and no more. A jump back holds for longer."""
    still, jumped = Loop(spec()), Loop(spec())
    for number_, requests in enumerate([*load, *([0.0] * 40)]):
        if number_ == at % len(load):
            jumped.now += jump
            jumped.ready = [since + jump for since in jumped.ready]  # what starts takes as long by any clock
        still.tick(requests)
        jumped.tick(requests)
    for number_, replicas_ in enumerate(jumped.history):
        assert replicas_ >= min(still.history[number_ : number_ + 3])
    assert max(jumped.history) <= max(still.history), "and no jump makes a peak"


FULL_OF_EVERYTHING = (1.0, 0.0, 1.0, 1.7976931348623157e308)


@FAST
@given(st.lists(st.tuples(extreme, extreme, extreme, extreme), min_size=1, max_size=5), extreme, memories)
@example([FULL_OF_EVERYTHING] * 2, 0.0, TierState())
@example([(0.0, 1e308, 1.0, 1e5)] * 2, 0.0, TierState())
def test_numbers_at_the_ends_of_a_float_stay_within_bounds_and_never_vanish(
    pods: list[tuple[float, float, float, float]], tokens: float, memory: TierState
) -> None:
    """Sums overflow to infinity here, and infinity times nothing is no number: neither may read as no load."""
    samples = tuple(
        PodSample(f"pod-{index}", *(Signal(State.VALUE, figure, NOW) for figure in figures))
        for index, figures in enumerate(pods)
    )
    for mean in (Signal(State.VALUE, tokens, NOW), Signal(State.MISSING)):
        given_ = replica_capacity(spec(), 16.0)
        load = demand(samples, mean, given_)
        assert math.isfinite(load.memory)
        assert math.isfinite(load.compute)
        assert load.memory >= _held_at_least(samples, given_.memory) * 0.999 - 1e-9
        made = planned(view(spec(), samples, current=3, tokens=mean), memory)
        assert 1 <= _target(made) <= 10
        requests = sum(each.running.value + each.waiting.value for each in samples)
        assert requests < 200 or _target(made) >= min(3, 10), "a flood never lowers"
        remember(made.state)


def _held_at_least(samples: tuple[PodSample, ...], share_: float) -> float:
    """The replicas that the KV memory in use fills, computed without overflow; 0 where none is known, or
    none of a token."""
    middle = median(each.kv_capacity_tokens.value for each in samples)
    if not middle or middle < 1:
        return 0.0
    used = sum(Fraction(min(1.0, each.kv_usage.value)) * Fraction(each.kv_capacity_tokens.value) for each in samples)
    return float(min(Fraction(1_000_000), used / Fraction(share_) / Fraction(middle)))


loads = st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(0, 1)), min_size=1, max_size=5)


@FAST
@given(loads, loads, memories)
def test_replicas_that_end_with_their_requests_never_lower(
    staying: list[tuple[float, float, float]], ending: list[tuple[float, float, float]], memory: TierState
) -> None:
    """What they still serve is part of what arrives."""
    samples = tuple(sample(f"a-{index}", run, wait, kv=kv) for index, (run, wait, kv) in enumerate(staying))
    leaving = tuple(sample(f"z-{index}", run, wait, kv=kv) for index, (run, wait, kv) in enumerate(ending))
    ready = tuple(each.pod for each in samples)
    pods = (*(pod(each.pod) for each in samples), *(pod(each.pod, terminating=True) for each in leaving))
    few, lot = (
        planned(view(spec(), each, current=4, ready=ready, tokens=value(500.0), pods=pods), memory)
        for each in (samples, (*samples, *leaving))
    )
    assert _target(lot) >= _target(few)


@FAST
@given(st.floats(0, 200), st.floats(0, 1e6), st.floats(0, 1e6), memories)
def test_longer_requests_never_lower(requests: float, tokens: float, more: float, memory: TierState) -> None:
    samples = spread(requests, 4)
    short, long = (
        planned(view(spec(), samples, current=4, tokens=value(mean)), memory) for mean in (tokens, tokens + more)
    )
    assert _target(long) >= _target(short)
