"""Sends the demo's requests from one process inside the playground, as a client in the cluster.

    python -m playground.demo.drive ORDERS.json

The orders name the route's address, the model that each tier's requests ask for, and every request; each result is
appended to the report as one JSON line as soon as it is there, so that the screen can follow.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from playground.demo.account import Answer
from tierwise_sim.load import LoadClient, Result, open_loop
from tierwise_sim.workloads import Arrival


def write_orders(
    path: Path, report: Path, urls: Mapping[str, tuple[str, str]], load: Mapping[str, Sequence[Arrival]]
) -> None:
    """Write the orders: per tier its URL, the model's name there, and its requests."""
    orders = {
        "report": str(report),
        "tiers": [
            {"tier": tier, "url": url, "model": model, "arrivals": [asdict(arrival) for arrival in load[tier]]}
            for tier, (url, model) in sorted(urls.items())
        ],
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
        tier=line["answered_by"] or line["tier"],
        ok=line["outcome"] == "ok",
        prompt_tokens=line["prompt_tokens"],
        completion_tokens=line["output_tokens"],
        ttft=line["ttft"] if line["ttft"] is not None else float("nan"),
        total=line["seconds"],
        lag=line["lag"],
        outcome=line["outcome"],
        why=line["why"],
    )


async def _tier(order: Mapping[str, Any], report: TextIO) -> None:
    arrivals = [Arrival(**{**arrival, "prefix": tuple(arrival["prefix"])}) for arrival in order["arrivals"]]

    def done(result: Result) -> None:
        print(json.dumps({"tier": order["tier"], **asdict(result)}), file=report, flush=True)

    async with LoadClient(order["url"], order["model"]) as client:
        await open_loop(client, arrivals, done, seed=order["tier"])


async def drive(orders: Mapping[str, Any], report: TextIO) -> None:
    """Send everything, to all tiers side by side; returns when the last answer is there."""
    async with asyncio.TaskGroup() as group:
        for order in orders["tiers"]:
            group.create_task(_tier(order, report))


def main(path: Path) -> None:
    """Carry the orders in a file out."""
    orders = json.loads(path.read_text())
    with Path(orders["report"]).open("a") as report:
        asyncio.run(drive(orders, report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
