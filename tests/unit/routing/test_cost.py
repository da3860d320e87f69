"""Checks that money is counted exactly, each token once, and that absurd numbers cost nothing."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.cost import MOST_TOKENS, Usage, cost, estimate, read_usage, token_cost
from tierwise.routing.route import Tariff, TokenRates

SOL = TokenRates(Decimal("2"), Decimal("0.10"), Decimal("2.50"), Decimal("10"))
FLEX = TokenRates(Decimal("1"), Decimal("0.05"), Decimal("1.25"), Decimal("5"))
METERED = Tariff(SOL, {"flex": FLEX})

money = st.decimals(0, 1000, places=4)
rates = st.builds(TokenRates, money, money, money, money)
counts = st.integers(0, 10_000_000)

# --- what an answer says --------------------------------------------------------------------------------------------


def test_chat_completions_say_prompt_and_completion() -> None:
    said = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 15},
    }
    usage = read_usage(said, "flex")
    assert usage == Usage(10, 60, 30, 20, "flex")
    assert usage.prompt == 100


def test_responses_say_input_and_output() -> None:
    said = {"input_tokens": 100, "output_tokens": 20, "input_tokens_details": {"cached_tokens": 64}}
    assert read_usage(said) == Usage(input=36, cached_input=64, output=20)


def test_embeddings_have_no_output() -> None:
    assert read_usage({"prompt_tokens": 8, "total_tokens": 8}) == Usage(input=8)


def test_an_answer_that_says_it_is_not_estimated() -> None:
    usage = read_usage({"prompt_tokens": 8})
    assert usage is not None
    assert usage.estimated is False
    assert usage.prompt == 8


@pytest.mark.parametrize("usage", [None, [], "usage", 7, {}, {"completion_tokens": 4}, {"prompt_tokens": None}])
def test_what_does_not_say_the_prompt_is_no_usage(usage: object) -> None:
    assert read_usage(usage) is None


@pytest.mark.parametrize("count", [-1, True, "12", 12.0, None, [], MOST_TOKENS + 1, 2**64 - 1])
def test_what_is_no_number_of_tokens_is_not_counted(count: object) -> None:
    assert read_usage({"prompt_tokens": count, "completion_tokens": 5}) is None
    assert read_usage({"prompt_tokens": count, "input_tokens": 7}) == Usage(input=7)
    assert read_usage({"prompt_tokens": 7, "completion_tokens": count}) == Usage(input=7)
    assert read_usage({"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": count}}) == Usage(input=7)
    assert read_usage({"prompt_tokens": 7, "prompt_tokens_details": {"cache_write_tokens": count}}) == Usage(input=7)


@pytest.mark.parametrize("count", [0, 1, MOST_TOKENS])
def test_from_nothing_to_a_hundred_million_tokens_are_counted(count: int) -> None:
    assert MOST_TOKENS == 100_000_000
    assert read_usage({"prompt_tokens": count, "completion_tokens": count}) == Usage(count, output=count)


@pytest.mark.parametrize(
    ("cached", "written", "counted"),
    [(40, 0, (0, 10, 0)), (40, 40, (0, 10, 0)), (4, 40, (0, 4, 6)), (0, 40, (0, 0, 10)), (4, 6, (0, 4, 6))],
)
def test_no_more_tokens_are_cached_or_written_than_the_prompt_has(
    cached: int, written: int, counted: tuple[int, int, int]
) -> None:
    details = {"cached_tokens": cached, "cache_write_tokens": written}
    assert read_usage({"prompt_tokens": 10, "prompt_tokens_details": details}) == Usage(*counted)


@pytest.mark.parametrize("details", [None, {}, [], "cached", 5])
def test_details_without_form_say_nothing(details: object) -> None:
    assert read_usage({"prompt_tokens": 10, "prompt_tokens_details": details}) == Usage(input=10)
    said = {"prompt_tokens": 10, "input_tokens_details": {"cached_tokens": 4}}
    assert read_usage({"prompt_tokens_details": {}, **said}) == Usage(input=6, cached_input=4)


@pytest.mark.parametrize("tier", [None, 5, ["flex"]])
def test_a_service_tier_that_is_no_word_is_none(tier: object) -> None:
    assert read_usage({"prompt_tokens": 1}, tier) == Usage(input=1)


_junk = st.none() | st.booleans() | st.integers(-5, 2**65) | st.floats() | st.text(max_size=3)
_details = st.dictionaries(st.sampled_from(["cached_tokens", "cache_write_tokens"]), _junk) | _junk
_usages = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": _junk | st.integers(0, 100),
        "input_tokens": _junk,
        "completion_tokens": _junk,
        "output_tokens": _junk,
        "prompt_tokens_details": _details,
        "input_tokens_details": _details,
    },
)


@given(_usages, _junk)
def test_whatever_is_said_every_token_of_the_prompt_is_counted_once(said: dict[str, object], tier: object) -> None:
    usage = read_usage(said, tier)
    if usage is None:
        return
    numbers = [usage.input, usage.cached_input, usage.cache_write, usage.output]
    assert all(type(number) is int and 0 <= number <= MOST_TOKENS for number in numbers)
    assert usage.prompt in (said.get("prompt_tokens"), said.get("input_tokens"))
    assert usage.output in (0, said.get("completion_tokens"), said.get("output_tokens"))
    assert cost(usage, METERED, 0.0) >= 0


# --- what it costs --------------------------------------------------------------------------------------------------


def test_each_kind_of_token_has_its_price() -> None:
    usage = Usage(1_000_000, 2_000_000, 4_000_000, 8_000_000)
    assert token_cost(usage, SOL) == Decimal("92.20")
    assert token_cost(Usage(input=1), SOL) == Decimal("0.000002")


@given(counts, counts, counts, counts, rates)
def test_the_cost_is_exact(plain: int, cached: int, written: int, output: int, price: TokenRates) -> None:
    exact = sum(
        (
            number * Fraction(rate)
            for number, rate in zip(
                (plain, cached, written, output),
                (price.input, price.cached_input, price.cache_write, price.output),
                strict=True,
            )
        ),
        Fraction(0),
    )
    assert Fraction(token_cost(Usage(plain, cached, written, output), price)) == exact / 1_000_000


def test_a_million_small_amounts_add_up() -> None:
    small = token_cost(Usage(input=1, cached_input=1), SOL)
    assert sum((small for _ in range(100_000)), Decimal(0)) == Decimal("0.21")


@pytest.mark.parametrize(("tier", "price"), [("flex", "15"), ("", "30"), ("default", "30"), ("scale", "30")])
def test_the_service_tier_of_the_answer_is_billed(tier: str, price: str) -> None:
    usage = Usage(input=10_000_000, output=1_000_000, service_tier=tier)
    assert cost(usage, METERED, 3600.0) == Decimal(price)


def test_a_service_tier_may_be_the_only_one_with_a_price() -> None:
    tariff = Tariff(None, {"flex": FLEX}, Decimal(3))
    assert cost(Usage(input=1_000_000, service_tier="flex"), tariff, 3600.0) == 1
    assert cost(Usage(input=1_000_000), tariff, 3600.0) == 3


@pytest.mark.parametrize(
    ("seconds", "price"), [(3600.0, "2.5"), (1800.0, "1.25"), (0.0, "0"), (-5.0, "0"), (float("nan"), "0")]
)
def test_a_replicas_time_costs_its_share_of_an_hour(seconds: float, price: str) -> None:
    assert cost(Usage(input=100), Tariff(replica_hour=Decimal("2.5")), seconds) == Decimal(price)


def test_a_share_is_rounded_so_that_sums_stay_short() -> None:
    """To a billionth of a second and a trillionth of a dollar: two thirds of a second would have 28 digits."""
    assert cost(Usage(), Tariff(replica_hour=Decimal(3_600_000)), 2 / 3) == Decimal("666.666667")
    hour = Tariff(replica_hour=Decimal(1))
    assert cost(Usage(), hour, 1e-9) == 0
    assert cost(Usage(), hour, 2e-9) == Decimal("1e-12")
    assert cost(Usage(), hour, 2 / 3) == Decimal("0.000185185185")


def test_what_has_no_price_costs_nothing() -> None:
    assert token_cost(Usage(), SOL) == 0
    assert cost(Usage(input=100, output=5), Tariff(), 3600.0) == 0
    assert cost(Usage(input=100, service_tier="flex"), Tariff(), 3600.0) == 0


# --- what it may cost -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "answer", "price"),
    [
        (0, None, "0.01024"),
        (0, 0, "0"),
        (0, 100, "0.001"),
        (0, 4096, "0.04096"),
        (0, 4097, "0.04096"),
        (1_000_000, 0, "2.5"),
    ],
)
def test_a_request_is_expected_to_be_uncached_and_as_long_as_it_may_be_up_to_4096(
    prompt: int, answer: int | None, price: str
) -> None:
    assert estimate(prompt, answer, METERED) == Decimal(price)


def test_each_of_several_answers_is_expected_to_be_as_long_as_it_may_be() -> None:
    assert estimate(1000, 100, METERED, answers=128) == estimate(1000, 0, METERED) + 128 * Decimal("0.001")


def test_where_writing_to_the_cache_is_cheap_the_input_counts() -> None:
    free = TokenRates(Decimal(3), Decimal(1), Decimal(0), Decimal(0))
    assert estimate(1_000_000, None, Tariff(free)) == 3


@pytest.mark.parametrize("tariff", [Tariff(), Tariff(replica_hour=Decimal(3)), Tariff(None, {"flex": FLEX})])
def test_what_is_not_metered_needs_no_money_in_advance(tariff: Tariff) -> None:
    assert estimate(10_000, 100, tariff) == 0


@given(counts, st.none() | st.integers(0, 100_000), rates, st.data())
def test_an_answer_within_its_limit_costs_no_more_than_the_estimate(
    prompt: int, limit: int | None, price: TokenRates, data: st.DataObject
) -> None:
    set_aside = estimate(prompt, limit, Tariff(price))
    assert set_aside >= 0
    written = data.draw(st.integers(0, prompt))
    output = data.draw(st.integers(0, min(4096, 1024 if limit is None else limit)))
    assert token_cost(Usage(prompt - written, 0, written, output), price) <= set_aside


def test_an_estimate_is_the_dearer_of_what_is_asked_for_and_of_what_may_be_billed_instead() -> None:
    ordinary, priority, flex = (TokenRates(*[Decimal(price)] * 4) for price in (1, 2, "0.5"))
    tariff = Tariff(ordinary, {"priority": priority, "flex": flex})
    asked = {name: estimate(1000, 1000, tariff, name) for name in ("", "default", "flex", "priority")}
    assert estimate(1000, 1000, tariff) == asked[""]
    assert asked == {
        "": Decimal("0.002"),
        "default": Decimal("0.002"),
        "flex": Decimal("0.002"),
        "priority": Decimal("0.004"),
    }
