"""Checks that what was answered is counted apart from what was only paid for, in the metrics as in the access log."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.router.cascades import UNSURE, cascading, small
from tests.unit.router.router_process import router
from tests.unit.router.running_router import chat, post, until
from tests.unit.router.scripted_engine import callers, scripted_engine
from tests.unit.router.scripted_upstream import STREAM_HEAD, Do, Script, chunk
from tests.unit.router.test_money import all_settled, route
from tierwise.routing.cost import Usage
from tierwise_router.answered import ANSWER, DISCARDED, FAILED, Answers, first_choice, purposes
from tierwise_router.record import Charge, Record

CHEAP = Charge("small", Usage(10, 20, 30, 40), Decimal("0.5"))
DEAR = Charge("large", Usage(1, 2, 3, 4), Decimal(2))


def record(*charges: Charge, **fields: Any) -> Record:
    given = {"tier": charges[-1].tier, "first": "small", "outcome": "ok", "reason": "Default"} | fields
    return Record("r", 10.0, charges=list(charges), **given)


def series(answers: Answers, *ladder: str) -> dict[tuple[str, ...], float]:
    """By name without prefix and label values, without zeros."""
    return {
        (metric.name.removeprefix("tierwise_router_"), *sample.labels.values()): sample.value
        for metric in answers.collect(ladder)
        for sample in metric.samples
        if sample.value
    }


def test_an_answer_after_a_failed_attempt_is_one_answer_and_one_loss() -> None:
    answers = Answers()
    answers.add(record(CHEAP, DEAR, reason="Fallback", waited_seconds=1.0), 15.0)
    assert series(answers, "small", "large") == {
        ("answered_tokens", "large", "small", "input"): 1,
        ("answered_tokens", "large", "small", "cached_input"): 2,
        ("answered_tokens", "large", "small", "cache_write"): 3,
        ("answered_tokens", "large", "small", "output"): 4,
        ("answered_cost_usd", "large"): 2,
        ("answered_seconds", "large"): 4,
        ("wasted_cost_usd", "small", "failed"): 0.5,
    }


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"outcome": "ok"}, [FAILED, ANSWER]),
        ({"outcome": "broken"}, [FAILED, FAILED]),
        ({"outcome": "upstream_error"}, [FAILED, FAILED]),
        ({"outcome": "client_gone", "first_content_at": 11.0}, [FAILED, ANSWER]),
        ({"outcome": "client_gone"}, [FAILED, FAILED]),
        ({"outcome": "ok", "tier": "bought"}, [FAILED, FAILED]),
    ],
)
def test_only_what_reached_a_client_is_an_answer(fields: dict[str, Any], found: list[str]) -> None:
    assert purposes(record(CHEAP, DEAR, **fields)) == found


def test_what_a_cascade_threw_away_is_neither_answer_nor_failure() -> None:
    away = Charge("small", CHEAP.usage, CHEAP.cost, discarded=True)
    assert purposes(record(away, DEAR)) == [DISCARDED, ANSWER]
    assert purposes(record(away)) == [DISCARDED]


@pytest.mark.parametrize(
    ("reason", "first"),
    [("Default", "large"), ("Rule", "large"), ("Spill", "small"), ("Fallback", "small"), ("Budget", "large")],
)
def test_only_spilling_and_falling_back_lead_away_from_the_first_choice(reason: str, first: str) -> None:
    assert first_choice(record(DEAR, reason=reason)) == first


def test_who_asks_for_a_tier_by_its_name_has_made_the_choice() -> None:
    assert first_choice(record(DEAR, reason="Direct")) == ""


def test_every_series_of_the_ladder_is_there_before_the_first_request() -> None:
    empty = list(Answers().collect(("small", "large")))
    (tokens,) = [metric for metric in empty if metric.name.endswith("answered_tokens")]
    pairs = {(sample.labels["tier"], sample.labels["first"]) for sample in tokens.samples}
    assert pairs == {("small", ""), ("small", "small"), ("large", ""), ("large", "small"), ("large", "large")}
    assert {sample.value for metric in empty for sample in metric.samples} == {0}


async def test_the_metrics_of_a_running_router_are_the_sums_of_its_access_log(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 40}}
    scripts: list[dict[str, Any]] = [{"usage": usage}, {"status": 500}, {"usage": usage, "cut": 1}, {"usage": usage}]
    async with scripted_engine([]) as url:
        with router(route(url), tmp_path) as process:
            async with callers(process.url, 4) as many:
                for model in ("mixed", "metered", "dear"):
                    asked = zip(many, scripts, strict=True)
                    await asyncio.gather(*(one.chat(model, said, stream=True) for one, said in asked))
            lines, metrics = await all_settled(process)
    charges = [(line, charge) for line in lines for charge in line["charges"]]
    assert {charge["for"] for _, charge in charges} == {"answer", "failed"}
    assert {line["firstTier"] for line in lines if line["reason"] == "Direct"} == {""}
    for tier in ("timed", "metered", "dear"):
        answered = [(line, charge) for line, charge in charges if charge["tier"] == tier and charge["for"] == "answer"]
        first = "timed" if tier == "timed" else ""
        name = f'tierwise_router_answered_tokens_total{{first="{first}",kind="output",tier="{tier}"}}'
        assert metrics[name] == sum(charge["outputTokens"] for line, charge in answered if line["firstTier"] == first)
        assert metrics[name] > 0
        cost = sum(Decimal(charge["costUSD"]) for _, charge in answered)
        assert metrics[f'tierwise_router_answered_cost_usd_total{{tier="{tier}"}}'] == pytest.approx(float(cost))
    wasted = sum(value for name, value in metrics.items() if name.startswith("tierwise_router_wasted_cost_usd_total"))
    assert wasted == pytest.approx(float(sum(Decimal(c["costUSD"]) for _, c in charges if c["for"] == "failed")))
    assert wasted > 0


async def test_what_a_cascade_drops_is_discarded_and_the_dearer_tier_has_answered_by_the_policy() -> None:
    cheap: Script = [STREAM_HEAD, *(chunk(each) for each in small(*[UNSURE] * 4, tail=())), Do.HOLD]
    async with cascading(cheap) as (running, one, _):
        await running.ask(post(chat(stream=True)))
        await until(lambda: one.open == 0)
    (done,) = running.records
    assert purposes(done) == [DISCARDED, ANSWER]
    assert first_choice(done) == "large"
    counted = running.state.ledger.answers
    assert counted.wasted == {("small", DISCARDED): done.charges[0].cost}
    assert counted.cost == {"large": done.charges[1].cost}
