"""Checks that four routers that never talk find cached prompts nearly as often as one that sees everything.

A small simulation: conversations arrive, each with an instruction of its application before it; every request goes to
a router by chance, which picks a replica by what it has seen itself. Engines keep blocks, least recently used first
out. Same seed, same run.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest

from tierwise.routing.prefix import BLOCK_TOKENS, PrefixIndex, block_hashes
from tierwise.routing.replica import Mark, Pick, Replica, open_replicas, pick, work
from tierwise.routing.route import RouteTier

REPLICAS = 4
CONCURRENCY = 256
PREFILL_TOKENS_PER_SECOND = 8000
SECONDS_PER_TOKEN = 0.02
BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Turn:
    user: bytes
    answer: bytes
    thinking_seconds: float


@dataclass(frozen=True)
class Conversation:
    at: float
    instruction: bytes
    turns: list[Turn]


@dataclass(frozen=True)
class Shape:
    """Of the conversations: sizes are bytes, from and to."""

    instructions: int
    instruction: tuple[int, int]
    turns: tuple[int, int] = (3, 9)
    count: int = 300
    per_second: float = 1.0
    user: tuple[int, int] = (200, 1200)
    answer: tuple[int, int] = (400, 2000)

    def conversations(self) -> list[Conversation]:
        chance = Random(7)
        instructions = [chance.randbytes(chance.randint(*self.instruction)) for _ in range(self.instructions)]
        made, at = [], 0.0
        for _ in range(self.count):
            at += chance.expovariate(self.per_second)
            turns = [
                Turn(
                    chance.randbytes(chance.randint(*self.user)),
                    chance.randbytes(chance.randint(*self.answer)),
                    chance.uniform(2, 20),
                )
                for _ in range(chance.randint(*self.turns))
            ]
            made.append(Conversation(at, chance.choice(instructions), turns))
        return made


class Engine:
    """The cache of one replica, and how many requests run on it."""

    def __init__(self, capacity: int) -> None:
        self.running = 0
        self._capacity = capacity
        self._cache: dict[int, None] = {}

    def prefill(self, blocks: tuple[int, ...]) -> int:
        """How many blocks were cached; all are afterwards."""
        cached = next((place for place, block in enumerate(blocks) if block not in self._cache), len(blocks))
        for block in reversed(blocks):
            self._cache.pop(block, None)
            self._cache[block] = None
        while len(self._cache) > self._capacity:
            del self._cache[next(iter(self._cache))]
        return cached


@dataclass
class Router:
    replicas: list[Replica]
    routers: int
    index: PrefixIndex = field(default_factory=PrefixIndex)
    turn: int = 0
    begun: list[tuple[float, int, Replica, Mark]] = field(default_factory=list)

    def see(self, now: float) -> None:
        while self.begun and self.begun[0][0] <= now:
            _, _, replica, mark = heapq.heappop(self.begun)
            replica.computed(mark)

    def pick(self, now: float, blocks: tuple[int, ...]) -> Pick:
        self.turn += 1
        candidates = open_replicas(self.replicas, RouteTier("chat", "chat", concurrency=CONCURRENCY), now)
        found = pick(candidates, self.index, blocks, CONCURRENCY, self.turn, self.routers)
        assert found is not None
        self.index.add(found.replica.key, blocks)
        return found

    def begin(self, now: float, picked: Pick, blocks: tuple[int, ...], first_token_at: float) -> Mark:
        mark = picked.replica.begin(now, work(picked, blocks))
        heapq.heappush(self.begun, (first_token_at, self.turn, picked.replica, mark))
        return mark


@dataclass
class Outcome:
    blocks: int = 0
    cached: int = 0
    crowding: list[float] = field(default_factory=list)
    picks: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def hit_rate(self) -> float:
        return self.cached / self.blocks

    @property
    def imbalance(self) -> float:
        """Requests on the fullest replica over the mean of all, on average: 1 is even, `REPLICAS` is all on one."""
        return sum(self.crowding) / len(self.crowding)


def keys() -> list[str]:
    return [str(number) for number in range(REPLICAS)]


def simulate(shape: Shape, routers: int, *, shared_loads: bool = True, capacity: int = 4096) -> Outcome:
    """With `shared_loads` every router sees all requests in flight, otherwise only its own."""
    engines = {key: Engine(capacity) for key in keys()}
    seen_by_all = [Replica(key, "") for key in keys()]
    among = [
        Router(seen_by_all if shared_loads else [Replica(key, "") for key in keys()], routers) for _ in range(routers)
    ]
    for router in among:
        for key in keys():
            router.index.resize(key, capacity * BLOCK_TOKENS)
    conversations, chance, outcome = shape.conversations(), Random(1), Outcome()
    asked = [(one.at, number, 0, one.instruction) for number, one in enumerate(conversations)]
    ended: list[tuple[float, int, int, bytes, Router, Pick, Mark, int]] = []
    heapq.heapify(asked)
    while asked or ended:
        if ended and (not asked or ended[0][0] <= asked[0][0]):
            now, number, place, prompt, router, picked, mark, cached = heapq.heappop(ended)
            engines[picked.replica.key].running -= 1
            picked.replica.end(now, mark)
            picked.replica.breaker.succeeded()
            router.index.correct(picked.replica.key, picked.matched, cached * BLOCK_TOKENS)
            turns = conversations[number].turns
            if place + 1 < len(turns):
                again = now + turns[place].thinking_seconds
                heapq.heappush(asked, (again, number, place + 1, prompt + turns[place].answer))
            continue
        now, number, place, before = heapq.heappop(asked)
        turn = conversations[number].turns[place]
        prompt = before + turn.user
        blocks = block_hashes(prompt)
        for router in among:
            router.see(now)
        router = chance.choice(among)
        picked = router.pick(now, blocks)
        engine = engines[picked.replica.key]
        engine.running += 1
        cached = engine.prefill(blocks)
        outcome.blocks += len(blocks)
        outcome.cached += cached
        outcome.picks[picked.replica.key, picked.reason] += 1
        running = [one.running for one in engines.values()]
        outcome.crowding.append(max(running) * REPLICAS / sum(running))
        prefill = (len(blocks) - cached) * BLOCK_TOKENS / PREFILL_TOKENS_PER_SECOND
        until = now + prefill + len(turn.answer) / BYTES_PER_TOKEN * SECONDS_PER_TOKEN
        mark = router.begin(now, picked, blocks, now + prefill)
        heapq.heappush(ended, (until, number, place, prompt, router, picked, mark, cached))
    return outcome


SHAPES = {
    "one long instruction": Shape(1, (8000, 8200)),
    "one short instruction": Shape(1, (300, 300)),
    "no instruction": Shape(1, (0, 0)),
    "twenty instructions": Shape(20, (2000, 16_000)),
    "five instructions and much to do": Shape(5, (4000, 12_000), turns=(1, 8), count=500, per_second=4.0),
    "agents": Shape(1, (3000, 3000), turns=(8, 20), count=120, user=(500, 3000), answer=(200, 800)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_four_routers_find_what_is_cached_nearly_as_often_as_one(name: str) -> None:
    alone, four = simulate(SHAPES[name], 1), simulate(SHAPES[name], 4)
    assert alone.hit_rate > 0.65
    assert four.hit_rate > 0.95 * alone.hit_rate
    assert four.imbalance < 2.0


def test_they_do_though_each_counts_only_its_own_requests() -> None:
    shape = SHAPES["one long instruction"]
    alone, four = simulate(shape, 1), simulate(shape, 4, shared_loads=False)
    assert four.hit_rate > 0.95 * alone.hit_rate
    assert four.imbalance < 2.0


def test_one_instruction_before_all_conversations_does_not_bring_them_all_to_one_replica() -> None:
    """Each has a fair part of the requests, and a cache that holds a quarter of the conversations is enough."""
    outcome = simulate(SHAPES["one long instruction"], 4, capacity=1024)
    parts = Counter[str]()
    for (key, _), count in outcome.picks.items():
        parts[key] += count
    assert all(0.12 < parts[key] / parts.total() < 0.38 for key in keys())
    assert outcome.hit_rate > 0.8


def test_the_same_requests_are_picked_for_in_the_same_way() -> None:
    shape = Shape(2, (3000, 3000), count=40)
    assert simulate(shape, 4) == simulate(shape, 4)
