"""Checks the shared-budget rules by example, with the shares worked out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.errors import Invalid
from tierwise_sim.policies.budget import Ask, BudgetRule
from tierwise_sim.policies.budget_registry import BUDGET_RULES, budget_rule
from tierwise_sim.policies.budget_rules import Coordinator, first_come, greedy, rescale
from tierwise_sim.policies.kueue import KueueFloors


def test_first_come_rejects_the_whole_of_what_does_not_fit() -> None:
    """8 GPUs, 4 used: a asks for 3 more (7), b for 2 more: rejected, though one would fit; c for 1: granted."""
    asks = [Ask("a", wish=5, current=2), Ask("b", wish=3, current=1), Ask("c", wish=2, current=1)]
    assert first_come(asks, 8).replicas == {"a": 5, "b": 1, "c": 2}
    assert first_come(asks[::-1], 8).replicas == {"c": 2, "b": 3, "a": 2}


def test_first_come_counts_gpus_and_not_replicas() -> None:
    """4 of 8 used: one more of four GPUs fits, one of five does not."""
    assert first_come([Ask("a", wish=2, current=1, gpus=4)], 8).replicas == {"a": 2}
    assert first_come([Ask("a", wish=2, current=1, gpus=4)], 7).replicas == {"a": 1}


def test_greedy_serves_the_most_saturated_then_the_cheapest_and_gives_a_part() -> None:
    """3 free: b (5 % spare) gets its 2, of a and c with equal spare the cheaper c gets 1 of 2."""
    asks = [
        Ask("a", wish=4, current=2, spare=0.3, cost=2.0),
        Ask("b", wish=3, current=1, spare=0.05, cost=9.0),
        Ask("c", wish=4, current=2, spare=0.3, cost=1.0),
    ]
    assert greedy(asks, 8).replicas == {"b": 3, "c": 3, "a": 2}


def test_what_is_removed_is_free_only_later() -> None:
    """a gives two back, which still drain: b gets nothing of a full budget now."""
    asks = [Ask("a", wish=1, current=3), Ask("b", wish=3, current=1)]
    for rule in (first_come, greedy, rescale, Coordinator()):
        assert dict(rule(asks, 4).replicas) == {"a": 1, "b": 1}


def test_rescale_divides_by_priority_times_demand_above_the_floors() -> None:
    """10 GPUs, demand 8 + 8 + 4 = 20. Floors 1 + 1 + 2 = 4; 6 left over 2*8 : 1*8 : 1*4 = 16 : 8 : 4 of 28, which is
    3.43, 1.71, 0.86: shares 4.43, 2.71, 2.86. Rounded down 4 + 2 + 2, two more to c (0.86) and b (0.71)."""
    asks = [
        Ask("a", wish=8, current=0, floor=1, priority=2),
        Ask("b", wish=8, current=0, floor=1),
        Ask("c", wish=4, current=0, floor=2),
    ]
    assert rescale(asks, 10).replicas == {"a": 4, "b": 3, "c": 3}


def test_rescale_divides_again_what_a_cap_leaves() -> None:
    """10 GPUs, demand 2 + 12, weights 9 * 2 : 12: a's share 6 is capped at 2, b gets 8. With at most 5, b gets 5."""
    asks = [Ask("a", wish=2, current=0, priority=9), Ask("b", wish=12, current=0)]
    assert rescale(asks, 10).replicas == {"a": 2, "b": 8}
    capped = [asks[0], Ask("b", wish=5, current=0, demand=12, maximum=5)]
    assert rescale(capped, 10).replicas == {"a": 2, "b": 5}


def test_rescale_grants_every_wish_without_contention_and_only_floors_when_they_fill_the_budget() -> None:
    asks = [Ask("a", wish=3, current=0, floor=5, priority=2), Ask("b", wish=9, current=4, floor=3)]
    assert rescale(asks, 12).replicas == {"a": 3, "b": 9}  # 3 + 9 = 12
    assert rescale(asks, 8).replicas == {"a": 3, "b": 3}


def test_rescale_in_whole_replicas_of_several_gpus() -> None:
    """7 GPUs, demand 6 + 6: 3.5 each. Replicas of 2 GPUs: 1.75 and 1.75, so 1 + 1, and one more of the 3 left: to a."""
    asks = [Ask("a", wish=3, current=0, gpus=2), Ask("b", wish=3, current=0, gpus=2)]
    assert rescale(asks, 7).replicas == {"a": 2, "b": 1}


def test_the_coordinator_raises_at_once_and_lowers_after_four_equal_answers() -> None:
    """10 GPUs, minima 1 + 1: 8 by the queues. 3 : 1 is ceilings 7 and 3; 1 : 3 is 3 and 7. a's falls at the fourth."""
    rule = Coordinator()

    def grant(queue_a: float, queue_b: float) -> tuple[int, int]:
        asks = [
            Ask("a", wish=9, current=0, minimum=1, queue=queue_a),
            Ask("b", wish=9, current=0, minimum=1, queue=queue_b),
        ]
        replicas = rule(asks, 10).replicas
        return replicas["a"], replicas["b"]

    assert grant(30, 10) == (7, 3)
    # Both ceilings are 7 for three ticks: a comes first, b finds 3 GPUs.
    assert [grant(10, 30) for _ in range(4)] == [(7, 3), (7, 3), (7, 3), (3, 7)]
    assert grant(0, 0) == (3, 7)


def test_the_coordinator_counts_a_replica_as_a_gpu() -> None:
    """Ceilings of 8 replicas for 8 GPUs: of replicas with two GPUs four run, and the others would stay Pending."""
    assert Coordinator()([Ask("a", wish=9, current=0, gpus=2, queue=5)], 8).replicas == {"a": 4}


def test_kueue_lends_what_is_free_and_takes_it_back_up_to_the_floor() -> None:
    """8 GPUs, floors 4 + 4. a borrows all 8 while b is idle; then b wants 6: four of a's newest are preempted, b gets
    its floor and no more, as borrowing never preempts."""
    rule = KueueFloors()
    lent = rule([Ask("a", wish=9, current=0, floor=4), Ask("b", wish=0, current=0, floor=4)], 8)
    assert (lent.replicas, lent.preempted) == ({"a": 8, "b": 0}, {})
    back = rule([Ask("a", wish=9, current=8, floor=4), Ask("b", wish=6, current=0, floor=4)], 8)
    assert (back.replicas, back.preempted) == ({"a": 4, "b": 4}, {"a": 4})


def test_kueue_preempts_the_lowest_priority_and_of_it_the_newest() -> None:
    """b and c borrow two each, c last; both of priority 1, d of 0 borrows one, first. a wants its floor of 2: d goes,
    then c's newest."""
    rule = KueueFloors()

    def asks(a: int, current: tuple[int, int, int, int], wishes: tuple[int, int, int]) -> list[Ask]:
        return [
            Ask("a", wish=a, current=current[0], floor=2),
            Ask("d", wish=wishes[2], current=current[3], priority=0),
            Ask("b", wish=wishes[0], current=current[1]),
            Ask("c", wish=wishes[1], current=current[2]),
        ]

    rule(asks(0, (0, 0, 0, 0), (0, 0, 1)), 5)
    rule(asks(0, (0, 0, 0, 1), (2, 0, 1)), 5)
    full = rule(asks(0, (0, 2, 0, 1), (2, 2, 1)), 5)
    assert full.replicas == {"a": 0, "d": 1, "b": 2, "c": 2}
    grants = rule(asks(2, (0, 2, 2, 1), (2, 2, 1)), 5)
    assert grants.preempted == {"c": 1, "d": 1}
    assert grants.replicas == {"a": 2, "d": 0, "b": 2, "c": 1}


def test_kueue_preempts_nothing_when_that_would_not_be_enough() -> None:
    """a's replica needs 4 GPUs, b borrows only 2 above its floor of 2: b keeps them."""
    rule = KueueFloors()
    rule([Ask("a", wish=0, current=0, gpus=4, floor=4), Ask("b", wish=4, current=0, floor=2)], 5)
    grants = rule([Ask("a", wish=1, current=0, gpus=4, floor=4), Ask("b", wish=4, current=4, floor=2)], 5)
    assert (grants.replicas, grants.preempted) == ({"a": 0, "b": 4}, {})


def test_kueue_does_not_preempt_what_has_not_begun() -> None:
    """b is admitted, and gives its GPUs back to the floor of c in the next round of one pass: nothing of it ran."""
    asks = [
        Ask("a", wish=0, current=1, gpus=2),
        Ask("b", wish=1, current=0, gpus=4),
        Ask("c", wish=2, current=0, floor=2),
    ]
    grants = KueueFloors()(asks, 7)
    assert (grants.replicas, grants.preempted) == ({"a": 0, "b": 0, "c": 2}, {})


def test_kueue_takes_turns_so_that_the_first_tier_does_not_take_all() -> None:
    """No floors, 5 GPUs: one each in turn, so 3 and 2; with priority the higher is first in every round."""
    low, high = Ask("low", wish=5, current=0), Ask("high", wish=5, current=0, priority=2)
    assert KueueFloors()([low, Ask("b", wish=5, current=0)], 5).replicas == {"low": 3, "b": 2}
    assert KueueFloors()([low, high], 5).replicas == {"low": 2, "high": 3}


def test_an_unknown_rule_says_which_there_are() -> None:
    with pytest.raises(Invalid, match=r"'fair'.*first-come.*kueue-floors"):
        budget_rule("fair")


tiers = st.lists(
    st.builds(
        lambda wish, current, gpus, floor, priority, queue: (wish, current, gpus, floor, priority, queue),
        st.integers(0, 6), st.integers(0, 3), st.integers(1, 4), st.integers(0, 6), st.sampled_from([0.5, 1.0, 3.0]),
        st.integers(0, 20),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


@pytest.mark.parametrize("name", [name for name in BUDGET_RULES if name != "unlimited"])
@given(rounds=st.lists(tiers, min_size=1, max_size=4), budget=st.integers(0, 30))
def test_no_rule_gives_more_than_there_is(name: str, rounds: list[list[tuple]], budget: int) -> None:  # type: ignore[type-arg]
    """Never over the budget by growth, never more than wished or had; what is preempted was there."""
    rule: BudgetRule = budget_rule(name)
    for members in rounds:
        asks = [
            Ask(str(index), wish, current, gpus, floor=floor, priority=priority, queue=queue)
            for index, (wish, current, gpus, floor, priority, queue) in enumerate(members)
        ]
        grants = rule(asks, budget)
        before = sum(ask.current * ask.gpus for ask in asks)
        after = sum(grants.replicas[ask.tier] * ask.gpus for ask in asks)
        assert set(grants.replicas) == {ask.tier for ask in asks}
        assert after <= max(budget, before)
        for ask in asks:
            assert 0 <= grants.replicas[ask.tier] <= max(ask.wish, ask.current)
            assert grants.preempted.get(ask.tier, 0) <= ask.current
        rises = sum(max(0, grants.replicas[ask.tier] - ask.current) * ask.gpus for ask in asks)
        freed = sum(
            count * next(ask.gpus for ask in asks if ask.tier == tier) for tier, count in grants.preempted.items()
        )
        assert rises <= max(0, budget - before + freed)


def test_rescale_goes_by_remainders_of_replicas_and_not_of_gpus() -> None:
    """12 GPUs, demand 12 + 5. a: 8.47, in replicas of 4 GPUs 2.12; b: 3.53, in single ones 3.53. Down to 2 and 3 is 11
    GPUs, and the last one goes to b."""
    asks = [Ask("a", wish=3, current=0, gpus=4), Ask("b", wish=5, current=0)]
    assert rescale(asks, 12).replicas == {"a": 2, "b": 4}


def test_the_coordinator_gives_what_rounding_leaves_to_the_longest_queue() -> None:
    """10 GPUs by 2 : 1 is 6.67 and 3.33: 6 and 3, and one more for the longer queue, wherever it stands."""
    asks = [Ask("b", wish=9, current=0, queue=1), Ask("a", wish=9, current=0, queue=2)]
    assert Coordinator()(asks, 10).replicas == {"a": 7, "b": 3}


def test_kueue_gives_what_is_wished_and_takes_what_is_not() -> None:
    rule = KueueFloors()
    assert rule([Ask("a", wish=2, current=0)], 8).replicas == {"a": 2}
    assert rule([Ask("a", wish=1, current=2)], 8).replicas == {"a": 1}


def test_kueue_serves_a_floor_before_a_priority() -> None:
    asks = [Ask("borrows", wish=1, current=0, priority=9), Ask("floor", wish=1, current=0, floor=1)]
    assert KueueFloors()(asks, 1).replicas == {"borrows": 0, "floor": 1}


def test_kueue_preempts_when_the_last_borrower_is_just_enough() -> None:
    rule = KueueFloors()
    rule([Ask("a", wish=0, current=0, gpus=4, floor=4), Ask("b", wish=4, current=0)], 4)
    grants = rule([Ask("a", wish=1, current=0, gpus=4, floor=4), Ask("b", wish=4, current=4)], 4)
    assert (grants.replicas, grants.preempted) == ({"a": 1, "b": 0}, {"b": 4})
