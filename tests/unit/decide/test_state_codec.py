"""Checks that the state survives a status unchanged, and that a bad status does no harm."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.builders.workloads import scale_to
from tests.unit.decide.make import NOW, Loop, spec, spread, view
from tests.unit.decide.make import plan as planned
from tierwise import reasons
from tierwise.api.modeltier_status import (
    CapacityStatus,
    ClampStatus,
    DecisionStatus,
    InferenceServiceRef,
    ModelTierStatus,
    PeakStatus,
    RateStatus,
    RenderedStatus,
    RolloutStatus,
    ScalingMemory,
    ScalingStatus,
)
from tierwise.decide import remember
from tierwise.decide.stabilization import MOST_PEAKS, floor, held, remembered, standing
from tierwise.decide.state_codec import restore, resume
from tierwise.types import LengthCapacity, Peak, PodSample, PoolClamp, PoolRate, TierState


def status(memory: ScalingMemory) -> ModelTierStatus:
    return ModelTierStatus(scaling=ScalingStatus(memory=memory))


def test_a_memory_survives_the_status() -> None:
    memory = TierState(3, (Peak(7, NOW - 50), Peak(5, NOW - 20)), 12.4, "abc")
    assert restore(status(remember(memory)), NOW) == replace(memory, resumed=True)


def test_what_was_learned_of_replicas_survives_the_status_and_never_grows() -> None:
    memory = TierState(
        3,
        learned_for="abc",
        capacities=(LengthCapacity(2048, 256, 5.678, 0.8123), LengthCapacity(256, 16, 0.0123456, 0.3)),
        startup_seconds=98.0,
    )
    back = restore(status(remember(memory)), NOW)
    assert (back.startup_seconds, back.learned_for) == (98.0, "abc")
    assert back.capacities == (LengthCapacity(2048, 256, 5.67, 0.81), LengthCapacity(256, 16, 0.0123, 0.3))


def test_what_was_learned_of_pools_survives_the_status() -> None:
    rates = (PoolRate("h100", 5123.4, "abc"), PoolRate("l4", 812.0, "def"))
    clamps = (PoolClamp("h100", 2, NOW - 50, 3), PoolClamp("l4", 0, NOW - 20, 1))
    back = restore(status(remember(TierState(3, rates=rates, clamps=clamps))), NOW)
    assert (back.rates, back.clamps) == (rates, clamps)


def test_a_rate_or_a_time_that_cannot_be_read_is_none_and_now() -> None:
    kept = ScalingMemory(
        rates=[RateStatus(pool="h100", tokens_per_second="many", learned_for="abc")],
        clamps=[ClampStatus(pool="h100", replicas=2, time="yesterday", tries=1)],
    )
    back = restore(status(kept), NOW)
    assert (back.rates, back.clamps) == ((), (PoolClamp("h100", 2, NOW, 1),))


def test_the_progress_of_a_change_is_known_in_each_pool_that_has_one() -> None:
    moving = RolloutStatus(rendered=RenderedStatus(hash="abc", template="def"))
    services = [
        InferenceServiceRef(name="chat-a", pool="a", rollout=moving),
        InferenceServiceRef(name="chat-b", pool="b"),
    ]
    written = ModelTierStatus(inference_services=services)
    assert restore(written, NOW).rollouts == (("chat-a", moving),)
    assert resume(TierState(), written, NOW).rollouts == (("chat-a", moving),)


@pytest.mark.parametrize("rate", ["", "many", "nan", "inf", "-3", "0"])
def test_a_rate_that_is_none_is_not_learned(rate: str) -> None:
    kept = CapacityStatus(prompt=1, answer=1, requests_per_second=rate, share_percent=80)
    assert restore(status(ScalingMemory(capacities=[kept])), NOW).capacities == ()


def test_what_a_decision_leaves_is_what_a_status_holds() -> None:
    loop = Loop(spec())
    for requests in (100, 100, 60, 20, 20):
        loop.tick(requests, seconds=10.3, runs=9)
    back = restore(status(remember(loop.memory)), loop.now)
    assert (back.recommended, back.peaks) == (loop.memory.recommended, loop.memory.peaks)
    assert (back.requests_per_replica, back.learned_for) == (loop.memory.requests_per_replica, loop.memory.learned_for)
    assert loop.memory.requests_per_replica is not None
    assert loop.memory.peaks


@pytest.mark.parametrize("learned", ["", "many", "nan", "inf", "-3", "0.2"])
def test_a_number_that_is_none_is_not_learned(learned: str) -> None:
    assert restore(status(ScalingMemory(requests_per_replica=learned)), NOW).requests_per_replica is None


def test_a_time_that_is_none_or_to_come_is_now() -> None:
    kept = ScalingMemory(
        recommended=1,
        peaks=[PeakStatus(replicas=4, time="soon"), PeakStatus(replicas=6, time="2999-01-01T00:00:00Z")],
    )
    assert restore(status(kept), NOW).peaks == (Peak(6, NOW), Peak(4, NOW))


def test_a_process_without_a_state_of_its_own_takes_the_one_of_the_status() -> None:
    kept = ScalingMemory(recommended=2, peaks=[PeakStatus(replicas=4, time="soon")])
    assert resume(None, status(kept), NOW) == restore(status(kept), NOW)
    own = TierState(recommended=3)
    assert resume(own, status(kept), NOW) == own


def test_a_change_of_replicas_whose_time_cannot_be_read_was_made_after_everything() -> None:
    change = DecisionStatus.model_validate({"time": "soon", "from": 1, "to": 2, "reason": reasons.LOAD})
    written = ModelTierStatus(scaling=ScalingStatus(decisions=[change]))
    assert restore(written, NOW).scaled_at == math.inf


def test_nothing_changes_while_nothing_changes() -> None:
    loop = Loop(spec())
    loop.tick(50)
    kept = remember(loop.memory)
    for _ in range(100):
        loop.tick(50)
        assert remember(loop.memory) == kept


def test_a_window_is_the_highest_recommendations_each_later_than_the_one_above_it() -> None:
    memory = TierState(recommended=9, observed_at=NOW)
    for number, recommended in enumerate((7, 5, 6, 3)):
        memory = remembered(memory, recommended, NOW + 10 * number, 300)
    assert memory.recommended == 3
    assert memory.peaks == (Peak(9, NOW), Peak(7, NOW + 10), Peak(6, NOW + 30))


def test_a_window_of_many_steps_fits_the_status_and_still_holds_as_high_and_as_long() -> None:
    memory, highest = TierState(recommended=1000), []
    for number in range(100):
        memory = remembered(memory, 999 - number, NOW + 10 * number, 3600)
        peak = floor(memory, NOW + 10 * number, 3600)
        assert peak is not None
        highest.append(peak.replicas)
    assert len(memory.peaks) == MOST_PEAKS
    assert set(highest) == {1000}
    exact = {1000 - number: NOW + 10 * number for number in range(100)}
    for peak in memory.peaks:
        assert peak.at >= exact[peak.replicas]


def test_peaks_end_after_the_window_and_a_clock_that_was_set_back_does_not_prolong_them() -> None:
    assert standing([Peak(4, NOW)], NOW + 299, 300) == (Peak(4, NOW),)
    assert standing([Peak(4, NOW)], NOW + 300, 300) == ()
    assert standing([Peak(4, NOW + 86400)], NOW, 300) == (Peak(4, NOW),)
    assert standing([Peak(4, NOW)], NOW, 0) == ()


def test_time_in_which_nothing_was_measured_does_not_count() -> None:
    memory = TierState(recommended=2, peaks=(Peak(5, NOW - 250),), observed_at=NOW)
    assert remembered(memory, 2, NOW + 10, 300).peaks == (Peak(5, NOW - 250),)
    assert remembered(memory, 2, NOW + 1000, 300).peaks == (Peak(5, NOW + 720),), "but for three intervals"


@pytest.mark.parametrize("interval", [10.0, 60.0, 300.0])
def test_a_window_lasts_as_long_however_slow_the_tick(interval: float) -> None:
    loop = Loop(spec(), replicas=5, memory=TierState(recommended=5), interval=interval)
    began = loop.now
    while loop.replicas == 5 and loop.now < began + 3600:
        loop.tick(5, seconds=interval)
    assert (loop.replicas, loop.now - began) == (1, interval + 300)


def test_replicas_found_after_a_restart_count_as_recommended() -> None:
    assert held(TierState(2, (Peak(3, NOW - 9),)), 6, NOW, 300).peaks == (Peak(6, NOW),)
    assert held(TierState(), 6, NOW, 300) == TierState(recommended=6)


def test_without_a_memory_replicas_are_held_for_one_window() -> None:
    loop = Loop(spec(), replicas=5, memory=TierState())
    for number in range(30):
        assert loop.tick(5).target == 5
        assert loop.memory.forgotten_until == NOW + 10 + 300
        if number:
            assert loop.memory.recommended == 1
    assert loop.tick(5).target == 1


def test_what_is_forgotten_is_said() -> None:
    made = planned(view(spec(), spread(5, 5), current=5), TierState())
    assert made.decision is not None
    assert made.decision.limited_by == reasons.NO_MEMORY
    assert scale_to(made) is None


def test_a_restart_starts_the_window_anew() -> None:
    loop = Loop(spec(), replicas=5, memory=TierState(recommended=5))
    for _ in range(20):
        loop.tick(5)
    loop.restart()
    for _ in range(30):
        assert loop.tick(5).target == 5
        assert loop.memory.forgotten_until is None
    assert loop.tick(5).target == 1


def test_a_restart_amid_incomplete_metrics_counts_its_window_from_the_first_complete_ones() -> None:
    half = view(spec(), (*spread(5, 4), PodSample("hung")), current=5)
    memory = TierState(recommended=2, resumed=True)
    assert planned(half, memory).state.resumed
    made = planned(view(spec(), spread(5, 5), current=5), memory, now=NOW + 60)
    assert made.state.peaks == (Peak(5, NOW + 60),)
    assert not made.state.resumed


def test_a_restart_without_metrics_keeps_the_memory_until_there_are_some() -> None:
    memory = TierState(recommended=2, resumed=True)
    made = planned(view(spec(), (), ready=("a",), current=5), memory)
    assert remember(made.state) == remember(memory)
    assert made.state.resumed
    assert scale_to(made) is None
