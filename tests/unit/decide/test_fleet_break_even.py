"""From how many requests on a served tier is cheaper than an API: by hand, and against the two bills."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.decide.fleet.break_even import BreakEven, Served, break_even, served_usd
from tierwise.errors import Invalid
from tierwise.routing.cost import Usage
from tierwise.routing.route import TokenRates

RATES = TokenRates(Decimal("1.00"), Decimal("0.10"), Decimal("1.25"), Decimal("4.00"))
MILL = TokenRates(Decimal(1), Decimal(1), Decimal(1), Decimal(1))  # a thousand tokens cost a tenth of a cent
REQUEST = Usage(input=1155, output=211)


def test_two_h100_against_an_api() -> None:
    """2 x $6.88 = $13.76 an hour; 1,155 tokens at $1 and 211 at $4 a million: $0.001999. 13.76 / 0.001999 = 6,883."""
    found = break_even(Served(Decimal("13.76"), Decimal(18_000)), REQUEST, RATES)
    assert found.usd_per_request == Decimal("0.001999")
    assert found.first is not None
    assert round(found.first) == 6883
    assert found.always == found.first


def test_all_four_prices_count() -> None:
    request = Usage(input=100, cached_input=1000, cache_write=200, output=50)
    found = break_even(Served(Decimal(1), Decimal(10**6)), request, RATES)
    assert found.usd_per_request == Decimal("0.00065")  # 100 + 100 + 250 + 200 millionths


def test_each_new_replica_has_to_be_filled_first() -> None:
    """q = 3 / 0.001 = 3,000 of the 4,000 requests that a replica carries. The second pays from 6,000 on (from 4,000 it
    runs), the third from 9,000 (8,000), the fourth at once (12,000)."""
    found = break_even(Served(Decimal(3), Decimal(4000)), Usage(input=1000), MILL)
    assert (found.first, found.always) == (Decimal(3000), Decimal(9000))


def test_replicas_that_always_run_must_all_pay() -> None:
    found = break_even(Served(Decimal(1), Decimal(4000), least=3), Usage(input=1000), MILL)
    assert (found.first, found.always) == (Decimal(3000), Decimal(3000))


def test_never_where_a_full_replica_costs_as_much_as_the_api() -> None:
    found = break_even(Served(Decimal(4), Decimal(4000)), Usage(input=1000), MILL)
    assert found == BreakEven(Decimal("0.001"), None, None)


def test_never_against_what_costs_nothing() -> None:
    free = TokenRates(Decimal(0), Decimal(0), Decimal(0), Decimal(0))
    assert break_even(Served(Decimal(1), Decimal(1000)), REQUEST, free) == BreakEven(Decimal(0), None, None)


def test_a_replica_that_costs_nothing_pays_from_the_first_request_on() -> None:
    found = break_even(Served(Decimal(0), Decimal(1)), Usage(input=1000), MILL)
    assert (found.first, found.always) == (Decimal(0), Decimal(0))


@pytest.mark.parametrize(
    ("least", "requests", "usd"),
    [(1, 0, 3), (0, 0, 3), (1, 4000, 3), (1, 4001, 6), (1, 9000, 9), (3, 4001, 9), (2, 9000, 9)],
)
def test_an_hour_costs_each_replica_that_has_begun_and_at_least_those_that_always_run(
    least: int, requests: int, usd: int
) -> None:
    assert served_usd(Served(Decimal(3), Decimal(4000), least), Decimal(requests)) == Decimal(usd)


@pytest.mark.parametrize("served", [Served(Decimal(1), Decimal(0)), Served(Decimal(-1), Decimal(1))])
def test_what_cannot_be_compared(served: Served) -> None:
    with pytest.raises(
        Invalid, match=r"^a replica must complete requests and cost no less than nothing to be compared with an API$"
    ):
        break_even(served, REQUEST, RATES)


@given(
    st.integers(1, 40).map(Decimal),
    st.integers(1, 40).map(lambda thousands: Decimal(1000 * thousands)),
    st.integers(1, 4),
    st.integers(0, 400_000).map(Decimal),
)
def test_the_two_bills_agree(usd: Decimal, carries: Decimal, least: int, requests: Decimal) -> None:
    served = Served(usd, carries, least)
    found = break_even(served, Usage(input=1000), MILL)
    cheaper = served_usd(served, requests) < requests * found.usd_per_request
    if found.first is None or found.always is None:
        assert not cheaper
    elif requests > found.always:
        assert cheaper
    elif requests <= found.first:
        assert not cheaper
    if found.always is not None:
        assert not served_usd(served, found.always) < found.always * found.usd_per_request  # not a request too early


@pytest.mark.parametrize(
    ("least", "requests", "replicas"),
    [(1, 0, 1), (1, 1, 1), (1, 100, 1), (1, 101, 2), (3, 101, 3), (0, 0, 1), (0, 250, 3), (2, 1000, 10)],
)
def test_an_hour_costs_the_replicas_that_it_needs_and_no_fewer_than_run_anyway(
    least: int, requests: int, replicas: int
) -> None:
    assert served_usd(Served(Decimal(7), Decimal(100), least), Decimal(requests)) == 7 * replicas


@pytest.mark.parametrize(("usd", "completes"), [(Decimal("0.5"), Decimal("0.5")), (Decimal(0), Decimal(100))])
def test_little_is_enough_to_be_compared(usd: Decimal, completes: Decimal) -> None:
    assert break_even(Served(usd, completes), REQUEST, RATES).usd_per_request == Decimal("0.001999")


def test_what_makes_no_sense_is_refused_with_a_sentence() -> None:
    said = "a replica must complete requests and cost no less than nothing to be compared with an API"
    for served in (Served(Decimal(1), Decimal(0)), Served(Decimal("-0.01"), Decimal(5))):
        with pytest.raises(Invalid) as refused:
            break_even(served, REQUEST, RATES)
        assert str(refused.value) == said


def test_never_is_told_with_what_the_api_costs() -> None:
    found = break_even(Served(Decimal(100), Decimal(10)), REQUEST, RATES)
    assert (found.usd_per_request, found.first, found.always) == (Decimal("0.001999"), None, None)
    free = TokenRates(Decimal(0), Decimal(0), Decimal(0), Decimal(0))
    assert break_even(Served(Decimal(100), Decimal(10)), REQUEST, free).usd_per_request == 0
