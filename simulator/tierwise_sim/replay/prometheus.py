"""Plays Prometheus: reads replicas and routers at moments of their own, and answers with what it read last.

What the operator is told is therefore old by up to a scrape and the lag, counters become increases over windows, and
what goes wrong in a real Prometheus goes wrong here: it is away, a target is silent, a number is none, the series of a
dead replica stays. The values are then read by the operator's own code (`tierwise.observe.signals`).
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tierwise.api.service_targets import INTER_TOKEN_MILLISECONDS, TTFT_MILLISECONDS
from tierwise.observe import signals as kinds
from tierwise.observe.signals import PodKey, PodReadings, Samples
from tierwise_sim.engine import Engine
from tierwise_sim.replay.scenario import NAMESPACE, Fault, FaultKind, Timing
from tierwise_sim.stats import Histogram

WINDOW_SECONDS = 300.0
LATELY_SECONDS = 60.0
GAUGE_SECONDS = 60.0
_NAN = math.nan


class Scrape(NamedTuple):
    """What one replica said at one moment: gauges, then counters since its start."""

    at: float
    running: float
    waiting: float
    kv_usage: float
    prompt_tokens: float
    answer_tokens: float
    finished: float
    prefix_queries: float
    prefix_hits: float
    drafted: float
    accepted: float
    tokens: float
    rejected: float
    begun: float
    first_token_seconds: float
    spoken: float
    within: tuple[float, ...] = ()


class RouterScrape(NamedTuple):
    """What one router said of one tier at one moment."""

    at: float
    wanted: float
    waiting: float
    in_flight: float
    refused: float


def scrape(engine: Engine, at: float) -> Scrape:
    """What an engine says of itself."""
    stats = engine.stats
    return Scrape(
        at=at,
        running=float(len(engine.running)),
        waiting=float(len(engine.waiting)),
        kv_usage=engine.kv_usage,
        prompt_tokens=stats.request_prompt_tokens.total,
        answer_tokens=stats.request_generation_tokens.total,
        finished=float(stats.request_generation_tokens.count),
        prefix_queries=float(stats.prefix_queries),
        prefix_hits=float(stats.prefix_hits),
        drafted=float(stats.draft_tokens),
        accepted=float(stats.accepted_tokens),
        tokens=float(stats.prompt_tokens + stats.generation_tokens),
        rejected=float(sum(stats.rejections.values())),
        begun=float(stats.time_to_first_token.count),
        first_token_seconds=stats.time_to_first_token.total,
        spoken=float(stats.time_per_output_token.count),
        within=(
            *_within(stats.time_to_first_token, TTFT_MILLISECONDS),
            *_within(stats.time_per_output_token, INTER_TOKEN_MILLISECONDS),
        ),
    )


def _within(histogram: Histogram, milliseconds: tuple[int, ...]) -> Iterable[float]:
    """How many observations were within each of these bounds; NaN where it is no bound of the histogram."""
    sums = list(itertools.accumulate(histogram.counts))
    for each in milliseconds:
        place = bisect_left(histogram.bounds, each / 1000)
        is_bound = place < len(histogram.bounds) and histogram.bounds[place] == each / 1000
        yield float(sums[place]) if is_bound else _NAN


@dataclass(slots=True)
class PodSeries:
    """The last five minutes of one replica. `up`: whether the last scrape was answered; `exists`: whether the cluster
    has the pod; `frozen`: Prometheus returns the last figures as if they were new."""

    tier: str
    kv_tokens: float
    scrapes: deque[Scrape] = field(default_factory=deque)
    up: bool = True
    exists: bool = True
    frozen: bool = False

    def add(self, one: Scrape) -> None:
        """A scrape was answered."""
        self.up = True
        self.scrapes.append(one)
        while self.scrapes[0].at < one.at - WINDOW_SECONDS:
            self.scrapes.popleft()

    def inside(self, seconds: float, now: float) -> list[Scrape]:
        """The scrapes of the last seconds."""
        return [one for one in self.scrapes if one.at >= now - seconds]

    def increase(self, field_name: str, seconds: float, now: float) -> float | None:
        """How much a counter has grown in a window; None with less than two scrapes in it."""
        inside = self.inside(seconds, now)
        if len(inside) < 2:
            return None
        return float(getattr(inside[-1], field_name) - getattr(inside[0], field_name))

    def largest(self, field_name: str, now: float) -> float | None:
        """The largest value of a gauge in the last minute."""
        inside = [getattr(one, field_name) for one in self.scrapes if one.at >= now - GAUGE_SECONDS]
        return max(inside, default=None)


_COUNTERS = (
    (kinds.PROMPT_TOKENS, "prompt_tokens", WINDOW_SECONDS),
    (kinds.ANSWER_TOKENS, "answer_tokens", WINDOW_SECONDS),
    (kinds.FINISHED, "finished", WINDOW_SECONDS),
    (kinds.PREFIX_QUERIES, "prefix_queries", WINDOW_SECONDS),
    (kinds.PREFIX_HITS, "prefix_hits", WINDOW_SECONDS),
    (kinds.DRAFTED, "drafted", WINDOW_SECONDS),
    (kinds.ACCEPTED, "accepted", WINDOW_SECONDS),
    (kinds.FINISHED_LATELY, "finished", LATELY_SECONDS),
    (kinds.REJECTED_LATELY, "rejected", LATELY_SECONDS),
    (kinds.BEGUN_LATELY, "begun", LATELY_SECONDS),
    (kinds.FIRST_TOKEN_SECONDS, "first_token_seconds", LATELY_SECONDS),
    (kinds.SPOKEN_LATELY, "spoken", LATELY_SECONDS),
)
_WITHIN = (
    *(kinds.within(kinds.TTFT_WITHIN, each / 1000) for each in TTFT_MILLISECONDS),
    *(kinds.within(kinds.INTER_TOKEN_WITHIN, each / 1000) for each in INTER_TOKEN_MILLISECONDS),
)


class Prometheus:
    """All series of one simulation. `epoch` is added to the simulation's time: samples are of the time of day."""

    def __init__(self, timing: Timing, epoch: float) -> None:
        self.pods: dict[str, PodSeries] = {}
        self.routers: dict[tuple[str, str], deque[RouterScrape]] = {}
        self.away = False
        self._timing = timing
        self._epoch = epoch
        self._last = Samples(interval_seconds=timing.scrape)

    def found(self, pod: str, tier: str, kv_tokens: int) -> None:
        """A replica is there to be read from now on."""
        self.pods[pod] = PodSeries(tier, float(kv_tokens))

    def read(self, pod: str, engine: Engine, now: float, faults: Iterable[Fault]) -> None:
        """One scrape of one replica; `faults` are those of this replica."""
        series = self.pods.get(pod)
        if series is None:
            return
        kinds_of = {fault.kind for fault in faults}
        if FaultKind.POD_SILENT in kinds_of:
            series.up = False
            series.scrapes.clear()
            return
        said = scrape(engine, now)
        if FaultKind.NAN in kinds_of:
            said = said._replace(running=_NAN, waiting=_NAN, kv_usage=_NAN)
        series.add(said)

    def read_router(self, router: str, tier: str, said: RouterScrape) -> None:
        """One scrape of what one router says of one tier."""
        known = self.routers.setdefault((router, tier), deque())
        known.append(said)
        while known[0].at < said.at - LATELY_SECONDS - 1.0:
            known.popleft()

    def lost(self, pod: str, *, frozen: bool) -> None:
        """A replica is gone, and its series with it, unless they are frozen."""
        series = self.pods.get(pod)
        if series is None:
            return
        if frozen:
            series.exists, series.frozen = False, True
        else:
            del self.pods[pod]

    def thaw(self, pod: str) -> None:
        """Frozen series end."""
        self.pods.pop(pod, None)

    def series(self, pod: str, now: float) -> Scrape | None:
        """The last figures of a replica that can be asked for by now; of frozen ones, as if they were new."""
        known = self.pods.get(pod)
        if known is None or not known.scrapes:
            return None
        if known.frozen:
            return known.scrapes[-1]._replace(at=now - self._timing.lag)
        usable = now - self._timing.lag
        return next((one for one in reversed(known.scrapes) if one.at <= usable), None)

    def samples(self, now: float) -> Samples:
        """The operator's questions, answered; the last answers while nobody answers."""
        if self.away:
            return Samples(
                self._last.pods,
                self._last.answered_at,
                "Prometheus does not answer (simulated)",
                self._timing.scrape,
            )
        readings = {PodKey(NAMESPACE, known.tier, pod): self._of(pod, known, now) for pod, known in self.pods.items()}
        for (router, tier), scrapes in self.routers.items():
            readings[PodKey(NAMESPACE, tier, router)] = self._of_router(scrapes)
        self._last = Samples(readings, self._epoch + now, interval_seconds=self._timing.scrape)
        return self._last

    def _of(self, pod: str, series: PodSeries, now: float) -> PodReadings:
        at = self._epoch + now
        if not series.up:
            return PodReadings({kinds.UP: 0.0}, {kinds.UP: at})
        last = self.series(pod, now)
        if last is None:
            return PodReadings({}, {})
        values = {
            kinds.UP: 1.0,
            kinds.RUNNING: last.running,
            kinds.WAITING: last.waiting,
            kinds.KV_USAGE: last.kv_usage,
            kinds.KV_CAPACITY: series.kv_tokens,
        }
        for kind, counter, seconds in _COUNTERS:
            grown = series.increase(counter, seconds, now)
            if grown is not None:
                values[kind] = grown
        lately = series.inside(LATELY_SECONDS, now)
        if len(lately) > 1:
            grown_by = zip(_WITHIN, lately[0].within, lately[-1].within, strict=True)
            values.update((kind, after - before) for kind, before, after in grown_by)
        tokens = series.increase("tokens", LATELY_SECONDS, now)
        if tokens is not None and len(series.scrapes) > 1:
            inside = [one.at for one in series.scrapes if one.at >= now - LATELY_SECONDS]
            values[kinds.TOKEN_RATE] = tokens / (inside[-1] - inside[0])
        when = self._epoch + last.at
        return PodReadings(values, dict.fromkeys(values, when))

    def _of_router(self, scrapes: deque[RouterScrape]) -> PodReadings:
        last, first = scrapes[-1], scrapes[0]
        values = {
            kinds.WANTED: last.wanted,
            kinds.QUEUED: last.waiting,
            kinds.IN_FLIGHT: last.in_flight,
        }
        if len(scrapes) > 1:
            values[kinds.REFUSED] = last.refused - first.refused
        return PodReadings(values, dict.fromkeys(values, self._epoch + last.at))
