"""A format is told by what is in the file, and can be named; what Tierwise writes it reads again, to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given

from tests.unit.simulator.traces.strategies import traces
from tierwise_sim.traces import formats, trace_file
from tierwise_sim.traces.arrival import Arrival, Trace
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.formats import Reading, read, recognise
from tierwise_sim.traces.gathering import Window

BUCKET = (
    '{"start_time": 0, "end_time": 9, "results": [{"input_tokens": 1, "output_tokens": 1, "num_model_requests": 1}]}'
)
LOG = '{"time": 0, "prompt_tokens": 1, "completion_tokens": 1}'
ROUTER = '{"time": "2026-03-01T10:00:00Z", "ms": 5, "firstTier": "a", "charges": []}'


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", formats.AZURE),
        ("\n\nTIMESTAMP, ContextTokens,GeneratedTokens,extra\n", formats.AZURE),
        ('{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": []}', formats.MOONCAKE),
        (LOG, formats.ACCESS_LOG),
        (ROUTER, formats.ACCESS_LOG),
        (f"[{LOG},\n{LOG}]", formats.ACCESS_LOG),
        ("time,prompt_tokens,completion_tokens\n", formats.ACCESS_LOG),
        (BUCKET, formats.USAGE),
        (f"[\n{BUCKET}]", formats.USAGE),
        (BUCKET.replace("results", "result"), formats.USAGE),
        (f'{{"data": [{LOG}]}}', formats.ACCESS_LOG),
        (json.dumps({"object": "page", "data": []}, indent=2), formats.USAGE),
        ("start_time,num_model_requests,input_tokens,output_tokens\n", formats.USAGE),
        ("usage_date_utc,usage_input_tokens_no_cache,usage_output_tokens\n", formats.USAGE),
        ('{"tierwise_trace": 1}', formats.TRACE),
    ],
)
def test_a_format_is_recognised(tmp_path: Path, text: str, name: str) -> None:
    path = tmp_path / "export(3).bin"
    path.write_text(text)
    assert recognise(path) == name


def test_a_format_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("timestamp,end_time,requests,prompt_tokens,completion_tokens\n0,9,3,5,6\n")
    assert len(read(path).arrivals) == 3
    assert read(path, formats.ACCESS_LOG).arrivals == (Arrival(0.0, 5, 6),)
    with pytest.raises(TraceError, match="no format 'csv'; expected one of access-log, azure, mooncake, trace, usage"):
        read(path, "csv")


@given(trace=traces())
def test_a_trace_written_and_read_is_the_same(tmp_path_factory: pytest.TempPathFactory, trace: Trace) -> None:
    path = tmp_path_factory.mktemp("trace") / "kept.jsonl"
    path.write_text("".join(trace_file.write(trace)), encoding="utf-8")
    assert read(path) == trace


def test_a_window_is_a_part_of_any_format(tmp_path: Path) -> None:
    trace = Trace("t", tuple(Arrival(float(n), n + 1, 1) for n in range(10)), 10.0, "s")
    kept = tmp_path / "kept"
    kept.write_text("".join(trace_file.write(trace)))
    usage = tmp_path / "usage"
    usage.write_text("start_time,end_time,requests,input_tokens,output_tokens\n0,10,10,20,10\n10,20,10,20,10\n")
    part = Reading(window=Window(2, 5))
    assert [each.prompt_tokens for each in read(kept, reading=part).arrivals] == [3, 4, 5]
    assert read(usage, "usage", Reading(window=Window(10))).duration == 10


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"tierwise_trace": 2}'], r"kept:1: tierwise_trace is 2; expected 1, the version that is known"),
        (['{"tierwise_trace": 1, "duration": 0}'], r"kept:1: duration is 0.0 s; expected more than 0"),
        (['{"tierwise_trace": 1}'], r"kept:1: duration is None; expected a number"),
        (['{"tierwise_trace": 1, "duration": 9}'], r"an empty trace"),
        (['{"tierwise_trace": 1, "duration": 9}', '{"at": 1}'], r"kept:2: no prompt_tokens; expected the fields at"),
        (
            ['{"tierwise_trace": 1, "duration": 9}', '{"at": 9, "prompt_tokens": 1, "output_tokens": 1}'],
            r"kept:2: at is 9.0 s; expected 0.0 s .* to below 9.0 s",
        ),
        (
            ['{"tierwise_trace": 1, "duration": 9}', '{"at": 1, "prompt_tokens": 0, "output_tokens": 1}'],
            r"kept:2: 0 prompt and 1 output tokens; expected 1 to",
        ),
        (
            [
                '{"tierwise_trace": 1, "duration": 9}',
                '{"at": 1, "prompt_tokens": 1, "output_tokens": 1, "prefix": "x"}',
            ],
            r"kept:2: prefix is 'x'; expected a list of whole numbers",
        ),
    ],
)
def test_a_broken_trace_of_our_own(tmp_path: Path, lines: list[str], message: str) -> None:
    path = tmp_path / "kept"
    path.write_text("\n".join(lines))
    with pytest.raises(TraceError, match=message):
        read(path)
