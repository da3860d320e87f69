"""Checks the stabilization window: how high, how long, and what is kept when there is no room."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.decide.make import NOW, spec
from tierwise.api.modeltier_status import ModelTierStatus, ScalingMemory, ScalingStatus
from tierwise.decide.capacity_estimate import learned_for
from tierwise.decide.stabilization import MOST_PEAKS, held, raised, remembered, standing, with_headroom
from tierwise.decide.state_codec import remember, restore
from tierwise.types import Peak, TierState

WINDOW = 300.0


def many(gaps: dict[int, float]) -> tuple[Peak, ...]:
    """As many peaks as there is room for, each 5 s after the one above it, or as `gaps` has it for a place."""
    peaks, at = [], NOW - 250
    for place in range(MOST_PEAKS):
        at += gaps.get(place, 5.0)
        peaks.append(Peak(100 - place, at))
    return tuple(peaks)


@pytest.mark.parametrize("place", [1, 7, MOST_PEAKS - 1])
def test_without_room_the_two_peaks_that_are_closest_in_time_become_one(place: int) -> None:
    """It holds as high as the higher of them, and as long as the later; the others are untouched."""
    peaks = many({place: 1.0})
    kept = held(TierState(recommended=1, peaks=peaks), 50, NOW, WINDOW).peaks
    joined = Peak(peaks[place - 1].replicas, peaks[place].at)
    assert kept == (*peaks[: place - 1], joined, *peaks[place + 1 :], Peak(50, NOW))


def test_without_room_the_new_peak_may_be_the_one_that_is_joined() -> None:
    peaks = many({})
    at = peaks[-1].at + 1
    assert held(TierState(recommended=1, peaks=peaks), 50, at, WINDOW).peaks == (
        *peaks[:-1],
        Peak(peaks[-1].replicas, at),
    )


def test_of_equal_peaks_the_later_stays() -> None:
    peaks = (Peak(5, NOW - 50), Peak(5, NOW - 90), Peak(5, NOW - 20))
    assert held(TierState(recommended=1, peaks=peaks), 3, NOW, WINDOW).peaks == (Peak(5, NOW - 20), Peak(3, NOW))


def test_a_peak_lower_and_older_than_another_says_nothing() -> None:
    peaks = (Peak(5, NOW - 20), Peak(4, NOW - 50), Peak(3, NOW - 10))
    assert held(TierState(recommended=2, peaks=peaks), 2, NOW, WINDOW).peaks == (Peak(5, NOW - 20), Peak(3, NOW - 10))


def test_a_peak_counts_for_the_window_and_not_a_second_more() -> None:
    peaks = (Peak(5, NOW - WINDOW), Peak(4, NOW - WINDOW + 1), Peak(3, NOW + 60))
    assert standing(peaks, NOW, WINDOW) == (Peak(4, NOW - WINDOW + 1), Peak(3, NOW))


@pytest.mark.parametrize(("seconds", "passed"), [(29.0, 0.0), (30.0, 0.0), (30.4, 1.0), (33.0, 3.0), (130.0, 100.0)])
def test_the_clock_of_the_window_stands_beyond_three_intervals(seconds: float, passed: float) -> None:
    """The time that nobody observed is added to the peak's; whole seconds, up."""
    memory = TierState(recommended=2, peaks=(Peak(7, NOW - 100),), observed_at=NOW - seconds)
    assert remembered(memory, 2, NOW, WINDOW, interval=10.0).peaks == (Peak(7, NOW - 100 + passed),)


def test_the_interval_is_that_of_the_metrics_and_ten_seconds_unless_said() -> None:
    memory = TierState(recommended=2, peaks=(Peak(7, NOW - 100),), observed_at=NOW - 60)
    assert remembered(memory, 2, NOW, WINDOW).peaks == (Peak(7, NOW - 70),)
    assert remembered(memory, 2, NOW, WINDOW, interval=20.0).peaks == memory.peaks


def test_before_anything_was_observed_the_clock_runs() -> None:
    memory = TierState(recommended=2, peaks=(Peak(7, NOW - 100),))
    kept = remembered(memory, 2, NOW, WINDOW)
    assert kept == replace(memory, observed_at=NOW)


def test_what_was_recommended_becomes_a_peak_when_less_is() -> None:
    kept = remembered(TierState(recommended=6, observed_at=NOW - 10), 2, NOW - 0.5, WINDOW)
    assert (kept.recommended, kept.peaks, kept.observed_at) == (2, (Peak(6, NOW),), NOW - 0.5)


def test_from_incomplete_metrics_only_a_higher_recommendation_counts() -> None:
    memory = TierState(recommended=5, peaks=(Peak(9, NOW - 400), Peak(7, NOW - 10), Peak(6, NOW - 5)))
    assert raised(memory, 5, NOW, WINDOW) is memory
    assert raised(memory, 4, NOW, WINDOW) is memory
    higher = raised(memory, 6, NOW, WINDOW)
    assert (higher.recommended, higher.peaks) == (6, (Peak(7, NOW - 10),)), "what is over or not above it is gone"
    assert raised(TierState(), 1, NOW, WINDOW).recommended == 1


def test_holding_lowers_the_recommendation_and_never_raises_it() -> None:
    assert held(TierState(), 4, NOW, WINDOW).recommended == 4
    assert held(TierState(recommended=6), 4, NOW, WINDOW).recommended == 4
    found = held(TierState(recommended=2), 4, NOW, WINDOW)
    assert (found.recommended, found.peaks) == (2, (Peak(4, NOW),))


@pytest.mark.parametrize(("load", "replicas"), [(0.0, 0), (0.8, 1), (0.81, 2), (4.0, 5), (4.01, 6)])
def test_headroom_leaves_a_fifth(load: float, replicas: int) -> None:
    assert with_headroom(load) == replicas


@pytest.mark.parametrize(
    ("kept", "known"), [("1.0", 1.0), ("1.5", 1.5), ("0.9", None), ("", None), (None, None), ("inf", None)]
)
def test_a_learned_number_comes_back_from_one_on(kept: str | None, known: float | None) -> None:
    status = ModelTierStatus(scaling=ScalingStatus(memory=ScalingMemory(requests_per_replica=kept)))
    assert restore(status, NOW).requests_per_replica == known


@pytest.mark.parametrize(
    "inert",
    [
        {"scaling": {"minReplicas": 2, "maxReplicas": 9}},
        {"replicas": 3},
        {"price": {"gpuHour": "9"}},
        {"drainSeconds": 7},
        {"startupTimeoutSeconds": 77},
        {"rollout": "Replace"},
    ],
)
def test_what_changes_no_engine_forgets_nothing(inert: dict[str, object]) -> None:
    plain = spec()
    changed = type(plain).model_validate(plain.model_dump(by_alias=True, exclude_none=True) | inert)
    assert changed != plain
    assert learned_for(changed) == learned_for(plain)


@pytest.mark.parametrize(
    "engine",
    [
        {"batching": {"maxSequences": 15}},
        {"contextLength": 4096},
        {"quantization": {"method": "fp8_per_tensor"}},
        {"model": {"name": "m", "uri": "hf://org/other"}},
        {"caching": {"prefix": "Disabled"}},
        {"extraArgs": ["--seed=1"]},
        {"resources": {"gpus": 1, "memory": "9Gi"}},
    ],
)
def test_another_engine_starts_to_learn_anew(engine: dict[str, object]) -> None:
    plain = spec()
    changed = type(plain).model_validate(plain.model_dump(by_alias=True, exclude_none=True) | engine)
    assert learned_for(changed) != learned_for(plain)


def test_without_a_learned_number_nothing_is_kept_of_what_it_was_learned_for() -> None:
    assert remember(TierState(recommended=2, learned_for="abc")).learned_for == ""
    assert remember(TierState(recommended=2, requests_per_replica=8.0, learned_for="abc")).learned_for == "abc"
