"""Reads what a provider's usage page exports: requests and tokens per interval, by model and project.

JSON as OpenAI's usage API gives it (`/v1/organization/usage/completions`: buckets with results), as Anthropic's usage
report gives it (`/v1/organizations/usage_report/messages`), one page or several after one another; CSV with the same
names, with those of OpenAI's former activity export, or of Anthropic's console. OpenAI's input tokens include the
cached ones, Anthropic's do not; Anthropic counts no requests, so the user has to say how long one is. Hours (or
minutes) are what to export: days hide the night.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tierwise_sim.traces.arrival import Trace
from tierwise_sim.traces.errors import FieldProblem, TraceError, at_line
from tierwise_sim.traces.fields import Row, count, first, moment, shown, text
from tierwise_sim.traces.gathering import LONGEST_SECONDS
from tierwise_sim.traces.lines import Document, first_line, header, is_json, table
from tierwise_sim.traces.spread import Counted, Spreading, spread

START = (
    "start_time",
    "start_time_iso",
    "starting_at",
    "bucket_start",
    "aggregation_timestamp",
    "usage_date_utc",
    "timestamp",
)
END = ("end_time", "end_time_iso", "ending_at", "bucket_end")
REQUESTS = ("num_model_requests", "n_requests", "num_requests", "request_count", "requests")
INPUT = ("input_tokens", "n_context_tokens_total", "prompt_tokens")
CACHED = ("input_cached_tokens", "n_cached_context_tokens_total", "cached_input_tokens", "cached_tokens")
OUTPUT = ("output_tokens", "usage_output_tokens", "n_generated_tokens_total", "completion_tokens")
UNCACHED = ("uncached_input_tokens", "usage_input_tokens_no_cache")
CACHE_READ = ("cache_read_input_tokens", "usage_input_tokens_cache_read")
CACHE_WRITE = (
    "cache_creation_input_tokens", "ephemeral_1h_input_tokens", "ephemeral_5m_input_tokens",
    "cache_creation_1h_input_tokens", "cache_creation_5m_input_tokens",
    "usage_input_tokens_cache_write_1h", "usage_input_tokens_cache_write_5m",
)  # fmt: skip
MODEL = ("model", "model_version", "snapshot_id")
TENANT = ("project_id", "project_name", "workspace_id", "workspace", "user_id", "api_key_id", "api_key")
_MOST = 1e15  # of requests or tokens in an interval: more is no count
_DAY = 86400.0
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class _Result:
    """One row of the export. Times in seconds since 1970; `end` and `requests` None where it does not say them."""

    start: float
    end: float | None
    requests: int | None
    prompt: int
    cached: int
    output: int
    tenant: str
    model: str
    batch: bool
    line: int


def read(path: Path, spreading: Spreading, mean_prompt_tokens: float | None = None) -> Trace:
    """The trace that this export stands for, spread over its intervals.

    `mean_prompt_tokens`: of one request, for an export that counts none. Raises TraceError with file, line and reason.
    """
    incomplete: list[str] = []
    results = list(_pages(path, incomplete) if is_json(first_line(path)) else _table(path))
    if not results:
        raise TraceError(f"{path}: no interval with usage in it; expected at least one")
    origin = min(each.start for each in results)
    width = _width(path, results)
    counts = [_counted(path, each, origin, width, mean_prompt_tokens) for each in results]
    arrivals, notes = spread(counts, spreading)
    if not arrivals:
        raise TraceError(f"{path}: its {len(results)} rows count no request; expected at least one")
    duration = max(each.start + each.seconds for each in counts)
    every = (*incomplete, *_notes(results, counts, mean_prompt_tokens), *notes)
    return Trace(path.name, arrivals, duration, f"{path.name} (a provider's usage export)", every)


def _table(path: Path) -> Iterator[_Result]:
    names = header(path)
    for wanted, what in (
        (START, "the start of the interval"),
        (OUTPUT, "output tokens"),
        ((*INPUT, *UNCACHED), "input tokens"),
    ):
        if not set(wanted) & set(names):
            raise at_line(path, 1, f"no column for {what}", f"one of {', '.join(wanted)}")
    for line, row in table(path):
        yield _result(path, line, (row,))


def _pages(path: Path, notes: list[str]) -> Iterator[_Result]:
    document = Document(path)
    more = False
    for at, found in document.objects():
        if _results(found) is not None:
            yield from _bucket(path, document, at, found)
            continue
        more = bool(found.get("has_more"))
        for place, bucket in document.elements("data", at):
            yield from _bucket(path, document, place, bucket)
    if more:
        notes.append("the export goes on (has_more): fetch the other pages too and append them to the file")


def _bucket(path: Path, document: Document, at: int, bucket: Mapping[str, Any]) -> Iterator[_Result]:
    line = document.line(at)
    results = _results(bucket)
    if results is None:  # OpenAI's former export: no buckets, rows
        yield _result(path, line, (bucket,))
        return
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        raise at_line(path, line, f"results is {shown(results)}", "a list of objects")
    for each in results:
        inner = each.get("cache_creation")
        yield _result(path, line, (each, bucket, inner) if isinstance(inner, dict) else (each, bucket))


def _results(bucket: Mapping[str, Any]) -> object:
    """What was counted in this bucket; None when it is none. OpenAI's reference has both names."""
    return bucket.get("results", bucket.get("result"))


def _result(path: Path, line: int, rows: tuple[Row, ...]) -> _Result:
    try:
        return _parsed(rows, line)
    except FieldProblem as problem:
        raise at_line(path, line, problem.reason, problem.expected) from None


def _parsed(rows: tuple[Row, ...], line: int) -> _Result:
    start, end, requests = first(rows, START), first(rows, END), first(rows, REQUESTS)
    if start is None:
        raise FieldProblem("no start of the interval", f"one of {', '.join(START)}")
    uncached = first(rows, UNCACHED)
    if uncached is not None:
        cached = _sum(rows, CACHE_READ)
        prompt = _sum(rows, UNCACHED) + cached + _sum(rows, CACHE_WRITE)
    else:
        given = first(rows, INPUT)
        if given is None:
            raise FieldProblem("no input tokens", f"one of {', '.join((*INPUT, *UNCACHED))}")
        prompt, cached = count(given[1], given[0], _MOST), _sum(rows, CACHED)
        if cached > prompt:
            raise FieldProblem(f"{cached:,} cached of {prompt:,} input tokens", "cached tokens to be part of the input")
    output = first(rows, OUTPUT)
    if output is None:
        raise FieldProblem("no output tokens", f"one of {', '.join(OUTPUT)}")
    batch = first(rows, ("batch",))
    tier = first(rows, ("service_tier", "usage_type"))
    return _Result(
        start=moment(start[1], start[0]),
        end=None if end is None else moment(end[1], end[0]),
        requests=None if requests is None else count(requests[1], requests[0], _MOST),
        prompt=prompt,
        cached=cached,
        output=count(output[1], output[0], _MOST),
        tenant=_name(rows, TENANT),
        model=_name(rows, MODEL),
        batch=(batch is not None and text(batch[1]).lower() == "true") or (tier is not None and tier[1] == "batch"),
        line=line,
    )


def _sum(rows: tuple[Row, ...], names: tuple[str, ...]) -> int:
    found = (first(rows, (name,)) for name in names)
    return sum(count(each[1], each[0], _MOST) for each in found if each is not None)


def _name(rows: tuple[Row, ...], names: tuple[str, ...]) -> str:
    found = first(rows, names)
    return "" if found is None else text(found[1])


def _width(path: Path, results: list[_Result]) -> float:
    """The seconds of an interval whose end is not said: the smallest distance between two starts."""
    if all(each.end is not None for each in results):
        return 0.0
    starts = sorted({each.start for each in results})
    gaps = [high - low for low, high in pairwise(starts)]
    if not gaps:
        raise at_line(path, results[0].line, "one interval, and not when it ends", f"one of {', '.join(END)}")
    return min(gaps)


def _counted(path: Path, each: _Result, origin: float, width: float, mean: float | None) -> Counted:
    seconds = width if each.end is None else each.end - each.start
    if not 0 < seconds <= LONGEST_SECONDS or each.start - origin > LONGEST_SECONDS:
        reason = f"an interval of {seconds:g} s that begins {(each.start - origin) / _DAY:.0f} days after the first"
        raise at_line(path, each.line, reason, "intervals of more than 0 s, all within a year")
    requests = each.requests
    if requests is None:
        if mean is None:
            reason = "the export counts tokens but no requests, so say how many input tokens a request has"
            raise at_line(path, each.line, reason, f"one of {', '.join(REQUESTS)}, or the mean prompt tokens")
        requests = math.ceil(each.prompt / mean) if each.prompt else min(1, each.output)
    if not requests and (each.prompt or each.output):
        reason = f"{each.prompt:,} input and {each.output:,} output tokens of no request"
        raise at_line(path, each.line, reason, "requests above 0")
    return Counted(
        each.start - origin, seconds, requests, each.prompt, each.output, each.cached, each.tenant, each.model
    )


def _notes(results: list[_Result], counts: list[Counted], mean: float | None) -> Iterator[str]:
    longest = max(each.seconds for each in counts)
    if longest > _HOUR:
        yield f"an interval lasts {longest / _HOUR:g} h: export hours or minutes if the provider has them"
    if mean is not None and any(each.requests is None for each in results):
        yield f"requests are not in the export: one per {mean:g} input tokens is assumed"
    batch = sum(counted.requests for result, counted in zip(results, counts, strict=True) if result.batch)
    if batch:
        yield f"{batch:,} requests went to a batch API, which may answer a day later: they are treated as any other"
