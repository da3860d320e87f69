"""Replays a workload over several engines in virtual time.

The engines are the project's own model of vLLM (`tierwise_sim.engine`): its scheduler, its blocks and their eviction,
and step times of a roofline. A block here has 512 tokens, as in the trace, not vLLM's 16: nothing in the trace is shared
below that, and an hour takes seconds.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from tierwise_sim.engine import Engine
from tierwise_sim.sequence import Rejection
from tierwise_sim.sequence import Sequence as Running
from tierwise_sim.settings import EngineSettings
from tools.bench_prefix.contenders import Contender
from tools.bench_prefix.workload import Asked

SCRAPE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run. Times to first token are seconds from the arrival at the router, sorted."""

    hit_rate: float
    first_tokens: tuple[float, ...]
    preemptions: int
    requests: tuple[int, ...]
    """Of each engine."""

    def percentile(self, share: float) -> float:
        """The time to first token that this share (0 to 1) of the requests did not pass."""
        return self.first_tokens[min(len(self.first_tokens) - 1, int(share * len(self.first_tokens)))]


@dataclass
class _Replay:
    contender: Contender
    engines: Sequence[Engine]
    waiting: deque[Asked] = field(default_factory=deque)
    running: dict[str, tuple[object, float]] = field(default_factory=dict)
    cached: int = 0
    prompts: int = 0
    first_tokens: list[float] = field(default_factory=list)
    given: list[int] = field(default_factory=list)

    def advance(self, until: float) -> None:
        """Everything that ends by then, in the order in which it ends."""
        ended = [
            (one.finished_at or until, place, one)
            for place, each in enumerate(self.engines)
            for one in each.advance(until)
        ]
        for at, place, one in sorted(ended, key=lambda each: each[:2]):
            self._end(place, one, at)

    def next_event(self) -> float:
        return min((at for each in self.engines if (at := each.next_event) is not None), default=float("inf"))

    def offer(self, asked: Asked, now: float) -> bool:
        """Whether a replica took it."""
        chosen = self.contender.begin(asked, now)
        if chosen is None:
            return False
        place, mark = chosen
        outcome = self.engines[place].submit(asked.request, now)
        assert not isinstance(outcome, Rejection)
        self.given[place] += 1
        self.running[asked.request.id] = (mark, asked.at)
        return True

    def drain(self, now: float) -> None:
        """Give out what waits in the routers."""
        while self.waiting and self.offer(self.waiting[0], now):
            self.waiting.popleft()

    def _end(self, place: int, one: Running, at: float) -> None:
        mark, came = self.running.pop(one.request.id)
        self.contender.end(mark, place, one, at)
        self.cached += one.cached_tokens
        self.prompts += one.request.prompt_tokens
        self.first_tokens.append((one.first_token_at or at) - came)


def replay(
    asked: Sequence[Asked], settings: EngineSettings, replicas: int, contender: Callable[[Sequence[Engine]], Contender]
) -> Outcome:
    """One run to the last answer."""
    engines = [Engine(settings, Random(place)) for place in range(replicas)]  # noqa: S311 - a repeatable run
    run = _Replay(contender(engines), engines, given=[0] * replicas)
    scrape = 0.0
    for each in asked:
        while run.waiting and (at := run.next_event()) < min(each.at, scrape):
            run.advance(at)
            run.drain(at)
        while scrape <= each.at:
            run.advance(scrape)
            run.contender.scrape()
            run.drain(scrape)
            scrape += SCRAPE_SECONDS
        run.advance(each.at)
        run.drain(each.at)
        if run.waiting or not run.offer(each, each.at):
            run.waiting.append(each)
    while run.running or run.waiting:
        at = run.next_event() if run.waiting else scrape
        run.advance(at)
        if at >= scrape:
            run.contender.scrape()
            scrape = at + SCRAPE_SECONDS
        run.drain(at)
    return Outcome(
        hit_rate=run.cached / run.prompts,
        first_tokens=tuple(sorted(run.first_tokens)),
        preemptions=sum(each.stats.preemptions for each in engines),
        requests=tuple(run.given),
    )
