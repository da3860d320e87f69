"""Who is served first and who gives first where several could, and what a tier that waits waits for."""

from __future__ import annotations

from decimal import Decimal

from tests.builders.fleets import numbers, pool, tier
from tierwise.decide.fleet import Budget, LimitedBy, Place, allocate


def test_of_two_that_have_nothing_the_one_that_wants_more_is_served_first() -> None:
    assert numbers(allocate([tier("x", 1), tier("y", 5)], [pool("a", 1)])) == {"x": 0, "y": 1}
    assert numbers(allocate([tier("x", 2, priority=3), tier("y", 5)], [pool("a", 1)])) == {"x": 1, "y": 0}


def test_the_one_between_two_others_gives_what_it_has_too_much() -> None:
    claims = [tier("x", 1, Place("a", 1, 1)), tier("y", 6, Place("a", 1, 6)), tier("z", 6, Place("a", 1, 1))]
    found = allocate(claims, [pool("a", 8)])
    assert numbers(found) == {"x": 1, "y": 4, "z": 1}
    assert found.tiers[2].waiting == 2


def test_of_two_that_have_the_same_the_last_by_name_gives() -> None:
    claims = [tier("x", 4, Place("a", 1, 4)), tier("y", 4, Place("a", 1, 4)), tier("z", 4)]
    found = allocate(claims, [pool("a", 8)])
    assert numbers(found) == {"x": 3, "y": 3, "z": 0}
    one_more = allocate([*claims[:2], tier("z", 1)], [pool("a", 8)])
    assert numbers(one_more) == {"x": 4, "y": 3, "z": 0}


def test_one_that_waits_is_limited_by_what_it_waits_for() -> None:
    """One GPU of the pool is free, none of the budget."""
    found = allocate([tier("x", 4, Place("a", 1, 8)), tier("y", 8)], [pool("a", 9)], Budget(gpus=8))
    assert found.tiers[1].waiting > 0
    assert found.tiers[1].limited_by is LimitedBy.BUDGET


def test_a_replica_above_the_budget_ends_and_says_so() -> None:
    (found,) = allocate([tier("x", 4, Place("a", 1, 4))], [pool()], Budget(gpus=3)).tiers
    assert found.replicas == 3
    assert [step.message for step in found.steps if step.name == "reclaim"] == [
        "a replica in pool a ends: the fleet's budget is 3 GPUs"
    ]


def test_for_another_tier_what_does_not_answer_yet_is_taken_first() -> None:
    prices = [pool("a", 4, gpu_hour=Decimal(1)), pool("b", 4, gpu_hour=Decimal(4))]
    rich = tier("x", 4, Place("a", 1, 2, starting=1), Place("b", 1, 2))
    poor = tier("y", 1, Place("b"), floor=1)
    (found, other) = allocate([rich, poor], prices, Budget(gpus=4)).tiers
    assert [place.replicas for place in found.places] == [1, 2]
    assert other.waiting == 1


def test_a_pool_without_gpus_gives_none() -> None:
    assert numbers(allocate([tier("x", 1)], [pool("a", 0)])) == {"x": 0}


def test_what_ends_holds_all_of_its_gpus_until_it_is_gone() -> None:
    claims = [tier("x", 1, Place("a", 2, 1, terminating=2)), tier("y", 4)]
    assert numbers(allocate(claims, [pool("a", 8)])) == {"x": 1, "y": 2}


def test_a_price_does_not_open_a_pool_whose_capacity_is_not_known() -> None:
    known, unknown = pool("a", 8), pool("b", None, gpu_hour=Decimal(1))
    claims = [tier("x", 2, Place("b")), tier("y", 2)]
    found = allocate(claims, [known, unknown], Budget(usd_per_hour=Decimal(100)))
    assert numbers(found) == {"x": 0, "y": 0}
    assert found.tiers[0].message == "pool b: its capacity is not known"


def test_a_pool_that_nobody_told_of_is_named_as_the_tier_names_it() -> None:
    assert [use.name for use in allocate([tier("x", 1, Place("zz"))], [pool()]).pools] == ["a", "zz"]
