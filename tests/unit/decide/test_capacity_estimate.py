"""Checks that the capacity of a replica is learned from full replicas, and only from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.decide.make import NOW, SEQUENCES, WAITING, Loop, sample, spec
from tierwise.api.pod import PodMetadata
from tierwise.decide.capacity_estimate import has_queue, learn, learned_for, requests_per_replica
from tierwise.types import MISSING, PodSample, TierState


def taught(memory: TierState, *pods: PodSample) -> TierState:
    """`memory` after one more sample."""
    lesson = learn(spec(), memory, pods)
    return replace(
        memory,
        requests_per_replica=lesson.requests_per_replica,
        learned_for=learned_for(spec()),
        queued=lesson.queued,
        sampled_at=lesson.sampled_at,
    )


def test_it_starts_at_max_sequences_and_stays_there_when_a_full_batch_queues() -> None:
    memory = TierState()
    for number in range(10):
        memory = taught(memory, sample("a", SEQUENCES, 30, at=NOW + 10 * number))
        assert memory.requests_per_replica is None
    assert requests_per_replica(spec(), memory) == SEQUENCES


def test_a_replica_that_queues_below_it_lowers_it_slowly_and_stops_within_five_percent() -> None:
    memory, seen = TierState(), []
    for number in range(30):
        memory = taught(memory, sample("a", 8, 30, at=NOW + 10 * number))
        seen.append(requests_per_replica(spec(), memory))
    assert seen[:3] == [16, pytest.approx(13.6), pytest.approx(11.9)], "one sample teaches nothing"
    assert seen == sorted(seen, reverse=True)
    assert 8 <= seen[-1] <= 8 / 0.95
    assert len(set(seen[-10:])) == 1, "it comes to rest"


def test_what_waits_in_routers_says_nothing_of_how_many_a_replica_runs() -> None:
    memory = TierState()
    for number in range(10):
        lesson = learn(spec(), memory, (sample("a", 13, 1, at=NOW + 10 * number),), 50.0)
        assert lesson.requests_per_replica is None
        assert lesson.queued == (("a", -1.0),)
        memory = replace(memory, queued=lesson.queued, sampled_at=lesson.sampled_at)


def test_one_sample_with_a_queue_of_its_own_after_one_with_a_queue_in_routers_teaches_nothing() -> None:
    memory = TierState()
    for number, waiting in enumerate((0, WAITING + 1)):
        lesson = learn(spec(), memory, (sample("a", 13, waiting, at=NOW + 10 * number),), 3.0)
        assert lesson.requests_per_replica is None
        memory = replace(memory, queued=lesson.queued, sampled_at=lesson.sampled_at)
    assert memory.queued == (("a", 13.0),), "the next one does"


def test_who_has_a_queue_of_its_own_or_runs_nearly_all_while_some_wait_in_routers() -> None:
    nearly = 0.8 * SEQUENCES

    def queues(running: float, waiting: float, elsewhere: float) -> bool:
        return has_queue(spec(), TierState(), sample("a", running, waiting), elsewhere)

    assert queues(0, WAITING + 1, 0)
    assert not queues(SEQUENCES, WAITING, 0)
    assert [queues(nearly, 0, elsewhere) for elsewhere in (0, 1)] == [False, True]
    assert not queues(nearly - 1, WAITING, 99)
    whole = sample("a", SEQUENCES, WAITING + 1)
    for part in (replace(whole, running=MISSING), replace(whole, waiting=MISSING)):
        assert not has_queue(spec(), TierState(), part, 99)


def test_without_a_word_of_routers_nobody_waits_in_them() -> None:
    assert learn(spec(), TierState(), (sample("a", SEQUENCES, 1),)).queued == ()


def test_a_queue_that_comes_and_goes_teaches_nothing() -> None:
    memory = TierState()
    for number in range(10):
        memory = taught(memory, sample("a", 8, 30 if number % 2 else 0, at=NOW + 10 * number))
    assert memory.requests_per_replica is None


def test_a_replica_that_still_fills_teaches_nothing() -> None:
    memory = TierState()
    for number, running in enumerate((2, 5, 8, 12, 16)):
        memory = taught(memory, sample("a", running, 10, at=NOW + 10 * number))
        assert memory.requests_per_replica is None


def test_a_few_waiting_requests_teach_nothing() -> None:
    """They may have come during the last step of an engine that is half empty."""
    memory = TierState()
    for number in range(10):
        memory = taught(memory, sample("a", 8, WAITING, at=NOW + 10 * number))
    assert memory.requests_per_replica is None


def test_the_same_sample_again_teaches_nothing() -> None:
    first = taught(TierState(), sample("a", 8, 30))
    assert taught(first, sample("a", 8, 30, at=NOW + 0.4)) == first
    assert taught(first, sample("a", 8, 30, at=NOW + 10)).requests_per_replica == pytest.approx(13.6)


def test_running_more_than_it_proves_more() -> None:
    low = TierState(requests_per_replica=6.0, learned_for=learned_for(spec()))
    assert taught(low, sample("a", 9, 0)).requests_per_replica == 9
    assert taught(low, sample("a", 16, 0)).requests_per_replica is None, "that is maxSequences again"
    assert taught(low, sample("a", 3, 0)).requests_per_replica == 6


def test_several_replicas_teach_by_their_median() -> None:
    memory = taught(TierState(), sample("a", 2, 9), sample("b", 8, 9), sample("c", 10, 9))
    memory = taught(
        memory, *(sample(name, running, 9, at=NOW + 10) for name, running in (("a", 2), ("b", 8), ("c", 10)))
    )
    assert memory.requests_per_replica == pytest.approx(16 + 0.3 * (8 - 16))


def test_unmeasured_replicas_teach_nothing() -> None:
    memory = taught(TierState(queued=(("a", 8.0),), sampled_at=NOW), PodSample("a", MISSING, MISSING))
    assert memory.queued == (("a", 8.0),)
    assert memory.requests_per_replica is None


def test_it_belongs_to_the_engine_and_not_to_its_scaling() -> None:
    memory = TierState(requests_per_replica=6.0, learned_for=learned_for(spec()))
    assert requests_per_replica(spec(maxReplicas=4, replicas=2), memory) == 6
    assert requests_per_replica(spec(batching={"maxSequences": 32}), memory) == 32


@pytest.mark.parametrize("number", [0.0, 1e9])
def test_what_a_status_may_hold_is_kept_within_reason(number: float) -> None:
    memory = TierState(requests_per_replica=number, learned_for=learned_for(spec()))
    assert 1 <= requests_per_replica(spec(), memory) <= SEQUENCES


def test_a_tier_whose_replicas_hold_half_gets_the_replicas_that_takes_and_no_more() -> None:
    """Replicas run 8 of the 16 allowed: 60 requests need 60 / (8 + 4) = 5."""
    loop = Loop(spec())
    for _ in range(200):
        loop.tick(60, runs=8)
    assert loop.history[0] == 3, "as far as was known"
    assert loop.replicas == 5
    assert max(loop.history) == 5
    assert loop.history == sorted(loop.history)


def known(number: float, *, queued: float = 0.0) -> TierState:
    """A memory that has learned this number, and has seen the replica `a` queue with so many running."""
    return TierState(
        requests_per_replica=number,
        learned_for=learned_for(spec()),
        queued=(("a", queued),) if queued else (),
        sampled_at=NOW - 10,
    )


@pytest.mark.parametrize(("running", "learned"), [(9.6, 10.0), (9.5, 10.0), (9.4, 9.8), (5.0, 8.5), (10.4, 10.4)])
def test_within_five_percent_nothing_is_learned_and_below_a_third_of_the_way(running: float, learned: float) -> None:
    lesson = learn(spec(), known(10.0, queued=running), (sample("a", running, 30),))
    assert lesson.requests_per_replica == learned


def test_a_replica_may_run_hardly_more_than_one() -> None:
    assert requests_per_replica(spec(), known(1.2)) == 1.2
    assert requests_per_replica(spec(), known(0.4)) == 1.0
    assert learn(spec(), known(1.2), (sample("a", 1),)).requests_per_replica == 1.2


def test_the_same_sample_again_leaves_everything_as_it_was() -> None:
    memory = replace(known(9.0, queued=5.0), sampled_at=NOW)
    again = learn(spec(), memory, (sample("a", 5, 30, at=NOW + 0.2),))
    assert (again.requests_per_replica, again.queued, again.sampled_at) == (9.0, memory.queued, NOW)
    fresh = replace(memory, requests_per_replica=None, learned_for="")
    assert learn(spec(), fresh, (sample("a", 5, 30),)).requests_per_replica is None


def test_labels_of_the_pods_change_nothing_that_was_learned() -> None:
    labelled = spec().model_copy(update={"pod_metadata": PodMetadata(labels={"team": "search"})})
    assert learned_for(labelled) == learned_for(spec())
