"""A thousand cascades with faults: each client sees one answer or one error, no token is repeated or lost, and the
money of each is settled once. That nothing of any request is left in the router, `running` checks."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.unit.router.cascade_engine import GOOD, cascade_engine
from tests.unit.router.running_router import Answered, Router, chat, post, route, running
from tierwise.routing.route import Budget, Cascade, RouteTier, Tariff, TokenRates

COUNT = 1_000
REPLICAS = 5
"""Of each tier, so that open breakers do not keep a tier from being asked at all."""
HELD = 4
RATES = {
    "small": TokenRates(Decimal("0.1"), Decimal("0.1"), Decimal("0.1"), Decimal("0.4")),
    "large": TokenRates(Decimal(2), Decimal(2), Decimal(2), Decimal(8)),
}
FAULTS = (
    "none",
    "cut while held",
    "cut after the release",
    "refused by the large tier",
    "cut in the large tier",
    "leave",
)
TOKEN = re.compile(r"(\w+)\.(\d+)\.(\d+) ")


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


async def ask(router: Router, said: dict[str, Any], fault: str, stream: bool, after: float) -> Asked:
    async with router.client() as client:
        client.say(post(chat(stream=stream, messages=[{"role": "user", "content": json.dumps(said)}])))
        if fault == "leave":
            await asyncio.sleep(after)
            client.vanish()
            return Asked(said, fault, None)
        return Asked(said, fault, await client.answer())


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


async def test_a_thousand_cascades_with_faults() -> None:
    chance = random.Random(11)
    scripts = iter(
        [(*script(number, chance), chance.random() < 0.7, chance.random() * 0.01) for number in range(COUNT)]
    )
    asked: Counter[tuple[str, str]] = Counter()
    done: list[Asked] = []
    async with AsyncExitStack() as stack:
        tiers = []
        for name, rates in RATES.items():
            urls = [await stack.enter_async_context(cascade_engine(name, asked)) for _ in range(REPLICAS)]
            tiers.append(RouteTier(name, name, urls=tuple(urls), tariff=Tariff(rates), keep_alive_seconds=30))
        served = route(*tiers, cascade=Cascade(HELD, -0.5, 100), budget=Budget(Decimal(1000)))
        async with running(served, seconds=240) as router:

            async def work() -> None:
                for said, fault, stream, after in scripts:
                    done.append(await ask(router, said, fault, stream, after))

            await asyncio.gather(*(work() for _ in range(8)))
            await router.until_quiet(10)
            ledger, account = router.state.ledger, router.state.purse.account

    assert len(done) == COUNT
    outcomes = Counter((one.fault, seen(one)) for one in done)
    told = Counter[str]()
    for (_, outcome), count in outcomes.items():
        told[outcome] += count
    # Each way of ending was really walked, many times.
    for outcome, least in {"Cascade": 200, "Escalated": 200, "Default": 20, "broken": 30, "gone": 50}.items():
        assert told[outcome] >= least, outcomes
    assert not outcomes["none", "broken"] + outcomes["none", "error"], outcomes
    assert not outcomes["cut while held", "broken"], "it was not committed, so it was made again"

    lines = [json.loads(line) for line in router.lines]
    assert COUNT - told["gone"] <= len(lines) <= COUNT, "one line for each request whose head has come"
    assert len({line["id"] for line in lines}) == len(lines)
    total = Decimal(0)
    for line in lines:
        paid = [Decimal(charge["costUSD"]) for charge in line["charges"]]
        assert sum(paid, Decimal(0)) == Decimal(line["costUSD"])
        for charge, cost in zip(line["charges"], paid, strict=True):
            rates = RATES[charge["tier"]]
            assert cost == (charge["inputTokens"] * rates.input + charge["outputTokens"] * rates.output) / 1_000_000
        if line["reason"] == "Escalated" and line["outcome"] == "ok":
            assert {charge["tier"] for charge in line["charges"]} == {"small", "large"}, (
                "a dropped answer has its price"
            )
        total += Decimal(line["costUSD"])
    assert account is not None
    assert (account.spent, account.reserved) == (total, Decimal(0))
    decisions = Counter(line["cascade"]["decision"] for line in lines if "cascade" in line)
    assert ledger.cascades == {(decision, "act"): count for decision, count in decisions.items()}
    assert decisions["escalated"] >= told["Escalated"]
    assert ledger.discarded["small"] >= decisions["escalated"], "at least a token of each"
    assert ledger.discarded["large"] == 0
