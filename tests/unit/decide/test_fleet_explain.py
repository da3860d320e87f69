"""What a tier is told: one word, one sentence, and the steps."""

from __future__ import annotations

import pytest

from tests.builders.fleets import key, numbers, pool, tier
from tierwise.decide.fleet import Budget, LimitedBy, Place, TierClaim, TierGrant, allocate
from tierwise.types.plan import Step


def only(claim: TierClaim, budget: Budget | None = None) -> TierGrant:
    return allocate([claim], [pool()], budget or Budget()).tiers[0]


@pytest.mark.parametrize(
    ("claim", "word", "message"),
    [
        (tier("chat", 1), LimitedBy.TARGET, "its load asks for 1 replica"),
        (tier("chat", 3), LimitedBy.TARGET, "its load asks for 3 replicas"),
        (tier("chat", 3, most=3), LimitedBy.TARGET, "its load asks for 3 replicas"),
        (tier("chat", 4, most=3), LimitedBy.MAX, "its load asks for 4, maxReplicas allows 3"),
        (tier("chat", 1, Place("a", 1, 3), kept=3), LimitedBy.WINDOW, "a higher number still counts: 3 replicas"),
        (
            tier("chat", 1, Place("a", 1, 3), doubtful=True),
            LimitedBy.METRICS,
            "without complete measurements the number does not fall",
        ),
        (
            tier("chat", 1, Place("a", 1, 3), failing=True),
            LimitedBy.METRICS,
            "it could not be decided: it keeps 3 replicas and gets no more",
        ),
        (TierClaim(key("chat"), (), 1), LimitedBy.POOL, "it names no pool"),
    ],
)
def test_one_word_and_one_sentence(claim: TierClaim, word: LimitedBy, message: str) -> None:
    found = only(claim)
    assert (found.limited_by, found.message) == (word, message)


def test_nobody_has_more_than_all_it_asks_for() -> None:
    assert only(tier("chat", 1, Place("a", 1, 3), kept=3)).met == 1.0
    assert only(tier("chat", 0)).met == 1.0


@pytest.mark.parametrize(
    ("claim", "steps"),
    [
        (tier("chat", 3), (Step("wanted", 3), Step("bounds", 3), Step("pools", 3))),
        (tier("chat", 3, most=3), (Step("wanted", 3), Step("bounds", 3), Step("pools", 3))),
        (
            tier("chat", 4, most=3),
            (Step("wanted", 4), Step("bounds", 3, "Max", "maxReplicas allows 3"), Step("pools", 3)),
        ),
        (
            tier("chat", 1, Place("a", 1, 5), kept=3),
            (Step("wanted", 1), Step("bounds", 1), Step("kept", 3, "Window"), Step("pools", 3)),
        ),
        (
            tier("chat", 1, Place("a", 1, 5), doubtful=True),
            (Step("wanted", 1), Step("bounds", 1), Step("kept", 5, "Metrics"), Step("pools", 5)),
        ),
        (
            tier("chat", 1, Place("a", 1, 5), failing=True),
            (Step("wanted", 1), Step("failing", 5, "Metrics", "it keeps what it has"), Step("pools", 5)),
        ),
    ],
)
def test_the_steps_in_their_order(claim: TierClaim, steps: tuple[Step, ...]) -> None:
    assert only(claim).steps == steps


def test_the_last_step_says_what_is_missing() -> None:
    found = only(tier("chat", 9))
    assert found.steps[-1] == Step("pools", 8, "Pool", "pool a has 8 GPUs, 0 are left")


def test_a_replica_that_a_budget_ends_is_told_which() -> None:
    found = only(tier("chat", 2, Place("a", 1, 2)), Budget(gpus=1))
    assert Step("reclaim", 1, "Budget", "a replica in pool a ends: the fleet's budget is 1 GPUs") in found.steps


def test_what_waits_names_the_first_limit_that_is_not_free_yet() -> None:
    """One GPU is free in the pool and none in the budget: what is waited for is the budget."""
    asked = [tier("chat", 8, Place("a", 1, 8)), tier("code", 1)]
    found = allocate(asked, [pool(capacity=9)], Budget(gpus=8))
    assert numbers(found) == {"chat": 7, "code": 0}
    assert (found.tiers[1].waiting, found.tiers[1].limited_by) == (1, LimitedBy.BUDGET)
