"""Queries Prometheus in the background, so that nobody waits for it.

It is a task of its own. Every tick it sends the fixed set of queries and replaces the last answers. The loop reads
those with their ages and never awaits Prometheus. A query that fails keeps its old answer, which grows old and then
stale, and the failure is remembered for the condition. No failure ends the task.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tierwise.errors import TierwiseError
from tierwise.observe import signals as kinds
from tierwise.observe.queries import CAPACITY_LABEL, SERIES, TIER_LABEL, Query
from tierwise.observe.signals import PodKey, Reading, Samples
from tierwise.ports import Clock, Metrics, Series

logger = logging.getLogger(__name__)

PARALLEL = 2
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
    ) -> None:
        """`on_round` is called after every round (to wake the loop)."""
        self._metrics = metrics
        self._clock = clock
        self._queries = tuple(queries)
        self._pace = pace
        self._on_round = on_round
        self._answers: dict[str, Mapping[PodKey, Mapping[str, Reading]]] = {}
        # Kept in monotonic time and told in wall time, so that a wall clock that is set changes no age.
        self._monotonic = Samples(interval_seconds=pace.interval_seconds)
        self._offset = clock.now() - clock.monotonic()
        self._told = self._monotonic

    @property
    def samples(self) -> Samples:
        """The last answers."""
        offset = self._clock.now() - self._clock.monotonic()
        if abs(offset - self._offset) >= _DRIFT_SECONDS:
            self._offset = offset
            self._told = _moved(self._monotonic, offset)
        return self._told

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
        said = await asyncio.gather(*(self._ask(query, gate) for query in self._queries))
        problem = next((each for each in said if each), "")
        self._monotonic = Samples(
            pods=_merged(self._answers.values()),
            answered_at=self._monotonic.answered_at if problem else started,
            problem=problem,
            interval_seconds=self._pace.interval_seconds,
        )
        self._told = _moved(self._monotonic, self._offset)
        self._on_round()

    async def _ask(self, query: Query, gate: asyncio.Semaphore) -> str:
        """Ask one question; what went wrong, or nothing."""
        async with gate:
            started = self._clock.monotonic()
            try:
                async with asyncio.timeout(self._pace.timeout_seconds + GRACE_SECONDS):
                    answer = await self._metrics.query(query.promql)
            except TimeoutError:
                return f"Prometheus did not answer the query {query.name!r} in time"
            except TierwiseError as error:
                return error.message
            except Exception as error:
                logger.exception("the query %r failed", query.name)
                return f"the query {query.name!r} failed: {type(error).__name__}"
        self._answers[query.name] = readings(answer, started)
        return ""


def readings(answer: Iterable[Series], asked_at: float) -> dict[PodKey, dict[str, Reading]]:
    """An answer by pod and series. `asked_at`: when it was asked, in seconds; a reading is as old as Prometheus says
    the scrape is (series `age`), or else as the question."""
    found: defaultdict[PodKey, dict[str, Reading]] = defaultdict(dict)
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
        else:
            found[key][kind] = Reading(series.value, asked_at)
    for key, engines in capacities.items():
        found[key][kinds.KV_CAPACITY] = Reading(sum(engines.values()), asked_at)
    for key, age in ages.items():
        found[key] = {kind: replace(reading, at=asked_at - age) for kind, reading in found[key].items()}
    return dict(found)


def _capacity(labels: Mapping[str, str]) -> float:
    """KV capacity in tokens: as the engine says it, else blocks times their size; NaN when neither is a number."""
    tokens = _number(labels.get(CAPACITY_LABEL))
    return tokens if tokens > 0 else _number(labels.get("num_gpu_blocks")) * _number(labels.get("block_size"))


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _merged(answers: Iterable[Mapping[PodKey, Mapping[str, Reading]]]) -> dict[PodKey, dict[str, Reading]]:
    merged: defaultdict[PodKey, dict[str, Reading]] = defaultdict(dict)
    for answer in answers:
        for key, series in answer.items():
            merged[key].update(series)
    return dict(merged)


def _moved(samples: Samples, seconds: float) -> Samples:
    """The same samples, told in the time of a clock that is ahead by so many seconds."""
    return replace(
        samples,
        answered_at=None if samples.answered_at is None else samples.answered_at + seconds,
        pods={
            key: {kind: replace(reading, at=reading.at + seconds) for kind, reading in series.items()}
            for key, series in samples.pods.items()
        },
    )
