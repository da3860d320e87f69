"""Checks what savings say at their edges: a reference paid by the hour, nothing paid at all, and nothing to say."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.unit.routing.test_length_ratio import sums
from tests.unit.routing.test_savings import CHEAP, LADDER, MILLION, OWN, SERVED, rates, saved, work
from tierwise.routing.length_ratio import length_ratio
from tierwise.routing.route import Tariff
from tierwise.routing.savings import NoSavings, PricedTier, savings, token_rates
from tierwise.types import Answered, Tokens

OUTPUT = Tokens(output=MILLION)
TO_SERVED = (CHEAP, SERVED)
UNKNOWN = (
    "the reference tier large has answered nothing in this time, so what a token costs there is not known: "
    "name a tier with prices per token as referenceTier, or wait until it has answered"
)
# 2 million tokens of output for 8 dollars: 4 dollars a million. At 3.6 dollars an hour that is 8000 busy seconds, in
# which requests took 32000: 4 at a time, half of the 8 that fit.
MIXED = work(
    {OWN: OUTPUT, Answered("small", ""): OUTPUT, Answered("served", "served"): OUTPUT, Answered("served", ""): OUTPUT},
    {"small": "4", "served": "8"},
    seconds={"served": Decimal(32000)},
)


def test_only_what_the_reference_serves_is_cheaper_on_full_replicas() -> None:
    found = saved(MIXED, TO_SERVED, "served")
    assert found.baseline == 4 + 2 + 4 + 4, "who asked for the small tier by its name pays its price"
    assert found.lower_baseline == 2 + 2 + 2 + 2, "and what it costs does not fall with the fullness of another"


def test_a_tier_with_a_list_price_costs_that_however_full_it_is() -> None:
    both = PricedTier("served", Tariff(rates("10", "1", "12.5", "4"), replica_hour=Decimal("3.6")), 8)
    found = saved(MIXED, (CHEAP, both), "served")
    assert found.lower_baseline == 4 + 2 + 4 + 4


def test_replicas_that_are_more_than_full_are_full() -> None:
    found = saved(replace(MIXED, seconds={"served": Decimal(10**6)}), TO_SERVED, "served")
    assert found.lower_baseline == found.cached_baseline == 14


def test_without_seconds_nothing_is_known_to_have_been_busy() -> None:
    assert saved(replace(MIXED, seconds={}), TO_SERVED, "served").lower_baseline == 2


def test_a_tier_whose_time_has_cost_nothing_leaves_no_percentage() -> None:
    found = saved(work({Answered("served", "served"): OUTPUT}, {}), TO_SERVED, "served")
    assert [found.baseline, found.lower_baseline, found.actual] == [0, 0, 0]
    assert found.saved_percent is None
    assert found.lower_bound_percent is None


def test_answers_that_nobody_paid_for_have_cost_nothing() -> None:
    found = saved(work({OWN: OUTPUT}, {}))
    assert [found.actual, found.saved, found.saved_percent] == [0, 40, 100]


def test_a_served_tiers_price_is_what_all_its_tokens_cost_together() -> None:
    tokens = Tokens(input=MILLION, cached_input=5 * MILLION, cache_write=3 * MILLION, output=MILLION)
    answers = {Answered("served", "served"): tokens, Answered("served", ""): tokens, OWN: OUTPUT}
    found = token_rates(SERVED, work(answers, {"served": "16", "small": "2"}))
    assert found is not None
    # 2 x (1 + 3 + 4 x 1) million weigh, for 16 dollars
    assert found == rates("1", "0", "1", "4")


def test_it_says_of_what_it_speaks() -> None:
    pairs = sums([(150, 100)] * 20)
    found = saved(work({OWN: OUTPUT}, {"small": "2"}, pairs=pairs))
    assert (found.reference, found.window_seconds, found.ratio) == ("large", 3600, length_ratio(pairs))
    assert found.ratio.value == Decimal("1.5")


@pytest.mark.parametrize(
    ("answers", "ladder", "why"),
    [
        ({}, LADDER, "nothing was answered in this time"),
        ({OWN: Tokens()}, LADDER, "nothing was answered in this time"),
        (
            {OWN: OUTPUT},
            (CHEAP, replace(SERVED, name="large")),
            UNKNOWN,
        ),
    ],
)
def test_where_nothing_can_be_said_it_says_why(
    answers: dict[Answered, Tokens], ladder: tuple[PricedTier, ...], why: str
) -> None:
    assert savings(work(answers, {"small": "2"}), ladder, "large") == NoSavings(why)
