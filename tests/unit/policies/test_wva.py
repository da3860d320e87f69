"""Checks both analyzers of WVA by example, with the numbers worked out."""

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.policies.tiers import pod, pods, starting, ticks, tier
from tierwise_sim.policies.observation import TierObservation
from tierwise_sim.policies.wva_v1 import WvaV1
from tierwise_sim.policies.wva_v2 import WvaV2


def v1(**settings: Any) -> WvaV1:
    return WvaV1(**{"window_seconds": 0.0, **settings})


def v2(**settings: Any) -> WvaV2:
    return WvaV2(**{"window_seconds": 0.0, **settings})


def test_v1_adds_one_when_the_spare_of_the_unsaturated_is_small() -> None:
    """KV 0.75: spare 0.05 < 0.1. Queue 3: spare 2 < 3. All saturated: no spare at all. At 0.65 and 0.5: enough."""
    for figures, replicas in (
        ({"kv_usage": 0.75}, 4),
        ({"waiting": 3.0}, 4),
        ({"kv_usage": 0.95, "waiting": 20.0}, 4),
        ({"kv_usage": 0.65}, 3),
    ):
        assert v1()(tier(pods(3, **figures))).replicas == replicas, figures


def test_v1_leaves_saturated_pods_out_of_the_mean() -> None:
    """0.9 is saturated; the others spare 0.5 each: enough, though the mean over three would be 0.3."""
    members = (pod("full", kv_usage=0.9), pod("b", kv_usage=0.3), pod("c", kv_usage=0.3))
    assert v1(spare_kv=0.4)(tier(members)).replicas == 3


def test_v1_removes_one_when_the_others_can_carry_its_load() -> None:
    """Three at 0.4: spare 0.4; without one the load of 0.4 becomes 0.6, spare 0.2 >= 0.1. Queue 0 stays 0.
    Two at 0.4: 0.8 each, spare 0: kept. Three with a queue of 1.5: 2.25, spare 2.75 < 3: kept."""
    assert v1()(tier(pods(3, kv_usage=0.4))).replicas == 2
    assert v1()(tier(pods(2, kv_usage=0.4))).replicas == 2
    assert v1()(tier(pods(3, kv_usage=0.4, waiting=1.5))).replicas == 3


def test_v1_takes_the_maximum_of_the_minute() -> None:
    assert v1()(tier(pods(3, kv_usage=0.4, kv_usage_max_1m=0.78))).replicas == 4


def test_v1_holds_until_the_replica_that_it_asked_for_is_measured() -> None:
    full = pods(2, kv_usage=0.95)
    policy = v1()
    first = tier(full)
    growing = tier((*full, *starting(1)))
    assert ticks(policy, [first, growing, growing, growing, tier(pods(3, kv_usage=0.95))]) == [3, 3, 3, 3, 4]


def test_v1_grows_by_the_minimum_of_its_window_and_at_ten_a_tolerance_stops_it() -> None:
    """The first look recommends 2 already, so that nothing older is lower; after that every step waits 240 s."""
    measured = {count: tier(pods(count, kv_usage=0.95)) for count in (1, 2)}
    assert ticks(WvaV1(), [measured[1], *[measured[2]] * 9]) == [2] * 9 + [3]
    idle = tier(pods(10, kv_usage=0.1))
    assert v1()(idle).replicas == 10
    assert v1(tolerance=0.0)(idle).replicas == 9


def test_v1_reads_a_gap_as_idle_and_holds_when_fixed() -> None:
    """Two full pods and one that says nothing of its KV: 0, spare 0.8, enough; as measured it would have grown."""
    gap = tier((*pods(2, kv_usage=0.95, waiting=9.0), pod("gap", kv_usage=None)))
    assert v1()(gap).replicas == 3
    idle = tier((*pods(2, kv_usage=0.1), pod("gap", kv_usage=math.nan)))
    assert v1()(idle).replicas == 2
    assert v1(fixed=True)(idle).replicas == 3


GHOST = {"kv_usage": 1.0, "waiting": 20.0, "kv_capacity_tokens": 10_000.0}


def load(count: int, usage: float, *, waiting: float = 0.0, **figures: Any) -> TierObservation:
    """Replicas of 10,000 tokens of KV; requests of 500 and 200 tokens."""
    seen = tier(pods(count, kv_usage=usage, waiting=waiting))
    return replace(seen, **{"input_tokens": 500.0, "output_tokens": 200.0, **figures})


def test_v2_jumps_to_what_demand_over_capacity_asks_for() -> None:
    """k1 = 8,000. k2 = min(8192 * 200 / 700, 256) * (500 + 100) = 256 * 600 > k1. PRC = 8,000.
    Two at 0.9 with 3 waiting: D = 2 * (9,000 + 3 * 700) = 22,200; D / 0.85 = 26,118; less 16,000: 10,118 = 2 more.
    The 40 in the router: 40 * 700 = 28,000 more: 50,200 / 0.85 = 59,059 - 16,000 = 43,059: 6 more.
    With half of the prompts in the cache: 40 * 450 = 18,000: 40,200 / 0.85 - 16,000 = 31,294: 4 more."""
    assert v2()(load(2, 0.9, waiting=3)).replicas == 4
    assert v2()(load(2, 0.9, waiting=3, router_queue=40.0)).replicas == 8
    assert v2()(load(2, 0.9, waiting=3, router_queue=40.0, prefix_hit_ratio=0.5)).replicas == 6
    # February's analyzer: D = 2 * (9,000 + 3 * 500) = 21,000; / 0.85 = 24,706 - 16,000: 2 more
    assert v2(count_outputs=False)(load(2, 0.9, waiting=3)).replicas == 4


def test_v2_counts_replicas_that_start() -> None:
    seen = load(2, 0.9, waiting=3)
    assert v2()(replace(seen, pods=(*seen.pods, *starting(2)), desired=4)).replicas == 4


def test_v2_removes_what_is_spare_below_the_lower_bound_and_keeps_one() -> None:
    """Six at 0.3: D = 18,000; 6 * 8,000 - 18,000 / 0.7 = 22,286: 2 of them. Nothing at all: all but one.
    Five at 0.5: D = 25,000; 40,000 - 35,714 = 4,286 is less than one."""
    assert v2()(load(6, 0.3)).replicas == 4
    assert v2()(load(6, 0.0)).replicas == 1
    assert v2()(load(5, 0.5)).replicas == 5


def test_v2_learns_what_computing_allows_while_a_queue_stands() -> None:
    """5 wait at 0.4: k2 = 4,000 = PRC. D = 2 * (4,000 + 5 * 700) = 15,000; / 0.85 = 17,647 - 8,000 = 9,647: 3 more.
    Later nobody waits at 0.2: the learned 4,000 stays: 5 * 4,000 - 10,000 / 0.7 = 5,714: 1 less. Unlearned it would be
    5 * 8,000 - 14,286 = 25,714: 3 less. Answers of another length class have their own figure."""
    policy = v2()
    assert policy(load(2, 0.4, waiting=5)).replicas == 5
    assert policy(replace(load(5, 0.2), at=30.0)).replicas == 4
    assert v2()(load(5, 0.2)).replicas == 2
    assert policy(replace(load(5, 0.2, output_tokens=600.0), at=60.0)).replicas == 2


def test_v2_by_the_batch_when_it_is_small() -> None:
    """S = 5: k2 = 5 * 600 = 3,000. Two at 0.28: D = 5,600; / 0.85 = 6,588 - 6,000 = 588: 1 more."""
    assert v2()(load(2, 0.28, max_sequences=5)).replicas == 3


def test_v2_reads_gaps_as_zero_and_fixed_uses_the_last_minute() -> None:
    """Four at 0.6; then two of them are silent. As coded D falls to 12,000: 4 * 8,000 - 17,143 = 14,857: 1 goes.
    Fixed: their last figures count for 60 s, then it holds."""
    full = load(4, 0.6)
    silent = [pod(f"pod-{index}", kv_usage=None, waiting=None) for index in (2, 3)]
    gap = replace(full, pods=(*full.pods[:2], *silent))
    as_coded, fixed = v2(), v2(fixed=True)
    assert ticks(as_coded, [full, gap]) == [4, 3]
    assert ticks(fixed, [full, gap, gap, gap, gap]) == [4] * 5
    dead = replace(full, pods=(*full.pods, pod("dead", ready=False, exists=False, **GHOST)))
    assert v2()(dead).replicas == 8  # D = 24,000 + 10,000 + 20 * 700; / 0.85 = 56,471 - 32,000: 4 more
    assert v2(fixed=True)(dead).replicas == 4


def test_replicas_that_take_next_to_nothing_are_wanted_up_to_the_most_and_no_overflow() -> None:
    seen = tier(pods(1))
    assert v2()._target(seen, 1.0, 1.8e-313) == seen.maximum
    assert v2()._target(seen, 0.0, 1.8e-313) >= 1


@pytest.mark.parametrize("make", [v1, v2])
def test_silence_keeps_the_last_target(make: type[WvaV1] | type[WvaV2]) -> None:
    """Prometheus away, or no series of any replica."""
    quiet = load(4, 0.9)
    for gone in (
        replace(quiet, prometheus_up=False),
        replace(quiet, pods=pods(4, running=None, waiting=None, kv_usage=None)),
    ):
        assert set(ticks(make(), [gone] * 10)) == {4}


def test_zero_and_back() -> None:
    idle = load(1, 0.0, minimum=0, last_success_at=100.0)
    assert v2()(replace(idle, at=700.0)).replicas == 1
    assert v2()(replace(idle, at=701.0)).replicas == 0
    assert v2()(replace(idle, at=701.0, router_queue=1.0)).replicas == 1
    for policy in (v1(), v2()):
        assert policy(tier((), minimum=0)).replicas == 0
        assert policy(tier((), minimum=0, at=30, router_queue=1.0)).replicas == 1


def test_v1_leaves_one_of_two() -> None:
    """Two at 0.2: the other carries 0.4 and spares 0.4."""
    assert v1()(tier(pods(2, kv_usage=0.2))).replicas == 1


def test_v2_by_the_tokens_of_a_batch() -> None:
    """B = 7: 7 * 200 / 700 = 2 at once, k2 = 1,200. Two at 0.11: D = 2,200; / 0.85 = 2,588 - 2,400: 1 more."""
    assert v2()(load(2, 0.11, max_batched_tokens=7)).replicas == 3


def test_v2_when_fixed_decides_as_coded_while_the_ready_ones_are_measured() -> None:
    seen = load(2, 0.9, waiting=3)
    assert v2(fixed=True)(seen).replicas == 4
    assert v2(fixed=True)(replace(seen, pods=(*seen.pods, *starting(1)), desired=3)).replicas == 4
