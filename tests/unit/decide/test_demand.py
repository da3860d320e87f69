"""Checks that the load in replicas follows the formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.unit.decide.make import K, sample, spec, spread, value, view, without
from tierwise.decide.demand import ReplicaCapacity, demand, gaps, median, replica_capacity, total, whole
from tierwise.types import MISSING, PodSample, Signal, State

GIVEN = ReplicaCapacity(requests=20, memory=0.8)


def test_requests_fill_replicas_by_what_one_runs_and_may_have_waiting() -> None:
    found = demand(spread(50, 1), MISSING, GIVEN)
    assert found.compute == pytest.approx(2.5)
    assert found.requests == 50
    assert found.measured == 1


def test_an_engine_bound_by_compute_is_seen_although_its_memory_is_empty() -> None:
    found = demand((sample("a", 16, 263, kv=0.047),), value(100), GIVEN)
    assert found.memory < 0.5 < found.compute
    assert found.replicas == found.compute == pytest.approx(279 / 20)


def test_memory_counts_what_is_held_and_what_waits() -> None:
    pods = (sample("a", 4, 2, kv=0.5), sample("b", 4, 0, kv=0.3))
    found = demand(pods, value(10_000), GIVEN)
    assert found.kv_tokens == pytest.approx(80_000)
    assert found.memory == pytest.approx((80_000 + 2 * 10_000) / (0.8 * K))


def test_replicas_of_different_memory_are_weighed_by_their_own() -> None:
    small = PodSample("b", value(1), value(0), value(1.0), value(50_000))
    found = demand((sample("a", 1, kv=0.5), sample("c", 1, kv=0.5), small), MISSING, GIVEN)
    assert found.memory == pytest.approx(150_000 / (0.8 * K))


def test_an_unknown_mean_request_is_taken_from_what_running_ones_hold() -> None:
    found = demand((sample("a", 10, 5, kv=0.5),), MISSING, GIVEN)
    assert found.memory == pytest.approx((50_000 + 5 * 5_000) / (0.8 * K))


def test_waiting_requests_of_an_engine_that_runs_none_count_by_requests_only() -> None:
    found = demand((sample("a", 0, 5),), MISSING, GIVEN)
    assert found.memory == 0
    assert found.compute == pytest.approx(0.25)


def test_without_any_capacity_memory_counts_by_use() -> None:
    pods = tuple(PodSample(name, value(1), value(0), value(0.6), MISSING) for name in "ab")
    found = demand(pods, value(500), GIVEN)
    assert found.memory == pytest.approx(1.2 / 0.8)
    assert found.kv_tokens == 0


@pytest.mark.parametrize(("capacity", "waiting"), [(1.5, 500 / 1.5), (1.0, 500.0), (0.9, 0.0)])
def test_the_queue_needs_memory_however_small_a_replica_is_unless_it_holds_no_token(
    capacity: float, waiting: float
) -> None:
    pod = PodSample("a", value(1), value(5), value(0.5), value(capacity))
    assert demand((pod,), value(100), GIVEN).memory == pytest.approx((0.5 + waiting) / 0.8)


def test_an_unknown_capacity_is_the_median_of_the_known_ones() -> None:
    pods = (*(sample(name, 1, kv=0.5) for name in "abc"), PodSample("d", value(1), value(0), value(0.5), MISSING))
    assert demand(pods, MISSING, GIVEN).kv_tokens == pytest.approx(4 * 50_000)


def test_unknown_values_count_as_nothing() -> None:
    pods = (sample("a", 10), PodSample("b", Signal(State.STALE, 999.0), MISSING, Signal(State.INVALID), MISSING))
    found = demand(pods, MISSING, GIVEN)
    assert found.requests == 10
    assert found.measured == 1


def test_use_above_one_and_absurd_values_stay_finite() -> None:
    assert demand((sample("a", 1, kv=55.0),), MISSING, GIVEN).memory == pytest.approx(1 / 0.8)
    found = demand((sample("a", 1e308, 1e308, kv=1.0),), value(1e308), GIVEN)
    assert math.isfinite(found.replicas)
    assert whole(found.replicas) == 1_000_000


def test_full_memory_is_seen_although_hardly_anything_runs() -> None:
    """The estimated mean is beyond every float then: without anybody waiting it must not count."""
    full = sample("a", 5e-324, kv=1.0)
    assert demand((full,), MISSING, ReplicaCapacity(20, 0.8)).memory == pytest.approx(1.25)
    assert demand((sample("a", 5e-324, 1, kv=1.0),), MISSING, ReplicaCapacity(20, 0.8)).memory == 1e6


def test_a_replica_counts_as_measured_when_both_its_numbers_are_known() -> None:
    pods = (sample("a", 1), replace(sample("b", 1), running=MISSING), replace(sample("c", 1), waiting=MISSING))
    assert demand(pods, MISSING, GIVEN).measured == 1


def test_less_than_nothing_is_nothing() -> None:
    found = demand((sample("a", -5.0, kv=-1.0),), MISSING, GIVEN)
    assert (found.memory, found.compute) == (0.0, 0.0)


def test_nothing_measured_is_no_load() -> None:
    found = demand((), MISSING, GIVEN)
    assert (found.measured, found.replicas) == (0, 0)


def test_the_share_of_a_replica_is_what_it_runs_and_what_may_wait() -> None:
    assert replica_capacity(spec(), 16.0) == ReplicaCapacity(20.0, 0.8)
    assert replica_capacity(spec(kvCachePercent=50, waitingPerReplica=0), 12.5) == ReplicaCapacity(12.5, 0.5)


def test_an_engine_that_refuses_requests_is_full_before_it_refuses() -> None:
    """The gauges stop at maxQueuedRequests: with a share above that, refused work would look like a fit."""
    limited = replica_capacity(spec(batching={"maxQueuedRequests": 10}), 16.0)
    assert limited.requests == pytest.approx(8)
    assert demand((sample("a", 10, 0),), MISSING, limited).compute == pytest.approx(1.25)


@pytest.mark.parametrize(("load", "replicas"), [(0.0, 0), (3.0, 3), (3.0 + 1e-12, 3), (3.001, 4), (0.2, 1)])
def test_whole_replicas_forgive_rounding(load: float, replicas: int) -> None:
    assert whole(load) == replicas


def test_median_is_the_lower_middle() -> None:
    assert median([]) is None
    assert median([3, 1, 2]) == 2
    assert median([4, 1, 2, 3]) == 2


def test_gaps_name_what_is_not_measured() -> None:
    samples = spread(10, 3)
    assert gaps(view(spec(), samples)) == ()
    assert gaps(view(spec(), ())) == ("no replica is ready",)
    assert gaps(view(spec(), samples, ready=("pod-000", "new"))) == ("new: missing",)
    stale = without(samples, "pod-001", kv_capacity_tokens=Signal(State.STALE))
    invalid = without(stale, "pod-002", waiting=Signal(State.INVALID), running=MISSING)
    assert gaps(view(spec(), invalid)) == ("pod-001: stale", "pod-002: invalid")


def test_a_total_is_as_good_as_its_worst_part() -> None:
    samples = spread(12, 3)
    assert total(view(spec(), samples), "running") == value(12)
    assert total(view(spec(), without(samples, "pod-001", running=MISSING)), "running").state is State.MISSING
    assert total(view(spec(), ()), "running") == MISSING
    assert total(view(spec(), samples, ready=("pod-000",)), "running") == value(4)
