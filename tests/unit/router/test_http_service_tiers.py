"""Checks that a request for a dearer service tier sets its price aside before it is sent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.router.running_router import PRICES, chat, post, route, running, tier
from tests.unit.router.scripted_upstream import COMPLETION, upstream
from tierwise.routing.route import Budget, Tariff, TokenRates

DEAR = TokenRates(*[Decimal(100)] * 4)


async def test_a_dearer_service_tier_that_does_not_fit_into_the_budget_is_refused() -> None:
    """21 tokens: 41 millionths of a dollar as an ordinary request, 2,100 as one with priority."""
    async with upstream(default=[COMPLETION]) as up:
        served = tier("a", up, tariff=Tariff(PRICES, {"priority": DEAR}))
        async with running(route(served, budget=Budget(Decimal("0.001")))) as router:
            assert (await router.ask(post(chat(max_tokens=20)))).status == 200
            got = await router.ask(post(chat(max_tokens=20, service_tier="priority")))
            assert (got.status, got.code) == (429, "budget_spent")
            assert len(up.seen) == 1


@pytest.mark.parametrize("said", [["flex"], {"tier": "flex"}, 1, None], ids=str)
async def test_a_service_tier_that_is_no_text_is_the_providers_to_refuse(said: Any) -> None:
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        assert (await router.ask(post(chat(max_tokens=20, service_tier=said)))).status == 200
        assert len(up.seen) == 1
