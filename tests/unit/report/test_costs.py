"""Money: decimal from end to end."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.report.cases import pod, spec, value, waiting
from tierwise.api.modeltier import TokenPrices
from tierwise.report.costs import holds_gpus, money, per_hour, per_million_tokens, prices
from tierwise.types import MISSING, Signal, State

PRICED = spec(price={"gpuHour": "2.49"}, resources={"gpus": 4}, parallelism={"tensor": 4, "pipeline": 1})


def test_a_replica_costs_from_its_node_to_its_end() -> None:
    starting, draining = waiting("b"), pod("c", terminating=True, ready=False)
    queued, done, evicted = waiting("d", scheduled=False), pod("e", phase="Succeeded"), pod("f", phase="Failed")
    assert [holds_gpus(each) for each in (starting, draining, queued, done, evicted)] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert per_hour(PRICED, (pod("a"), starting, draining, queued, done, evicted)) == Decimal("29.88")


def test_no_price_no_cost() -> None:
    assert per_hour(spec(), (pod(),)) is None
    assert per_million_tokens(None, value(100)) is None
    assert money(None) == ""


def test_a_tier_without_pods_costs_nothing() -> None:
    assert money(per_hour(PRICED, ())) == "0.00"


@given(st.decimals("0.01", "1000", places=2), st.floats(0.01, 1e7), st.integers(1, 64))
def test_cost_per_token_is_proportional(hourly: Decimal, rate: float, factor: int) -> None:
    one = per_million_tokens(hourly, value(rate))
    assert one is not None
    many = per_million_tokens(hourly * factor, value(rate))
    assert many is not None
    assert abs(many - factor * one) <= many * Decimal("1e-20")
    # a million tokens last 10^6 / rate seconds
    assert float(one) == pytest.approx(float(hourly) * 1e6 / rate / 3600)


@pytest.mark.parametrize("rate", [MISSING, Signal(State.STALE, 100.0), value(0), value(0.009)])
def test_without_a_rate_there_is_no_cost_per_token(rate: Signal) -> None:
    assert per_million_tokens(Decimal(1), rate) is None


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0", "0.00"), ("2.49", "2.49"), ("12.345", "12.34"), ("0.1", "0.10"), ("0.0375", "0.0375"), ("1E+3", "1000.00")],
)
def test_money(amount: str, text: str) -> None:
    assert money(Decimal(amount)) == text


@given(st.decimals(0, 64 * 1000 * 10**9, places=9), st.floats(0.01, 1e9))
def test_every_amount_fits_its_column(hourly: Decimal, rate: float) -> None:
    assert len(money(hourly)) <= 24
    assert len(money(per_million_tokens(hourly, value(rate)))) <= 24


def test_prices_of_an_api() -> None:
    assert prices(TokenPrices(input="0.1", output="10")) == "0.10 in, 10.00 out"
    longest = TokenPrices(input="999999999.999999999", output="999999999.999999999")
    assert len(prices(longest)) <= 48
