"""The ways to choose a replica that are compared: round robin, fewest requests, ours, and two oracles.

Ours is the code that the router runs (`tierwise.routing`), with what the router does around it: an index per router,
its own requests counted at the pick, loads asked for each second, the index corrected by `cached_tokens`.

Two oracles, because there is no single best: one takes the longest cached prefix and so has the most hits, the other
weighs it against the work ahead as ours does. Both see the caches and queues of all engines as they are at that moment,
which no router can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Protocol

from tierwise.routing.prefix import PrefixIndex
from tierwise.routing.replica import PREFIX_WEIGHT, WORK_WEIGHT, Mark, Pick, Replica, open_replicas, pick, work
from tierwise.routing.route import RouteTier
from tierwise_sim.engine import Engine
from tierwise_sim.sequence import Sequence as Running
from tools.bench_prefix.workload import Asked


@dataclass(frozen=True, slots=True)
class Place:
    """The engine that gets a request, and what the contender wants to be told again of it."""

    engine: int
    mark: object = None


class Contender(Protocol):
    """Chooses, and is told what came of it."""

    def begin(self, asked: Asked, now: float) -> Place | None:
        """Where the request goes; None when no replica may be given it now."""

    def first_token(self, place: Place) -> None:
        """Its first token has come."""

    def end(self, place: Place, running: Running, now: float) -> None:
        """It is answered."""

    def scrape(self) -> None:
        """A second has passed."""


class RoundRobin:
    """One after the other."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines, self._turn = engines, -1

    def begin(self, asked: Asked, now: float) -> Place | None:
        """The next one."""
        self._turn = (self._turn + 1) % len(self._engines)
        return Place(self._turn)

    def first_token(self, place: Place) -> None:
        """Of no interest."""

    def end(self, place: Place, running: Running, now: float) -> None:
        """Of no interest."""

    def scrape(self) -> None:
        """Of no interest."""


class LeastRequest(RoundRobin):
    """The replica with the fewest open requests, all of which it sees; in turn among equals."""

    def begin(self, asked: Asked, now: float) -> Place | None:
        """That one."""
        self._turn += 1
        count = len(self._engines)
        turns = [(self._turn + step) % count for step in range(count)]
        return Place(min(turns, key=lambda place: self._engines[place].unfinished))


class LongestPrefix(RoundRobin):
    """An oracle: the replica that has most of the prompt; of those that have as much but for one block, the one with
    the fewest open requests. (All prompts of the trace share one block: all of them would follow the first.)"""

    def begin(self, asked: Asked, now: float) -> Place | None:
        """That one."""
        found = [_cached(engine, asked) for engine in self._engines]
        near = [place for place, blocks in enumerate(found) if blocks >= max(found) - 1]
        return Place(min(near, key=lambda place: self._engines[place].unfinished))


class PerfectKnowledge(RoundRobin):
    """An oracle: what is cached against the work ahead, weighed as ours, but with the truth of both."""

    def begin(self, asked: Asked, now: float) -> Place | None:
        """The best."""
        return Place(max(range(len(self._engines)), key=lambda place: self._worth(self._engines[place], asked)))

    def _worth(self, engine: Engine, asked: Asked) -> tuple[float, int]:
        size = engine.settings.block_size
        ahead = sum(one.tokens - one.computed for one in engine.running if not one.decoding)
        for one in engine.waiting:
            ahead += one.tokens - size * engine.pool.match(one.request.block_hashes, one.tokens // size)[0]
        return PREFIX_WEIGHT * size * _cached(engine, asked) - WORK_WEIGHT * ahead, -engine.unfinished


def _cached(engine: Engine, asked: Asked) -> int:
    """Blocks of its beginning that the engine has now."""
    hashes = asked.request.block_hashes
    return engine.pool.match(hashes, (asked.request.prompt_tokens - 1) // engine.settings.block_size)[0]


@dataclass(eq=False)
class _Router:
    replicas: list[Replica]
    index: PrefixIndex = field(default_factory=PrefixIndex)
    turn: int = 0


@dataclass(frozen=True, slots=True)
class _Sent:
    router: _Router
    pick: Pick
    mark: Mark


class Ours:
    """So many routers that do not talk; which of them gets a request is chance."""

    def __init__(self, engines: Sequence[Engine], routers: int, concurrency: int | None = None) -> None:
        self._engines = engines
        concurrency = concurrency or engines[0].settings.max_num_seqs  # what the operator gives a router
        self._tier = RouteTier("chat", "chat", concurrency=concurrency, routers=routers)
        keys = [f"replica-{place}" for place in range(len(engines))]
        self._places = {key: place for place, key in enumerate(keys)}
        self._routers = [_Router([Replica(key, "") for key in keys]) for _ in range(routers)]
        self._chance = Random(routers)  # noqa: S311 - which router gets a request, no secret
        for router in self._routers:
            for key, engine in zip(keys, engines, strict=True):
                router.index.resize(key, engine.settings.kv_tokens)

    def begin(self, asked: Asked, now: float) -> Place | None:
        """What one of the routers picks."""
        router = self._chance.choice(self._routers)
        router.turn += 1
        candidates = open_replicas(router.replicas, self._tier, now)
        found = pick(candidates, router.index, asked.blocks, self._tier.concurrency, router.turn, self._tier.routers)
        if found is None:
            return None
        router.index.add(found.replica.key, asked.blocks)
        mark = found.replica.begin(now, work(found, asked.blocks))
        return Place(self._places[found.replica.key], _Sent(router, found, mark))

    def first_token(self, place: Place) -> None:
        """The router sees it."""
        assert isinstance(place.mark, _Sent)  # noqa: S101 - ours, for the type
        place.mark.pick.replica.computed(place.mark.mark)

    def end(self, place: Place, running: Running, now: float) -> None:
        """The router learns from it."""
        assert isinstance(place.mark, _Sent)  # noqa: S101 - ours, for the type
        sent, replica = place.mark, place.mark.pick.replica
        replica.end(now, sent.mark)
        replica.breaker.succeeded()
        replica.first_token_after((running.first_token_at or now) - running.arrival)
        sent.router.index.correct(replica.key, sent.pick.matched, running.cached_tokens)

    def scrape(self) -> None:
        """Each router asks each engine."""
        for router in self._routers:
            for engine, replica in zip(self._engines, router.replicas, strict=True):
                replica.said(len(engine.waiting), engine.kv_usage)


CONTENDERS: Mapping[str, Callable[[Sequence[Engine]], Contender]] = {
    "round robin": RoundRobin,
    "least request": LeastRequest,
    "ours, 1 router": partial(Ours, routers=1),
    "ours, 4 routers": partial(Ours, routers=4),
    "oracle, longest prefix": LongestPrefix,
    "oracle, weighed": PerfectKnowledge,
}
