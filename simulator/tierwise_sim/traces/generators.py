"""Makes traces: a rate over time as a value, and seeded requests that follow it.

A shape says how many requests per second are meant at each moment; `generate` draws the requests. Gaps are gamma
distributed in the time that the rate stretches, so one declared burstiness means the same at every rate.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from random import Random
from typing import Protocol

from tierwise_sim.traces.arrival import Arrival, Trace, within
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.gathering import LONGEST_SECONDS, MOST_ARRIVALS
from tierwise_sim.traces.lengths import CONVERSATION, Lengths
from tierwise_sim.traces.spread import EVEN, MOST_BURSTINESS

Rate = Callable[[float], float]
"""Requests per second at this second of the trace."""
# The rate is taken to be constant within a second, or less in a short trace, or more in one of many days.
_LEAST_CELLS, _MOST_CELLS = 3600, 1_000_000


class Shape(Protocol):
    """A rate over time, per model: "" is a route's own."""

    @property
    def seconds(self) -> float:
        """How long."""
        ...

    def rates(self, rng: Random) -> Mapping[str, Rate]:
        """By what clients name. `rng`: for what of the rate itself is drawn, such as when bursts come."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """The same rate all the time."""

    rate: float = 1.0
    seconds: float = 3600.0

    def rates(self, rng: Random) -> Mapping[str, Rate]:
        """See Shape."""
        return {"": lambda at: self.rate}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rate, and from one moment on another: what shows how long a scaler takes."""

    before: float = 1.0
    after: float = 4.0
    at: float = 600.0
    seconds: float = 3600.0

    def rates(self, rng: Random) -> Mapping[str, Rate]:
        """See Shape."""
        return {"": lambda at: self.before if at < self.at else self.after}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """Rates one after another, each for `stage` seconds: llm-d's benchmark of its autoscaler by default."""

    steps: tuple[float, ...] = (2, 4, 6, 8, 10, 4, 1)
    stage: float = 120.0

    @property
    def seconds(self) -> float:
        """How long."""
        return self.stage * len(self.steps)

    def rates(self, rng: Random) -> Mapping[str, Rate]:
        """See Shape."""
        return {"": lambda at: self.steps[min(int(at // self.stage), len(self.steps) - 1)]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sine:
    """A slow wave and sudden bursts on it.

    `swing`: how far the wave goes around its mean, as a part of it; it begins in its valley. Bursts come at random,
    `bursts` per hour, last `burst_seconds`, and multiply the rate by `burst_factor`; they come on top of the mean.
    """

    mean: float = 4.0
    swing: float = 0.6
    period: float = 3600.0
    seconds: float = 7200.0
    bursts: float = 0.0
    burst_factor: float = 3.0
    burst_seconds: float = 60.0

    def rates(self, rng: Random) -> Mapping[str, Rate]:
        """See Shape."""
        begins = list(_poisson(self.bursts / 3600, self.seconds, rng))

        def rate(at: float) -> float:
            latest = bisect_right(begins, at)
            in_burst = latest > 0 and at < begins[latest - 1] + self.burst_seconds
            return _wave(self.mean, self.swing, self.period, at) * (self.burst_factor if in_burst else 1.0)

        return {"": rate}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """One wave per model: all at their peak together, or one after another. `mean`: of each model."""

    models: tuple[str, ...] = ("small", "large")
    together: bool = True
    mean: float = 2.0
    swing: float = 0.8
    period: float = 3600.0
    seconds: float = 7200.0

    def rates(self, rng: Random) -> Mapping[str, Rate]:
        """See Shape."""
        return {model: self._rate(place) for place, model in enumerate(self.models)}

    def _rate(self, place: int) -> Rate:
        behind = 0.0 if self.together else self.period * place / len(self.models)
        return lambda at: _wave(self.mean, self.swing, self.period, at - behind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What is drawn of a shape. `burstiness`: the coefficient of variation of the gaps (1 = Poisson, 0 = even)."""

    seed: int = 0
    burstiness: float = 1.0
    lengths: Lengths = CONVERSATION

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if not 0 <= self.burstiness <= MOST_BURSTINESS:
            raise TraceError(f"burstiness is {self.burstiness}; expected 0 (even) to {MOST_BURSTINESS:g}, 1 = Poisson")


def generate(name: str, shape: Shape, draw: Draw = Draw()) -> Trace:
    """The requests of a shape: the same for the same shape, seed and release.

    Raises TraceError for a negative or endless rate or time, and when no request comes or more than a trace may hold.
    """
    if not 0 < shape.seconds <= LONGEST_SECONDS:
        raise TraceError(f"{name}: {shape.seconds:g} s; expected more than 0, at most a year")
    rng = Random(draw.seed)  # noqa: S311 - a repeatable workload, no secret
    cells = {model: _cells(name, rate, shape.seconds) for model, rate in shape.rates(rng).items()}
    expected = sum(cell.seconds * cell.rate for each in cells.values() for cell in each)
    if expected > MOST_ARRIVALS:
        raise TraceError(
            f"{name}: {expected:,.0f} requests; expected at most {MOST_ARRIVALS:,}: lower the rate or the time"
        )
    arrivals = [
        Arrival(within(at, shape.seconds), *draw.lengths.draw(rng), model=model)
        for model, each in cells.items()
        for at in _moments(each, draw.burstiness, rng)
    ]
    arrivals.sort(key=attrgetter("at"))
    return Trace(name, tuple(arrivals), shape.seconds, f"generated: {name}, seed {draw.seed}")


@dataclass(frozen=True, slots=True)
class _Cell:
    """A part of the trace that is short enough to have one rate."""

    start: float
    seconds: float
    rate: float


def _cells(name: str, rate: Rate, seconds: float) -> list[_Cell]:
    width = max(min(1.0, seconds / _LEAST_CELLS), seconds / _MOST_CELLS)
    cells = []
    for number in range(math.ceil(seconds / width)):
        start = number * width
        length = min(width, seconds - start)
        now = rate(start + length / 2)
        if not (math.isfinite(now) and now >= 0):
            raise TraceError(f"{name}: a rate of {now:g} per second at {start:g} s; expected a number from 0 on")
        cells.append(_Cell(start, length, now))
    return cells


def _moments(cells: list[_Cell], burstiness: float, rng: Random) -> Iterator[float]:
    """Times of requests: gaps of mean 1 in the integral of the rate, taken back through it."""
    due = _gap(burstiness, rng) * rng.random()  # the clock starts somewhere within a gap
    reached = 0.0
    for cell in cells:
        grows = cell.rate * cell.seconds
        while due < reached + grows:
            yield cell.start + (due - reached) / cell.rate
            due += _gap(burstiness, rng)
        reached += grows


def _gap(burstiness: float, rng: Random) -> float:
    if burstiness < EVEN:
        return 1.0
    shape = 1 / burstiness**2
    return rng.gammavariate(shape, 1 / shape)


def _wave(mean: float, swing: float, period: float, at: float) -> float:
    if not period > 0:
        raise TraceError(f"a period of {period:g} s; expected more than 0")
    return mean * (1 - swing * math.cos(2 * math.pi * at / period))


def _poisson(rate: float, seconds: float, rng: Random) -> Iterator[float]:
    if rate <= 0:
        return
    at = rng.expovariate(rate)
    while at < seconds:
        yield at
        at += rng.expovariate(rate)
