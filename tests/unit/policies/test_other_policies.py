"""Checks the SLO law, KubeAI, the fixed number and the oracle by example."""

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.policies.tiers import pod, pods, starting, ticks, tier
from tierwise_sim.policies.kubeai import KubeAi
from tierwise_sim.policies.observation import TierObservation
from tierwise_sim.policies.references import Oracle, Static
from tierwise_sim.policies.slo_law import SloLaw


def latency(count: int, ttft: float | None, inter_token: float | None = 0.01, **figures: Any) -> TierObservation:
    """A tier whose targets are 3 s and 100 ms."""
    seen = tier(pods(count), ttft_p90=ttft, inter_token_p90=inter_token, in_flight=10.0)
    return replace(seen, **figures)


@pytest.mark.parametrize(
    ("ttft", "inter_token", "replicas"),
    [
        (2.1, 0.01, 6),  # s = 0.7: 4 + ceil(4 * (0.7 / 0.55 - 1)) = 4 + ceil(1.09)
        (0.3, 0.07, 6),  # the worse of the two
        (99.0, 0.01, 8),  # clamped at 2: 4 + ceil(10.5), of which max(8, 8) pods in 60 s pass
        (1.5, 0.01, 4),  # 0.5, in the band
        (1.65, 0.01, 4),  # 0.55 is not above
    ],
)
def test_the_slo_law_grows_above_its_band(ttft: float, inter_token: float, replicas: int) -> None:
    assert SloLaw()(latency(4, ttft, inter_token)).replicas == replicas


def test_the_slo_law_shrinks_slowly() -> None:
    """s = 0.1: 8 - floor(8 * 0.75) = 2; the window of 180 s sees 8 of the first look, then one per 120 s."""
    busy, idle = latency(8, 1.4), latency(8, 0.3)
    law = SloLaw()
    assert law(busy).replicas == 8
    # 45 s of the mean, 180 s of the window: s falls below 0.4 at 15 s ((0.467 + 0.1) / 2), so 8 leaves at 195 s.
    assert ticks(law, [idle] * 13, start=15.0) == [8] * 12 + [7]


def test_the_slo_law_credits_replicas_that_start() -> None:
    """s = 1.1, two of four ready: 4 + ceil(4 * (1.1 * 0.5 / 0.55 - 1)) = 4; all ready: 4 + 4."""
    half = latency(4, 3.3, pods=(*pods(2), *starting(2)))
    assert SloLaw()(half).replicas == 4
    assert SloLaw()(latency(4, 3.3)).replicas == 8


def test_the_credit_may_shrink_as_written_and_not_when_fixed() -> None:
    """s = 0.6, one of four ready: 4 + ceil(4 * (0.6 * 0.25 / 0.55 - 1)) = 4 - 2; 180 s later that is carried out."""
    one = latency(4, 1.8, pods=(*pods(1), *starting(3)))
    assert ticks(SloLaw(), [one] * 14)[-1] < 4
    assert set(ticks(SloLaw(fixed=True), [one] * 14)) == {4}


def test_the_slo_law_reads_silence_as_idle_and_holds_when_fixed() -> None:
    silent = latency(4, None, math.nan)
    assert ticks(SloLaw(), [silent] * 60)[-1] < 4
    assert set(ticks(SloLaw(fixed=True), [silent] * 60)) == {4}
    assert ticks(SloLaw(fixed=True), [replace(silent, in_flight=0.0)] * 60)[-1] < 4
    assert set(ticks(SloLaw(), [replace(silent, prometheus_up=False)] * 60)) == {4}
    assert SloLaw()(tier((), minimum=0, router_queue=1.0)).replicas == 1


def test_kubeai_is_the_mean_of_ten_minutes_from_zero() -> None:
    """A step to 240 with a target of 40 asks for 6 in the end. After k ticks the mean is 4k: 1 until 40 is passed at
    k = 11, 3 from k = 21: half of it takes five minutes."""
    asked = ticks(KubeAi(target=40), [tier(pods(1), in_flight=240.0)] * 60)
    assert [asked[9], asked[10], asked[20], asked[29], asked[30], asked[59]] == [1, 2, 3, 3, 4, 6]
    assert ticks(KubeAi(), [tier(pods(1), in_flight=240.0)] * 60)[-1] == 3  # the default of 100


def test_kubeai_waits_three_ticks_once() -> None:
    """30 s of delay are three ticks; the fourth lowers, and later ones at once until a rise."""
    policy = KubeAi(target=40, window_seconds=10)
    idle = [tier(pods(count), in_flight=40.0) for count in (5, 5, 5, 5, 4)]
    assert ticks(policy, idle) == [5, 5, 5, 1, 1]
    assert policy(tier(pods(1), in_flight=200.0, at=50)).replicas == 5
    assert policy(tier(pods(5), in_flight=40.0, at=60)).replicas == 5


def test_kubeai_skips_a_tick_without_its_proxies_and_needs_no_engine() -> None:
    policy = KubeAi(target=40, window_seconds=10)
    silent = tier((pod("a", running=None), pod("b", running=None)), prometheus_up=False)
    assert policy(replace(silent, in_flight=None)).replicas == 2
    assert policy(replace(silent, in_flight=200.0)).replicas == 5
    assert KubeAi(target=40)(tier((), minimum=0, in_flight=1.0)).replicas == 1


def test_the_two_ends() -> None:
    assert Static(replicas=4)(tier(pods(1))).replicas == 4
    assert Static(replicas=40)(tier(pods(1))).replicas == 10
    oracle = Oracle(rate=lambda at: 9.12 if at < 60 else 9.13, requests_per_second=4.56)
    assert [oracle(tier(pods(1), at=at)).replicas for at in (0, 60)] == [2, 3]


def test_the_slo_law_gives_no_credit_when_nothing_is_ready() -> None:
    """s = 2, none of four ready: 4 + ceil(4 * (2 / 0.55 - 1)) = 15, of which 8 pass."""
    assert SloLaw()(latency(4, 9.0, pods=starting(4))).replicas == 8
