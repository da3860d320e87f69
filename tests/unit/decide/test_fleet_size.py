"""Sharing out is fast enough for the largest fleets: its time grows with the replicas that move."""

from __future__ import annotations

import time
from decimal import Decimal
from random import Random

import pytest

from tests.builders.fleets import key
from tierwise.decide.fleet import Allocation, Budget, Place, PoolState, TierClaim, allocate

POOLS = 20


def fleet(tiers: int, *, pools_each: int, contention: float, standing: int) -> tuple[list[TierClaim], list[PoolState]]:
    """So many tiers, each in some of twenty pools, that together want `contention` times what there is."""
    rng = Random(1)
    claims, wanted = [], 0
    for index in range(tiers):
        gpus, asks = rng.choice([1, 1, 2, 4]), rng.randint(1, 12)
        places = tuple(
            Place(f"p{pool:02}", gpus, rng.randint(0, standing) if first == 0 else 0, usd_per_mtok=Decimal(pool))
            for first, pool in enumerate(rng.sample(range(POOLS), pools_each))
        )
        claims.append(TierClaim(key(f"t{index:05}"), places, asks, 1, priority=rng.choice([1, 1, 2])))
        wanted += asks * gpus
    capacity = int(wanted / contention / POOLS)
    return claims, [PoolState(f"p{pool:02}", capacity, gpu_hour=Decimal(2)) for pool in range(POOLS)]


def seconds(tiers: int, *, pools_each: int, contention: float, standing: int) -> tuple[float, Allocation]:
    claims, pools = fleet(tiers, pools_each=pools_each, contention=contention, standing=standing)
    capacity = sum(pool.capacity or 0 for pool in pools)
    began = time.process_time()
    found = allocate(claims, pools, Budget(gpus=capacity * 9 // 10))
    return time.process_time() - began, found


@pytest.mark.parametrize(
    ("pools_each", "contention", "standing"), [(3, 0.5, 6), (3, 1.5, 6), (3, 3.0, 6), (POOLS, 1.5, 0)]
)
def test_a_thousand_tiers(pools_each: int, contention: float, standing: int) -> None:
    """0.05 to 0.3 s where this was written; three times that under the coverage's tracing."""
    took, found = seconds(1000, pools_each=pools_each, contention=contention, standing=standing)
    assert sum(grant.replicas for grant in found.tiers) > 1000
    assert took < 2.0
