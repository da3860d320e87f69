"""Every fleet of up to three tiers on up to four GPUs is divided as a search through all divisions says.

A division is fair when nobody can be given more, by whatever other division that fits, without lowering somebody to
where it would rank no higher than the one who is helped stands now. That is weighted max-min fairness for things that
cannot be cut; it asks about all divisions, and not how one is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations_with_replacement, product
from operator import mul

import pytest

from tests.builders.fleets import numbers, pool, rank, settled, tier, written
from tierwise.decide.fleet import Place, TierClaim, allocate

GPUS = 4
NAMES = "xyz"


@cache
def divisions(sizes: tuple[int, ...], targets: tuple[int, ...], gpus: int) -> tuple[tuple[int, ...], ...]:
    """All that fit."""
    every = product(*(range(target + 1) for target in targets))
    return tuple(each for each in every if sum(map(mul, each, sizes)) <= gpus)


def divisions_of(claims: Sequence[TierClaim], gpus: int) -> tuple[tuple[int, ...], ...]:
    return divisions(tuple(claim.places[0].gpus for claim in claims), tuple(claim.target for claim in claims), gpus)


def unfair(claims: Sequence[TierClaim], gpus: int, division: Sequence[int]) -> str:
    """Who could be helped, and by which division; empty when it is fair."""
    ranks = [[rank(claim, number) for number in range(claim.target + 1)] for claim in claims]
    for helped, claim in enumerate(claims):
        stands = ranks[helped][division[helped]]
        for other in divisions_of(claims, gpus):
            if other[helped] <= division[helped]:
                continue
            lowered = [index for index in range(len(claims)) if other[index] < division[index]]
            if all(ranks[index][other[index]] > stands for index in lowered):
                return f"{claim.tier.name} by {other}"
    return ""


def asks(sizes: Sequence[int], priorities: Sequence[int], floors: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """(GPUs of a replica, wanted, floor, priority)."""
    return [
        (gpus, wanted, floor, priority)
        for gpus in sizes
        for wanted in range(GPUS + 1)
        for floor in floors
        for priority in priorities
        if floor <= wanted or wanted == 0
    ]


def claims_of(chosen: Sequence[tuple[int, int, int, int]], present: Sequence[int]) -> tuple[TierClaim, ...]:
    return tuple(
        tier(name, wanted, Place("a", gpus, has), floor=floor, priority=priority)
        for name, (gpus, wanted, floor, priority), has in zip(NAMES, chosen, present, strict=False)
    )


@pytest.mark.parametrize("gpus", range(GPUS + 1))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_from_nothing(count: int, gpus: int) -> None:
    choices = asks((1, 2, 3, 4), (1, 3), (0, 1)) if count < 3 else asks((1, 2), (1, 3), (0, 1))
    checked = 0
    for chosen in combinations_with_replacement(choices, count):
        claims = claims_of(chosen, [0] * count)
        division = tuple(numbers(allocate(claims, [pool(capacity=gpus)])).values())
        assert not unfair(claims, gpus, division), (claims, division)
        checked += 1
    assert checked >= len(choices)


@pytest.mark.parametrize("count", [2, 3])
def test_from_every_state(count: int) -> None:
    """Whatever stands there first, the end is fair, nothing is over the limit on the way, and it does end."""
    choices = asks((1, 2), (1,), (0, 1)) if count == 2 else asks((1, 2), (1,), (1,))
    for chosen in combinations_with_replacement(choices, count):
        for present in product(range(GPUS + 1), repeat=count):
            if sum(has * ask[0] for has, ask in zip(present, chosen, strict=True)) > GPUS:
                continue
            claims = claims_of(chosen, present)
            now = allocate(claims, [pool(capacity=GPUS)])
            holding = written(claims, now, drained=False)
            assert sum((each.present + each.places[0].terminating) * each.places[0].gpus for each in holding) <= GPUS
            _, found = settled(claims, [pool(capacity=GPUS)])
            division = tuple(numbers(found).values())
            assert not unfair(claims, GPUS, division), (claims, division)


@pytest.mark.parametrize("gpus", range(GPUS + 1))
def test_the_least_served_tier_has_as_much_as_any_division_can_give_it(gpus: int) -> None:
    """With replicas of one size, and nobody better off by priority or floor, the worst fulfilment is the best."""
    for chosen in combinations_with_replacement([(1, wanted, 0, 1) for wanted in range(1, GPUS + 1)], 3):
        claims = claims_of(chosen, [0, 0, 0])
        division = tuple(numbers(allocate(claims, [pool(capacity=gpus)])).values())

        def worst(numbers: Sequence[int], claims: Sequence[TierClaim] = claims) -> float:
            return min(number / claim.target for number, claim in zip(numbers, claims, strict=True))

        assert worst(division) == max(map(worst, divisions_of(claims, gpus)))
