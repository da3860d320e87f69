"""A thousand cascades with faults through the router as a process: each client sees one answer or one error, no token
is repeated or lost, and the money of each is settled once."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.unit.router.cascade_engine import GOOD, cascade_engine
from tests.unit.router.router_process import RouterProcess, router
from tests.unit.router.running_router import Answered, Client, chat, post
from tests.unit.router.test_money import all_settled

COUNT = 1_000
HELD = 4
PRICES = {"small": {"input": "0.1", "output": "0.4"}, "large": {"input": "2", "output": "8"}}
FAULTS = (
    "none",
    "cut while held",
    "cut after the release",
    "refused by the large tier",
    "cut in the large tier",
    "leave",
)
TOKEN = re.compile(r"(\w+)\.(\d+)\.(\d+) ")


def route(small: list[str], large: list[str]) -> dict[str, Any]:
    tiers = [
        {"name": name, "model": name, "servers": urls, "prices": PRICES[name], "keepAliveSeconds": 30}
        for name, urls in (("small", small), ("large", large))
    ]
    cascade = {"holdTokens": HELD, "minMeanLogProbability": "-0.5", "maxEscalatedPercent": 100}
    return {
        "modelNames": ["auto"],
        "tiers": tiers,
        "policy": {"type": "Cascade", "cascade": cascade},
        "budget": {"amount": "1000", "period": "Month"},
    }


def script(number: int, chance: random.Random) -> tuple[dict[str, Any], str]:
    """What the engines do with one request, and which fault that is."""
    fault = chance.choices(FAULTS, (60, 8, 8, 8, 6, 10))[0]
    step = chance.choice([1, 1, 2, 3])
    small: dict[str, Any] = {"tokens": chance.randrange(1, 13), "value": chance.choice([-0.1, -2.0]), "step": step}
    said: dict[str, Any] = {"id": f"r{number}", "small": [small]}
    if fault == "cut while held":
        small |= {"tokens": 12, "cut": chance.randrange(1, 1 + -(-HELD // step))}
    elif fault == "cut after the release":
        small |= {"tokens": 12, "value": -0.1, "cut": 1 + -(-HELD // step)}
    elif fault == "refused by the large tier":
        small["value"] = -2.0
        said["large"] = [{"status": chance.choice([429, 500, 503])}] * 2
    elif fault == "cut in the large tier":
        small["value"] = -2.0
        said["large"] = [{"cut": chance.randrange(0, 7)}]
    return said, fault


@dataclass
class Asked:
    script: dict[str, Any]
    fault: str
    answer: Answered | None
    """None: the client has gone."""


async def ask(process: RouterProcess, said: dict[str, Any], fault: str, stream: bool, after: float) -> Asked:
    host, _, port = process.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    client = Client(reader, writer)
    try:
        client.say(post(chat(stream=stream, messages=[{"role": "user", "content": json.dumps(said)}])))
        if fault == "leave":
            await asyncio.sleep(after)
            client.vanish()
            return Asked(said, fault, None)
        return Asked(said, fault, await client.answer())
    finally:
        writer.close()


def seen(one: Asked) -> str:
    """What the client has got; fails where that is not one answer or one error."""
    answer = one.answer
    if answer is None:
        return "gone"
    text = answer.body.decode()
    tokens = [(tier, int(attempt), int(place)) for tier, attempt, place in TOKEN.findall(text)]
    assert "logprob" not in text.replace('"logprobs":null', "").replace('"logprobs": null', ""), text
    if answer.status != 200:
        assert tokens == []
        assert answer.whole
        assert set(answer.json) == {"error"}
        return "error"
    makers = {(tier, attempt) for tier, attempt, _ in tokens}
    assert len(makers) == 1, f"put together of several: {text}"
    ((tier, attempt),) = makers
    assert tier == answer.headers["x-tierwise-tier"]
    assert [place for _, _, place in tokens] == list(range(len(tokens))), text
    scripts = one.script.get(tier, [])
    said = GOOD | (scripts[attempt] if attempt < len(scripts) else {})
    if not answer.whole:
        assert text.count('"error"') == 1
        assert "[DONE]" not in text
        assert len(tokens) < said["tokens"]
        return "broken"
    assert len(tokens) == said["tokens"]
    assert '"error"' not in text
    assert text.count("[DONE]") == ("event-stream" in answer.headers["content-type"])
    return answer.headers["x-tierwise-reason"]


async def test_a_thousand_cascades_with_faults(tmp_path: Path) -> None:
    chance = random.Random(11)
    scripts = iter(
        [(*script(number, chance), chance.random() < 0.7, chance.random() * 0.01) for number in range(COUNT)]
    )
    asked: Counter[tuple[str, str]] = Counter()
    done: list[Asked] = []
    async with AsyncExitStack() as stack:
        urls = {
            name: [await stack.enter_async_context(cascade_engine(name, asked)) for _ in range(2)]
            for name in ("small", "large")
        }
        with router(route(urls["small"], urls["large"]), tmp_path) as process:

            async def work() -> None:
                for said, fault, stream, after in scripts:
                    done.append(await ask(process, said, fault, stream, after))

            await asyncio.gather(*(work() for _ in range(16)))
            lines, metrics = await all_settled(process)

    assert len(done) == COUNT
    outcomes = Counter((one.fault, seen(one)) for one in done)
    told = Counter(outcome for (_, outcome), count in outcomes.items() for _ in range(count))
    # Each way of ending was really walked, many times.
    for outcome, least in {"Cascade": 200, "Escalated": 200, "Default": 20, "broken": 30, "gone": 50}.items():
        assert told[outcome] >= least, outcomes
    assert not outcomes["none", "broken"] + outcomes["none", "error"], outcomes
    assert not outcomes["cut while held", "broken"], "it was not committed, so it was made again"

    left = told["gone"]
    assert COUNT - left <= len(lines) <= COUNT, "one line for each request whose head has come"
    assert len({line["id"] for line in lines}) == len(lines)
    total = Decimal(0)
    for line in lines:
        paid = [Decimal(charge["costUSD"]) for charge in line["charges"]]
        assert sum(paid, Decimal(0)) == Decimal(line["costUSD"])
        for charge, cost in zip(line["charges"], paid, strict=True):
            prices = PRICES[charge["tier"]]
            tokens = charge["inputTokens"] * Decimal(prices["input"])
            assert cost == (tokens + charge["outputTokens"] * Decimal(prices["output"])) / 1_000_000
        if line["reason"] == "Escalated" and line["outcome"] == "ok":
            assert {charge["tier"] for charge in line["charges"]} == {"small", "large"}, (
                "the dropped answer has a price"
            )
        total += Decimal(line["costUSD"])
    assert metrics['tierwise_router_budget_usd{part="reserved"}'] == 0
    assert abs(metrics['tierwise_router_budget_usd{part="spent"}'] - float(total)) < 1e-9
    decisions = Counter(line["cascade"]["decision"] for line in lines if "cascade" in line)
    for decision, count in decisions.items():
        assert metrics[f'tierwise_router_cascade_total{{decision="{decision}",mode="act"}}'] == count
    assert decisions["escalated"] >= told["Escalated"]
    dropped = metrics['tierwise_router_discarded_tokens_total{tier="small"}']
    assert dropped >= decisions["escalated"], "at least a token of each"
    assert metrics["tierwise_router_streams"] == 0
