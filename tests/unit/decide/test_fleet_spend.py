"""Money per hour and per million tokens, on both bases, and what they say together."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.fleets import key, pool, tier
from tierwise.decide.fleet import Place
from tierwise.decide.fleet.spend import ADVICE, Spend, TokenCost, Verdict, judge, spending, token_cost


def test_a_replica_costs_its_gpus_from_the_node_on_until_it_is_gone() -> None:
    claims = [
        tier("large", 3, Place("h100", 4, 2, pending=1, terminating=1), Place("l40s", 1, 3)),
        tier("chat", 1, Place("l40s", 1, 1)),
    ]
    pools = [pool("h100", gpu_hour=Decimal("6.88")), pool("l40s", gpu_hour=Decimal("1.861"))]
    assert spending(claims, pools) == (
        Spend(key("chat"), "l40s", 1, Decimal("1.861")),
        Spend(key("large"), "h100", 8, Decimal("55.04")),
        Spend(key("large"), "l40s", 3, Decimal("5.583")),
    )


def test_what_no_node_runs_yet_costs_nothing() -> None:
    waits = tier("chat", 2, Place("a", 4, 2, pending=2))
    assert spending([waits], [pool("a", gpu_hour=Decimal(2))]) == (Spend(key("chat"), "a", 0, Decimal(0)),)


def test_nothing_is_busier_than_all_the_time() -> None:
    found = token_cost(Decimal(1), 100.0, busy=1.5)
    assert found is not None
    assert found.usage == found.allocation


def test_without_a_price_nothing_is_made_up() -> None:
    assert spending([tier("chat", 1, Place("a", 1, 1))], [pool("a")])[0].usd_per_hour is None
    assert spending([tier("chat", 1, Place("a", 1, 1))], [])[0].usd_per_hour is None


def test_the_example_of_opencost() -> None:
    """$3.20 an hour and 15 million tokens in it are $0.213 a million (its documentation says so)."""
    found = token_cost(Decimal("3.20"), 15_000_000 / 3600, busy=0.25)
    assert found is not None
    assert round(found.allocation, 3) == Decimal("0.213")
    assert round(found.usage, 3) == Decimal("0.053")


@pytest.mark.parametrize("tokens", [0.0, 0.009, float("nan")])
def test_hardly_a_token_has_no_price(tokens: float) -> None:
    assert token_cost(Decimal(1), tokens, 1.0) is None


@given(st.decimals(0, 1000, places=2), st.floats(0.01, 1e6), st.floats(0, 1))
def test_what_is_busy_is_part_of_what_is_paid(usd: Decimal, tokens: float, busy: float) -> None:
    found = token_cost(usd, tokens, busy)
    assert found is not None
    assert 0 <= found.usage <= found.allocation
    hourly = found.allocation * Decimal(repr(tokens)) * 3600 / 1_000_000
    assert abs(hourly - usd) <= Decimal("1e-15") * max(usd, Decimal(1))


@pytest.mark.parametrize(
    ("allocation", "usage", "verdict"),
    [
        ("0.9", "0.1", Verdict.PAYS),
        ("1.0", "0.3", Verdict.PAYS),
        ("2.0", "0.1", Verdict.IDLE),
        ("2.0", "0.9", Verdict.WRONG_MODEL),
        ("0.9", "0.8", Verdict.SLOW),
        ("1.0", "0.8", Verdict.SLOW),
    ],
)
def test_both_bases_together(allocation: str, usage: str, verdict: Verdict) -> None:
    cost = TokenCost(Decimal(allocation), Decimal(usage))
    assert judge(cost, alternative=Decimal("1.0"), attainable=Decimal("0.3")) is verdict
    assert ADVICE[verdict]


def test_what_is_only_pending_costs_nothing() -> None:
    (spent,) = spending([tier("x", 2, Place("a", 2, 3, pending=3))], [pool(gpu_hour=Decimal(2))])
    assert (spent.gpus, spent.usd_per_hour) == (0, Decimal(0))


def test_replicas_are_busy_all_the_time_at_most() -> None:
    found = token_cost(Decimal(36), 10_000.0, 1.5)
    assert found is not None
    assert found.usage == found.allocation == 1


def test_as_dear_as_the_alternative_is_not_dearer() -> None:
    cost = TokenCost(allocation=Decimal(2), usage=Decimal(2))
    assert judge(cost, alternative=Decimal(2), attainable=Decimal(1)) is Verdict.SLOW
    assert judge(cost, alternative=Decimal(2), attainable=Decimal(2)) is Verdict.PAYS
