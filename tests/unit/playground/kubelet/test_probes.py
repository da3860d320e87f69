"""Checks that probes turn at their thresholds, and run at their times."""

from __future__ import annotations

from itertools import groupby, islice, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.kubelet.probes import Kind, ProbeSpec, initial_state, looks, observe, probe_of

kinds = st.sampled_from(Kind)
thresholds = st.integers(min_value=1, max_value=5)


def spec_of(kind: Kind, success: int = 1, failure: int = 3, initial_delay: float = 0, period: float = 10) -> ProbeSpec:
    return ProbeSpec(kind, {}, initial_delay, period, success_threshold=success, failure_threshold=failure)


def expected(kind: Kind, success: int, failure: int, outcomes: list[bool]) -> bool | None:
    """The definition by hand: the result is that of the last run of equal outcomes that was long enough."""
    result = {Kind.LIVENESS: True, Kind.READINESS: False, Kind.STARTUP: None}[kind]
    for outcome, run in groupby(outcomes):
        if len(list(run)) >= (success if outcome else failure):
            result = outcome
    return result


@given(kinds, thresholds, thresholds, st.lists(st.booleans(), max_size=40))
def test_the_result_is_that_of_the_last_long_enough_run(
    kind: Kind, success: int, failure: int, outcomes: list[bool]
) -> None:
    spec, state = spec_of(kind, success, failure), initial_state(kind)
    for outcome in outcomes:
        state = observe(state, spec, outcome)
    assert state.passing == expected(kind, success, failure, outcomes)


@given(kinds, thresholds, st.lists(st.booleans(), max_size=40))
def test_the_result_changes_only_to_the_present_outcome(kind: Kind, threshold: int, outcomes: list[bool]) -> None:
    spec, state = spec_of(kind, threshold, threshold), initial_state(kind)
    for outcome in outcomes:
        before, state = state.passing, observe(state, spec, outcome)
        assert state.passing in (before, outcome)


@given(
    st.floats(min_value=0, max_value=60), st.floats(min_value=1, max_value=60), st.floats(min_value=0, max_value=500)
)
def test_looks_come_in_order_and_count_once_per_period(delay: float, period: float, since: float) -> None:
    spec = spec_of(Kind.READINESS, initial_delay=delay, period=period)
    found = list(islice(looks(spec, since), 20))
    assert [look.at for look in found] == sorted(look.at for look in found)
    base = max(delay, since)
    assert all(look.at > base for look in found)
    counted = [look.at for look in found if look.counts]
    assert counted == pytest.approx([base + n * period for n in range(1, len(counted) + 1)])
    assert all(look.at < base + period for look in found if not look.counts)


def test_a_startup_probe_gives_up_after_threshold_times_period() -> None:
    spec = spec_of(Kind.STARTUP, failure=6, period=10)
    counted = islice((look.at for look in looks(spec) if look.counts), 6)
    assert list(counted)[-1] == 60


def test_a_quick_server_is_seen_early() -> None:
    spec = spec_of(Kind.READINESS, period=10)
    assert len(list(takewhile(lambda look: look.at < 1, looks(spec)))) >= 4


def test_a_probe_is_read_with_the_defaults_of_the_api() -> None:
    container = {"livenessProbe": {"tcpSocket": {"port": 1}}, "readinessProbe": {"exec": {}, "periodSeconds": 3}}
    liveness = probe_of(container, Kind.LIVENESS)
    assert liveness == ProbeSpec(Kind.LIVENESS, {"tcpSocket": {"port": 1}}, 0, 10, 1, 1, 3, None)
    readiness = probe_of(container, Kind.READINESS)
    assert readiness is not None
    assert readiness.period == 3
    assert probe_of(container, Kind.STARTUP) is None
    assert Kind.STARTUP.word == "Startup"
