"""Checks that a cascade through the real router earns what the signal of its log-probabilities can earn, and no more.

Two simulated engines are right about shares of the prompts that are known; the log-probabilities of the small one tell
of that with a known AUC. The quality and the share of the large tier that are measured at the client must be the closed
form of a normal signal. Prompts are drawn until each stratum of (small right, large right, signal) has its share: what
is left is the router's doing and not the luck of the draw.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, pairwise
from math import exp, expm1, log, sqrt
from random import Random
from statistics import NormalDist

import pytest
from aiohttp import web

from tests.unit.router.running_router import Router, chat, post, route, running
from tierwise.routing.route import Cascade, RouteTier
from tierwise_sim import flags
from tierwise_sim.confidence import Confidence
from tierwise_sim.config import SimConfig, build_settings
from tierwise_sim.driver import Driver
from tierwise_sim.engine import Engine
from tierwise_sim.exposition import MetricsPage
from tierwise_sim.http_app import HttpApp
from tierwise_sim.openai_api import Answering
from tierwise_sim.tokens import chat_tokens

NORMAL = NormalDist()
SMALL, LARGE = "Qwen/Qwen3-0.6B", "Qwen/Qwen3-8B-FP8"
RIGHT = {SMALL: 60.0, LARGE: 85.0}
PROMPTS = 240
SIGNALS = (-1.2, -0.5, 0.1, 0.8, 1.6)
"""Thresholds, as signals: of a wrong answer these are standard deviations from its mean."""
HELD = 8
TOLERANCE = 0.02


@dataclass(frozen=True)
class Prompt:
    text: str
    small: bool
    large: bool
    mean: float


def prompts(small: Confidence, large: Confidence) -> list[Prompt]:
    """A stratified sample."""
    found: dict[tuple[bool, bool, int], Prompt] = {}
    shares = {
        (one, two): round(PROMPTS * _share(RIGHT[SMALL], one) * _share(RIGHT[LARGE], two))
        for one in (True, False)
        for two in (True, False)
    }
    for number in count():
        text = f"question {number}"
        tokens = chat_tokens([{"role": "user", "content": text}])
        one = Prompt(text, small.right(tokens), large.right(tokens), small.mean(tokens))
        place = NORMAL.cdf(_signal(one.mean) - small.distance * one.small)
        strata = shares[one.small, one.large]
        found.setdefault((one.small, one.large, int(place * strata)), one)
        if len(found) == sum(shares.values()):
            return list(found.values())
    raise AssertionError


def _share(percent: float, right: bool) -> float:
    return percent / 100 if right else 1 - percent / 100


def _signal(mean: float) -> float:
    return -log(expm1(-mean))


@dataclass(frozen=True)
class Point:
    """What one threshold brings: the share of the large tier and the share of right answers."""

    share: float
    quality: float


def computed(small: Confidence, signal: float) -> Point:
    """The closed form for one threshold: so many of the small tier's wrong answers and of its right ones are escalated
    as the normal distribution says."""
    p, q = RIGHT[SMALL] / 100, RIGHT[LARGE] / 100
    wrong, right = NORMAL.cdf(signal), NORMAL.cdf(signal - small.distance)
    return Point((1 - p) * wrong + p * right, p + (1 - p) * wrong * q - p * right * (1 - q))


def apgr(points: Sequence[Point]) -> float:
    """The mean share of the gap between the tiers that is closed, over all shares of large calls."""
    p, q = RIGHT[SMALL] / 100, RIGHT[LARGE] / 100
    curve = [Point(0, p), *sorted(points, key=lambda one: one.share), Point(1, q)]
    pairs = pairwise(curve)
    return sum((b.share - a.share) * ((a.quality + b.quality) / 2 - p) / (q - p) for a, b in pairs)


@asynccontextmanager
async def engine(confidence: Confidence) -> AsyncIterator[str]:
    """The simulated engine on a port of its own, a thousand times as fast as the GPU: its URL."""
    config = SimConfig(speed=1000.0)
    options = flags.parse(["serve", confidence.name], config.version)
    settings = build_settings(options, config)
    model = Engine(settings, Random(0), now=asyncio.get_running_loop().time())
    driver = Driver(model, asyncio.get_running_loop().time, 0.001)
    answering = Answering(settings, ("m",), 200, 0, confidence=confidence)
    http = HttpApp(driver, MetricsPage(model, "m", config.version, {}), answering, config.version)
    runner = web.AppRunner(http.application(), access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    pump = asyncio.create_task(driver.run())
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)
        await runner.cleanup()


async def measured(router: Router, asked: Sequence[Prompt]) -> Point:
    """Ask for all of them; which tier has answered says the header."""
    left = iter(enumerate(asked))
    escalated = right = 0

    async def work() -> None:
        nonlocal escalated, right
        async with router.client() as client:
            for number, one in left:
                body = chat(
                    stream=number % 2 == 0,
                    messages=[{"role": "user", "content": one.text}],
                    max_tokens=HELD,
                    ignore_eos=True,
                )
                answer = await client.ask(post(body))
                assert (answer.status, answer.whole) == (200, True)
                assert b'"logprob"' not in answer.body
                large = answer.headers["x-tierwise-tier"] == "large"
                assert answer.headers["x-tierwise-reason"] == ("Escalated" if large else "Cascade")
                escalated += large
                right += one.large if large else one.small

    await asyncio.gather(*(work() for _ in range(4)))
    return Point(escalated / len(asked), right / len(asked))


@pytest.mark.parametrize("auc", [0.75, 0.6])
async def test_the_achieved_curve_is_the_computed_one(auc: float) -> None:
    """1,200 requests for each signal: 240 prompts at five thresholds."""
    small, large = Confidence(SMALL, RIGHT[SMALL], auc), Confidence(LARGE, RIGHT[LARGE])
    asked = prompts(small, large)
    got, expected = [], []
    async with engine(small) as one, engine(large) as two:
        tiers = (RouteTier("small", "m", urls=(one,)), RouteTier("large", "m", urls=(two,)))
        async with running(route(*tiers), seconds=300) as router:
            for signal in SIGNALS:
                threshold = Confidence.mean_of(signal)
                router.state.replace(route(*tiers, cascade=Cascade(HELD, threshold, 100)), {})
                got.append(await measured(router, asked))
                expected.append(computed(small, signal))
    for point, should in zip(got, expected, strict=True):
        assert point.share == pytest.approx(should.share, abs=TOLERANCE)
        assert point.quality == pytest.approx(should.quality, abs=TOLERANCE)
    p, q = RIGHT[SMALL] / 100, RIGHT[LARGE] / 100
    closed = 0.5 + (auc - 0.5) * p * (1 - p) / (q - p)  # P(s|not w) + P(not s|w) = 1, as the two are independent
    assert apgr(expected) == pytest.approx(closed, abs=TOLERANCE), "five thresholds are enough for the area"
    assert apgr(got) == pytest.approx(closed, abs=TOLERANCE)


def test_the_planted_signal_has_the_auc_that_was_asked_for() -> None:
    for auc in (0.5, 0.75):
        small = Confidence(SMALL, 60.0, auc)
        ranked = sorted(prompts(small, Confidence(LARGE, 85.0)), key=lambda one: one.mean)
        wrong = rank = 0
        for one in ranked:
            wrong += not one.small
            rank += wrong if one.small else 0
        right = len(ranked) - wrong
        assert rank / (right * wrong) == pytest.approx(auc, abs=TOLERANCE)
        assert sum(one.small for one in ranked) / PROMPTS == pytest.approx(0.6, abs=0.01)


def test_two_tokens_of_an_answer_have_its_mean_exactly() -> None:
    tokens = chat_tokens([{"role": "user", "content": "a"}])
    small = Confidence(SMALL, 60.0, 0.75)
    values = [value for value, _ in small.logprobs(tokens, 8, 2)]
    mean = small.mean(tokens)
    assert all((a + b) / 2 == pytest.approx(mean) for a, b in zip(values[::2], values[1::2], strict=True))
    assert all(value < 0 for value in values)
    assert len({round(value / mean, 6) for value in values}) == 8, "tokens differ"
    assert sum(exp(other) for other in small.logprobs(tokens, 1, 20)[0][1]) <= 1 - exp(values[0]) + 1e-9
    assert small.distance == pytest.approx(sqrt(2) * 0.6745, abs=1e-3)
