"""Makes the requests of the prefix benchmark: when each comes, what an engine sees of it, and what a router does.

Two workloads. The Mooncake conversation trace names the 512-token blocks of every prompt; a block becomes 2 KiB of
text that only its name decides, so that the router hashes real bytes. And conversations that are made here, with
instructions that many of them share: no rule may be good for the trace alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from random import Random

from tierwise.routing.prefix import block_hashes
from tierwise_sim.sequence import Request
from tierwise_sim.workloads import PREFIX_BLOCK_TOKENS, Arrival

BYTES_PER_TOKEN = 4
TURNS = 7  # of a generated conversation, on average
_SEED = 20261129


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: seconds since the start, what the engine is given, and the hashes that a router makes of it."""

    at: float
    request: Request
    blocks: tuple[int, ...]


def prepare(arrivals: Sequence[Arrival], bytes_per_token: int = BYTES_PER_TOKEN) -> list[Asked]:
    """The requests of a trace. A block that a prompt does not fill is in no cache."""

    @lru_cache(maxsize=4096)
    def text(block: int) -> bytes:
        return Random(block).randbytes(PREFIX_BLOCK_TOKENS * bytes_per_token)  # noqa: S311 - a repeatable text, no secret

    made = []
    for number, arrival in enumerate(arrivals):
        full = arrival.prefix[: arrival.prompt_tokens // PREFIX_BLOCK_TOKENS]
        prompt = b"".join(map(text, arrival.prefix))[: arrival.prompt_tokens * bytes_per_token]
        request = Request(str(number), arrival.prompt_tokens, arrival.output_tokens, block_hashes=full)
        made.append(Asked(arrival.at, request, block_hashes(prompt)))
    return made


def at_rate(asked: Sequence[Asked], per_second: float) -> list[Asked]:
    """The same requests in the same order, so many a second on average."""
    factor = len(asked) / per_second / (asked[-1].at - asked[0].at)
    return [replace(each, at=(each.at - asked[0].at) * factor) for each in asked]


def spread(arrivals: Sequence[Arrival]) -> list[Arrival]:
    """The trace tells times in steps of three seconds: each request gets a moment of its own in its step."""
    chance = Random(_SEED)  # noqa: S311 - a repeatable workload, no secret
    steps = [(at, list(together)) for at, together in groupby(arrivals, key=lambda each: each.at)]
    ends = [at for at, _ in steps[1:]] + [steps[-1][0] + 3.0]
    made = []
    for (at, together), end in zip(steps, ends, strict=True):
        moments = sorted(chance.uniform(at, min(end, at + 3.0)) for _ in together)
        made += [replace(each, at=moment) for each, moment in zip(together, moments, strict=True)]
    return made


def conversations(count: int, per_second: float, instructions: int = 12) -> list[Arrival]:
    """Generated: `count` conversations of 2 to 12 turns, each after one of a few instructions of 1,000 to 6,000 tokens,
    some of which are much more popular than others. About `per_second` requests a second: more at once, not faster
    ones. The next turn comes 4 to 16 s after the last."""
    chance = Random(_SEED + 1)  # noqa: S311 - a repeatable workload, no secret
    names = iter(range(1 << 40))
    shared = [tuple(_take(names, chance.randint(2, 12))) for _ in range(instructions)]
    popular = [1 / (rank + 1) for rank in range(instructions)]
    due: list[tuple[float, int, int, tuple[int, ...], int]] = []
    at = 0.0
    for number in range(count):
        at += chance.expovariate(per_second / TURNS)
        (instruction,) = chance.choices(shared, popular)
        heapq.heappush(
            due, (at, number, chance.randint(2, 2 * TURNS - 2), instruction, len(instruction) * PREFIX_BLOCK_TOKENS)
        )
    made = []
    while due:
        at, number, left, prefix, tokens = heapq.heappop(due)
        tokens += chance.randint(50, 1500)
        prefix += tuple(_take(names, -(-tokens // PREFIX_BLOCK_TOKENS) - len(prefix)))
        answer = chance.randint(50, 800)
        made.append(Arrival(at, tokens, answer, prefix))
        if left > 1:
            # The answer continues the last block, so that a block not yet full gets another name.
            full = prefix[: tokens // PREFIX_BLOCK_TOKENS]
            heapq.heappush(due, (at + chance.uniform(4, 16), number, left - 1, full, tokens + answer))
    return made


def _take(names: Iterator[int], count: int) -> Iterator[int]:
    return (next(names) for _ in range(count))
