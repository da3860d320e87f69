"""How one tier stands: where it grows first, how its next replica ranks, and what a clamp leaves of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.builders.fleets import key, numbers, pool, tier
from tierwise.decide.fleet import NO_BUDGET, Place, PoolState, TierClaim, allocate
from tierwise.decide.fleet.limits import Limits
from tierwise.decide.fleet.standing import Standing, by_cost


def standing(claim: TierClaim, *pools: PoolState) -> Standing:
    return Standing(claim, Limits([claim], pools or (pool(),), NO_BUDGET))


def test_the_cheaper_replica_comes_first_not_the_cheaper_gpu() -> None:
    known = {"h100": pool("h100", gpu_hour=Decimal(7)), "l40s": pool("l40s", gpu_hour=Decimal(2))}
    assert by_cost((Place("h100", 1), Place("l40s", 4)), known) == [0, 1]  # 7 and 8 dollars
    assert by_cost((Place("h100", 1), Place("l40s", 3)), known) == [1, 0]  # 7 and 6
    unpriced = {**known, "l40s": replace(known["l40s"], gpu_hour=None)}
    assert by_cost((Place("l40s", 3), Place("h100", 1)), unpriced) == [0, 1]


@pytest.mark.parametrize(
    ("has", "rank"),
    [(0, (0, 0.0)), (1, (0, 1 / 4)), (2, (1, 2 / 10)), (4, (1, 4 / 10)), (5, (2, 5 / 2)), (6, (2, 3.0))],
)
def test_the_next_replica_ranks_by_what_the_tier_has_without_it(has: int, rank: tuple[int, float]) -> None:
    """Floor 2, wanted 5, priority 2: k / 4 below the floor, k / 10 below what it wants, k / 2 above."""
    found = standing(TierClaim(key("x"), (Place("a"),), 5, floor=2, priority=2))
    found.count(0, has)
    assert found.rank() == rank


def test_a_demand_that_asks_for_no_replica_weighs_all_the_same() -> None:
    """It wants 2 because the overload is tolerated, and its load is one of 3: has / 6 for its second one, not / 4."""
    tolerated = standing(TierClaim(key("x"), (Place("a"),), 2, priority=2, demand=3))
    tolerated.count(0, 1)
    assert tolerated.rank() == (1, 1 / 6)
    tolerated.count(0, 1)
    assert tolerated.rank() == (2, 2 / 2)
    assert not tolerated.unmet
    less = standing(TierClaim(key("x"), (Place("a"),), 2, demand=1))
    less.count(0, 1)
    assert less.rank() == (1, 1 / 2), "never less than what it wants"


def test_what_is_above_what_its_tier_wants_goes_before_what_another_wants() -> None:
    """x keeps 6 by a window and wants 1; y, of a tenth of its priority, wants 2 of the 6 GPUs."""
    keeps = tier("x", 1, Place("a", 1, 6), kept=6, priority=10)
    found = allocate([keeps, tier("y", 2)], [pool("a", 6)])
    assert numbers(found) == {"x": 4, "y": 0}
    assert found.tiers[1].waiting == 2


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        (Place("a", 1, 4), 4),
        (Place("a", 1, 4, pending=2, clamp=3), 3),
        (Place("a", 1, 4, pending=4, clamp=0), 0),
        (Place("a", 1, 4, pending=1, clamp=0), 3),
        (Place("a", 1, 2, pending=2, clamp=5), 2),
    ],
)
def test_a_clamp_leaves_what_a_node_runs(place: Place, kept: int) -> None:
    claim = TierClaim(key("x"), (place,), 4)
    assert standing(claim).have == [kept]
    assert standing(replace(claim, failing=True)).have == [place.replicas]
