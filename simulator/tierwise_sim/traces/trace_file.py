"""Reads and writes a trace as Tierwise keeps it: JSON lines, nothing lost.

For a trace that was expensive to get (the history of a Prometheus) or that was cut and scaled: the file gives the same
trace again, to the bit. The first line is about the trace, each further one is a request; fields at their default are
left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from tierwise_sim.traces.arrival import Arrival, Trace, problem_of
from tierwise_sim.traces.errors import FieldProblem, at_line
from tierwise_sim.traces.fields import count, number, shown
from tierwise_sim.traces.gathering import LONGEST_SECONDS
from tierwise_sim.traces.lines import objects

HEADER = "tierwise_trace"
VERSION = 1
_DEFAULTS = {field.name: field.default for field in fields(Arrival)}
_REQUIRED = ("at", "prompt_tokens", "output_tokens")


def write(trace: Trace) -> Iterator[str]:
    """The lines of such a file, each with its line break."""
    about = {
        HEADER: VERSION,
        "name": trace.name,
        "duration": trace.duration,
        "source": trace.source,
        "notes": trace.notes,
    }
    yield json.dumps(about) + "\n"
    for arrival in trace.arrivals:
        row = {name: getattr(arrival, name) for name in _DEFAULTS}
        yield json.dumps({name: value for name, value in row.items() if value != _DEFAULTS[name]}) + "\n"


def read(path: Path) -> Trace:
    """The trace in this file. Raises TraceError with file, line and reason."""
    rows = objects(path)
    line, about = next(rows, (1, {}))
    try:
        if about.get(HEADER) != VERSION:
            raise FieldProblem(f"{HEADER} is {shown(about.get(HEADER))}", f"{VERSION}, the version that is known")
        duration = number(about.get("duration"), "duration")
        if not 0 < duration <= LONGEST_SECONDS:
            raise FieldProblem(f"duration is {duration} s", "more than 0 s, at most a year")
    except FieldProblem as problem:
        raise at_line(path, line, problem.reason, problem.expected) from None
    arrivals: list[Arrival] = []
    for line, row in rows:
        try:
            arrivals.append(_arrival(row, arrivals[-1].at if arrivals else 0.0, duration))
        except FieldProblem as problem:
            raise at_line(path, line, problem.reason, problem.expected) from None
    notes = about.get("notes")
    return Trace(
        name=str(about.get("name", path.name)),
        arrivals=tuple(arrivals),
        duration=duration,
        source=str(about.get("source", path.name)),
        notes=tuple(map(str, notes)) if isinstance(notes, list) else (),
    )


def _arrival(row: Mapping[str, Any], before: float, duration: float) -> Arrival:
    for name in _REQUIRED:
        if name not in row:
            raise FieldProblem(f"no {name}", f"the fields {', '.join(_REQUIRED)}")
    at = number(row["at"], "at")
    if not before <= at < duration:
        raise FieldProblem(f"at is {at} s", f"{before} s (the request before it) to below {duration} s (the end)")
    prefix = row.get("prefix", [])
    if not isinstance(prefix, list) or not all(type(each) is int for each in prefix):
        raise FieldProblem(f"prefix is {shown(prefix)}", "a list of whole numbers")
    label = row.get("label")
    arrival = Arrival(
        at=at,
        prompt_tokens=count(row["prompt_tokens"], "prompt_tokens"),
        output_tokens=count(row["output_tokens"], "output_tokens"),
        prefix=tuple(prefix),
        block_tokens=count(row.get("block_tokens", 0), "block_tokens"),
        tenant=str(row.get("tenant", "")),
        model=str(row.get("model", "")),
        label=None if label is None else number(label, "label"),
    )
    problem = problem_of(arrival)
    if problem is not None:
        raise problem
    return arrival
