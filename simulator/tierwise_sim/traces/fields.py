"""Reads numbers, times and names out of one row of a trace, and refuses what cannot be meant.

Logs hold numbers as text, times in four units, and fields that are there but empty; a wrong unit or a wrong column is
common, and a simulation of it would look plausible. So every value is checked where it is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tierwise_sim.traces.arrival import MOST_TOKENS
from tierwise_sim.traces.errors import FieldProblem

Row = Mapping[str, Any]

FIRST_EPOCH = 1e8
"""Seconds: smaller numbers are seconds since the trace's start, as in a generated trace; this one is in March 1973."""
_UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (math.inf, 1e9))
_TIME = "a time: ISO 8601, seconds, or milli-, micro- or nanoseconds since 1970"
_LONGEST_SHOWN = 40


def first(rows: Iterable[Row], names: Iterable[str]) -> tuple[str, Any] | None:
    """The first of these fields that is there and not empty, in the first row that has one: its name and value."""
    for row in rows:
        for name in names:
            value = row.get(name)
            if value is not None and value != "":
                return name, value
    return None


def shown(value: object) -> str:
    """A value as it is put into a message: short, and with its quotes."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def number(value: object, name: str) -> float:
    """A finite number, or text that holds one. Raises FieldProblem."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            found = float(value)
        except (ValueError, OverflowError):
            found = math.nan
        if math.isfinite(found):
            return found
    raise FieldProblem(f"{name} is {shown(value)}", "a number")


def count(value: object, name: str, most: float = MOST_TOKENS) -> int:
    """A whole number from 0 to `most`. Raises FieldProblem."""
    # A whole number of 64 bits, such as a hash, does not survive a float.
    found = value if isinstance(value, int) and not isinstance(value, bool) else number(value, name)
    if found != int(found) or not 0 <= found <= most:
        raise FieldProblem(f"{name} is {shown(value)}", f"a whole number from 0 to {most:,.0f}")
    return int(found)


def tokens(value: object, name: str) -> int:
    """Tokens of one request: at least 1, since an engine computes one even where a log says 0. Raises FieldProblem."""
    return max(1, count(value, name))


def moment(value: object, name: str) -> float:
    """A time in seconds: since 1970, or below FIRST_EPOCH since the trace's start. Without a zone it is UTC.

    Raises FieldProblem.
    """
    if isinstance(value, str) and not _is_number(value):
        try:
            parsed = datetime.fromisoformat(value.strip())
        except ValueError:
            raise FieldProblem(f"{name} is {shown(value)}", _TIME) from None
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    try:
        found = number(value, name)
    except FieldProblem as problem:
        raise FieldProblem(problem.reason, _TIME) from None
    if found < 0:
        raise FieldProblem(f"{name} is {shown(value)}", _TIME)
    return found / next(unit for below, unit in _UNITS if found < below)


def text(value: object) -> str:
    """A name; numbers and true/false as they are written."""
    return value if isinstance(value, str) else str(value)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
