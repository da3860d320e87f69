"""Advice that stands beside what the engine's checks say: about autoscalers of somebody else's, and about addresses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.decide import make
from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide import decide
from tierwise.decide.standing import again, stands
from tierwise.types import Installation, Installations, Snapshot, TierState

HPA = ("HorizontalPodAutoscaler/mine",)


def _reasons(plan: Any) -> list[str]:
    return [each.reason for each in plan.advice]


def test_an_autoscaler_on_the_tier_itself_is_told_of_while_it_cannot_read_the_replicas() -> None:
    seen = replace(make.view(make.spec()), tier_scalers=HPA)
    (told,) = [each for each in make.plan(seen).advice if each.reason == reasons.SCALER_ON_TIER]
    assert "HorizontalPodAutoscaler/mine scales the ModelTier chat" in told.message
    both = replace(seen, tier_scalers=(*HPA, "ScaledObject/other"))
    (told,) = [each for each in make.plan(both).advice if each.reason == reasons.SCALER_ON_TIER]
    assert told.message.startswith("HorizontalPodAutoscaler/mine, ScaledObject/other scales")
    pinned = replace(make.view(make.spec(replicas=2)), tier_scalers=HPA)
    assert reasons.SCALER_ON_TIER not in _reasons(make.plan(pinned)), "it moves the number"
    assert reasons.SCALER_ON_TIER not in _reasons(make.plan(make.view(make.spec())))


def test_a_new_autoscaler_unsettles_a_tier() -> None:
    view = make.view(make.spec(replicas=0), current=0)
    plan = make.plan(view, TierState())
    assert again(plan, view, make.NOW, view, make.NOW) is not None
    assert again(plan, view, make.NOW, replace(view, tier_scalers=HPA), make.NOW) is None


def _external(url: str, **api: Any) -> Any:
    body = {"baseURL": url, "model": "m", "prices": {"input": "0", "output": "0"}, **api}
    seen = make.view(ModelTierSpec.model_validate({"external": body}), current=None)
    (plan,) = decide(Snapshot(make.NOW, (seen,), make.HEALTHY), {}).tiers
    assert stands(seen, TierState(), plan, Snapshot(make.NOW, (seen,), make.HEALTHY))
    return plan


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://llm.team.svc:8080", True),
        ("https://api.example.com", True),
        ("http://llm.team.svc:8080/v1", False),
        ("https://generativelanguage.googleapis.com/v1beta/openai", False),
    ],
)
def test_an_address_without_a_path_is_told_of(url: str, told: bool) -> None:
    plan = _external(url)
    assert _reasons(plan) == ([reasons.NO_API_PATH] if told else [])
    assert all(f"{url}/v1/chat/completions" in each.message for each in plan.advice)


def test_another_installation_is_told_of_where_it_keeps_still() -> None:
    seen = make.view(make.spec())
    other = Installations(beside={make.KEY.namespace: Installation("platform", "tw")})
    (plan,) = decide(Snapshot(make.NOW, (seen,), make.HEALTHY, installations=other), {}).tiers
    (told,) = [each for each in plan.advice if each.reason == reasons.TWO_INSTALLATIONS]
    assert told.message == "the installation platform/tw would serve team too"
