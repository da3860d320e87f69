"""How the replicas of one tier are shared out over its pools."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.decide.make import HEALTHY, KEY, NOW, SETTLED, view
from tests.unit.decide.make import pod as make_pod
from tierwise import reasons
from tierwise.api.gpupool import GPUPoolSpec, GPUPoolStatus
from tierwise.api.modeltier import ModelTierSpec, Quantization
from tierwise.decide.capacity_estimate import learned_for
from tierwise.decide.plan import decide
from tierwise.decide.pools import share
from tierwise.types import (
    InferenceServiceFacts,
    PoolObject,
    PoolPrice,
    PoolRate,
    Pools,
    PoolView,
    Snapshot,
    TierPlan,
    TierState,
    TierView,
    WorkloadKey,
)
from tierwise.types.capabilities import GPU


def made(usd: str, gpus: int = 1, replicas: int = 1) -> ModelTierSpec:
    """What is made in a pool."""
    body = {"model": {"name": "m", "uri": "hf://org/m"}, "price": {"gpuHour": usd}, "resources": {"gpus": gpus}}
    pools = {"pools": [{"name": "a"}, {"name": "b"}], "replicas": replicas, "parallelism": {"tensor": gpus}}
    return ModelTierSpec.model_validate({**body, **pools})


def pool(name: str, usd: str, capacity: int) -> PoolView:
    thing = PoolObject(name, f"uid-{name}", 1, "1", 1.0, GPUPoolSpec(), GPUPoolStatus())
    return PoolView(thing, capacity=capacity, others=0, price=PoolPrice(Decimal(usd)))


def tier(wanted: int, here: tuple[int, int] = (0, 0), owned: bool = True) -> TierView:
    """A tier that is pinned to so many replicas, and has these in its pools a ($1) and b ($4)."""
    seen = view(made("1", replicas=wanted), current=0)
    (one,) = seen.workloads
    assert one.deployment is not None
    service = InferenceServiceFacts("chat-b", "i2", "5", {}, owned=owned)
    deployments = [replace(one.deployment, uid=f"d-{each}", spec_replicas=each) for each in here]
    workloads = (
        replace(one, pool="a", spec=made("1", replicas=wanted), deployment=deployments[0]),
        replace(
            one,
            name="chat-b",
            pool="b",
            spec=made("4", replicas=wanted),
            deployment=deployments[1],
            inference_service=service,
        ),
    )
    return replace(seen, workloads=workloads)


def shared(seen: TierView, *, state: TierState = SETTLED, capacity: int = 4) -> TierPlan:
    pools = Pools((pool("a", "1", capacity), pool("b", "4", capacity)))
    snapshot = Snapshot(NOW, (seen,), HEALTHY, pools=pools)
    (found,) = share(snapshot, decide(snapshot, {KEY: state})).plan.tiers
    return found


def rates(a: float, b: float) -> TierState:
    """Learned tokens per second in both pools."""
    known = (("a", a, made("1")), ("b", b, made("4")))
    return replace(SETTLED, rates=tuple(PoolRate(name, rate, learned_for(spec)) for name, rate, spec in known))


@pytest.mark.parametrize(
    ("state", "granted"),
    [
        (SETTLED, (("chat", 4), ("chat-b", 1))),
        (rates(100, 401), (("chat", 1), ("chat-b", 4))),  # four times the price, and more than four times the tokens
        (rates(100, 399), (("chat", 4), ("chat-b", 1))),
        # Of one pool nothing is known: costs of two kinds are not compared.
        (replace(SETTLED, rates=rates(1, 999).rates[1:]), (("chat", 4), ("chat-b", 1))),
    ],
)
def test_it_grows_where_a_token_costs_least(state: TierState, granted: tuple[tuple[str, int], ...]) -> None:
    found = shared(tier(5), state=state)
    assert found.granted == granted
    assert {each.name: each.scale_to for each in found.workloads} == dict(granted)


@pytest.mark.parametrize(("state", "left"), [(SETTLED, (2, 0)), (rates(100, 500), (0, 2))])
def test_it_shrinks_where_a_token_costs_most(state: TierState, left: tuple[int, int]) -> None:
    assert tuple(count for _, count in shared(tier(2, (2, 2)), state=state).granted) == left


@pytest.mark.parametrize(
    ("wanted", "answering", "left"),
    [
        (2, (0, 2), (0, 2)),  # the cheap ones load their weights: what serves stays, or nothing does for minutes
        (1, (0, 2), (0, 1)),
        (2, (1, 2), (1, 1)),  # of those that answer the dear ones end
        (3, (2, 1), (2, 1)),
        (2, (2, 0), (2, 0)),
        (2, (0, 0), (2, 0)),
    ],
)
def test_what_does_not_answer_yet_ends_before_what_does(
    wanted: int, answering: tuple[int, int], left: tuple[int, int]
) -> None:
    seen = tier(wanted, (2, 2))
    workloads = []
    for workload, count in zip(seen.workloads, answering, strict=True):
        pods = tuple(make_pod(f"{workload.pool}-{index}", ready=index < count) for index in range(2))
        ready = frozenset(each.name for each in pods if each.ready)
        workloads.append(replace(workload, pods=pods, ready_endpoints=ready))
    found = shared(replace(seen, workloads=tuple(workloads)))
    assert tuple(count for _, count in found.granted) == left


def test_a_place_whose_name_another_tier_has_gets_nothing() -> None:
    assert shared(tier(5, owned=False)).granted == (("chat", 4), ("chat-b", 0))


def test_replicas_that_were_asked_for_a_moment_ago_hold_their_gpus() -> None:
    seen = tier(3)
    pools = Pools((pool("a", "1", 4), pool("b", "4", 4)))
    snapshot = Snapshot(NOW, (seen,), HEALTHY, pools=pools)
    plan = decide(snapshot, {KEY: SETTLED})
    (found,) = share(snapshot, plan, {WorkloadKey(KEY, "chat-b"): 2}).plan.tiers
    assert found.granted == (("chat", 1), ("chat-b", 2))


def test_a_place_of_which_nothing_was_asked_a_moment_ago_holds_no_gpu() -> None:
    """One replica, where a GPU is cheapest: had something been asked for in the dear pool, it would stand there."""
    snapshot = Snapshot(NOW, (tier(1),), HEALTHY, pools=Pools((pool("a", "1", 4), pool("b", "4", 4))))
    (found,) = share(snapshot, decide(snapshot, {KEY: SETTLED}), {}).plan.tiers
    assert found.granted == (("chat", 1), ("chat-b", 0))


def test_the_plan_has_the_rollout_of_each_pool_and_of_the_first_for_the_tier() -> None:
    snapshot = Snapshot(NOW, (tier(2),), HEALTHY, pools=Pools((pool("a", "1", 4), pool("b", "4", 4))))
    (found,) = decide(snapshot, {KEY: SETTLED}).tiers
    assert [name for name, _ in found.rollouts] == ["chat", "chat-b"]
    for workload in tier(2).workloads:
        rollout = found.rollout_of(workload)
        assert rollout is not None
        assert rollout.spec == workload.spec
    poolless = view(made("1", replicas=2).model_copy(update={"pools": []}))
    (alone,) = decide(Snapshot(NOW, (poolless,), HEALTHY), {KEY: SETTLED}).tiers
    assert alone.rollouts == ()
    assert alone.rollout is not None


def test_what_is_doubtful_in_any_pool_is_told() -> None:
    """A finding of the first pool is not forgotten for those of the second."""
    seen = tier(1)
    one, other = seen.workloads
    assert one.spec is not None
    doubtful = one.spec.model_copy(update={"quantization": Quantization(kv_cache_dtype="fp8")})
    for workloads in ((replace(one, spec=doubtful), other), (one, replace(other, spec=doubtful))):
        snapshot = Snapshot(
            NOW, (replace(seen, workloads=workloads),), HEALTHY, pools=Pools((pool("a", "1", 4), pool("b", "4", 4)))
        )
        (found,) = decide(snapshot, {KEY: SETTLED}).tiers
        assert [each.reason for each in found.advice] == [reasons.UNCALIBRATED]


def test_what_cannot_be_served_names_its_pool_only_where_there_are_several() -> None:
    refused = made("1").model_copy(update={"extra_args": ["--api-key=x"]})
    pools = Pools((pool("a", "1", 4), pool("b", "4", 4)))
    seen = tier(1)
    one, other = seen.workloads
    gpus = (("a", (GPU("NVIDIA-L4", (8, 9), 23034),)), ("b", (GPU("NVIDIA-L4", (8, 9), 23034),)))
    running = replace(SETTLED, accepted=(seen.tier.generation, True))
    for workloads, begins in (
        ((one, replace(other, spec=refused)), "in pool b: "),
        ((replace(one, spec=refused),), "extraArgs: "),
    ):
        for state, current in ((SETTLED, 0), (running, 1)):
            there = tuple(
                replace(each, deployment=replace(each.deployment, spec_replicas=current))
                for each in workloads
                if each.deployment is not None
            )
            snapshot = Snapshot(NOW, (replace(seen, workloads=there, gpus=gpus),), HEALTHY, pools=pools)
            (found,) = decide(snapshot, {KEY: state}).tiers
            assert found.invalid is not None
            assert found.invalid[1].startswith(begins)


def test_the_longest_name_of_a_workload_counts_and_not_the_last_in_the_alphabet() -> None:
    seen = tier(1)
    one, other = seen.workloads
    long = replace(other, name="a" + "b" * 60)
    snapshot = Snapshot(
        NOW, (replace(seen, workloads=(one, long)),), HEALTHY, pools=Pools((pool("a", "1", 4), pool("b", "4", 4)))
    )
    (found,) = decide(snapshot, {KEY: SETTLED}).tiers
    assert found.invalid is not None
    assert found.invalid[0] == reasons.NAME_TOO_LONG
    assert "a" + "b" * 60 in found.invalid[1]


def test_a_plan_that_is_shared_out_alike_is_the_same_object() -> None:
    seen = tier(2, (2, 0))
    snapshot = Snapshot(NOW, (seen,), HEALTHY, pools=Pools((pool("a", "1", 4), pool("b", "4", 4))))
    first = share(snapshot, decide(snapshot, {KEY: SETTLED})).plan
    assert first.tiers[0].granted == (("chat", 2), ("chat-b", 0))
    assert share(snapshot, first).plan.tiers[0] is first.tiers[0]


@given(st.integers(0, 9), st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
def test_no_pool_gives_more_than_it_has(wanted: int, first: int, second: int, capacity: int) -> None:
    found = shared(tier(wanted, (min(first, capacity), min(second, capacity))), capacity=capacity)
    counts = [count for _, count in found.granted]
    assert max(counts) <= capacity
    assert sum(counts) == min(wanted, 2 * capacity)
    assert found.decision is not None
    assert found.decision.target == sum(counts)
