"""What a route file may not say, and what several routers of one file share."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tierwise.errors import Invalid
from tierwise.routing.route import Cascade
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


CASCADE = {"holdTokens": 8, "minMeanLogProbability": "-0.75", "maxEscalatedPercent": 20}
DEARER = [*TIERS, {"name": "large", "model": "l", "servers": ["http://127.0.0.1:2"]}]


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({}, None),
        ({"cascade": CASCADE}, None),
        ({"type": "Cascade"}, Cascade(24, -0.5, 30)),
        ({"type": "Cascade", "cascade": CASCADE}, Cascade(8, -0.75, 20)),
        ({"type": "Cascade", "mode": "Shadow", "cascade": CASCADE}, Cascade(8, -0.75, 20, shadow=True)),
    ],
)
def test_a_cascade_is_what_the_policy_says(given: dict[str, Any], made: Cascade | None) -> None:
    assert to_route(RouteFile.model_validate({"tiers": DEARER, "policy": given}), {}).cascade == made


@pytest.mark.parametrize(("tiers", "default"), [(TIERS, "small"), (TIERS, None), (DEARER, "large")])
def test_a_cascade_without_a_dearer_tier_is_refused(tiers: list[dict[str, Any]], default: str | None) -> None:
    policy = {"type": "Cascade", "defaultTier": default}
    with pytest.raises(Invalid, match="needs a tier with use Always behind the default tier"):
        to_route(RouteFile.model_validate({"tiers": tiers, "policy": policy}), {})


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"saltSecretName": "grains"}, "give --verdicts-file and --salt-file"),
        (
            {"audit": {"goodAnswers": 9, "goodJudgedGood": 9, "badAnswers": 9, "badJudgedBad": 9}},
            "corrects what the operator shows",
        ),
    ],
)
def test_what_only_an_operator_acts_on_is_refused(more: dict[str, Any], says: str) -> None:
    quality = {"judgeTier": "small", "budgetUSDPerDay": "1"}
    assert to_route(RouteFile.model_validate({"tiers": TIERS, "quality": quality}), {}).sampling is not None
    with pytest.raises(Invalid, match=says):
        to_route(RouteFile.model_validate({"tiers": TIERS, "quality": quality | more}), {})


def test_routers_that_serve_one_file_share_the_cap_and_the_homes_of_prompts() -> None:
    given = {"tiers": TIERS, "overflow": {"maxCostPerHour": "10"}, "routers": 4}
    made = to_route(RouteFile.model_validate(given), {})
    assert made.overflow.max_cost_per_hour == Decimal("2.5")
    assert [tier.routers for tier in made.tiers] == [4, 4]
    assert {tier.routers for tier in to_route(RouteFile.model_validate({"tiers": TIERS}), {}).tiers} == {1}
