"""Checks the ScaledObjects by example: thresholds, what a missing series reads as, from and to zero, the guard."""

import math
from dataclasses import replace

import pytest

from tests.unit.policies.tiers import pod, pods, starting, ticks, tier
from tierwise.errors import Invalid
from tierwise_sim.policies.observation import Autoscaler
from tierwise_sim.policies.registry import Facts, parse

FACTS = Facts(prefill_tokens_per_second=16_000)


def new(text: str) -> Autoscaler:
    return parse(text).new(FACTS)


@pytest.mark.parametrize(
    ("waiting", "replicas"),
    [(5.5, 2), (5.6, 3), (12.5, 5), (30, 6), (4.5, 2)],
)
def test_waiting_over_five_per_replica(waiting: float, replicas: int) -> None:
    """Two replicas: 11 waiting are 1.1 times what they are given (kept), 11.2 ask for ceil(2.24), 25 for 5,
    60 for 12 of which the speed limit lets max(2 + 4, 4) through, 9 are 0.9 times (kept)."""
    assert new("keda-waiting")(tier(pods(2, waiting=waiting))).replicas == replicas


def test_the_larger_of_two_triggers() -> None:
    """3 waiting ask for 1, 130 running for ceil(3.25)."""
    seen = tier(pods(2, waiting=1.5, running=65))
    assert new("keda-waiting-running")(seen).replicas == 4
    assert new("keda-waiting-running:running=65")(seen).replicas == 2


def test_waiting_alone_forgets_a_load_that_is_served() -> None:
    """It is an error signal: 0 while capacity suffices, so five minutes later the tier is at its minimum."""
    busy = tier(pods(4, waiting=0, running=60))
    assert ticks(new("keda-waiting"), [busy] * 20)[-1] == 1
    assert ticks(new("keda-waiting-running"), [busy] * 20)[-1] == 6  # 240 / 40


SILENT = replace(
    tier(pods(4, running=None, waiting=None, kv_usage=None)), in_flight=None, queued_tokens=None, router_queue=None
)
KEDA_NAMES = ("keda-waiting", "keda-waiting-running", "keda-epp", "keda-epp-guard", "keda-token-aware-fast")


@pytest.mark.parametrize("name", KEDA_NAMES)
def test_an_empty_result_reads_as_no_load_and_is_held_when_fixed(name: str) -> None:
    busy = tier(pods(4, running=45, waiting=4, kv_usage=0.9), in_flight=196.0, queued_tokens=20_000.0)
    for gap in (SILENT, replace(SILENT, pods=pods(4, running=math.nan, waiting=math.nan, kv_usage=math.nan))):
        assert ticks(new(name), [gap] * 30)[-1] == 1
        fixed = new(f"{name}:fixed=1")
        first = fixed(busy).replicas
        assert first >= 4
        assert set(ticks(fixed, [gap] * 30, start=15.0)) == {4}


@pytest.mark.parametrize("name", KEDA_NAMES)
def test_prometheus_away_is_an_error_in_both_forms(name: str) -> None:
    away = tier(pods(4), prometheus_up=False)
    assert set(ticks(new(name), [away] * 40)) == {4}


def test_one_silent_pod_makes_the_sum_smaller_and_a_dead_one_keeps_it_too_large() -> None:
    """Three of four pods with 60 running: 180 / 40 = 4.5 with all is 6. A dead pod's 240 add ceil(480 / 40) = 12."""
    silent = tier((*pods(3, running=60), pod("quiet", running=None)))
    dead = tier((*pods(4, running=60), pod("dead", running=240.0, ready=False, exists=False)), desired=4)
    assert new("keda-waiting-running")(silent).replicas == 5
    assert new("keda-waiting-running:fixed=1")(silent).replicas == 4
    assert new("keda-waiting-running")(dead).replicas == 8  # 12, held by the speed limit
    assert new("keda-waiting-running:fixed=1")(dead).replicas == 6


def test_a_failed_trigger_forbids_removing_and_not_adding() -> None:
    """Waiting is not measured: 200 running may still ask for 5, 40 may not ask for 1."""
    policy = new("keda-waiting-running:fixed=1")
    assert policy(tier(pods(2, running=100, waiting=None))).replicas == 5
    assert policy(tier(pods(5, running=8, waiting=None), at=15)).replicas == 5


def test_the_blueprint_counts_what_waits_anywhere_against_one_and_what_runs_against_sixteen() -> None:
    """5 that wait in front of the pods, 3 of them in the router, ask for 5; 71 dispatched ask for ceil(71 / 16) = 5 (70
    are within 10 % of 4 * 16), 100 for 7, of which 100 % growth lets 4 through."""
    epp = "keda-epp"
    assert new(epp)(tier(pods(4, waiting=1.25), router_queue=3.0, in_flight=5.0)).replicas == 5
    assert [new(epp)(tier(pods(4), in_flight=many)).replicas for many in (70.0, 71.0)] == [4, 5]
    assert new(epp)(tier(pods(2), in_flight=100.0)).replicas == 4


def test_the_guard_subtracts_replicas_that_start_and_never_shrinks_by_it() -> None:
    """100 / 16 = 6.25: of 4 replicas 2 start, so max(6.25 - 2, 4) = 4.25, within the tolerance: 4; without the guard 7.
    None starting: 7. Demand below the present number passes as it is."""
    half = tier((*pods(2), *starting(2)), in_flight=100.0)
    assert new("keda-epp-guard")(half).replicas == 4
    assert new("keda-epp")(half).replicas == 7
    assert new("keda-epp-guard")(tier(pods(4), in_flight=100.0)).replicas == 7
    idle = tier((*pods(2), *starting(2)), in_flight=10.0)
    assert ticks(new("keda-epp-guard"), [idle] * 25)[-1] == 1


def test_token_aware_is_seconds_of_prompts_and_pods_worth_of_memory() -> None:
    """96,000 tokens at 16,000 tokens/s are 6 s, over 1.5 s: 4. KV of 3 * 0.9 over 0.8: ceil(3.375) = 4.
    One pod per three minutes in llm-d's speed."""
    prompts = tier(pods(3), queued_tokens=96_000.0)
    assert new("keda-token-aware-fast")(prompts).replicas == 4
    assert new("keda-token-aware-fast")(tier(pods(3, kv_usage=0.9))).replicas == 4
    far = tier(pods(3), queued_tokens=1e6)
    assert [new("keda-token-aware-fast")(far).replicas, new("keda-token-aware")(far).replicas] == [7, 4]
    with pytest.raises(Invalid, match="prefill_tokens_per_second"):
        parse("keda-token-aware").new(Facts())


def test_from_zero_by_the_router_and_to_zero_after_the_cooldown() -> None:
    """What pods measure cannot wake them; idle since 0 s, the last one goes at 300 s, the 21st look."""
    policy = new("keda-waiting")
    assert policy(tier((), minimum=0)).replicas == 0
    assert policy(tier((), minimum=0, at=15, router_queue=2.0)).replicas == 1
    idle = tier(pods(1), minimum=0)
    assert ticks(new("keda-waiting"), [idle] * 22) == [1] * 20 + [0, 0]
    assert ticks(new("keda-waiting:fixed=1"), [replace(idle, pods=starting(1))] * 30)[-1] == 1


def test_what_waits_in_the_router_is_not_dispatched() -> None:
    """100 in flight, 36 of them in the router: 64 / 16 is what four are given."""
    assert new("keda-epp:queue=100")(tier(pods(4), in_flight=100.0, router_queue=36.0)).replicas == 4


def test_starting_pods_are_no_gap() -> None:
    """200 running / 40 = 5, though the third pod is not measured yet."""
    seen = tier((*pods(2, running=100), *starting(1)))
    assert new("keda-waiting-running:fixed=1")(seen).replicas == 5
