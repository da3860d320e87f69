"""Queries Prometheus in the background, so that nobody waits for it.

It is a task of its own. Every tick it sends the fixed set of queries (the one about an hour only in every third) and
replaces the last answers. The loop reads those with their ages and never awaits Prometheus. A query that fails keeps
its old answer, which grows old and then stale, and the failure is remembered for the condition: of all tiers, or of
those with a service level if it is the question about that. No failure ends the task.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tierwise.errors import TierwiseError
from tierwise.observe import signals as kinds
from tierwise.observe.content_queries import CONTENT, content_of
from tierwise.observe.queries import BOUND_LABEL, CAPACITY_LABEL, LATENCY, SERIES, TIER_LABEL, Query
from tierwise.observe.route_queries import ROUTE_QUERIES, TRAFFIC, WALLETS, traffic_of, wallets_of
from tierwise.observe.route_readings import RouteReadings
from tierwise.observe.signals import PodKey, PodReadings, Samples
from tierwise.observe.verdict_queries import VERDICTS, verdicts_of
from tierwise.observe.work_queries import WORK, WORK_ROUNDS, work_of
from tierwise.ports import Clock, Metrics, Series
from tierwise.runtime.turns import at_once, emptied, in_turns, let_go

logger = logging.getLogger(__name__)

PARALLEL = 2
# One answer: by pod the values of its series by kind, and when they were true (monotonic).
Answer = Mapping[PodKey, tuple[Mapping[str, float], float]]
_NOTHING = PodReadings({}, {})
# Between the timeout of the adapter and ours: a thread that hangs all the same must not hold up the round.
GRACE_SECONDS = 2.0
# The wall clock and the monotonic one may differ by so much before readings are moved along with the wall clock.
_DRIFT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class PollConfig:
    """Seconds: between two rounds, of the engines' scrapes, and that one query may take."""

    tick_seconds: float = 10.0
    scrape_seconds: float = 10.0
    timeout_seconds: float = 5.0

    @property
    def interval_seconds(self) -> float:
        """How often a value can be new."""
        return max(self.tick_seconds, self.scrape_seconds)


class Poller:
    """Keeps the last answers of Prometheus."""

    def __init__(
        self,
        metrics: Metrics,
        clock: Clock,
        queries: Sequence[Query],
        pace: PollConfig,
        *,
        on_round: Callable[[], None] = lambda: None,
        unneeded: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        """`on_round` is called after every round (to wake the loop); `unneeded` names the queries that nobody needs
        now."""
        self._metrics = metrics
        self._clock = clock
        self._queries = tuple(queries)
        self._pace = pace
        self._on_round = on_round
        self._unneeded = unneeded
        # Kept in monotonic time and told in wall time, so that a wall clock that is set changes no age.
        self._answers: dict[str, Answer] = {}
        self._routes = RouteReadings()
        self._complaints: dict[str, str] = {}  # what is not known, and why
        self._answered_at: float | None = None
        self._latency_at: float | None = None
        self._rounds = 0
        # One answer is read at a time: the turns of several would add up to one long one.
        self._reading = asyncio.Lock()
        self._offset = clock.now() - clock.monotonic()
        self._told = Samples(interval_seconds=pace.interval_seconds)
        # What was told last, until the next time: by then no cycle looks at it, and it can go in turns.
        self._old: deque[PodReadings] = deque()

    @property
    def samples(self) -> Samples:
        """The last answers."""
        offset = self._clock.now() - self._clock.monotonic()
        if abs(offset - self._offset) >= _DRIFT_SECONDS:
            self._offset = offset
            at_once(self._tell_in_turns(self._told.problem, self._told.latency_problem))
        return self._told

    def _tell_in_turns(self, problem: str, latency: str) -> Generator[None, None, None]:
        """Tell the answers in wall time, in steps."""
        offset = self._offset
        yield from let_go(self._old)
        pods = yield from _merged_in_turns(self._answers.values(), offset)
        answered = None if self._answered_at is None else self._answered_at + offset
        self._old.extend(self._told.pods.values())
        routes = self._routes.moved(offset)
        self._told = Samples(pods, answered, problem, self._pace.interval_seconds, routes, latency)

    async def run(self) -> None:
        """A round every tick, for ever. A round that takes longer than a tick delays the next one."""
        while True:
            started = self._clock.monotonic()
            await self.round()
            await asyncio.sleep(max(0.0, self._pace.tick_seconds - (self._clock.monotonic() - started)))

    async def round(self) -> None:
        """Ask every question once. Raises nothing but cancellation."""
        started = self._clock.monotonic()
        gate = asyncio.Semaphore(PARALLEL)
        unneeded = self._unneeded()
        for name in unneeded:
            self._answers.pop(name, None)
        needed = [query for query in self._queries if query.name not in unneeded]
        queries = [query for query in needed if query.name != WORK or self._rounds % WORK_ROUNDS == 0]
        self._rounds += 1
        said = await asyncio.gather(*(self._ask(query, gate) for query in queries))
        failed = [(query.name, each) for query, each in zip(queries, said, strict=True) if each]
        # No tier's replicas depend on what is asked about routes, and on service levels only those of tiers with one.
        problem = next((each for name, each in failed if name not in ROUTE_QUERIES and name != LATENCY), "")
        unknown = next((each for name, each in failed if name in ROUTE_QUERIES), "")
        if unknown or len(queries) == len(needed):
            self._complain("what routes spend and serve", unknown)
        unjudged = next((each for name, each in failed if name == LATENCY), "")
        self._complain("whether service levels are kept", unjudged)
        if not unjudged:
            self._latency_at = None if LATENCY in unneeded else started
        lasting = self._latency_at is None or started - self._latency_at > self._told.stale_after
        if not problem:
            self._answered_at = started
        offset = None
        while offset != self._offset:  # the wall clock may be set meanwhile
            offset = self._offset
            await in_turns(self._tell_in_turns(problem, unjudged if lasting else ""))
        self._on_round()

    def _complain(self, what: str, problem: str) -> None:
        if problem and problem != self._complaints.get(what):
            logger.warning("%s is not known: %s", what, problem)
        self._complaints[what] = problem

    async def _ask(self, query: Query, gate: asyncio.Semaphore) -> str:
        """Ask one question; what went wrong, or nothing."""
        async with gate:
            started = self._clock.monotonic()
            try:
                async with asyncio.timeout(self._pace.timeout_seconds + GRACE_SECONDS):
                    answer = deque(await self._metrics.query(query.promql))
            except TimeoutError:
                return f"Prometheus did not answer the query {query.name!r} in time"
            except TierwiseError as error:
                return error.message
            except Exception as error:
                logger.exception("the query %r failed", query.name)
                return f"the query {query.name!r} failed: {type(error).__name__}"
        if query.name == WALLETS:
            self._routes = replace(self._routes, wallets=wallets_of(answer, started))
            return ""
        if query.name == TRAFFIC:
            self._routes = replace(self._routes, traffic=traffic_of(answer), traffic_at=started)
            return ""
        if query.name == VERDICTS:
            self._routes = replace(self._routes, verdicts=verdicts_of(answer), verdicts_at=started)
            return ""
        if query.name == CONTENT:
            self._routes = replace(self._routes, content=content_of(answer), content_at=started)
            return ""
        if query.name == WORK:
            self._routes = replace(self._routes, work=work_of(answer), work_at=started)
            return ""
        async with self._reading:
            before = deque(self._answers.get(query.name, {}).values())
            self._answers[query.name] = await in_turns(_readings_in_turns(emptied(answer), started))
            await in_turns(let_go(before))
        return ""


def readings(answer: Iterable[Series], asked_at: float) -> Answer:
    """An answer by pod. `asked_at`: when it was asked, in seconds; what is read of a pod is as old as Prometheus says
    the scrape is (series `age`), or else as the question."""
    return at_once(_readings_in_turns(answer, asked_at))


def _readings_in_turns(answer: Iterable[Series], asked_at: float) -> Generator[None, None, Answer]:
    found: defaultdict[PodKey, dict[str, float]] = defaultdict(dict)
    capacities: defaultdict[PodKey, dict[str, float]] = defaultdict(dict)
    ages: dict[PodKey, float] = {}
    for series in answer:
        labels = series.labels
        key = PodKey(labels.get("namespace", ""), labels.get(TIER_LABEL, ""), labels.get("pod", ""))
        kind = labels.get(SERIES, "")
        if kind == kinds.AGE:
            ages[key] = max(0.0, series.value)
        elif kind == kinds.KV_CAPACITY:
            engine = labels.get("engine", "")
            capacities[key][engine] = max(capacities[key].get(engine, 0.0), _capacity(labels))
        elif (bound := labels.get(BOUND_LABEL)) is not None:
            found[key][kinds.within(kind, _number(bound))] = series.value
        else:
            found[key][kind] = series.value
        yield
    for key, engines in capacities.items():
        found[key][kinds.KV_CAPACITY] = sum(engines.values())
        yield
    dated: dict[PodKey, tuple[Mapping[str, float], float]] = {}
    for key, values in found.items():
        dated[key] = values, asked_at - ages.get(key, 0.0)
        yield
    return dated


def _capacity(labels: Mapping[str, str]) -> float:
    """KV capacity in tokens: as the engine says it, else blocks times their size; NaN when neither is a number."""
    tokens = _number(labels.get(CAPACITY_LABEL))
    return tokens if tokens > 0 else _number(labels.get("num_gpu_blocks")) * _number(labels.get("block_size"))


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _merged_in_turns(answers: Iterable[Answer], seconds: float) -> Generator[None, None, dict[PodKey, PodReadings]]:
    """All answers by pod, in the time of a clock that is ahead by so many seconds."""
    merged: dict[PodKey, PodReadings] = {}
    for answer in answers:
        for key, (values, at) in answer.items():
            before = merged.get(key, _NOTHING)
            times = dict.fromkeys(values, at + seconds)
            merged[key] = PodReadings({**before.values, **values}, {**before.times, **times})
            yield
    return merged
