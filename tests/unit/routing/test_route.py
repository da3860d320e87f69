"""Checks what a route knows of its tiers and their prices."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from decimal import Decimal

import pytest

from tierwise.routing.route import (
    Budget,
    Clients,
    Deadlines,
    Overflow,
    Priority,
    Provider,
    QueueLimits,
    Route,
    RouteTier,
    Rule,
    Tariff,
    TokenRates,
    Use,
    WhenSpent,
)

ORDINARY, FLEX = (TokenRates(*(Decimal(price) for price in prices)) for prices in ("2345", "1111"))


def test_a_service_tier_has_its_own_rates_and_any_other_word_the_ordinary_ones() -> None:
    tariff = Tariff(ORDINARY, {"flex": FLEX})
    assert [tariff.rates_for(word) for word in ("flex", "", "Flex", "priority")] == [FLEX, ORDINARY, ORDINARY, ORDINARY]


def test_what_is_paid_by_time_has_no_rates() -> None:
    assert Tariff(replica_hour=Decimal(3)).rates_for("") is None


def test_a_tier_is_external_when_somebody_else_serves_it() -> None:
    assert RouteTier("a", "m", provider=Provider("https://api.example.com/v1")).external
    assert not RouteTier("a", "m", urls=("http://a",)).external
    assert not RouteTier("a", "m", service="a-predictor").external


def test_a_route_finds_its_tiers_by_name() -> None:
    tiers = (RouteTier("a", "m"), RouteTier("b", "m"))
    route = Route("r", ("r",), tiers, "a")
    assert [route.tier(name) for name in ("a", "b", "c", "")] == [*tiers, None, None]


def test_a_route_is_replaced_and_never_changed() -> None:
    route = Route("r", ("r",), (RouteTier("a", "m"),), "a")
    with pytest.raises(FrozenInstanceError):
        route.default_tier = "b"  # type: ignore[misc]


def test_what_nobody_says_is_as_documented() -> None:
    tier = RouteTier("a", "m")
    assert tier == RouteTier("a", "m", Use.ALWAYS, None, (), None, 256, None, Tariff(None, {}, None), 4.0, None, 1)
    assert Rule("r", "a") == Rule("r", "a", None, None, None, None, None, None, None)
    assert Budget(Decimal(5)) == Budget(Decimal(5), "Month", "UTC", WhenSpent.REFUSE)
    assert Provider("https://api.example.com/v1").api_key_file is None
    assert Overflow() == Overflow(100, 70, None)
    assert QueueLimits() == QueueLimits(None, 30.0, 300.0)
    assert Deadlines() == Deadlines(600.0, 120.0, 60.0)
    route = Route("r", ("r",), (tier,), "a")
    assert route.direct_access
    assert (route.rules, route.budget, route.clients.tenant_header) == ((), None, None)
    assert route.clients.priority_header == "x-tierwise-priority"


def test_the_words_are_those_that_people_write() -> None:
    assert [one.value for one in Use] == ["Always", "Overflow"]
    assert [one.value for one in Priority] == ["interactive", "batch"]
    assert [one.value for one in WhenSpent] == ["CheaperTier", "Refuse"]


@pytest.mark.parametrize(
    ("clients", "several"),
    [
        (Clients(), False),
        (Clients({"1": "blue"}), False),
        (Clients({"1": "blue", "2": "blue"}, "x-tenant"), False),
        (Clients({"1": "blue", "2": "red"}), True),
        (Clients(tenant_header="x-tenant"), True),
    ],
)
def test_clients_are_of_several_tenants_by_their_keys_or_else_by_a_header(clients: Clients, several: bool) -> None:
    assert clients.several_tenants is several
