"""Checks AIBrix' two algorithms by example, as coded and as corrected."""

import math

from tests.unit.policies.tiers import pod, pods, starting, ticks, tier
from tierwise_sim.policies.aibrix import Apa, Kpa


def test_apa_by_the_ratio_to_the_target() -> None:
    """0.6 / 0.5 = 1.2: ceil(4 * 1.2) = 5. 0.55: 1.1, kept. 0.95: ceil(7.6) = 8, the double. 0.2: ceil(1.6) = 2.
    0.05: ceil(0.4) = 1, but not below half: 2."""
    for usage, replicas in ((0.6, 5), (0.55, 4), (0.95, 8), (0.2, 2), (0.05, 2), (0.46, 4)):
        assert Apa()(tier(pods(4, kv_usage=usage))).replicas == replicas, usage


def test_apa_reads_starting_pods_as_idle_and_halves_what_it_just_added() -> None:
    """As coded: two at 0.9 and two that start are 0.45 on average, within 10 % of 0.5; with four that start 0.3:
    ceil(6 * 0.6) = 4. Fixed: 0.9 over the ready ones; the pending ones take up the growth: ceil(2 * 1.8) = 4."""
    assert Apa()(tier((*pods(2, kv_usage=0.9), *starting(4)))).replicas == 4
    assert Apa(fixed=True)(tier((*pods(2, kv_usage=0.9), *starting(4)))).replicas == 6
    assert Apa(fixed=True)(tier((*pods(2, kv_usage=0.9), *starting(1)))).replicas == 4
    # Shrinking with one pending: ceil(3 * 0.2 / 0.5 + 1) = 3 of 4, not ceil(4 * 0.4) = 2. The window then holds it.
    shrinking = Apa(fixed=True)
    shrinking(tier((*pods(3, kv_usage=0.2), *starting(1))))
    assert ticks(Apa(fixed=True), [tier((*pods(3, kv_usage=0.2), *starting(1)))] * 2) == [3, 3]


def test_the_down_window_as_coded_takes_the_lowest_and_fixed_the_highest() -> None:
    """First 0.6 of two replicas (3), then 40 s later 0.2 of six: the mean (0.6 + 0.2) / 2 = 0.4 asks for ceil(4.8) = 5.
    As coded the 3 of before counts; fixed, the highest of the window is 5, and stays until a rise leaves it."""
    for fixed, replicas in ((False, 3), (True, 5)):
        policy = Apa(fixed=fixed)
        assert policy(tier(pods(2, kv_usage=0.6))).replicas == 3
        assert policy(tier(pods(6, kv_usage=0.2), at=40)).replicas == replicas


def test_a_pod_without_figures_halves_a_fleet_as_coded_and_holds_it_when_fixed() -> None:
    """Three at 0.6 and one silent: 0.45 is kept; one at 0.6 and three silent: 0.15 asks for ceil(1.2) = 2."""
    silent = tuple(pod(f"silent-{index}", kv_usage=None) for index in range(3))
    seen = tier((pod("a", kv_usage=0.6), *silent))
    assert Apa()(seen).replicas == 2
    assert Apa(fixed=True)(seen).replicas == 4
    assert Kpa(target=40, fixed=True)(tier((pod("a", running=200.0), pod("b", running=math.nan)))).replicas == 2


def test_nan_stays_in_the_window_and_changes_nothing() -> None:
    poisoned = [tier(pods(4, kv_usage=math.nan)), *[tier(pods(4, kv_usage=0.9))] * 18]
    assert ticks(Apa(), poisoned) == [4] * 18 + [8]


def test_prometheus_away_does_not_concern_it() -> None:
    assert Apa()(tier(pods(4, kv_usage=0.6), prometheus_up=False)).replicas == 5


def test_kpa_as_coded_never_asks_for_more_than_two() -> None:
    """A mean of at most 1 over a target of 0.5 is 2, whatever the load: eight full replicas are halved twice."""
    policy = Kpa(target=0.5)
    assert policy(tier(pods(8, kv_usage=1.0))).replicas == 4
    assert policy(tier(pods(4, kv_usage=1.0), at=10)).replicas == 2
    assert policy(tier(pods(2, kv_usage=1.0), at=20)).replicas == 2


def test_kpa_in_panic_takes_the_short_window_and_does_not_shrink() -> None:
    """18 samples of 20 over 180 s, then 400: stable (17 * 20 + 400) / 18 = 41.1, over 60 s (5 * 20 + 400) / 6 = 83.3:
    more than double, so ceil(83.3 / 40) = 3 instead of ceil(41.1 / 40) = 2. 60 s later nothing shrinks yet."""
    policy = Kpa(target=40, fixed=True)
    quiet, burst = tier(pods(1, running=20.0)), tier(pods(1, running=400.0))
    assert ticks(policy, [quiet] * 18) == [1] * 18
    assert policy(tier(burst.pods, at=180)).replicas == 2  # 3, held at the double of one
    assert policy(tier(pods(4, running=0.0), at=190)).replicas == 4


def test_none_stays_none() -> None:
    assert Apa()(tier((), minimum=0)).replicas == 0
    assert Kpa(target=40)(tier((), minimum=0, router_queue=9.0)).replicas == 0


def test_apa_within_the_tolerance_changes_nothing() -> None:
    """0.46 is 0.92 times the target; without the tolerance 20 would become ceil(18.4)."""
    assert Apa()(tier(pods(20, kv_usage=0.46), maximum=30)).replicas == 20


def test_kpa_says_panic_only_when_the_short_window_is_double() -> None:
    """After 18 samples of 20: 400 make 83.3 over 60 s against 41.1; 50 make 25 against 21.7."""
    for burst, panic in ((400.0, True), (50.0, False)):
        policy = Kpa(target=40, fixed=True)
        ticks(policy, [tier(pods(1, running=20.0))] * 18)
        assert ("panic" in policy(tier(pods(1, running=burst), at=180)).reason) is panic


def test_kpa_shrinks_after_its_windows() -> None:
    """100 requests for 180 s keep three of four; after that none, and 300 s of the down window later one is left."""
    policy = Kpa(target=40, fixed=True)
    ticks(policy, [tier(pods(4, running=25.0))] * 18)
    assert ticks(policy, [tier(pods(4))] * 48, start=180)[-1] == 2  # half of four
