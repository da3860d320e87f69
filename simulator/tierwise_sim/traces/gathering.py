"""Gathers the rows of a recorded trace into a Trace: order, origin, duration, and what no trace can hold.

Logs are written when requests end and several processes write them, so rows stand out of order and are sorted; how many
were is part of the result. A row a year away from the first one is not sorted but refused: it has another unit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

from tierwise_sim.traces.arrival import Arrival, Trace, problem_of, within
from tierwise_sim.traces.errors import FieldProblem, TraceError, at_line
from tierwise_sim.traces.fields import FIRST_EPOCH

MOST_ARRIVALS = 5_000_000
"""About 1 GB of memory."""
LONGEST_SECONDS = 366 * 86400.0
_MICROSECOND = 6  # decimals: what the clocks of all formats can hold, and a float since 1970 cannot quite

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a trace: seconds since its first request, from `start` to below `end`."""

    start: float = 0.0
    end: float = math.inf

    def __post_init__(self) -> None:
        """Refuse a window in which nothing can be."""
        if not 0 <= self.start < self.end:
            raise TraceError(f"from {self.start:g} s to {self.end:g} s; expected 0 <= from < to")


WHOLE = Window()


@dataclass(slots=True)
class Gathering:
    """What has been read of one file so far. `window`: what to keep, so that a part of a long trace needs no memory
    for the whole. `left_out`: how many rows were not kept, by reason; `counted` likewise what was assumed of kept ones.
    """

    path: Path
    window: Window = WHOLE
    left_out: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    _kept: list[Arrival] = field(default_factory=list)
    _rows: int = 0
    _origin: float | None = None
    _before: float = -math.inf
    _latest: float = -math.inf

    def read(self, rows: Iterable[tuple[int, Row]], parse: Callable[[Row, Gathering], Arrival | None]) -> None:
        """Add all rows. `parse` gives the request with the time as the row has it, or None where it holds none (and
        counts why). Raises TraceError with the line of the first row that is wrong."""
        for line, row in rows:
            try:
                arrival = parse(row, self)
                if arrival is not None:
                    self._add(arrival)
            except FieldProblem as problem:
                raise at_line(self.path, line, problem.reason, problem.expected) from None

    def _add(self, arrival: Arrival) -> None:
        if self._origin is None:
            self._origin = arrival.at if arrival.at >= FIRST_EPOCH else 0.0
        problem = problem_of(arrival)
        if problem is not None:
            raise problem
        after = arrival.at - self._origin
        if abs(after) > LONGEST_SECONDS:
            raise FieldProblem(
                f"the request comes {after / 86400:,.0f} days after the first",
                "one trace of at most a year, in one unit",
            )
        self._rows += 1
        self._latest = max(self._latest, after)
        if after < self._before:
            self.counted["stood out of order and were sorted"] += 1
        self._before = after
        if self.window != WHOLE and not self.window.start <= after < self.window.end:
            return
        if len(self._kept) >= MOST_ARRIVALS:
            raise FieldProblem(f"more than {MOST_ARRIVALS:,} requests", "fewer: read a part of the trace (from, to)")
        self._kept.append(arrival)

    def trace(self, name: str, source: str, notes: Iterable[str] = ()) -> Trace:
        """The trace, moved to time 0. Raises TraceError when nothing was kept."""
        if not self._kept or self._origin is None:
            raise TraceError(f"{self.path}: {self._nothing()}; expected at least one request")
        kept = sorted(self._kept, key=attrgetter("at"))
        # A row before the first one moves the origin; a window counts from the first row, as its caller does.
        origin = self._origin + self.window.start
        if self.window == WHOLE:
            origin = min(origin, kept[0].at)
        times = [max(0.0, round(arrival.at - origin, _MICROSECOND)) for arrival in kept]
        goes_on = self.window.end <= self._latest
        duration = self.window.end - self.window.start if goes_on else covered(times)
        arrivals = tuple(replace(each, at=within(at, duration)) for each, at in zip(kept, times, strict=True))
        return Trace(name, arrivals, duration, source, (*notes, *self._said()))

    def _nothing(self) -> str:
        reasons = [f"{number} rows {reason}" for reason, number in sorted(self.left_out.items())]
        if self._rows:
            reasons.append(f"none of its {self._rows} requests lies in the part that was asked for")
        return "; ".join(reasons) or "no row holds a request"

    def _said(self) -> list[str]:
        out = [f"{number:,} rows left out: they {reason}" for reason, number in sorted(self.left_out.items())]
        return out + [f"{number:,} of {self._rows:,} requests {what}" for what, number in sorted(self.counted.items())]


def covered(times: Sequence[float]) -> float:
    """The seconds that requests at these sorted times cover when nobody says it: to the last and a mean gap more.

    So the rate is that of the gaps, and the trace can follow itself without two requests at once. A single moment
    covers a second."""
    last = times[-1]
    gap = (last - times[0]) / max(1, len(times) - 1)
    return max(last + gap, math.nextafter(last, math.inf)) if gap > 0 else last + 1.0
