"""What a tier is told of its share: the word, the sentence and the steps, in every case that there is."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.builders.fleets import key, pool, tier
from tierwise.decide.fleet import NO_BUDGET, Budget, LimitedBy, Place, PoolState, TierClaim, TierGrant, allocate
from tierwise.decide.fleet.limits import Limits, reserve
from tierwise.errors import Invalid
from tierwise.types import Step

ENOUGH = [pool()]
UNPRICED = "the fleet has a budget in US dollars, and"


def told(*claims: TierClaim, pools: list[PoolState] = ENOUGH, budget: Budget = NO_BUDGET) -> TierGrant:
    """What the first tier is told."""
    return allocate(claims, pools, budget).tiers[0]


def steps(wanted: int, *more: Step) -> tuple[Step, ...]:
    return (Step("wanted", wanted), *more)


GRANTED = {
    "all of it": (tier("x", 2), LimitedBy.TARGET, "its load asks for 2 replicas", [Step("bounds", 2)]),
    "all of one": (tier("x", 1), LimitedBy.TARGET, "its load asks for 1 replica", [Step("bounds", 1)]),
    "nothing": (tier("x", 0), LimitedBy.TARGET, "its load asks for 0 replicas", [Step("bounds", 0)]),
    "its most": (
        tier("x", 5, most=3),
        LimitedBy.MAX,
        "its load asks for 5, maxReplicas allows 3",
        [Step("bounds", 3, "Max", "maxReplicas allows 3")],
    ),
    "just its most": (tier("x", 3, most=3), LimitedBy.TARGET, "its load asks for 3 replicas", [Step("bounds", 3)]),
    "what a window keeps": (
        tier("x", 1, Place("a", 1, 4), kept=3),
        LimitedBy.WINDOW,
        "a higher number still counts: 3 replicas",
        [Step("bounds", 1), Step("kept", 3, "Window")],
    ),
    "one that a window keeps": (
        tier("x", 0, Place("a", 1, 4), kept=1),
        LimitedBy.WINDOW,
        "a higher number still counts: 1 replica",
        [Step("bounds", 0), Step("kept", 1, "Window")],
    ),
    "what a window keeps below its most": (
        tier("x", 1, Place("a", 1, 4), kept=4, most=2),
        LimitedBy.WINDOW,
        "a higher number still counts: 4 replicas",
        [Step("bounds", 1), Step("kept", 2, "Window")],
    ),
    "what is there, in doubt": (
        tier("x", 1, Place("a", 1, 4), doubtful=True),
        LimitedBy.METRICS,
        "without complete measurements the number does not fall",
        [Step("bounds", 1), Step("kept", 4, "Metrics")],
    ),
    "what it wants, in doubt": (
        tier("x", 4, Place("a", 1, 4), doubtful=True),
        LimitedBy.TARGET,
        "its load asks for 4 replicas",
        [Step("bounds", 4)],
    ),
    "what it has, and a window keeps no more": (
        tier("x", 2, Place("a", 1, 2), kept=4),
        LimitedBy.TARGET,
        "its load asks for 2 replicas",
        [Step("bounds", 2)],
    ),
    "what it wants, and a window keeps as much": (
        tier("x", 2, Place("a", 1, 4), kept=2),
        LimitedBy.TARGET,
        "its load asks for 2 replicas",
        [Step("bounds", 2)],
    ),
    "what it has, failing": (
        tier("x", 5, Place("a", 1, 2), failing=True),
        LimitedBy.METRICS,
        "it could not be decided: it keeps 2 replicas and gets no more",
        [Step("failing", 2, "Metrics", "it keeps what it has")],
    ),
}


@pytest.mark.parametrize("case", GRANTED)
def test_a_tier_that_has_all_it_can_have_is_told_why_that_is_all(case: str) -> None:
    claim, word, message, middle = GRANTED[case]
    found = told(claim)
    assert (found.limited_by, found.message) == (word, message)
    assert found.steps == steps(claim.wanted, *middle, Step("pools", found.replicas))


LIMITED = {
    "the pool is full": (tier("x", 5), [pool("a", 3)], NO_BUDGET, LimitedBy.POOL, "pool a has 3 GPUs, 0 are left"),
    "the fleet's GPUs": (
        tier("x", 5),
        ENOUGH,
        Budget(gpus=2),
        LimitedBy.BUDGET,
        "the fleet's budget is 2 GPUs, 0 are left",
    ),
    "the fleet's dollars": (
        tier("x", 5),
        [pool(gpu_hour=Decimal(2))],
        Budget(usd_per_hour=Decimal(7)),
        LimitedBy.BUDGET,
        "the fleet's budget is 7 US dollars per hour, 1 are left",
    ),
    "dollars without a price": (
        tier("x", 5),
        ENOUGH,
        Budget(usd_per_hour=Decimal(7)),
        LimitedBy.POOL,
        f"pool a: {UNPRICED} this pool has no price",
    ),
    "dollars, and what is there has no price": (
        tier("x", 5, Place("a", 1, 1)),
        ENOUGH,
        Budget(usd_per_hour=Decimal(7)),
        LimitedBy.POOL,
        f"pool a: {UNPRICED} pool a has no price",
    ),
    "capacity unknown": (
        tier("x", 5),
        [pool("a", None)],
        NO_BUDGET,
        LimitedBy.POOL,
        "pool a: its capacity is not known",
    ),
    "a pool that nobody told of": (
        tier("x", 2, Place("zz")),
        ENOUGH,
        NO_BUDGET,
        LimitedBy.POOL,
        "pool zz: its capacity is not known",
    ),
    "budget unknown": (
        tier("x", 5),
        [pool(budget=Budget(known=False))],
        NO_BUDGET,
        LimitedBy.POOL,
        "pool a: its budget is not known",
    ),
    "the fleet's budget unknown": (
        tier("x", 5),
        ENOUGH,
        Budget(known=False),
        LimitedBy.POOL,
        "pool a: the fleet's budget is not known",
    ),
    "a pool's dollars without a price": (
        tier("x", 5),
        [pool(budget=Budget(usd_per_hour=Decimal(7)))],
        NO_BUDGET,
        LimitedBy.POOL,
        "pool a: it has a budget in US dollars and no price",
    ),
    "a pool's GPUs": (
        tier("x", 5),
        [pool(budget=Budget(gpus=2))],
        NO_BUDGET,
        LimitedBy.BUDGET,
        "the budget of pool a is 2 GPUs, 0 are left",
    ),
    "a pool's dollars": (
        tier("x", 5),
        [pool(gpu_hour=Decimal(2), budget=Budget(usd_per_hour=Decimal(7)))],
        NO_BUDGET,
        LimitedBy.BUDGET,
        "the budget of pool a is 7 US dollars per hour: 3 GPUs, 0 are left",
    ),
    "no node took more": (
        tier("x", 5, Place("a", 1, 3, pending=1, clamp=2)),
        ENOUGH,
        NO_BUDGET,
        LimitedBy.POOL,
        "pool a: no node took more than 2 replicas lately",
    ),
    "no node took more than one": (
        tier("x", 5, Place("a", 1, 1, clamp=1)),
        ENOUGH,
        NO_BUDGET,
        LimitedBy.POOL,
        "pool a: no node took more than 1 replica lately",
    ),
    "no pool at all": (TierClaim(key("x"), (), 2), ENOUGH, NO_BUDGET, LimitedBy.POOL, "it names no pool"),
    "two pools, each for its reason": (
        tier("x", 5, Place("a"), Place("b")),
        [pool("a", 1), pool("b", None)],
        NO_BUDGET,
        LimitedBy.POOL,
        "pool a has 1 GPUs, 0 are left; pool b: its capacity is not known",
    ),
}


@pytest.mark.parametrize("case", LIMITED)
def test_a_tier_that_wants_more_is_told_what_it_lacks(case: str) -> None:
    claim, pools, budget, word, message = LIMITED[case]
    found = told(claim, pools=pools, budget=budget)
    assert (found.limited_by, found.message) == (word, message)
    last = Step("pools", found.replicas, word.value, message)
    assert found.steps == steps(claim.wanted, Step("bounds", claim.wanted), last)
    assert found.met == found.replicas / claim.wanted


def test_one_that_waits_for_a_drain_and_one_that_is_drained_are_told() -> None:
    loser, winner = allocate([tier("x", 8, Place("a", 1, 8)), tier("y", 8)], ENOUGH).tiers
    ends = "a replica in pool a ends: for models/y"
    full = "pool a has 8 GPUs, 0 are left"
    drained = [Step("reclaim", left, "Pool", ends) for left in (7, 6, 5)]
    assert loser.steps == steps(8, Step("bounds", 8), *drained, Step("pools", 4, "Pool", full))
    said = f"4 replicas more when what drains is free; {full}"
    assert winner.steps == steps(8, Step("bounds", 8), Step("pools", 0, "Pool", said))
    assert (winner.waiting, winner.met, loser.met) == (4, 0.5, 0.5)


def test_a_floor_alone_is_met_whole() -> None:
    found = told(tier("x", 1, floor=2))
    assert (found.replicas, found.met) == (2, 1.0)
    assert told(tier("x", 0)).met == 1.0
    assert told(tier("x", 1, Place("a", 1, 4), kept=3)).met == 1.0


def test_budgets_are_those_that_somebody_has_set_pools_first() -> None:
    pools = [pool("b", 8), pool("a", 8, budget=Budget(gpus=3))]
    limits = Limits([tier("x", 1)], pools, Budget(gpus=5, usd_per_hour=Decimal(9)))
    assert [limit.later for limit in limits.budgets()] == [3, 5, 9]


@pytest.mark.parametrize(("free", "left"), [(5, 3), (3, 1), (2, 0), (1, 0), (0, 0), (-1, -1)])
def test_what_is_set_aside_is_taken_from_what_is_free_now_and_no_further(free: int, left: int) -> None:
    place = Place("a", 2)
    limits = Limits([TierClaim(key("x"), (place,), 1)], [pool("a", 8, others=8 - free)], NO_BUDGET)
    (need,) = limits.needs(place)
    reserve((need,))
    assert (need.limit.now, need.limit.later) == (left, free - 2)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (Place("a", 0), "models/x in pool a: replicas of 0 GPUs cannot be counted"),
        (Place("a", 2, 1, pending=2), "models/x in pool a: replicas of 2 GPUs cannot be counted"),
        (Place("a", 2, 1, pending=-1), "models/x in pool a: replicas of 2 GPUs cannot be counted"),
        (Place("a", 2, 1, terminating=-1), "models/x in pool a: replicas of 2 GPUs cannot be counted"),
    ],
)
def test_what_cannot_be_counted_is_refused(place: Place, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        TierClaim(key("x"), (place,), 1)
    assert str(refused.value) == message


def test_a_pool_is_named_once() -> None:
    with pytest.raises(Invalid) as refused:
        TierClaim(key("x"), (Place("b"), Place("a"), Place("a")), 1)
    assert str(refused.value) == "models/x names a pool twice: a, a, b"


def test_what_was_not_shared_out_has_no_number() -> None:
    found = allocate([tier("x", 1)], ENOUGH)
    with pytest.raises(KeyError) as missing:
        found.replicas(key("x"), "b")
    assert missing.value.args == ((key("x"), "b"),)


def test_what_a_pool_held_before_is_told() -> None:
    claims = [tier("x", 2, Place("a", 2, 3, pending=1, terminating=2)), tier("y", 1, Place("b", 1, 4))]
    pools = [pool("a", 20, others=3, gpu_hour=Decimal(2)), pool("b", 3, others=1)]
    first, second = allocate(claims, pools).pools
    # 3 replicas asked for and 2 that end, 2 GPUs each; the pending one costs nothing yet: 8 GPUs x 2 dollars.
    assert (first.name, first.used, first.pending, first.terminating, first.free) == ("a", 10, 2, 4, 7)
    assert first.usd_per_hour == 16
    assert (second.name, second.used, second.free, second.usd_per_hour) == ("b", 4, 0, None)
    (unknown,) = allocate([tier("x", 1)], [pool("a", None)]).pools
    assert unknown.free is None
