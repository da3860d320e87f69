"""What a request may cost where the client asks for a service tier that is billed otherwise."""

from __future__ import annotations

from decimal import Decimal

from tests.unit.router.running_router import PRICES, chat, post, route, running, tier
from tests.unit.router.scripted_upstream import COMPLETION, upstream
from tierwise.routing.route import Budget, Tariff, TokenRates

DEARER = TokenRates(*map(Decimal, (10, 10, 10, 20)))


async def test_a_dearer_service_tier_is_held_at_its_own_price() -> None:
    tariff = Tariff(PRICES, {"priority": DEARER})
    budget = Budget(Decimal("0.01"))  # 1,024 tokens of an answer are 0.002 dollars, and ten times that with priority
    async with (
        upstream(default=[COMPLETION]) as up,
        running(route(tier("a", up, tariff=tariff), budget=budget)) as router,
    ):
        assert (await router.ask(post(chat(service_tier="priority")))).code == "budget_spent"
        assert up.seen == []
        assert (await router.ask(post(chat()))).whole
