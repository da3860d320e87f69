"""Reduces a value that changes in steps to the columns of a plot, and draws it; no peak is lost.

A column keeps the least and the greatest value that held at any moment of it, and the value that held when it ended
(as M4 does for lines; Jugel et al., VLDB 2014). A day of samples then takes as much room as an hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

COLUMNS = 720
HEIGHT = 240


@dataclass(frozen=True, slots=True)
class Column:
    """What held during a part of the time: the least, the greatest, and the last."""

    low: float
    high: float
    last: float


def columns(points: Sequence[tuple[float, float]], end: float, count: int = COLUMNS) -> list[Column]:
    """Equal parts of the time from 0 to `end` seconds. `points`: (second, value from then on), in order of time; before
    the first one its value holds. Raises ValueError without points."""
    if not points:
        raise ValueError("no points to draw")
    inside: list[list[float]] = [[] for _ in range(count)]
    at_start: list[bool] = [False] * count
    for second, value in points:
        place = max(second, 0.0) / end * count if end > 0 else 0.0
        column = min(int(place), count - 1)
        if place == column and not inside[column]:
            at_start[column] = True
        inside[column].append(value)
    found, held = [], points[0][1]
    for values, replaced in zip(inside, at_start, strict=True):
        seen = values if replaced else [held, *values]
        held = seen[-1]
        found.append(Column(min(seen), max(seen), held))
    return found


def line(found: Iterable[Column], most: float) -> str:
    """The data of an SVG path, a unit of width for a column, from `HEIGHT` (0) up to 0 (`most`)."""
    path, here, waits = "", -1, 0
    for column in found:
        low, high, last = (_y(each, most) for each in (column.low, column.high, column.last))
        stops = [last] if low == high else [high, low, last] if last != low else [high, low]
        if here < 0:
            path, here = f"M0 {stops[0]}", stops[0]
        if stops != [here]:
            path += f"h{waits}" if waits else ""
            waits = 0
            for stop in stops:
                path += f"V{stop}" if stop != here else ""
                here = stop
        waits += 1
    return path + (f"h{waits}" if waits else "")


def area(found: Iterable[Column], most: float) -> str:
    """The same, closed at the ground."""
    return f"{line(found, most)}V{HEIGHT}H0Z"


def _y(value: float, most: float) -> int:
    return round(HEIGHT * (1 - min(max(value / most, 0.0), 1.0)))
