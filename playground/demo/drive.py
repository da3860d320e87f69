"""Sends the demo's requests from one process inside the playground, as a client in the cluster.

    python -m playground.demo.drive ORDERS.json

The orders name the route's address and every request; each result is appended to the report as one JSON line as soon as
it is there, so that the screen can follow. Whether an answer is right is computed here, from its last words.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from playground.demo import questions
from playground.demo.account import Answer
from tierwise_sim.load import LoadClient
from tierwise_sim.workloads import Arrival


def write_orders(path: Path, report: Path, url: str, model: str, arrivals: Sequence[Arrival]) -> None:
    """Write the orders: the route's URL and model name, and its requests."""
    orders = {
        "report": str(report),
        "url": url,
        "model": model,
        "arrivals": [asdict(arrival) for arrival in arrivals],
    }
    path.write_text(json.dumps(orders))


def read_report(path: Path) -> list[Answer]:
    """Every answer that has been reported so far."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]  # what follows the last newline is being written
    return [_answer(json.loads(line)) for line in lines]


def _answer(line: Mapping[str, Any]) -> Answer:
    return Answer(
        tier=line["answered_by"],
        ok=line["outcome"] == "ok",
        prompt_tokens=line["prompt_tokens"],
        completion_tokens=line["output_tokens"],
        ttft=line["ttft"] if line["ttft"] is not None else float("nan"),
        total=line["seconds"],
        lag=line["lag"],
        outcome=line["outcome"],
        why=line["why"],
        right=line["right"],
    )


async def drive(orders: Mapping[str, Any], report: TextIO) -> None:
    """Send every request at its time, however many are open; returns when the last answer is there."""
    arrivals = [Arrival(**{**arrival, "prefix": tuple(arrival["prefix"])}) for arrival in orders["arrivals"]]
    async with LoadClient(orders["url"], orders["model"]) as client, asyncio.TaskGroup() as group:
        start = client.now()

        async def one(number: int, arrival: Arrival) -> None:
            messages = questions.messages(arrival, str(number))
            result = await client.send(arrival, str(number), start + arrival.at, messages)
            line = asdict(result) | {"right": questions.right(messages[-1]["content"], result.ending)}
            print(json.dumps(line), file=report, flush=True)

        for number, arrival in enumerate(arrivals):
            await asyncio.sleep(max(0.0, start + arrival.at - client.now()))
            group.create_task(one(number, arrival))


def main(path: Path) -> None:
    """Carry the orders in a file out."""
    orders = json.loads(path.read_text())
    with Path(orders["report"]).open("a") as report:
        asyncio.run(drive(orders, report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
