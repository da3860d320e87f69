"""A route file that names a tier with use Overflow where it would never answer is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tierwise.errors import Invalid
from tierwise_router.route_file import RouteFile, to_route

TIERS = [
    {"name": "small", "model": "s", "servers": ["http://127.0.0.1:1"]},
    {"name": "bought", "model": "b", "use": "Overflow", "provider": {"baseURL": "https://api.example.com/v1"}},
]


def policy(tier: str) -> list[dict[str, Any]]:
    return [{"defaultTier": tier}, {"rules": [{"name": "r", "match": {"tools": True}, "tier": tier}]}]


@pytest.mark.parametrize("given", policy("bought"), ids=["default", "rule"])
def test_a_policy_that_names_a_tier_with_use_overflow_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="'bought', whose use Overflow is only for what spills or falls back"):
        to_route(RouteFile.model_validate({"tiers": TIERS, "policy": given}), {})


@pytest.mark.parametrize("given", policy("small"), ids=["default", "rule"])
def test_one_that_names_a_tier_with_use_always_is_served(given: dict[str, Any]) -> None:
    assert to_route(RouteFile.model_validate({"tiers": TIERS, "policy": given}), {}).default_tier == "small"
