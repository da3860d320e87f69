"""What is left of a limit, now and later, by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.builders.fleets import numbers, pool, tier
from tierwise.decide.fleet import NO_BUDGET, Budget, Place, PoolState, allocate
from tierwise.decide.fleet.limits import Limit, Need, leave, reserve
from tierwise.decide.fleet.values import LimitedBy
from tierwise.errors import Invalid
from tierwise.types import PoolUse


def limit(*, later: int, now: int) -> Limit:
    return Limit(LimitedBy.POOL, "pool a has 8 GPUs", later, now)


@pytest.mark.parametrize(
    ("now", "left"),
    [
        (6, 2),  # there is enough: only its own are set aside
        (4, 0),
        (3, 0),  # all that is free waits with it
        (1, 0),
        (0, 0),
        (-2, -2),  # nothing is free
    ],
)
def test_what_is_free_is_set_aside_as_far_as_a_replica_of_four_needs_it(now: int, left: int) -> None:
    found = limit(later=8, now=now)
    reserve((Need(found, 4),))
    assert (found.later, found.now) == (4, left)


def test_what_ends_is_held_now_and_not_later() -> None:
    found = limit(later=8, now=8)
    leave((Need(found, 4),), 2)
    assert (found.later, found.now) == (8, 0)


def test_how_full_a_pool_was_and_what_that_costs() -> None:
    """Three replicas of two GPUs, one of them pending, and one that terminates: eight GPUs, six of them paid."""
    claim = tier("chat", 3, Place("a", 2, 3, pending=1, terminating=1))
    (use,) = allocate([claim], [pool("a", 16, others=3, gpu_hour=Decimal(2))]).pools
    assert use == PoolUse("a", used=8, pending=2, terminating=2, free=5, usd_per_hour=Decimal(12))
    (full,) = allocate([claim], [pool("a", 8, others=3)]).pools
    assert (full.free, full.usd_per_hour) == (0, None)


@pytest.mark.parametrize(
    ("state", "budget", "said"),
    [
        (pool(capacity=None), NO_BUDGET, "pool a: its capacity is not known"),
        (pool(budget=Budget(known=False)), NO_BUDGET, "pool a: its budget is not known"),
        (pool(budget=Budget(usd_per_hour=Decimal(9))), NO_BUDGET, "pool a: it has a budget in US dollars and no price"),
        (pool(), Budget(known=False), "pool a: the fleet's budget is not known"),
        (
            pool(),
            Budget(usd_per_hour=Decimal(9)),
            "pool a: the fleet has a budget in US dollars, and this pool has no price",
        ),
        (
            pool(gpu_hour=Decimal(2)),
            Budget(usd_per_hour=Decimal(5)),
            "the fleet's budget is 5 US dollars per hour, 1 are left",
        ),
        (pool(budget=Budget(gpus=2)), NO_BUDGET, "the budget of pool a is 2 GPUs, 0 are left"),
        (
            pool(gpu_hour=Decimal(2), budget=Budget(usd_per_hour=Decimal(5))),
            NO_BUDGET,
            "the budget of pool a is 5 US dollars per hour: 2 GPUs, 0 are left",
        ),
    ],
)
def test_the_whole_sentence_of_each_limit(state: PoolState, budget: Budget, said: str) -> None:
    assert allocate([tier("chat", 5)], [state], budget).tiers[0].message == said


def test_the_budget_of_a_pool_is_followed_down() -> None:
    found = allocate([tier("chat", 4, Place("a", 1, 4))], [pool(budget=Budget(gpus=2))])
    assert numbers(found) == {"chat": 2}


@pytest.mark.parametrize("place", [Place("a", 1, 1, terminating=-1), Place("a", 1, 1, pending=-1)])
def test_less_than_no_pods_cannot_be_counted(place: Place) -> None:
    with pytest.raises(Invalid, match="cannot be counted"):
        tier("chat", 1, place)
