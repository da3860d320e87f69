"""Checks that the money is right: every request by its formula, all of them together, and never past a budget."""

from __future__ import annotations

import asyncio
import random
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.router.router_process import COMES_SECONDS, RouterProcess, router
from tests.unit.router.scripted_engine import Caller, callers, scripted_engine

MILLION = 1_000_000
RATES = {
    "metered": {"input": "0.25", "cachedInput": "0.025", "cacheWrite": "0.3125", "output": "2"},
    "dear": {"input": "1.25", "cachedInput": "0.125", "output": "10"},
}
KINDS = {"input": "inputTokens", "cachedInput": "cachedInputTokens", "cacheWrite": "cacheWriteTokens"}
FLEX = {"input": "0.125", "output": "1"}
BATCH = {"input": "0.0625", "cachedInput": "0.00625", "output": "0.5"}


def route(url: str, **more: Any) -> dict[str, Any]:
    tiers = [
        {"name": "timed", "model": "a", "servers": [url], "replicaHour": "2.49"},
        {"name": "timed-too", "model": "b", "servers": [url], "replicaHour": "6.88"},
        {"name": "metered", "model": "c", "servers": [url], "prices": RATES["metered"]},
        {
            "name": "dear",
            "model": "d",
            "provider": {"baseURL": url + "/v1"},
            "prices": RATES["dear"],
            "serviceTierPrices": {"flex": FLEX, "batch": BATCH},
        },
    ]
    return {"modelNames": ["mixed"], "tiers": tiers, **more}


def expected(charge: dict[str, Any], rates: dict[str, str]) -> Decimal:
    """The formula of docs/routing.md, written once more."""
    parts = [int(charge[field]) * Decimal(rates.get(kind, rates["input"])) for kind, field in KINDS.items()]
    return (sum(parts, Decimal(0)) + int(charge["outputTokens"]) * Decimal(rates["output"])) / MILLION


async def all_settled(process: RouterProcess, earlier: int = 0) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The access log and the metrics, when nothing is under way and every request that ended is in both. `earlier`: how
    many lines are of a process that wrote into the same log before."""
    until = time.monotonic() + COMES_SECONDS
    while True:
        metrics = process.metrics()
        ended = sum(value for name, value in metrics.items() if name.startswith("tierwise_router_requests_total"))
        lines, streams = process.log(), metrics["tierwise_router_streams"]
        if streams == 0 and len(lines) == earlier + ended and process.metrics() == metrics:
            return lines, metrics
        assert time.monotonic() < until, f"requests do not end: {streams} streams, {len(lines)} lines of {ended}"
        await asyncio.sleep(0.05)


async def test_ten_thousand_requests_over_four_tiers_cost_what_the_formula_says(tmp_path: Path) -> None:
    chance = random.Random(7)
    count = 10_000
    sent = iter(range(count))
    left = 0

    def script() -> tuple[dict[str, Any], dict[str, Any]]:
        prompt, cached = chance.randrange(1, 5000), chance.randrange(0, 3000)
        details = {"cached_tokens": min(cached, prompt), "cache_write_tokens": chance.randrange(0, 500)}
        usage = {"prompt_tokens": prompt, "completion_tokens": chance.randrange(900), "prompt_tokens_details": details}
        fields: dict[str, Any] = {"stream": chance.random() < 0.4}
        said: dict[str, Any] = {"usage": usage}
        what = chance.random()
        if what < 0.03:
            fields["leave"], said["wait"] = True, 0.05
        elif what < 0.05:
            said = {"status": 500}
        elif what < 0.07:
            said["cut"], fields["stream"] = 1, True
        elif what < 0.09:
            del said["usage"]
        elif what < 0.2:
            said["service_tier"] = chance.choice(["flex", "batch"])
        return said, fields

    async with scripted_engine([]) as url:
        with router(route(url), tmp_path) as process:

            async def work(caller: Caller) -> None:
                nonlocal left
                for _ in sent:
                    said, fields = script()
                    left += "leave" in fields
                    model = chance.choice(["mixed", "timed", "timed-too", "metered", "dear"])
                    await caller.chat(model, said, **fields)

            async with callers(process.url, 24) as many:
                await asyncio.gather(*(work(one) for one in many))
            lines, metrics = await all_settled(process)

    # Who left before the router had looked at the request is in no line, and has cost nothing.
    assert count - left <= len(lines) <= count
    assert len({line["id"] for line in lines}) == len(lines)
    assert {line["outcome"] for line in lines} == {"ok", "client_gone", "broken", "refused"}
    cost: dict[str, Decimal] = {}
    billed_as: set[int] = set()
    tokens: dict[tuple[str, str], int] = {}
    for line in lines:
        assert sum((Decimal(charge["costUSD"]) for charge in line["charges"]), Decimal(0)) == Decimal(line["costUSD"])
        for charge in line["charges"]:
            tier, paid = charge["tier"], Decimal(charge["costUSD"])
            if tier in RATES:
                prices = [RATES[tier]] + ([FLEX, BATCH] if tier == "dear" else [])
                fitting = [number for number, rates in enumerate(prices) if paid == expected(charge, rates)]
                assert fitting
                billed_as.update(fitting if paid else ())
            cost[tier] = cost.get(tier, Decimal(0)) + paid
            for kind in ("input", "cachedInput", "cacheWrite", "output"):
                tokens[tier, kind] = tokens.get((tier, kind), 0) + charge[kind + "Tokens"]
    assert billed_as == {0, 1, 2}
    for tier, amount in cost.items():
        assert metrics[f'tierwise_router_cost_usd_total{{tier="{tier}"}}'] == pytest.approx(float(amount), rel=1e-12)
    names = {"input": "input", "cachedInput": "cached_input", "cacheWrite": "cache_write", "output": "output"}
    for (tier, kind), number in tokens.items():
        assert metrics[f'tierwise_router_tokens_total{{kind="{names[kind]}",tier="{tier}"}}'] == number
    assert metrics["tierwise_router_streams"] == 0
    in_flight = {tier: metrics[f'tierwise_router_in_flight{{tier="{tier}"}}'] for tier in cost}
    assert in_flight == dict.fromkeys(cost, 0)


async def test_a_budget_of_one_dollar_is_never_passed_however_many_ask_at_once(tmp_path: Path) -> None:
    # Each request uses 2,000 tokens of answer: 2 cents. The estimate before it is 2.25 cents or more.
    usage = {"prompt_tokens": 100, "completion_tokens": 2000}
    async with scripted_engine([]) as url:
        with router(route(url, budget={"amount": "1", "period": "Month"}), tmp_path) as process:
            async with callers(process.url, 120) as many:
                scripts = [{"usage": usage, "wait": 0.1 * (number % 2)} for number in range(120)]
                asked = zip(many, scripts, strict=True)
                answers = await asyncio.gather(*(one.chat("dear", said, max_tokens=2000) for one, said in asked))
            lines, metrics = await all_settled(process)
    spent = sum((Decimal(line["costUSD"]) for line in lines), Decimal(0))
    refused = [answer for answer in answers if answer[0] == 429]
    assert Decimal("0.9") < spent <= 1
    assert len(refused) + sum(answer[0] == 200 for answer in answers) == 120
    assert all(b"budget_spent" in body and said["x-should-retry"] == "false" for _, said, body in refused)
    assert metrics['tierwise_router_budget_usd{part="spent"}'] == pytest.approx(float(spent))
    assert metrics['tierwise_router_budget_usd{part="reserved"}'] == 0


async def test_a_spent_budget_sends_to_a_cheaper_tier_where_the_route_says_so(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 2000}
    budget = {"amount": "0.03", "whenSpent": "CheaperTier"}
    async with scripted_engine([]) as url:
        policy = {"defaultTier": "dear"}
        with router(route(url, budget=budget, policy=policy), tmp_path) as process:
            async with callers(process.url, 1) as (caller,):
                answers = [await caller.chat("mixed", {"usage": usage}, max_tokens=2000) for _ in range(3)]
    said = [(status, headers["x-tierwise-tier"], headers["x-tierwise-reason"]) for status, headers, _ in answers]
    assert said[0] == (200, "dear", "Default")
    assert [one[0] for one in said[1:]] == [200, 200]
    assert said[2][1] in ("metered", "timed-too")
    assert said[2][2] == "Budget"


async def test_a_router_that_is_killed_and_started_again_stays_within_the_budget(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 2000}
    seen: list[Any] = []
    options = ("--spending-file", str(tmp_path / "spending.json"))
    spec_more = {"budget": {"amount": "0.5", "period": "Month"}}
    answered = 0
    async with scripted_engine(seen) as url:
        for _ in range(3):
            with router(route(url, **spec_more), tmp_path, *options) as process:
                async with callers(process.url, 4) as many:
                    done = await asyncio.gather(*(one.chat("dear", {"usage": usage}, max_tokens=2000) for one in many))
                    answered += sum(answer[0] == 200 for answer in done)
                    slow = {"usage": usage, "wait": 5}
                    hanging = [asyncio.create_task(one.chat("dear", slow, max_tokens=2000)) for one in many]
                    await asyncio.sleep(0.3)
                    process.kill()
                    await asyncio.gather(*hanging)
    # Whatever reached the provider may be on its bill.
    assert answered >= 8
    assert len(seen) * Decimal("0.020125") <= Decimal("0.5")


async def test_a_spending_file_that_cannot_be_read_stops_the_router_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "spending.json").write_text("{")
    options = ("--spending-file", str(tmp_path / "spending.json"))
    with (
        pytest.raises(AssertionError, match=r"spending file .* cannot be read"),
        router(route("http://127.0.0.1:1", budget={"amount": "1"}), tmp_path, *options),
    ):
        pass
