"""The load of a full tier doubles and halves again: a real router moves the share, at the predicted cost in quality.

Two simulated engines that know arithmetic, a router as a process with a classifier that was trained on such questions,
and clients that ask at Poisson times without waiting for answers. Nothing is scaled: seconds are seconds. How much the
large engine completes is measured first, since it depends on the machine, and the load follows from that: before, the
tier is just full. How many wait the router reads from the engine once a second; longer delays than that are tried in
virtual time only (tests/unit/routing/test_pressure.py).
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from tests.unit.router.router_process import RouterProcess, router
from tests.unit.simulator.processes import Vllm, vllm
from tests.unit.training.label_stage import question
from tierwise.routing.classifier import Classifier, Header
from tierwise_sim.arithmetic import asked, value
from tierwise_training.labels import Label, TierAnswer
from tierwise_training.training import Wanted, train

LABELS, SKILL, LUCK = 400, 2, 0.1
SEQUENCES, START_SECONDS = 6, 120.0
CALM, DOUBLED, BACK = 40, 100, 150
SETTLED_WITHIN, SWING, RISE_PER_SECOND = 35, 7.0, 0.2
AT_THE_CAP = 0.9
"""Of the capacity, before: as full as it may be without a queue that grows."""


def known(count: int) -> list[Label]:
    """Labels as the engines will answer: the small one up to two operators, and beyond by luck."""
    chance = Random(5)
    found = []
    for number in range(count):
        operators = chance.randint(1, 4)
        found.append(
            Label(
                id=str(number),
                prompt_hash=f"{number:064x}",
                prompt=question(chance, operators),
                small=TierAnswer(right=operators <= SKILL or chance.random() < LUCK),
                reference=TierAnswer(right=True),
                from_tier="small",
                reference_tier="large",
                route="chat",
            )
        )
    return found


@dataclass
class Clients:
    """They ask `rate` questions a second, at random times. `answers`: when each was asked, and whether it was answered
    rightly."""

    url: str
    rate: float
    model: str = "chat"
    chance: Random = field(default_factory=lambda: Random(1))
    answers: list[tuple[float, bool]] = field(default_factory=list)
    failed: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        open_: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        async with ClientSession(connector=TCPConnector(limit=0), timeout=ClientTimeout(120)) as session:
            while not stop.is_set():
                due += self.chance.expovariate(self.rate)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                task = asyncio.create_task(self._one(session, question(self.chance, self.chance.randint(1, 4))))
                open_.add(task)
                task.add_done_callback(open_.discard)
            for task in open_:
                task.cancel()
            await asyncio.gather(*open_, return_exceptions=True)

    async def _one(self, session: ClientSession, prompt: str) -> None:
        begun = time.monotonic()
        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}]}
        try:
            async with session.post(f"{self.url}/v1/chat/completions", json=body) as answer:
                said = await answer.json()
                text = said["choices"][0]["message"]["content"]
        except (ClientError, KeyError, TimeoutError):
            self.failed += 1
            return
        expression = asked(prompt)
        assert expression is not None
        self.answers.append((begun, str(text).endswith(f"#### {value(expression)}")))

    def quality(self, begin: float, end: float) -> tuple[float, int]:
        """Percent of right answers of what was asked in between, and their number."""
        found = [right for at, right in self.answers if begin <= at < end]
        return 100 * sum(found) / len(found), len(found)


@dataclass(frozen=True)
class Stage:
    """The parts, before there is a router."""

    folder: Path
    small: Vllm
    large: Vllm
    header: Header

    @property
    def route(self) -> dict[str, Any]:
        """Of both engines."""
        tiers = [("small", self.small.url), ("large", self.large.url)]
        return {
            "name": "chat",
            "modelNames": ["chat"],
            "referenceTier": "large",
            "tiers": [{"name": name, "model": "chat", "servers": [url]} for name, url in tiers],
            "policy": {"type": "Classifier", "classifier": {"file": "classifier.bin", "qualityPercent": 95}},
            "pressure": {"minSharePercent": 5, "maxSharePercent": 100},
        }


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = train(known(LABELS), Wanted(created_at="2026-11-29T20:00:00Z")).classifier
    (tmp_path / "classifier.bin").write_bytes(made.write())
    with ExitStack() as stack:
        fast = {"SPEED": "2000", "TICK_SECONDS": "0.01", "ANSWERS_SKILL": str(SKILL), "ANSWERS_LUCK": str(LUCK)}
        slow = {"SPEED": "1", "TICK_SECONDS": "0.1", "ANSWERS_SKILL": "4"}
        small = stack.enter_context(vllm("--max-num-seqs=64", wait_seconds=START_SECONDS, OUTPUT_TOKENS="12", **fast))
        large = stack.enter_context(
            vllm(f"--max-num-seqs={SEQUENCES}", wait_seconds=START_SECONDS, OUTPUT_TOKENS="12", **slow)
        )
        header = Classifier.read(made.write()).header
        assert 0 < header.large_share_percent < 100, header
        yield Stage(tmp_path, small, large, header)


async def capacity_of(url: str, seconds: float = 10) -> float:
    """Requests per second that an engine completes while some wait."""
    stop = asyncio.Event()
    clients = Clients(url, rate=60.0)
    running = asyncio.create_task(clients.run(stop))
    await asyncio.sleep(4)
    before = len(clients.answers)
    await asyncio.sleep(seconds)
    found = (len(clients.answers) - before) / seconds
    stop.set()
    await running
    return found


@dataclass
class Seen:
    """The share, and the predicted quality (and its lower bound), of each second."""

    at: list[float] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    predicted: list[tuple[float, float]] = field(default_factory=list)

    async def follow(self, process: RouterProcess) -> None:
        while True:
            page = await asyncio.to_thread(process.metrics)
            self.at.append(time.monotonic())
            self.share.append(page['tierwise_router_reference_share_percent{part="applied"}'])
            quality = "tierwise_router_predicted_quality_percent"
            self.predicted.append((page[f'{quality}{{part="expected"}}'], page[f'{quality}{{part="lower"}}']))
            await asyncio.sleep(1)

    def between(self, begin: float, end: float) -> list[int]:
        return [place for place, at in enumerate(self.at) if begin <= at < end]

    def shares(self, begin: float, end: float) -> list[float]:
        return [self.share[place] for place in self.between(begin, end)]

    def prediction(self, begin: float, end: float) -> tuple[float, float]:
        """The mean of what was predicted, and the standard error that its lower bound (90 %) tells."""
        found = [self.predicted[place] for place in self.between(begin, end)]
        expected = sum(one for one, _ in found) / len(found)
        return expected, sum(one - lower for one, lower in found) / len(found) / 1.2816


def settled_after(seen: Seen, begin: float, end: float) -> float:
    """Seconds from which on the share stays within half the swing of its mean of the last 40 seconds."""
    last = seen.shares(end - 40, end)
    final = sum(last) / len(last)
    out = [seen.at[place] for place in seen.between(begin, end) if abs(seen.share[place] - final) > SWING / 2]
    return out[-1] + 1 - begin if out else 0.0


async def test_a_doubled_load_at_the_cap_settles_costs_what_was_predicted_and_comes_back(stage: Stage) -> None:
    capacity = await capacity_of(stage.large.url)
    needed = stage.header.large_share_percent
    rate = AT_THE_CAP * capacity / (needed / 100)
    with router(stage.route, stage.folder, wait_seconds=START_SECONDS) as process:
        clients, seen, stop = Clients(process.url, rate), Seen(), asyncio.Event()
        asking, looking = asyncio.create_task(clients.run(stop)), asyncio.create_task(seen.follow(process))
        begun = time.monotonic()
        await asyncio.sleep(CALM)
        doubled, clients.rate = time.monotonic(), 2 * rate
        await asyncio.sleep(DOUBLED)
        halved, clients.rate = time.monotonic(), rate
        await asyncio.sleep(BACK)
        ended = time.monotonic()
        stop.set()
        await asking
        looking.cancel()
        await asyncio.wait({looking})
    after = settled_after(seen, doubled, halved)
    steady = doubled + max(after, SETTLED_WITHIN), halved
    shares = seen.shares(*steady)
    swing = max(shares) - min(shares)
    figures = {
        "capacity": round(capacity, 2),
        "rate": round(rate, 2),
        "needed": needed,
        "settled": round(after, 1),
        "swing": round(swing, 2),
        "pressed": round(sum(shares) / len(shares), 2),
        "failed": clients.failed,
        "calm": [clients.quality(begun, doubled), seen.prediction(begun, doubled)],
        "full": [clients.quality(*steady), seen.prediction(*steady)],
        "last": seen.share[-1],
    }
    print(json.dumps(figures))
    assert max(seen.shares(begun + 20, doubled)) > 0.8 * needed, "hardly any pressure before"
    assert after <= SETTLED_WITHIN
    assert swing <= SWING
    assert sum(shares) / len(shares) == pytest.approx(100 * 0.95 * capacity / (2 * rate), abs=SWING)
    assert clients.failed == 0
    for begin, end in ((begun, doubled), steady):
        (measured, count), (expected, error) = clients.quality(begin, end), seen.prediction(begin, end)
        chance = 100 * math.sqrt(measured / 100 * (1 - measured / 100) / count)
        assert abs(measured - expected) <= 2.58 * math.hypot(chance, error), figures
    assert seen.prediction(*steady)[0] < seen.prediction(begun, doubled)[0] - 5, "it costs quality, and is said to"
    back = [(seen.at[place], seen.share[place]) for place in seen.between(halved, ended)]
    for (one, before), (other, share) in pairwise(back):
        assert share - before <= RISE_PER_SECOND * (other - one + 2.5)
    assert seen.share[-1] >= needed - SWING / 2, "it comes back"
