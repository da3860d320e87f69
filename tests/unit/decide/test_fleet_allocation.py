"""What each rule of sharing out does, one example each."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.builders.fleets import key, numbers, pool, settled, tier, written
from tierwise.decide.fleet import Budget, LimitedBy, Place, TierClaim, TierGrant, allocate
from tierwise.errors import Invalid


def only(claim: TierClaim, *pools: object, budget: Budget | None = None) -> TierGrant:
    known = pools or (pool(),)
    return allocate([claim], known, budget or Budget()).tiers[0]  # type: ignore[arg-type]


def test_with_room_for_all_everybody_has_what_it_asks_for() -> None:
    found = allocate([tier("chat", 3), tier("code", 4)], [pool()])
    assert numbers(found) == {"chat": 3, "code": 4}
    assert {each.limited_by for each in found.tiers} == {LimitedBy.TARGET}
    assert {each.met for each in found.tiers} == {1.0}
    assert not any(each.capped for each in found.tiers)


def test_floors_first_then_demand_times_priority() -> None:
    asked = [tier("chat", 8, floor=1), tier("code", 8, floor=4), tier("mail", 8, floor=1, priority=3)]
    assert numbers(allocate(asked, [pool(capacity=6)])) == {"chat": 1, "code": 4, "mail": 1}
    assert numbers(allocate(asked, [pool(capacity=12)])) == {"chat": 2, "code": 4, "mail": 6}


def test_when_floors_do_not_fit_they_are_met_to_the_same_part() -> None:
    asked = [tier("chat", 9, floor=4), tier("code", 9, floor=2)]
    assert numbers(allocate(asked, [pool(capacity=3)])) == {"chat": 2, "code": 1}


def test_four_gpus_or_none() -> None:
    asked = [tier("large", 2, Place("a", 4), priority=9), tier("small", 9)]
    assert numbers(allocate(asked, [pool(capacity=7)])) == {"large": 1, "small": 3}
    assert numbers(allocate(asked, [pool(capacity=3)])) == {"large": 0, "small": 3}


def test_growth_goes_where_a_token_costs_least() -> None:
    places = (Place("a", usd_per_mtok=Decimal("0.9")), Place("b", 2, usd_per_mtok=Decimal("0.4")))
    found = only(tier("chat", 3, *places), pool("a"), pool("b", 4))
    assert [(place.pool, place.replicas) for place in found.places] == [("a", 1), ("b", 2)]


def test_shrinking_starts_where_it_costs_most() -> None:
    places = (Place("a", 1, 2, usd_per_mtok=Decimal("0.9")), Place("b", 1, 2, usd_per_mtok=Decimal("0.4")))
    found = only(tier("chat", 1, *places), pool("a"), pool("b"))
    assert [(place.pool, place.replicas) for place in found.places] == [("a", 0), ("b", 1)]


def test_what_is_not_measured_everywhere_is_compared_by_price_and_without_prices_by_the_order_of_the_tier() -> None:
    places = (Place("a", 1, usd_per_mtok=Decimal("0.1")), Place("b", 2))
    priced = only(tier("chat", 1, *places), pool("a", gpu_hour=Decimal(7)), pool("b", gpu_hour=Decimal(2)))
    assert [place.replicas for place in priced.places] == [0, 1]
    unpriced = only(tier("chat", 1, *places), pool("a", gpu_hour=Decimal(7)), pool("b"))
    assert [place.replicas for place in unpriced.places] == [1, 0]


def test_free_gpus_come_before_cheaper_ones_that_must_be_drained() -> None:
    asked = [
        tier("chat", 2, Place("a", usd_per_mtok=Decimal("0.1")), Place("b", usd_per_mtok=Decimal("0.9"))),
        tier("code", 4, Place("a", 1, 4)),
    ]
    found = allocate(asked, [pool("a", 4), pool("b", 4)])
    assert [place.replicas for place in found.tiers[0].places] == [0, 2]
    assert numbers(found)["code"] == 4


def test_pending_and_terminating_pods_hold_their_gpus() -> None:
    asked = [tier("chat", 5, Place("a", 1, 3, pending=2, terminating=1))]
    found = allocate(asked, [pool(capacity=5)])
    assert numbers(found) == {"chat": 4}
    (use,) = found.pools
    assert (use.used, use.pending, use.terminating, use.free) == (4, 2, 1, 1)


def test_gpus_of_others_are_not_there() -> None:
    assert numbers(allocate([tier("chat", 9)], [pool(capacity=8, others=3)])) == {"chat": 5}
    assert numbers(allocate([tier("chat", 9)], [pool(capacity=8, others=9)])) == {"chat": 0}


def test_a_grant_waits_until_the_drained_gpus_are_free() -> None:
    asked = (tier("chat", 8, Place("a", 1, 8)), tier("code", 8))
    first = allocate(asked, [pool()])
    assert numbers(first) == {"chat": 4, "code": 0}
    assert (first.tiers[1].waiting, first.tiers[1].met, first.tiers[1].limited_by) == (4, 0.5, LimitedBy.POOL)
    assert first.tiers[0].places[0].reclaimed == 4
    draining = written(asked, first, drained=False)
    assert numbers(allocate(draining, [pool()])) == {"chat": 4, "code": 0}
    assert numbers(allocate(written(asked, first, drained=True), [pool()])) == {"chat": 4, "code": 4}


def test_what_is_set_aside_is_given_to_nobody_else() -> None:
    asked = (tier("large", 1, Place("a", 4), floor=1), tier("small", 4, Place("a", 1, 2, terminating=2)))
    found = allocate(asked, [pool(capacity=6)])
    assert numbers(found) == {"large": 0, "small": 2}
    assert found.tiers[0].waiting == 1


def test_a_small_difference_moves_no_replica() -> None:
    """4 of 6 against 3 of 6: after moving one it would be the other way round."""
    asked = [tier("chat", 6, Place("a", 1, 4)), tier("code", 6, Place("a", 1, 3))]
    found = allocate(asked, [pool(capacity=7)])
    assert numbers(found) == {"chat": 4, "code": 3}


def test_nothing_is_drained_that_does_not_help() -> None:
    asked = [tier("large", 1, Place("a", 8)), tier("small", 4, Place("a", 1, 4))]
    assert numbers(allocate(asked, [pool(capacity=7)])) == {"large": 0, "small": 4}


def test_who_was_asked_in_vain_is_served_all_the_same() -> None:
    asked = [tier("large", 1, Place("a", 8)), tier("small", 6, Place("a", 1, 4))]
    assert numbers(allocate(asked, [pool(capacity=7)])) == {"large": 0, "small": 6}


def test_no_more_is_drained_than_needed() -> None:
    asked = [
        tier("large", 1, Place("a", 4)),
        tier("some", 1, Place("a", 1, 3), kept=3),
        tier("other", 1, Place("a", 4, 2), kept=2),
    ]
    found = allocate(asked, [pool(capacity=11)])
    assert found.tiers[0].waiting == 1
    assert (
        sum(
            place.reclaimed * size for grant, size in zip(found.tiers, (4, 4, 1), strict=True) for place in grant.places
        )
        == 4
    )


def test_a_lower_budget_is_followed_down_to_the_floors() -> None:
    asked = [tier("chat", 6, Place("a", 1, 6), floor=2), tier("code", 2, Place("a", 1, 2), floor=1)]
    found = allocate(asked, [pool()], Budget(gpus=4))
    assert numbers(found) == {"chat": 3, "code": 1}
    assert {each.limited_by for each in found.tiers} == {LimitedBy.BUDGET}
    assert numbers(allocate(asked, [pool()], Budget(gpus=0))) == {"chat": 2, "code": 1}


def test_a_budget_in_dollars() -> None:
    rich, cheap = pool("a", gpu_hour=Decimal("6.88")), pool("b", gpu_hour=Decimal("0.80"))
    asked = [tier("large", 4, Place("a"), floor=1), tier("small", 4, Place("b"), floor=1)]
    found = allocate(asked, [rich, cheap], Budget(usd_per_hour=Decimal("10.00")))
    assert numbers(found) == {"large": 1, "small": 3}
    assert numbers(allocate(asked, [replace(rich, budget=Budget(usd_per_hour=Decimal(14))), cheap])) == {
        "large": 2,
        "small": 4,
    }


def test_nodes_that_are_lost_cost_nobody_a_replica() -> None:
    """Eight GPUs of sixteen are gone, and their pods are still counted: who really has what is not known."""
    asked = [tier("chat", 8, Place("a", 1, 12)), tier("code", 8, Place("a", 1, 2))]
    found = allocate([replace(asked[0], kept=12), asked[1]], [pool(capacity=8)])
    assert numbers(found) == {"chat": 12, "code": 2}


@pytest.mark.parametrize(
    ("state", "budget", "said"),
    [
        (pool(capacity=None), Budget(), "its capacity is not known"),
        (pool(budget=Budget(known=False)), Budget(), "its budget is not known"),
        (pool(budget=Budget(usd_per_hour=Decimal(9))), Budget(), "it has a budget in US dollars and no price"),
        (pool(), Budget(known=False), "the fleet's budget is not known"),
        (pool(), Budget(usd_per_hour=Decimal(9)), "the fleet has a budget in US dollars, and pool a has no price"),
        (pool("b"), Budget(), "its capacity is not known"),
    ],
)
def test_what_is_not_known_holds(state: object, budget: Budget, said: str) -> None:
    grant = only(tier("chat", 5, Place("a", 1, 2)), state, budget=budget)
    assert (grant.replicas, grant.limited_by) == (2, LimitedBy.POOL)
    assert said in grant.message


def test_one_pool_without_a_price_does_not_stop_the_others() -> None:
    found = only(
        tier("chat", 3, Place("a"), Place("b")),
        pool("a"),
        pool("b", gpu_hour=Decimal(1)),
        budget=Budget(usd_per_hour=Decimal(9)),
    )
    assert [place.replicas for place in found.places] == [0, 3]


def test_a_failing_tier_keeps_its_gpus_and_gets_no_more() -> None:
    asked = [tier("broken", 9, Place("a", 1, 3), failing=True), tier("chat", 9)]
    found = allocate(asked, [pool()])
    assert numbers(found) == {"broken": 3, "chat": 5}
    assert found.tiers[0].limited_by is LimitedBy.METRICS


def test_a_tier_that_is_not_measured_is_not_lowered_for_another() -> None:
    asked = [tier("blind", 1, Place("a", 1, 6), doubtful=True), tier("chat", 8)]
    found = allocate(asked, [pool()])
    assert numbers(found) == {"blind": 6, "chat": 2}
    assert found.tiers[0].limited_by is LimitedBy.METRICS


def test_what_a_window_keeps_goes_first_when_others_want_it() -> None:
    asked = [tier("chat", 2, Place("a", 1, 6), kept=6, priority=9), tier("code", 4, Place("a", 1, 2))]
    assert allocate(asked[:1], [pool()]).tiers[0].limited_by is LimitedBy.WINDOW
    _, found = settled(asked, [pool()])
    assert numbers(found) == {"chat": 4, "code": 4}


def test_the_clamp_frees_what_no_node_takes_and_growth_goes_elsewhere() -> None:
    stuck = Place("a", 4, 3, pending=1, clamp=2, usd_per_mtok=Decimal(1))
    found = only(tier("large", 4, stuck, Place("b", 4, usd_per_mtok=Decimal(2))), pool("a", 16), pool("b", 4))
    assert [place.replicas for place in found.places] == [2, 1]
    assert found.limited_by is LimitedBy.POOL
    assert "pool a: no node took more than 2 replicas lately" in found.message


def test_the_clamp_ends_no_replica_that_runs() -> None:
    assert only(tier("large", 4, Place("a", 1, 4, pending=1, clamp=1))).replicas == 3


def test_the_most_is_said_and_comes_before_the_floor_of_nothing() -> None:
    grant = only(tier("chat", 9, most=4))
    assert (grant.replicas, grant.limited_by, grant.met) == (4, LimitedBy.MAX, 4 / 9)
    assert grant.capped
    assert only(tier("chat", 1, Place("a", 1, 6), most=4, doubtful=True)).replicas == 4


def test_every_answer_has_its_steps() -> None:
    asked = [tier("chat", 8, Place("a", 1, 8), most=6), tier("code", 8)]
    chat, code = allocate(asked, [pool()]).tiers
    assert [(step.name, step.replicas, step.reason) for step in chat.steps] == [
        ("wanted", 8, ""),
        ("bounds", 6, "Max"),
        ("reclaim", 5, "Pool"),
        ("reclaim", 4, "Pool"),
        ("pools", 4, "Pool"),
    ]
    assert chat.steps[2].message == "a replica in pool a ends: for models/code"
    assert code.message == "4 replicas more when what drains is free; pool a has 8 GPUs, 0 are left"
    assert len(code.steps) <= 12


def test_a_budget_that_is_used_up_is_named_with_what_is_left() -> None:
    grant = only(tier("large", 3, Place("a", 4)), budget=Budget(gpus=7))
    assert (grant.replicas, grant.limited_by) == (1, LimitedBy.BUDGET)
    assert grant.message == "the fleet's budget is 7 GPUs, 3 are left"


def test_replicas_are_found_by_tier_and_pool() -> None:
    found = allocate([tier("chat", 2)], [pool()])
    assert found.replicas(key("chat"), "a") == 2
    with pytest.raises(KeyError, match=r"name='chat'\), 'b'"):
        found.replicas(key("chat"), "b")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"places": (Place("a"), Place("a"))}, "names a pool twice"),
        ({"priority": 0}, "has priority 0; give it 1 or more"),
        ({"places": (Place("a", 0),)}, "cannot be counted"),
        ({"places": (Place("a", 1, -1),)}, "cannot be counted"),
        ({"places": (Place("a", 1, 1, pending=2),)}, "cannot be counted"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        TierClaim(**{"tier": key("chat"), "places": (Place("a"),), "wanted": 1} | fields)  # type: ignore[arg-type]


def test_a_tier_or_a_pool_that_is_given_twice_is_refused() -> None:
    with pytest.raises(Invalid, match="tier models/chat is given twice"):
        allocate([tier("chat", 1), tier("chat", 1)], [pool()])
    with pytest.raises(Invalid, match="pool a is given twice"):
        allocate([tier("chat", 1)], [pool(), pool()])
