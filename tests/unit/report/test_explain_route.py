"""`tierwise explain route`: what each tier answers, and why one is not used."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from tests.builders.routes import EXTERNAL, external, route, snapshot, spec
from tests.builders.routes import tier as view
from tests.unit.decide import make
from tierwise import reasons
from tierwise.api.modelroute_status import ClassifierStatus
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.decide.routes import plan_routes
from tierwise.report.explain import as_text, explain
from tierwise.report.explain_route import explain_route, ladder_names, route_as_text
from tierwise.report.route_use import takes
from tierwise.report.routes import report_route
from tierwise.types import RouteKey, RouteObject, RouteOutcome, RouteView, TierKey, TierObject

NOW = 1_800_000_000.0
GIVEN = spec(
    tiers=[{"name": "small"}, {"name": "large"}, {"name": "bought", "use": "Overflow"}],
    policy={
        "rules": [
            {"name": "long", "match": {"minPromptTokens": 8000, "tools": True}, "tier": "large"},
            {"name": "team", "match": {"header": {"name": "X-Team", "value": "red"}, "images": False}, "tier": "large"},
            {"name": "json", "match": {"responseFormat": "json_object", "maxPromptTokens": 9}, "tier": "small"},
            {"name": "all", "match": {}, "tier": "small"},
            {"name": "named", "match": {"model": "chat"}, "tier": "small"},
        ]
    },
    budget={"amount": "100", "whenSpent": "CheaperTier"},
)


def told(given: Any = GIVEN) -> RouteObject:
    """The route as the operator has told of it."""
    seen = RouteView(route(given=given))
    priced = ModelTierSpec.model_validate(make.spec().model_dump(by_alias=True) | {"price": {"gpuHour": "2.5"}})
    (plan,) = plan_routes(snapshot([view("small", priced), view("large"), external("bought")], seen))
    return replace(seen.route, status=report_route(seen, plan, RouteOutcome(plan.key), NOW).status)


def tier(name: str, **status: Any) -> TierObject:
    given = ModelTierSpec.model_validate(EXTERNAL) if name == "bought" else make.spec()
    seen = ModelTierStatus.model_validate(status)
    return TierObject(TierKey("team", name), f"uid-{name}", 1, "1", given, seen)


def condition(kind: str, reason: str, message: str, status: str = "False") -> dict[str, Any]:
    at = "2026-11-20T10:00:00Z"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


STARTING = condition("Ready", reasons.STARTING, "no replica answers", "Unknown")
TIERS = {
    "small": tier("small", state="Ready", model="s", readyReplicas=2, desiredReplicas=2, costPerHour="5.00"),
    "bought": tier("bought", state="Ready", model="b"),
}


def picture(said: Any, width: int = 200) -> str:
    out = io.StringIO()
    Console(file=out, width=width, no_color=True).print(said)
    return out.getvalue()


def test_everything_there_is_to_say_as_data() -> None:
    said = explain_route(told(), TIERS, NOW)
    assert json.loads(json.dumps(said)) == said
    assert (said["route"], said["modelNames"], said["outdated"]) == ("team/chat", ["chat"], False)
    small, large, bought = said["tiers"]
    assert small["capacity"] == 2 * small["requestsPerReplica"]
    assert (small["replicas"]["ready"], small["costPerHour"], small["price"]) == (2, "5.00", {"replicaHour": "2.5"})
    assert (small["at"], small["unused"]) == ("Service small-predictor", None)
    assert (large["state"], large["capacity"], large["replicas"]) == ("Missing", 0, None)
    assert (bought["at"], bought["price"]["output"], bought["capacity"]) == ("https://api.example.com/v1", "10", 256)
    assert (bought["use"], bought["unused"]) == ("Overflow", None)
    assert said["limits"]["budget"]["amount"] == "100"
    types = {each["type"] for each in said["conditions"]}
    assert types == {"Accepted", "Provisioned", "MetricsAvailable", "Ready"}


def test_what_each_tier_answers_follows_the_policy() -> None:
    assert takes(GIVEN, "small") == (
        "what no rule sends elsewhere",
        "rule json (at most 9 prompt tokens, json_object)",
        "rule all (every request)",
        "rule named (model chat)",
        "what the budget no longer allows for large or bought",
        "model: small",
    )
    assert takes(GIVEN, "large") == (
        "rule long (at least 8000 prompt tokens, tools)",
        "rule team (no images, X-Team: red)",
        "what leaves small: full, too short or failing",
        "what the budget no longer allows for bought",
        "model: large",
    )
    assert takes(GIVEN, "bought") == ("what leaves small or large: full, too short or failing", "model: bought")
    assert takes(GIVEN, "nobody") == ()


def test_the_default_is_what_is_declared_else_the_first_that_always_answers() -> None:
    tiers = [{"name": "a", "use": "Overflow"}, {"name": "b"}, {"name": "c"}]
    assert takes(spec(tiers=tiers, directAccess=False), "a") == ()
    assert takes(spec(tiers=tiers), "b")[0] == "what no rule sends elsewhere"
    assert takes(spec(tiers=tiers, policy={"defaultTier": "c"}), "c")[0] == "what no rule sends elsewhere"


REFUSED = condition("Provisioned", reasons.IMAGE_PULL, "the image cannot be pulled")


@pytest.mark.parametrize(
    ("name", "seen", "expected"),
    [
        ("large", None, (reasons.TIER_NOT_FOUND, "there is no ModelTier large in namespace team")),
        ("large", replace(tier("large"), deleting=True), (reasons.DELETING, "it is being deleted")),
        ("large", tier("large"), ("", "none of its replicas is ready, and the operator has not said why yet")),
        ("large", tier("large", conditions=[STARTING]), (reasons.STARTING, "no replica answers")),
        (
            "large",
            tier("large", conditions=[STARTING, REFUSED]),
            (reasons.IMAGE_PULL, "the image cannot be pulled"),
        ),
        (
            "bought",
            tier("bought", conditions=[condition("Accepted", reasons.INVALID_SPEC, "no")]),
            (reasons.INVALID_SPEC, "no"),
        ),
    ],
    ids=["missing", "deleting", "new", "starting", "the cause before its effect", "external and refused"],
)
def test_why_a_tier_is_not_used(name: str, seen: TierObject | None, expected: tuple[str, str]) -> None:
    known = TIERS | ({} if seen is None else {name: seen})
    said = explain_route(told(), known, NOW)
    (why,) = [each["unused"] for each in said["tiers"] if each["name"] == name]
    assert (why["reason"], why["message"]) == expected
    assert expected[1] in picture(route_as_text(said))


def test_the_picture_says_what_would_make_a_tier_ready() -> None:
    text = picture(route_as_text(explain_route(told(), TIERS, NOW)))
    assert "team/chat serves chat at http://chat.team.svc/v1" in text
    assert "there is no ModelTier large in namespace team. Create it, or remove it from spec.tiers." in text
    for section in ("Conditions", "Tiers, cheapest first", "What they answer", "Not used now", "Limits"):
        assert f"\n{section}\n" in text
    for words in ("2.5 per replica and hour", "2 in, 10 out per million tokens", "budget.amount", "2/2", "Missing"):
        assert words in text


def test_a_narrow_terminal_loses_no_word() -> None:
    folded = "".join(picture(route_as_text(explain_route(told(), TIERS, NOW)), width=70).split())
    for word in ("team/chat", "overflow.startPercent"):
        assert word in folded


def test_a_route_that_nobody_looked_at_and_one_that_is_not_understood_have_little_to_say() -> None:
    new = explain_route(route(), {}, NOW)
    assert "Not looked at yet" in picture(route_as_text(new))
    assert "The operator has not looked at it yet. If that lasts, none runs" in picture(route_as_text(new))
    assert ladder_names(told()) == ("small", "large", "bought")
    unread = explain_route(replace(told(), spec=None), TIERS, NOW)
    assert unread["limits"] == {}
    assert [each["answers"] for each in unread["tiers"]] == [[], [], []]


def test_what_is_measured_is_shown_and_what_is_not_known_is_left_out() -> None:
    seen = told(spec("small"))
    assert explain_route(seen, TIERS, NOW)["now"] == {}
    figures = {"requests_per_second": "1.5", "share": "80/15/5", "waiting": 0, "cost_per_hour": "3.20"}
    measured = replace(seen, status=seen.status.model_copy(update=figures))
    said = explain_route(measured, TIERS, NOW)
    assert said["now"] == {"requestsPerSecond": "1.5", "share": "80/15/5", "waiting": 0, "costPerHour": "3.20"}
    text = picture(route_as_text(said))
    assert "\nMeasured\n" in text
    assert "80/15/5" in text


def test_a_tier_names_the_routes_that_it_serves() -> None:
    other = replace(told(spec("large")), key=RouteKey("team", "other"))
    said = explain(TIERS["small"], NOW, [told(), other, replace(told(), spec=None)])
    (found,) = said["routes"]
    assert (found["route"], found["modelNames"]) == ("team/chat", ["chat"])
    assert found["takes"][0] == "what no rule sends elsewhere"
    text = picture(as_text(said))
    assert "Routes that it serves" in text
    assert "what no rule sends elsewhere; rule json" in text
    assert explain(TIERS["small"], NOW, None)["routes"] is None
    assert "Routes that it serves" not in picture(as_text(explain(TIERS["small"], NOW, None)))


def test_a_classifier_is_explained_by_its_numbers_and_changes_what_the_default_tier_answers() -> None:
    policy = {"type": "Classifier", "classifier": {"configMapName": "weights"}}
    given = spec("small", "large", policy=policy)
    found = told(given)
    assert explain_route(found, {}, NOW)["classifier"] == {"configMapName": "weights"}
    shown = found.status.model_copy(
        update={"classifier": ClassifierStatus(config_map_name="weights", hash="abc", needed_share_percent=34)}
    )
    said = explain_route(replace(found, status=shown), {}, NOW)
    assert said["classifier"] == {"configMapName": "weights", "hash": "abc", "neededSharePercent": 34}
    console = Console(file=io.StringIO(), width=120)
    console.print(route_as_text(said))
    assert "neededSharePercent" in console.file.getvalue()  # type: ignore[attr-defined]
    assert takes(given, "small")[0] == "what neither a rule nor the classifier sends elsewhere"
    shadow = spec("small", "large", policy={**policy, "mode": "Shadow"})
    assert takes(shadow, "small")[0] == "what no rule sends elsewhere"
    assert explain_route(told(), {}, NOW)["classifier"] == {}
