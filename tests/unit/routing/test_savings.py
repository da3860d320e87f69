"""Checks what was saved by values worked out by hand, and that the parts are the whole whatever was answered."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.routing.test_length_ratio import GSM8K, planted, sums
from tierwise.routing.route import Tariff, TokenRates
from tierwise.routing.savings import TACTICS, NoSavings, PricedTier, Savings, savings, token_rates
from tierwise.types import Answered, PairSums, RouteWork, Tokens

MILLION = 1_000_000


def rates(input_: str, cached: str, write: str, output: str) -> TokenRates:
    return TokenRates(*map(Decimal, (input_, cached, write, output)))


CHEAP = PricedTier("small", Tariff(rates("1", "0.1", "1.25", "2")), 256)
DEAR = PricedTier("large", Tariff(rates("10", "1", "12.5", "40")), 256)
BOUGHT = PricedTier("bought", Tariff(rates("20", "20", "20", "80")), 256)
SERVED = PricedTier("served", Tariff(replica_hour=Decimal("3.6")), 8)
LADDER = (CHEAP, DEAR, BOUGHT)
OWN = Answered("small", "small")


def work(answers: dict[Answered, Tokens], costs: dict[str, str], **more: Any) -> RouteWork:
    return RouteWork(3600, answers, {tier: Decimal(cost) for tier, cost in costs.items()}, **more)


def saved(given_: RouteWork, ladder: tuple[PricedTier, ...] = LADDER, reference: str = "large") -> Savings:
    found = savings(given_, ladder, reference)
    assert isinstance(found, Savings), found
    return found


def parts(found: Savings) -> dict[str, Decimal]:
    """Those that are not 0."""
    return {part.tactic: part.amount for part in found.parts if part.amount}


def test_routing_saves_the_difference_of_the_list_prices() -> None:
    found = saved(work({OWN: Tokens(input=MILLION, output=MILLION)}, {"small": "3"}))
    assert [found.baseline, found.actual, parts(found)] == [50, 3, {"routing": 47}]
    assert found.saved_percent == 94
    assert found.notes == ("no pairs: large's answers are assumed to be as long as the others' (ratio 1)",)


def test_what_the_reference_answered_itself_saves_nothing() -> None:
    found = saved(work({Answered("large", "large"): Tokens(input=MILLION, output=MILLION)}, {"large": "50"}))
    assert [found.baseline, found.actual, parts(found)] == [50, 50, {}]


def test_the_reference_gives_answers_of_its_own_length_and_only_in_place_of_cheaper_tiers() -> None:
    one = Tokens(output=MILLION)
    answers = {OWN: one, Answered("large", "large"): one, Answered("bought", "large"): one}
    found = saved(work(answers, {"small": "2", "large": "40", "bought": "80"}, pairs=sums([(150, 100)] * 20)))
    assert found.baseline == 40 * Decimal("1.5") + 40 + 40
    assert parts(found) == {"routing": 60 - 2, "spill": 40 - 80}


def test_the_cache_and_its_writes_are_parts_of_their_own() -> None:
    tokens = Tokens(input=MILLION, cached_input=MILLION, cache_write=MILLION)
    found = saved(work({OWN: tokens}, {"small": "2.35"}))
    assert found.baseline == 30
    assert parts(found) == {"routing": 27, "prefixCache": Decimal("0.9"), "cacheWrites": Decimal("-0.25")}
    assert found.cached_baseline == found.lower_baseline == 3


def test_spilling_to_a_dearer_tier_is_negative() -> None:
    found = saved(work({Answered("bought", "small"): Tokens(input=MILLION)}, {"bought": "20"}))
    assert [found.baseline, found.actual] == [10, 20]
    assert parts(found) == {"routing": 9, "spill": -19}
    assert found.saved_percent == -100, "it is not floored"


def test_rates_of_another_service_tier_are_a_part() -> None:
    assert parts(saved(work({OWN: Tokens(input=MILLION)}, {"small": "0.5"}))) == {
        "routing": 9,
        "otherRates": Decimal("0.5"),
    }


def test_whatever_gave_no_answer_is_subtracted() -> None:
    costs = {name: Decimal(amount) for amount, name in enumerate(("failed", "discarded", "judges", "shadows"), 1)}
    found = saved(work({OWN: Tokens(input=MILLION)}, {"small": "1"}, **costs))
    assert [found.baseline, found.actual] == [10, 11]
    assert parts(found) == {"routing": 9, "retries": -1, "discarded": -2, "judges": -3, "shadows": -4}


def test_who_asks_for_a_tier_by_its_name_is_compared_with_that_tier() -> None:
    found = saved(work({Answered("small", ""): Tokens(input=MILLION, cached_input=MILLION)}, {"small": "1.1"}))
    assert [found.baseline, parts(found)] == [2, {"prefixCache": Decimal("0.9")}]


def test_another_reference_changes_the_figure_as_the_formula_says() -> None:
    done = work({OWN: Tokens(input=MILLION, output=MILLION)}, {"small": "3"})
    assert [saved(done, reference=name).saved for name in ("small", "large", "bought")] == [0, 47, 97]


def test_a_served_reference_costs_what_its_time_has_cost_per_token() -> None:
    answers = {OWN: Tokens(input=MILLION), Answered("served", "served"): Tokens(200, 300, 0, 200)}
    done = work(answers, {"small": "1", "served": "0.001"}, seconds={"served": Decimal(2)})
    assert token_rates(SERVED, done) == rates("1", "0", "1", "4")
    found = saved(done, (CHEAP, SERVED), "served")
    # 1 second of a replica at 3.60 an hour: 1,000 weighted tokens for 0.001 dollars.
    assert found.baseline == 1 + Decimal("0.0013")
    assert parts(found) == {"prefixCache": Decimal("0.0003")}
    # It worked on two requests at a time where eight fit: full, a token costs at least a quarter.
    assert found.lower_baseline == Decimal("0.0008") / 4
    assert found.lower_bound_percent is not None
    assert found.lower_bound_percent < 0


@pytest.mark.parametrize(
    ("answers", "ladder", "reference", "said"),
    [
        ({}, LADDER, "large", "nothing was answered"),
        ({OWN: Tokens(1)}, LADDER, "other", "other is no tier of this route"),
        ({Answered("gone", "gone"): Tokens(1)}, LADDER, "large", "tier gone has answered in this time"),
        ({OWN: Tokens(1)}, (CHEAP, SERVED), "served", "served has answered nothing in this time"),
        ({OWN: Tokens(1)}, (PricedTier("small", Tariff(), 1), DEAR), "large", "tier small has no price"),
    ],
)
def test_where_a_price_is_not_known_there_is_a_reason_and_no_figure(
    answers: dict[Answered, Tokens], ladder: tuple[PricedTier, ...], reference: str, said: str
) -> None:
    found = savings(work(answers, {}), ladder, reference)
    assert isinstance(found, NoSavings)
    assert said in found.why


def test_what_was_assumed_is_said() -> None:
    done = work(
        {OWN: Tokens(1), Answered("large", "served"): Tokens(1)},
        {"small": "1", "large": "1"},
        pairs=sums([(1, 1)] * 3),
        uncounted=("judges", "shadows"),
    )
    assert saved(done, (CHEAP, SERVED, DEAR)).notes == (
        "only 3 pairs: large's answers are assumed to be as long as the others'",
        "not counted by the routers, taken as 0: judges, shadows",
        "served has answered nothing itself: what spilled from it is priced where it was answered",
    )


TOKENS = st.builds(Tokens, *[st.integers(0, 10**9)] * 4)
MONEY = st.decimals(0, 10**6, places=12)
WHO = st.sampled_from(
    [Answered(*names) for names in (("small", "small"), ("small", ""), ("large", "small"), ("large", "large"))]
    + [Answered(*names) for names in (("served", "large"), ("served", "served"), ("bought", "served"))]
)
PAIRS = [PairSums(), *(planted(Random(1), ratio, 40, (0.5, 0.5), 0.5) for ratio in (0.5, 1.0, 3.0))]
WORKS = st.builds(
    RouteWork,
    st.just(3600),
    st.dictionaries(WHO, TOKENS, min_size=1),
    st.dictionaries(st.sampled_from(["small", "large", "served", "bought"]), MONEY),
    st.just({"served": Decimal(5)}),
    *[MONEY] * 4,
    st.sampled_from(PAIRS),
)


@given(WORKS, st.sampled_from(["small", "large", "served", "bought"]))
def test_the_parts_are_the_whole_exactly(done: RouteWork, reference: str) -> None:
    found = savings(done, (CHEAP, DEAR, SERVED, BOUGHT), reference)
    if isinstance(found, Savings):
        assert [part.tactic for part in found.parts] == list(TACTICS)
        assert sum(part.amount for part in found.parts) == found.baseline - found.actual
        paid = sum(done.costs.values()) + done.failed + done.discarded + done.judges + done.shadows
        assert found.actual == paid
        assert found.lower_baseline <= found.cached_baseline <= found.baseline


@given(WORKS, st.integers(1, 1000))
def test_as_much_work_again_saves_as_much_again(done: RouteWork, times: int) -> None:
    """What does not scale would depend on the length of the window."""

    def scaled(tokens: Tokens) -> Tokens:
        return Tokens(
            *(times * each for each in (tokens.input, tokens.cached_input, tokens.cache_write, tokens.output))
        )

    more = replace(
        done,
        answers={who: scaled(tokens) for who, tokens in done.answers.items()},
        costs={tier: times * cost for tier, cost in done.costs.items()},
        seconds={tier: times * seconds for tier, seconds in done.seconds.items()},
        failed=times * done.failed,
        discarded=times * done.discarded,
        judges=times * done.judges,
        shadows=times * done.shadows,
    )
    one, many = (savings(each, (CHEAP, DEAR, SERVED, BOUGHT), "large") for each in (done, more))
    if isinstance(one, Savings):
        assert isinstance(many, Savings)
        assert abs(many.baseline - times * one.baseline) <= times * Decimal("1e-11")
        assert abs(many.saved - times * one.saved) <= times * Decimal("1e-11")


@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
def test_planted_ratios_give_the_dollars_within_ten_percent_and_a_bound_that_holds(ratio: float) -> None:
    """The truth is what the reference tier's bill would be: every answer at its own length."""
    chance, draws = Random(f"dollars {ratio}"), 400
    answers = {OWN: Tokens(input=300_000, output=MILLION)}
    truth = 3 + 40 * Decimal(str(ratio))
    near = held = 0
    for _ in range(draws):
        found = saved(work(answers, {"small": "2.3"}, pairs=planted(chance, ratio, 100, *GSM8K)))
        near += abs(found.baseline - truth) <= truth / 10
        held += found.lower_baseline <= truth
    assert near >= 0.95 * draws
    assert held >= 0.95 * draws


def test_no_pairs_at_all_are_a_ratio_of_one() -> None:
    done = work({OWN: Tokens(output=MILLION)}, {"small": "2"}, pairs=PairSums())
    assert saved(done).baseline == 40
