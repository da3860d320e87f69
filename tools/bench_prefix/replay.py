"""Replays a workload over several engines in virtual time.

The engines are the project's own model of vLLM (`tierwise_sim.engine`): its scheduler, its blocks and their eviction,
and step times of a roofline. A block here has 512 tokens, as in the trace, not vLLM's 16: nothing in the trace is
shared below that, and so an hour takes seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from tierwise_sim.engine import Engine
from tierwise_sim.sequence import Rejection
from tierwise_sim.sequence import Sequence as Running
from tierwise_sim.settings import EngineSettings
from tools.bench_prefix.contenders import Contender, LeastRequest, Place
from tools.bench_prefix.workload import Asked

SCRAPE_SECONDS = 1.0
Making = Callable[[Sequence[Engine]], Contender]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run: the share of prompt tokens that were cached, the times to first token (seconds from the
    arrival at the router, sorted), and how many requests each engine had. `ended` is when the last one was answered."""

    hit_rate: float
    first_tokens: tuple[float, ...]
    given: tuple[int, ...]
    preemptions: int
    ended: float

    def percentile(self, share: float) -> float:
        """The time to first token that this share (0 to 1) of the requests did not pass."""
        return self.first_tokens[min(len(self.first_tokens) - 1, int(share * len(self.first_tokens)))]


@dataclass(slots=True, eq=False)
class _Open:
    """A request that is not answered yet: when it came, and where it is."""

    came: float
    place: Place
    running: Running


class _Replay:
    def __init__(self, engines: Sequence[Engine], contender: Contender) -> None:
        self.engines = engines
        self.contender = contender
        self.queue: deque[Asked] = deque()
        self.given = [0] * len(engines)
        self.first_tokens: list[float] = []
        self._open: dict[str, _Open] = {}
        self._unbegun: list[list[_Open]] = [[] for _ in engines]
        self._cached = self._prompts = 0

    @property
    def busy(self) -> bool:
        """Whether anything is unanswered."""
        return bool(self._open or self.queue)

    @property
    def hit_rate(self) -> float:
        """Of the answered requests."""
        return self._cached / self._prompts

    def next_event(self) -> float:
        """When an engine has done its next step."""
        return min((at for each in self.engines if (at := each.next_event) is not None), default=float("inf"))

    def advance(self, until: float) -> None:
        """All that happens by then; of several engines in the order of time."""
        ended = [one for each in self.engines for one in each.advance(until)]
        for place, unbegun in enumerate(self._unbegun):
            for each in unbegun:
                if each.running.first_token_at is not None:
                    self.contender.first_token(each.place)
            self._unbegun[place] = [each for each in unbegun if each.running.first_token_at is None]
        for one in sorted(ended, key=lambda one: (one.finished_at or until, one.request.id)):
            self._end(one, one.finished_at or until)

    def offer(self, asked: Asked, now: float) -> bool:
        """Whether a replica was given it."""
        place = self.contender.begin(asked, now)
        if place is None:
            return False
        running = self.engines[place.engine].submit(asked.request, now)
        if isinstance(running, Rejection):
            raise TypeError("the engines of this benchmark have no limit of their own")
        self.given[place.engine] += 1
        self._open[asked.request.id] = found = _Open(asked.at, place, running)
        self._unbegun[place.engine].append(found)
        return True

    def give_out(self, now: float) -> None:
        """What waits in the routers goes where there is room."""
        while self.queue and self.offer(self.queue[0], now):
            self.queue.popleft()

    def _end(self, one: Running, at: float) -> None:
        found = self._open.pop(one.request.id)
        self.contender.end(found.place, one, at)
        self._cached += one.cached_tokens
        self._prompts += one.request.prompt_tokens
        self.first_tokens.append((one.first_token_at or at) - found.came)


def replay(asked: Sequence[Asked], settings: EngineSettings, replicas: int, making: Making) -> Outcome:
    """One run, to the last answer."""
    engines = [Engine(settings, Random(place)) for place in range(replicas)]  # noqa: S311 - a repeatable run
    run = _Replay(engines, making(engines))
    scrape, arrivals = 0.0, deque(asked)
    while arrivals or run.busy:
        at = min(arrivals[0].at if arrivals else float("inf"), scrape)
        if run.queue:
            at = min(at, run.next_event())
        run.advance(at)
        if at >= scrape:
            run.contender.scrape()
            scrape += SCRAPE_SECONDS
        run.give_out(at)
        while arrivals and arrivals[0].at <= at:
            each = arrivals.popleft()
            if run.queue or not run.offer(each, at):
                run.queue.append(each)
    return Outcome(
        hit_rate=run.hit_rate,
        first_tokens=tuple(sorted(run.first_tokens)),
        given=tuple(run.given),
        preemptions=sum(each.stats.preemptions for each in engines),
        ended=max(each.now for each in engines),
    )


def capacity(asked: Sequence[Asked], settings: EngineSettings, replicas: int) -> float:
    """Requests a second that the replicas answer when all of them are there at once, given to the shortest queue: what
    they can do today, without a router that knows prefixes."""
    at_once = [replace(each, at=0.0) for each in asked]
    return len(asked) / replay(at_once, settings, replicas, LeastRequest).ended
