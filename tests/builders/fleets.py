"""Tiers and pools for tests of sharing out, what happens to them between two rounds, and what a fair share is.

What is fair is written down here a second time, and in another way: as a question about all other allocations, not as
an order of serving.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from tierwise.decide.fleet import NO_BUDGET, Allocation, Budget, Place, PoolState, TierClaim, allocate
from tierwise.types import TierKey

Rank = tuple[int, float]


def key(name: str) -> TierKey:
    return TierKey("models", name)


def tier(name: str, wanted: int, *places: Place, **fields: int | bool | None) -> TierClaim:
    """A tier that wants so many replicas; in pool "a", one GPU each, unless places are given."""
    return TierClaim(key(name), places or (Place("a"),), wanted, **fields)  # type: ignore[arg-type]


def pool(name: str = "a", capacity: int | None = 8, **fields: int | Decimal | Budget | None) -> PoolState:
    return PoolState(name, capacity, **fields)  # type: ignore[arg-type]


def numbers(found: Allocation) -> dict[str, int]:
    """Replicas by tier."""
    return {grant.tier.name: grant.replicas for grant in found.tiers}


def written(claims: Iterable[TierClaim], found: Allocation, *, drained: bool) -> tuple[TierClaim, ...]:
    """The claims after the allocation was written and new pods were scheduled. What ends is gone when `drained`, and
    holds its GPUs otherwise. Pods that no node took held none."""
    grants = {grant.tier: grant for grant in found.tiers}
    after = []
    for claim in claims:
        places = []
        for place, granted in zip(claim.places, grants[claim.tier].places, strict=True):
            unscheduled = 0 if place.clamp is None else min(place.pending, max(0, place.replicas - place.clamp))
            ended = max(0, place.replicas - (0 if claim.failing else unscheduled) - granted.replicas)
            terminating = 0 if drained else place.terminating + ended
            pending = place.pending if claim.failing else 0
            # What starts ends before what answers; what is granted starts.
            more = granted.replicas - place.replicas
            starting = max(0, place.starting + more)
            places.append(
                replace(place, replicas=granted.replicas, pending=pending, terminating=terminating, starting=starting)
            )
        after.append(replace(claim, places=tuple(places)))
    return tuple(after)


def settled(
    claims: Iterable[TierClaim], pools: Sequence[PoolState], budget: Budget = NO_BUDGET, rounds: int = 60
) -> tuple[tuple[TierClaim, ...], Allocation]:
    """The claims and the allocation when nothing changes any more, every drain having ended. Fails if that never is."""
    claims = tuple(claims)
    for _ in range(rounds):
        found = allocate(claims, pools, budget)
        after = written(claims, found, drained=True)
        if after == claims:
            return claims, found
        claims = after
    raise AssertionError(f"after {rounds} rounds replicas still move: {claims}")


def rank(claim: TierClaim, replicas: int) -> Rank:
    """How far a tier with so many replicas is: below its floor, below what it wants, or above; and how far in it."""
    target = claim.target
    floor = min(claim.floor, target)
    if replicas < floor:
        return 0, replicas / (claim.priority * floor)
    if replicas < target:
        return 1, replicas / (claim.priority * target)
    return 2, replicas / claim.priority


def held(claims: Iterable[TierClaim], found: Allocation, name: str) -> int:
    """GPUs of one pool that are held right after writing: what ends still holds its own."""
    grants = {grant.tier: grant for grant in found.tiers}
    total = 0
    for claim in claims:
        for place, granted in zip(claim.places, grants[claim.tier].places, strict=True):
            if place.pool == name:
                unscheduled = 0
                if place.clamp is not None and not claim.failing:
                    unscheduled = min(place.pending, max(0, place.replicas - place.clamp))
                stood = place.replicas - unscheduled
                total += place.gpus * (max(stood, granted.replicas) + place.terminating)
    return total
