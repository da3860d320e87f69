"""`tierwise explain`: the same facts for people and for programs."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from tests.builders.pools import CASES as POOLS
from tests.builders.pools import LIST, use
from tests.builders.pools import pool as a_pool
from tests.builders.workloads import outcome_of
from tests.unit.report.cases import (
    EXTERNAL,
    KEY,
    NOW,
    after,
    case,
    decision,
    pod,
    spec,
    told,
    waiting,
)
from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import ScalingMemory
from tierwise.report.build import report_tier
from tierwise.report.explain import as_text, explain
from tierwise.report.explain_parts import duration
from tierwise.report.pools import report_pool
from tierwise.report.report_context import ReportContext
from tierwise.types import NamedSignal, Pools, Signal, Snapshot, State, Step, TierObject


def tier(the_case: ReportContext) -> TierObject:
    """The tier with its status written."""
    return replace(the_case.view.tier, status=told(the_case).status)


def picture(said: dict[str, Any], width: int = 140) -> str:
    out = io.StringIO()
    Console(file=out, width=width, no_color=True).print(as_text(said))
    return out.getvalue()


BUSY = case(
    spec(price={"gpuHour": "2"}, scaling={"maxReplicas": 4}),
    pods=[pod("a"), waiting("b", "ErrImagePull", "registry: not found")],
    decided=decision(
        1,
        4,
        limited_by=reasons.MAX_REPLICAS,
        message="6 replicas, of which maxReplicas allows 4",
        steps=(
            Step("load", 6, "Load", "60 requests fill 5.5 replicas"),
            Step("bounds", 4, "MaxReplicas", "6 replicas, of which maxReplicas allows 4"),
        ),
        signals=(
            NamedSignal("waiting", Signal(State.VALUE, 41, NOW - 70)),
            NamedSignal("running", Signal(State.STALE, 3, NOW - 60)),
        ),
    ),
    outcome=outcome_of(KEY, scaled=(1, 4)),
)


def test_everything_there_is_to_say_as_data() -> None:
    said = explain(tier(BUSY), NOW + 130)
    assert json.loads(json.dumps(said)) == said
    assert (said["tier"], said["state"], said["reason"]) == ("team-a/chat", "Degraded", "ImagePullFailed")
    assert said["replicas"] == {"ready": 1, "existing": 2, "desired": 4, "limitedBy": "MaxReplicas"}
    assert said["cost"] == {"perHour": "4.00", "perMillionTokens": ""}
    assert [(step["name"], step["replicas"], step["reason"]) for step in said["steps"]] == [
        ("load", 6, "Load"),
        ("bounds", 4, "MaxReplicas"),
    ]
    assert [(signal["name"], signal["value"], signal["unchangedForSeconds"]) for signal in said["signals"]] == [
        ("waiting", "41", 200),
        ("running", "", 190),
    ]
    assert said["limits"]["maxReplicas"] == 4
    assert "replicas" not in said["limits"]
    provisioned = next(each for each in said["conditions"] if each["type"] == "Provisioned")
    assert provisioned["remedy"].startswith("Correct engine.image")
    assert provisioned["sinceSeconds"] == 130
    (change,) = said["decisions"]
    assert (change["from"], change["to"], change["agoSeconds"]) == (1, 4, 130)


def test_the_picture_shows_the_same() -> None:
    said = explain(tier(BUSY), NOW + 130)
    text = picture(said)
    assert "team-a/chat serves chat" in text
    assert "Degraded (ImagePullFailed): 1 ready of 4 desired, limited by MaxReplicas, 4.00 $/h" in text
    for words in ("60 requests fill 5.5 replicas", "registry: not found", "1 → 4", "3m", "Stale", "waitingPerReplica"):
        assert words in text
    for section in ("Conditions", "The last decision, step by step", "Made from", "Limits", "Last changes"):
        assert f"\n{section}\n" in text


def test_a_narrow_terminal_loses_no_word() -> None:
    folded = "".join(picture(explain(tier(BUSY), NOW), width=60).split())
    for word in ("team-a/chat", "ImagePullFailed", "waitingPerReplica", "maxReplicasallows4", "1→4"):
        assert word in folded


def test_square_brackets_are_text_not_markup() -> None:
    ill = case(pods=[waiting(last_exit_code=1, last_exit_message="ValueError: ['Nope'] [bold]is[/bold] unsupported")])
    assert "['Nope'] [bold]is[/bold]" in picture(explain(tier(ill), NOW), width=400)


def test_a_new_tier_has_little_to_say() -> None:
    new = case().view.tier
    text = picture(explain(new, NOW))
    assert "Not looked at yet: 0 ready of 0 desired" in text
    assert "The operator has not looked at it yet. If that lasts, none runs, or none serves this namespace" in text
    assert "Conditions" not in text


def test_an_external_tier_and_one_that_does_not_parse_have_no_limits() -> None:
    external = tier(case(ModelTierSpec.model_validate(EXTERNAL)))
    said = explain(external, NOW)
    assert said["limits"] == {}
    assert "2.00 in, 10.00 out $ per million tokens" in picture(said)
    unread = replace(case().view.tier, spec=None)
    assert explain(unread, NOW)["limits"] == {}


def test_a_pin_is_a_limit() -> None:
    assert explain(tier(case(spec(replicas=2))), NOW)["limits"]["replicas"] == 2


def test_a_change_that_was_not_looked_at_yet_is_said() -> None:
    looked = tier(case())
    changed = replace(looked, generation=2)
    assert not explain(looked, NOW)["outdated"]
    assert explain(changed, NOW)["outdated"]


def test_a_clock_that_is_behind_makes_no_negative_age() -> None:
    said = explain(tier(BUSY), NOW - 500)
    assert said["decisions"][0]["agoSeconds"] == 0


def test_a_condition_of_somebody_else_has_no_remedy() -> None:
    foreign = told(case()).status.conditions[0].model_copy(update={"type": "Audited", "reason": "ByHand"})
    status = told(case()).status.model_copy(update={"conditions": [foreign]})
    (condition,) = explain(after(case(), status, NOW).view.tier, NOW)["conditions"]
    assert (condition["type"], condition["remedy"]) == ("Audited", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (12000, "3h20m"), (432000, "5d")],
)
def test_durations(seconds: int | None, text: str) -> None:
    assert duration(seconds) == text


def in_a_pool() -> TierObject:
    """A tier that asked a pool for four replicas and was granted two, at a list price."""
    why, asked = "the budget of pool h100 is 3 GPUs, 1 are left", decision(2, 4)
    held = replace(
        asked,
        target=2,
        limited_by=reasons.BUDGET,
        steps=(
            Step("load", 4, "Load", "x"),
            Step("pools", 2, "Budget", why),
        ),
    )
    price = {"gpuHour": str(LIST.usd)}
    seen = case(spec(pools=[{"name": "h100"}], priority=3, price=price), pods=[pod("a")], decided=held)
    (workload,) = seen.view.workloads
    view = replace(seen.view, workloads=(replace(workload, pool="h100", spec=seen.view.tier.spec),))
    snapshot = Snapshot(NOW, (view,), seen.metrics, pools=Pools((a_pool(price=LIST),)))
    plan = replace(seen.plan, asked=asked)
    status = report_tier(snapshot, view, plan, seen.outcome, NOW, ScalingMemory()).status
    return replace(view.tier, status=status)


def test_where_a_tier_runs_what_it_was_granted_and_why() -> None:
    status = report_pool(a_pool({"budget": {"gpus": 3}}, price=LIST), use(2), 1, NOW).status
    said = explain(in_a_pool(), NOW, (), {"h100": status})
    (place,) = said["pools"]
    assert (place["name"], place["wanted"], place["replicas"], place["gpus"]) == ("h100", 4, 2, 2)
    assert place["why"] == "Budget: the budget of pool h100 is 3 GPUs, 1 are left"
    assert place["priceSource"] == LIST.source
    assert (place["pool"]["capacity"], place["pool"]["free"], place["pool"]["budget"]) == (8, 5, "3 GPUs")
    assert said["limits"]["priority"] == 3
    assert said["cost"]["perHour"].endswith("(assumed)")
    shown = picture(said, 320)
    assert "5 of 8 GPUs free, 1 held by others, budget 3 GPUs" in shown
    assert f"the price is assumed: {LIST.source}" in shown
    json.dumps(said)


def test_a_pool_that_may_not_be_read_leaves_the_tier_explained() -> None:
    said = explain(in_a_pool(), NOW)
    assert said["pools"][0]["pool"] is None
    assert "could not be read" in picture(said, 320)
    unknown = {"h100": report_pool(POOLS["nodes not known"][0], use(2), 1, NOW).status}
    assert "what it has is not known" in picture(explain(in_a_pool(), NOW, (), unknown), 200)


def test_a_tier_of_no_pool_says_nothing_of_pools() -> None:
    said = explain(tier(BUSY), NOW)
    assert said["pools"] == []
    assert "priority" not in said["limits"]
    assert "Where it runs" not in picture(said)
