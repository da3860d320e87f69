"""The ways to choose a replica that are compared: round robin, fewest requests, ours, and oracles that know all caches.

Ours is the code that the router runs (`tierwise.routing`), with what the router does around it: an index per router, the
requests of this router counted at the pick, loads asked for each second, the index corrected by `cached_tokens`.

Two oracles, because there is no single best: one takes the longest cached prefix, the other the soonest first token.
Both see the caches and queues of all engines as they are at that moment, which no router can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from tierwise.routing.prefix import PrefixIndex
from tierwise.routing.replica import Pick, Replica, open_replicas, pick
from tierwise_sim.engine import Engine
from tierwise_sim.sequence import Sequence as Running
from tools.bench_prefix.workload import Asked


class Contender(Protocol):
    """Chooses. `begin` is told of each request, and gives what `end` gets; None when none may be given it now."""

    def begin(self, asked: Asked, now: float) -> tuple[int, object] | None:
        """The place of the engine that gets the request."""

    def end(self, mark: object, engine: int, running: Running, now: float) -> None:
        """The request is answered."""

    def scrape(self) -> None:
        """A second has passed."""


class RoundRobin:
    """One after the other."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._count, self._turn = len(engines), -1

    def begin(self, asked: Asked, now: float) -> tuple[int, object]:
        self._turn = (self._turn + 1) % self._count
        return self._turn, None

    def end(self, mark: object, engine: int, running: Running, now: float) -> None:
        pass

    def scrape(self) -> None:
        pass


class LeastRequest(RoundRobin):
    """The replica with the fewest open requests, in turn among equals."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        super().__init__(engines)
        self._open = [0] * len(engines)

    def begin(self, asked: Asked, now: float) -> tuple[int, object]:
        self._turn += 1
        places = [(self._turn + step) % self._count for step in range(self._count)]
        chosen = min(places, key=self._open.__getitem__)
        self._open[chosen] += 1
        return chosen, None

    def end(self, mark: object, engine: int, running: Running, now: float) -> None:
        self._open[engine] -= 1


@dataclass(eq=False)
class _Router:
    replicas: list[Replica]
    index: PrefixIndex = field(default_factory=PrefixIndex)
    turn: int = 0


class Ours:
    """So many routers that do not talk; which of them gets a request is chance."""

    def __init__(self, engines: Sequence[Engine], routers: int = 1, concurrency: int | None = None) -> None:
        self._engines = engines
        self._concurrency = concurrency or 2 * engines[0].settings.max_num_seqs  # what the operator asks for
        keys = [f"replica-{place}" for place in range(len(engines))]
        self._places = {key: place for place, key in enumerate(keys)}
        self._routers = [_Router([Replica(key, "") for key in keys]) for _ in range(routers)]
        self._chance = Random(routers)  # noqa: S311 - which router gets a request, no secret
        self.reasons: dict[str, int] = {}
        for router in self._routers:
            for key, engine in zip(keys, engines, strict=True):
                router.index.resize(key, engine.settings.kv_tokens)

    def begin(self, asked: Asked, now: float) -> tuple[int, object] | None:
        router = self._chance.choice(self._routers)
        router.turn += 1
        candidates = open_replicas(router.replicas, self._concurrency, now)
        found = pick(candidates, router.index, asked.blocks, self._concurrency, router.turn)
        if found is None:
            return None
        router.index.add(found.replica.key, asked.blocks)
        self.reasons[found.reason] = self.reasons.get(found.reason, 0) + 1
        return self._places[found.replica.key], (router, found, found.replica.begin(now))

    def end(self, mark: object, engine: int, running: Running, now: float) -> None:
        router: _Router
        found: Pick
        router, found, share = mark  # type: ignore[misc]
        found.replica.end(now, share)
        found.replica.breaker.succeeded()
        found.replica.first_token_after((running.first_token_at or now) - running.arrival)
        router.index.correct(found.replica.key, found.matched, running.cached_tokens)

    def scrape(self) -> None:
        for engine, key in zip(self._engines, self._places, strict=True):
            for router in self._routers:
                replica = router.replicas[self._places[key]]
                replica.waiting, replica.kv_usage = len(engine.waiting), engine.kv_usage


class LongestPrefix(RoundRobin):
    """An oracle: the replica that has most of the prompt, among equals the one with the fewest open requests."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        super().__init__(engines)
        self._engines = engines

    def begin(self, asked: Asked, now: float) -> tuple[int, object]:
        return max(range(self._count), key=lambda place: self._worth(place, asked)), None

    def _worth(self, place: int, asked: Asked) -> tuple[float, float]:
        engine = self._engines[place]
        return cached(engine, asked), -engine.unfinished


class SoonestFirstToken(LongestPrefix):
    """An oracle: the replica that has least to compute before the first token, what waits there included."""

    def _worth(self, place: int, asked: Asked) -> tuple[float, float]:
        engine = self._engines[place]
        waiting = sum(one.tokens - one.computed for one in engine.running if not one.decoding)
        waiting += sum(one.tokens - cached_tokens(engine, one) for one in engine.waiting)
        size = engine.settings.block_size
        return -(waiting + asked.request.prompt_tokens - size * cached(engine, asked)), -engine.unfinished


def cached(engine: Engine, asked: Asked) -> int:
    """Blocks of its beginning that the engine has now."""
    hashes = asked.request.block_hashes
    return engine.pool.match(hashes, (asked.request.prompt_tokens - 1) // engine.settings.block_size)[0]


def cached_tokens(engine: Engine, running: Running) -> int:
    """Tokens of a waiting request that the engine has now."""
    size = engine.settings.block_size
    return size * engine.pool.match(running.request.block_hashes, (running.tokens - 1) // size)[0]
