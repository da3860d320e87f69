"""Measures what sampling costs clients: the time to the first token through two routers over the same engines, one of
which compares a part of the answers in the background.

Both routers get the same requests, in turns of a second, so that whatever else the machine does hits both alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Any

import aiohttp

from tests.unit.router.router_process import router
from tests.unit.simulator.processes import vllm


async def turn(session: aiohttp.ClientSession, url: str, seconds: float, rate: float) -> list[float]:
    """Seconds to the first token of each request of one turn; requests begin at a steady pace."""
    count = max(1, round(seconds * rate))
    return list(await asyncio.gather(*(one(session, url, number / rate, number) for number in range(count))))


async def one(session: aiohttp.ClientSession, url: str, wait: float, number: int) -> float:
    """Seconds to the first token of one request, which begins after `wait` seconds."""
    await asyncio.sleep(wait)
    prompt = f"Please work this out: {number + 2} * 17 + {number}"
    body = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    began = perf_counter()
    first = 0.0
    async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if not first and line.startswith(b"data: {"):
                content: dict[str, Any] = json.loads(line[6:])["choices"][0]["delta"]
                first = perf_counter() - began if content.get("content") else 0.0
    return first


def main() -> None:
    """Run it and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    parser.add_argument("--percent", type=int, default=5)
    given = parser.parse_args()
    with ExitStack() as stack:
        common = {"SPEED": "20", "OUTPUT_TOKENS": "60", "ANSWERS_SKILL": "9"}
        engines = [
            stack.enter_context(vllm("--max-num-seqs=64", wait_seconds=120, **common, ANSWERS_SLIP=slip))
            for slip in ("0.04", "0", "0")
        ]
        tiers = [
            {"name": name, "model": "chat", "servers": [engine.url], "use": use}
            for name, engine, use in zip(
                ("small", "large", "judge"), engines, ("Always", "Always", "Overflow"), strict=True
            )
        ]
        route = {"name": "chat", "modelNames": ["chat"], "tiers": tiers, "referenceTier": "large"}
        quality = {"samplePercent": given.percent, "judgeTier": "judge", "budgetUSDPerDay": "100"}
        routers = []
        for said in (route, {**route, "quality": quality}):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            routers.append(stack.enter_context(router(said, folder, wait_seconds=120)))
        found = asyncio.run(measure([one.url for one in routers], given.turns, given.rate))
        counted = routers[1].metrics()
        sampled = sum(value for name, value in counted.items() if name.startswith("tierwise_router_sampled_total"))
        judged = sum(value for name, value in counted.items() if name.startswith("tierwise_router_verdicts_total"))
    named = {name: summary(values) for name, values in zip(("without", "with"), found, strict=True)}
    print(json.dumps({"requests": len(found[0]), "sampled": sampled, "judged": judged, **named}, indent=1))


async def measure(urls: list[str], turns: int, rate: float) -> list[list[float]]:
    """The times of each router."""
    found: list[list[float]] = [[] for _ in urls]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for number in range(-2, turns):
            for place, url in enumerate(urls):
                times = await turn(session, url, 1.0, rate)
                if number >= 0:
                    found[place] += times
    return found


def summary(values: list[float]) -> dict[str, float]:
    """Milliseconds."""
    cuts = quantiles(values, n=100)
    return {"p50": round(1000 * cuts[49], 2), "p95": round(1000 * cuts[94], 2), "p99": round(1000 * cuts[98], 2)}


if __name__ == "__main__":
    main()
