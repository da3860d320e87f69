"""Checks what more GPUs, and more demand, do to everybody.

With replicas of one size nobody loses by a larger budget, and more demand of one tier gives it no less and nobody else
more. With replicas of several sizes neither can hold for any rule that leaves no usable GPU idle: three GPUs are of no
use to a tier whose replicas hold four, so others have them; with the fourth it takes all. What holds then is that one
GPU more costs all others together fewer GPUs than a replica of the one who gains by it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.fleets import key, numbers, pool, settled, tier
from tierwise.decide.fleet import NO_BUDGET, Budget, Place, PoolState, TierClaim, allocate

MANY = settings(max_examples=150, deadline=None)


@st.composite
def claims(draw: st.DrawFn, sizes: Sequence[int] = (1,), pools: Sequence[str] = ("a",)) -> tuple[TierClaim, ...]:
    """Up to five tiers that have nothing yet. All replicas hold the first size, or one of several."""
    found = []
    for name in "vwxyz"[: draw(st.integers(1, 5))]:
        gpus = draw(st.sampled_from(sizes))
        chosen = draw(st.lists(st.sampled_from(pools), min_size=1, unique=True))
        floor = draw(st.integers(0, 3))
        found.append(
            TierClaim(
                key(name),
                tuple(Place(each, gpus) for each in chosen),
                wanted=draw(st.integers(0, 9)),
                floor=floor,
                priority=draw(st.sampled_from([1, 1, 2, 5])),
            )
        )
    return tuple(found)


@MANY
@given(claims(pools=("a", "b", "c")), st.lists(st.integers(0, 9), min_size=3, max_size=3), st.integers(0, 2))
def test_a_larger_pool_takes_from_nobody(asked: tuple[TierClaim, ...], sizes: list[int], grown: int) -> None:
    known = [pool(name, size) for name, size in zip("abc", sizes, strict=True)]
    larger = [
        replace(each, capacity=size + (index == grown))
        for index, (each, size) in enumerate(zip(known, sizes, strict=True))
    ]
    before, after = numbers(allocate(asked, known)), numbers(allocate(asked, larger))
    assert all(after[name] >= before[name] for name in before)


@MANY
@given(claims(pools=("a", "b")), st.lists(st.integers(0, 9), min_size=2, max_size=2), st.integers(0, 12))
def test_a_larger_budget_takes_from_nobody(asked: tuple[TierClaim, ...], sizes: list[int], gpus: int) -> None:
    known = [pool(name, size) for name, size in zip("ab", sizes, strict=True)]
    before, after = (numbers(allocate(asked, known, Budget(gpus=limit))) for limit in (gpus, gpus + 1))
    assert all(after[name] >= before[name] for name in before)


@MANY
@given(claims(), st.data(), st.integers(1, 4), st.integers(0, 20))
def test_more_demand_gives_its_tier_no_less_and_nobody_else_more(
    asked: tuple[TierClaim, ...], data: st.DataObject, more: int, gpus: int
) -> None:
    name = data.draw(st.sampled_from([claim.tier.name for claim in asked]))
    greedy = [replace(claim, wanted=claim.wanted + more * (claim.tier.name == name)) for claim in asked]
    before, after = numbers(allocate(asked, [pool(capacity=gpus)])), numbers(allocate(greedy, [pool(capacity=gpus)]))
    assert after[name] >= before[name]
    assert all(after[other] <= before[other] for other in before if other != name)


@MANY
@given(claims(sizes=(1, 2, 3, 4, 8)), st.integers(0, 40))
def test_with_several_sizes_one_gpu_more_costs_the_others_less_than_a_replica(
    asked: tuple[TierClaim, ...], gpus: int
) -> None:
    before, after = numbers(allocate(asked, [pool(capacity=gpus)])), numbers(allocate(asked, [pool(capacity=gpus + 1)]))
    size = {claim.tier.name: claim.places[0].gpus for claim in asked}
    lost = sum(size[name] * max(0, before[name] - after[name]) for name in before)
    gained = [size[name] for name in before if after[name] > before[name]]
    assert lost == 0 or lost < max(gained)


def test_a_larger_budget_can_take_from_a_tier_of_smaller_replicas() -> None:
    asked = [tier("large", 1, Place("a", 4), priority=5), tier("small", 4)]
    assert numbers(allocate(asked, [pool(capacity=3)])) == {"large": 0, "small": 3}
    assert numbers(allocate(asked, [pool(capacity=4)])) == {"large": 1, "small": 0}


def test_more_demand_of_one_can_help_another_where_a_large_replica_no_longer_fits() -> None:
    asked = [tier("x", 1), tier("y", 1), tier("z", 2, Place("a", 2))]
    assert numbers(allocate(asked, [pool(capacity=2)])) == {"x": 0, "y": 0, "z": 1}
    asked[0] = replace(asked[0], wanted=2)
    assert numbers(allocate(asked, [pool(capacity=2)])) == {"x": 1, "y": 1, "z": 0}


@MANY
@given(claims(pools=("a", "b")), st.integers(0, 8), st.integers(0, 8))
def test_floors_come_before_everything(asked: tuple[TierClaim, ...], first: int, second: int) -> None:
    known: list[PoolState] = [pool("a", first), pool("b", second)]
    _, found = settled(asked, known, NO_BUDGET)
    has = numbers(found)
    short = [claim for claim in asked if has[claim.tier.name] < claim.floor]
    for claim in short:
        for place in claim.places:
            above = [
                other
                for other in asked
                if has[other.tier.name] > other.floor
                for each in other.places
                if each.pool == place.pool and len(other.places) == 1
            ]
            assert not above, f"{claim.tier} is below its floor while {above[0].tier} is above its own"
