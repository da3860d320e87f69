"""Reads a trace from a file, whatever its format: told by what is in it, or named.

Names of files say little (`export(3).csv`), so the first line decides; a format can be named where that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tierwise_sim.traces import access_log, azure, mooncake, trace_file, usage_export
from tierwise_sim.traces.arrival import Trace
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.gathering import WHOLE, Window
from tierwise_sim.traces.lines import Document, first_line, header, is_json
from tierwise_sim.traces.spread import POISSON, Spreading
from tierwise_sim.traces.transform import cut

AZURE, MOONCAKE, ACCESS_LOG, USAGE, TRACE = "azure", "mooncake", "access-log", "usage", "trace"


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read. `window`: a part of the trace, in seconds from its start. `spreading`, `mean_prompt_tokens`: of
    usage exports only (see `usage_export`)."""

    window: Window = WHOLE
    spreading: Spreading = POISSON
    mean_prompt_tokens: float | None = None

    def __post_init__(self) -> None:
        """Refuse a mean request without a token."""
        if self.mean_prompt_tokens is not None and not self.mean_prompt_tokens >= 1:
            raise TraceError(f"mean prompt tokens are {self.mean_prompt_tokens}; expected at least 1")


def _usage(path: Path, reading: Reading) -> Trace:
    return cut(usage_export.read(path, reading.spreading, reading.mean_prompt_tokens), reading.window)


FORMATS: dict[str, Callable[[Path, Reading], Trace]] = {
    ACCESS_LOG: lambda path, reading: access_log.read(path, reading.window),
    AZURE: lambda path, reading: azure.read(path, reading.window),
    MOONCAKE: lambda path, reading: mooncake.read(path, reading.window),
    TRACE: lambda path, reading: cut(trace_file.read(path), reading.window),
    USAGE: _usage,
}


def read(path: Path, name: str = "", reading: Reading = Reading()) -> Trace:
    """The trace in this file. `name`: one of FORMATS, "" = by its content. Raises TraceError."""
    if name and name not in FORMATS:
        raise TraceError(f"no format {name!r}; expected one of {', '.join(sorted(FORMATS))}")
    return FORMATS[name or recognise(path)](path, reading)


def recognise(path: Path) -> str:
    """The name of the format of this file, by its first line or object. Raises TraceError when it has none of them."""
    if is_json(first_line(path)):
        return _of_object(_first_object(path))
    names = set(header(path))
    if names.issuperset(azure.COLUMNS):
        return AZURE
    if names & {*usage_export.REQUESTS, *usage_export.UNCACHED}:
        return USAGE
    if names & set(access_log.TIME) and names & set(access_log.PROMPT):
        return ACCESS_LOG
    raise TraceError(
        f"{path}:1: no known format begins like this; expected JSON, or a header of CSV: {', '.join(azure.COLUMNS)}; "
        f"or {usage_export.START[0]}, {usage_export.REQUESTS[0]}, {usage_export.INPUT[0]}, {usage_export.OUTPUT[0]}; "
        f"or time, {access_log.PROMPT[0]}, {access_log.OUTPUT[0]}"
    )


def _first_object(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(first_line(path))
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict):
        return found
    for _, each in Document(path).objects():
        return each
    raise TraceError(f"{path}: no JSON object in it; expected a trace")


def _of_object(row: dict[str, Any]) -> str:
    if trace_file.HEADER in row:
        return TRACE
    if {mooncake.PROMPT, mooncake.OUTPUT} <= row.keys():
        return MOONCAKE
    data = row.get("data")
    inside = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else row
    if inside.keys() & {"results", "result", *usage_export.REQUESTS, *usage_export.UNCACHED}:
        return USAGE
    return USAGE if data == [] else ACCESS_LOG
