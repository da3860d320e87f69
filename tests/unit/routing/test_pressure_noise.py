"""Checks that pressure follows the load and not its noise: few requests a second, each of them a large part of it.

A tier of six places that completes nine requests a second, as in tests/faults/test_router_pressure.py, asked at Poisson
times; a second of virtual time is a look. There one busy second is worth several points of the share.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import mean, median

import pytest

from tierwise.routing.pressure import (
    DELAY_SECONDS,
    MOST_LOOKS,
    Bounds,
    Capacity,
    Load,
    Rate,
    next_limit,
)

CAPACITY, PLACES, WANTED = 8.7, 6, 50.0
FULLNESS = 0.9
CALM, DOUBLED, BACK = 40, 100, 150
RUNS = 12
NEAR, SETTLED, SWING = 3.5, 35, 7.0
DELAYS = [(2, DELAY_SECONDS), (10, 10), (20, 20), (30, 30)]
"""Seconds until a queue is seen, and what the law is told of that."""


@dataclass
class Tier:
    """Places that take equally long for each request; who finds none free waits."""

    now: float = 0.0

    def __post_init__(self) -> None:
        self.ends: list[float] = []
        self.queue = self.done = 0

    def until(self, at: float) -> None:
        """Everything that ends before."""
        while self.ends and self.ends[0] <= at:
            end = heapq.heappop(self.ends)
            self.done += 1
            if self.queue:
                self.queue -= 1
                heapq.heappush(self.ends, end + PLACES / CAPACITY)

    def ask(self, at: float) -> None:
        self.until(at)
        if len(self.ends) < PLACES:
            heapq.heappush(self.ends, at + PLACES / CAPACITY)
        else:
            self.queue += 1


def shares(rates: list[float], delay: int, told: float, seed: int) -> list[float]:
    """The share of each second."""
    chance, tier = random.Random(seed), Tier()
    rate, capacity = Rate(), Capacity()
    late = deque([0] * delay, maxlen=delay)
    limit: float | None = None
    found = []
    for second, expected in enumerate(rates):
        share = WANTED if limit is None else limit
        came, done, at = 0, tier.done, second + chance.expovariate(expected)
        while at < second + 1:
            came += 1
            if chance.random() < share / 100:
                tier.ask(at)
            at += chance.expovariate(expected)
        tier.until(second + 1)
        rate.add(came, 1)
        capacity.look(tier.done - done, 1, tier.queue, 1)
        seen = late[0]
        late.append(tier.queue)
        load = None
        if tier.queue > 0 or limit is not None:
            load = Load(rate.per_second, seen, told, capacity.per_second(1), error=rate.error)
        limit = next_limit(limit, WANTED, load, Bounds(5, 100), 1)
        found.append(share)
    return found


@cache
def doubled_and_halved(delay: int, told: float) -> list[list[float]]:
    """Of so many runs: the load is nearly all of the capacity, then twice that, then as before."""
    rate = FULLNESS * CAPACITY / (WANTED / 100)
    rates = [rate] * CALM + [2 * rate] * DOUBLED + [rate] * BACK
    return [shares(rates, delay, told, seed) for seed in range(RUNS)]


def ninth(values: Sequence[float]) -> float:
    """What nine of ten are not above."""
    return sorted(values)[len(values) * 9 // 10 - 1]


@pytest.mark.parametrize(("delay", "told"), DELAYS)
def test_near_its_cap_the_tier_gets_its_share_back(delay: int, told: float) -> None:
    ends = [run[-1] for run in doubled_and_halved(delay, told)]
    assert median(ends) == pytest.approx(WANTED, abs=0.5), ends
    assert ninth([WANTED - end for end in ends]) <= NEAR, ends


@pytest.mark.parametrize(("delay", "told"), DELAYS)
def test_the_doubled_load_is_followed_and_its_noise_is_not(delay: int, told: float) -> None:
    settled, swings, ends = [], [], []
    for run in doubled_and_halved(delay, told):
        doubled = run[CALM : CALM + DOUBLED]
        ends.append(mean(doubled[-40:]))
        settled.append(max((at + 1 for at, share in enumerate(doubled) if abs(share - ends[-1]) > NEAR), default=0))
        swings.append(max(doubled[SETTLED:]) - min(doubled[SETTLED:]))
    assert median(settled) <= SETTLED / 2, settled
    assert ninth(settled) <= SETTLED, settled
    assert ninth(swings) <= SWING, swings
    assert mean(ends) == pytest.approx(0.95 * WANTED / (2 * FULLNESS), abs=1), "all it can"


def counted(rates: list[float], seed: int, at_once: int = 1) -> list[float]:
    """What a Rate says after each second."""
    chance, rate, found = random.Random(seed), Rate(), []
    for expected in rates:
        came, at = 0, chance.expovariate(expected / at_once)
        while at < 1:
            came, at = came + at_once, at + chance.expovariate(expected / at_once)
        rate.add(came, 1)
        found.append(rate.per_second)
    return found


@pytest.mark.parametrize("expected", [3.0, 15.0, 100.0])
@pytest.mark.parametrize("at_once", [1, 4])
def test_a_steady_rate_is_known_as_well_as_a_minute_tells(expected: float, at_once: int) -> None:
    last = [counted([expected] * 100, seed, at_once)[-1] for seed in range(25)]
    error = math.sqrt(mean((one - expected) ** 2 for one in last)) / expected
    assert error <= 1.4 * math.sqrt(at_once / (expected * MOST_LOOKS))


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_rate_that_doubles_or_halves_is_seen_within_seconds(factor: float) -> None:
    for seed in range(20):
        said = counted([15.0] * 100 + [15.0 * factor] * 20, seed)
        assert said[-1] == pytest.approx(15 * factor, rel=0.3), seed


def test_the_error_is_the_spread_that_rates_have() -> None:
    rates = []
    for seed in range(120):
        rate = Rate()
        chance = random.Random(seed)
        for _ in range(60):
            rate.add(2 * sum(chance.random() < 0.1 for _ in range(50)), 1)
        rates.append(rate)
    spread = math.sqrt(mean((rate.per_second - 10) ** 2 for rate in rates)) / 10
    assert mean(rate.error for rate in rates) == pytest.approx(spread, rel=0.2)
