"""A provider's usage export is spread over its intervals; what it counts is kept, what it does not count is said."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.render.goldens import REPO
from tierwise_sim.traces.arrival import Trace
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.formats import Reading, read
from tierwise_sim.traces.spread import Spreading
from tools import example_usage

OPENAI: dict[str, Any] = {
    "object": "page",
    "data": [
        {
            "object": "bucket", "start_time": 1772409600, "end_time": 1772413200,
            "results": [
                {
                    "object": "organization.usage.completions.result", "input_tokens": 90_000, "output_tokens": 9_000,
                    "input_cached_tokens": 60_000, "num_model_requests": 100, "project_id": "proj_a", "user_id": None,
                    "api_key_id": None, "model": "large", "batch": False,
                },
                {"input_tokens": 500, "output_tokens": 100, "num_model_requests": 10, "model": "mini", "batch": True},
            ],
        },
        {"object": "bucket", "start_time": 1772413200, "end_time": 1772416800, "results": []},
        {
            "object": "bucket", "start_time": 1772416800, "end_time": 1772420400,
            "results": [{"input_tokens": 50, "output_tokens": 5, "num_model_requests": 5, "model": "mini"}],
        },
    ],
    "has_more": False, "next_page": None,
}  # fmt: skip
ANTHROPIC = {
    "data": [
        {
            "starting_at": "2026-03-02T00:00:00Z", "ending_at": "2026-03-02T01:00:00Z",
            "results": [
                {
                    "uncached_input_tokens": 1000, "cache_read_input_tokens": 2000,
                    "cache_creation": {"ephemeral_1h_input_tokens": 300, "ephemeral_5m_input_tokens": 700},
                    "output_tokens": 400, "api_key_id": None, "workspace_id": "wrkspc_1", "model": "claude",
                    "service_tier": "standard", "context_window": "0-200k",
                    "server_tool_use": {"web_search_requests": 0},
                }
            ],
        }
    ],
    "has_more": True, "next_page": "page_2",
}  # fmt: skip


def written(folder: Path, content: object, **how: Any) -> Path:
    path = folder / "usage"
    path.write_text(content if isinstance(content, str) else json.dumps(content, **how))
    return path


def sums(trace: Trace, **of: str) -> tuple[int, int, int]:
    """Requests, prompt and output tokens of those with these fields."""
    found = [each for each in trace.arrivals if all(getattr(each, name) == value for name, value in of.items())]
    return len(found), sum(each.prompt_tokens for each in found), sum(each.output_tokens for each in found)


@pytest.mark.parametrize("indent", [None, 2])
def test_openai(tmp_path: Path, indent: int | None) -> None:
    trace = read(written(tmp_path, OPENAI, indent=indent))
    assert sums(trace, model="large", tenant="proj_a") == (100, 90_000, 9_000)
    assert sums(trace, model="mini", tenant="") == (15, 550, 105)
    assert trace.duration == 3 * 3600
    assert not [each for each in trace.arrivals if 3600 <= each.at < 7200]
    cached = sum(len(each.prefix) * each.block_tokens for each in trace.arrivals)
    assert 59_000 < cached <= 60_000
    assert any(note.startswith("spread: times within each interval are drawn") for note in trace.notes)
    assert any("the same beginning for all requests" in note for note in trace.notes)
    assert any(note.startswith("10 requests went to a batch API") for note in trace.notes)


def test_pages_one_after_another_and_in_an_array(tmp_path: Path) -> None:
    pages = [{**OPENAI, "data": [bucket], "has_more": True} for bucket in OPENAI["data"]]
    last = {**pages[-1], "has_more": False}
    expected = read(written(tmp_path, OPENAI)).arrivals
    for text in (
        "\n".join(json.dumps(page) for page in [*pages[:-1], last]),
        "\n".join(json.dumps(page, indent=1) for page in [*pages[:-1], last]),
        json.dumps([*pages[:-1], last], indent=1),
        json.dumps(OPENAI["data"]),
        "\n".join(map(json.dumps, OPENAI["data"])),
    ):
        trace = read(written(tmp_path, text))
        assert trace.arrivals == expected
        assert not any("has_more" in note for note in trace.notes)


def test_anthropic_counts_no_requests_so_the_user_says_how_long_one_is(tmp_path: Path) -> None:
    path = written(tmp_path, ANTHROPIC)
    with pytest.raises(TraceError, match=r"usage:1: the export counts tokens but no requests"):
        read(path)
    trace = read(path, reading=Reading(mean_prompt_tokens=400))
    assert sums(trace, model="claude", tenant="wrkspc_1") == (10, 4000, 400)
    assert 1700 < sum(len(each.prefix) * each.block_tokens for each in trace.arrivals) <= 2000
    assert "requests are not in the export: one per 400 input tokens is assumed" in trace.notes
    assert any("the export goes on (has_more)" in note for note in trace.notes)
    with pytest.raises(TraceError, match="expected at least 1"):
        Reading(mean_prompt_tokens=0)


@pytest.mark.parametrize(
    ("header", "rows", "expected", "seconds"),
    [
        (
            "start_time,end_time,num_model_requests,project_id,model,batch,input_tokens,output_tokens,input_cached_tokens",
            ["1772409600,1772413200,20,p,m,false,4000,300,0", "1772413200,1772416800,0,p,m,,0,0,0"],
            (20, 4000, 300),
            7200,
        ),
        (
            "organization_id,aggregation_timestamp,n_requests,snapshot_id,n_context_tokens_total,n_generated_tokens_total",
            ["o,1772409600,20,m,4000,300", "o,1772413200,1,m,50,10"],
            (21, 4050, 310),
            7200,
        ),
        (
            "timestamp,requests,prompt_tokens,completion_tokens,end_time",
            ["2026-03-02,9,90,9,2026-03-03"],
            (9, 90, 9),
            86400,
        ),
    ],
)
def test_csv(tmp_path: Path, header: str, rows: list[str], expected: tuple[int, int, int], seconds: float) -> None:
    trace = read(written(tmp_path, "\n".join([header, *rows])), "usage")
    assert sums(trace) == expected
    assert trace.duration == seconds
    assert any("an interval lasts 24 h" in note for note in trace.notes) == (seconds == 86400)


def test_csv_of_anthropics_console(tmp_path: Path) -> None:
    text = (
        "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
        "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
        "usage_output_tokens,web_search_count\n"
        "2026-03-01,claude,k,Default,batch,≤ 200k,100,200,300,400,50,0\n"
        "2026-03-02,claude,k,Default,standard,≤ 200k,1000,0,0,0,50,0\n"
    )
    trace = read(written(tmp_path, text), reading=Reading(mean_prompt_tokens=100))
    assert sums(trace, tenant="Default") == (20, 2000, 100)
    assert trace.duration == 2 * 86400
    assert any(note.startswith("10 requests went to a batch API") for note in trace.notes)


def changed(**result: Any) -> Mapping[str, Any]:
    first = OPENAI["data"][0]
    return {**OPENAI, "data": [first, {**first, "results": [{**first["results"][0], **result}]}]}


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"num_model_requests": 0}, "90,000 input and 9,000 output tokens of no request; expected requests above 0"),
        ({"num_model_requests": -1}, "num_model_requests is -1; expected a whole number"),
        ({"num_model_requests": 1.5}, "num_model_requests is 1.5"),
        ({"input_tokens": None}, "no input tokens; expected one of input_tokens"),
        ({"output_tokens": "many"}, "output_tokens is 'many'; expected a number"),
        ({"input_cached_tokens": 90_001}, "90,001 cached of 90,000 input tokens"),
        ({"start_time": 1772409600, "end_time": 1772409600}, "an interval of 0 s that begins 0 days after the first"),
        ({"start_time": 1872409600, "end_time": 1872409700}, "an interval of 100 s that begins 1157 days after"),
        ({"end_time": "later"}, "end_time is 'later'; expected a time"),
    ],
)
def test_a_broken_result_is_refused_with_the_line_of_its_bucket(
    tmp_path: Path, result: dict[str, Any], message: str
) -> None:
    path = written(tmp_path, changed(**result), indent=2)
    lines = path.read_text().splitlines()
    bucket = max(number for number, line in enumerate(lines, start=1) if '"object": "bucket"' in line) - 1
    with pytest.raises(TraceError, match=rf"usage:{bucket}: {message}"):
        read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"data": [{"start_time": 1,\n"results": [}]}', "usage:2: no JSON"),
        ('{"object": "page",\n"data": [5]}', "usage:2: a JSON int; expected one JSON object"),
        ('{"object": "page",\n"data": [{"results": 5}]}', "usage:2: results is 5; expected a list"),
        ('{"data": []}', "no interval with usage in it; expected at least one"),
        (
            "start_time,num_model_requests,input_tokens\n1,1,1\n",
            "usage:1: no column for output tokens; expected one of",
        ),
        (
            "start_time,num_model_requests,input_tokens,output_tokens\n1,1,1,1\n",
            "usage:2: one interval, and not when it",
        ),
        ("start_time,end_time,requests,input_tokens,output_tokens\n0,9,0,0,0\n", "its 1 rows count no request"),
        (
            "start_time,end_time,requests,input_tokens,output_tokens\n0,9,6000000,6000000,0\n",
            "6,000,000 requests; expected at most 5,000,000",
        ),
        (
            "start_time,end_time,requests,input_tokens,output_tokens\n0,9,2,60000000,1\n",
            "60,000,000 prompt and 2 output tokens; expected at most 500,000 tokens in the mean request",
        ),
    ],
)
def test_a_broken_export(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        read(written(tmp_path, text), "usage")


@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 30), st.integers(1, 60), st.integers(0, 30_000), st.integers(0, 3_000), st.integers(0, 100),
            st.sampled_from(["", "small", "large"]),
        ),
        min_size=1,
        max_size=8,
    ),
    burstiness=st.floats(0, 5),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_what_was_counted_is_kept(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, int, int, int, int, str]],
    burstiness: float,
    seed: int,
) -> None:
    """Written as CSV and read: requests and tokens per hour and model are as before, each with at least one token."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(
        [
            "start_time",
            "end_time",
            "num_model_requests",
            "input_tokens",
            "input_cached_tokens",
            "output_tokens",
            "model",
        ]
    )
    meant: dict[tuple[int, str], list[int]] = {}
    for hour, requests, prompt, output, cached, model in rows:
        start = 1772409600 + hour * 3600
        table.writerow([start, start + 3600, requests, prompt, prompt * cached // 100, output, model])
        for place, value in enumerate((requests, max(prompt, requests), max(output, requests))):
            meant.setdefault((hour, model), [0, 0, 0])[place] += value
    path = tmp_path_factory.mktemp("usage") / "usage.csv"
    path.write_text(out.getvalue())
    trace = read(path, reading=Reading(spreading=Spreading(burstiness=burstiness, seed=seed)))
    begins = min(hour for hour, _ in meant)
    found: dict[tuple[int, str], list[int]] = {}
    for each in trace.arrivals:
        bucket = found.setdefault((begins + int(each.at // 3600), each.model), [0, 0, 0])
        for place, value in enumerate((1, each.prompt_tokens, each.output_tokens)):
            bucket[place] += value
    assert found == meant


def test_the_example_is_what_its_script_makes_and_its_first_day_is_understood(tmp_path: Path) -> None:
    lines = list(example_usage.rows())
    assert (REPO / "examples/10-what-would-it-cost/usage.csv").read_text() == "".join(lines)
    day = 1 + 24 * 2 + 4  # two products by the hour, one in four of them
    rows = list(csv.DictReader(lines[:day]))
    trace = read(written(tmp_path, "".join(lines[:day])))
    assert trace.duration == 86400
    assert sums(trace) == tuple(
        sum(int(row[name]) for row in rows) for name in ("num_model_requests", "input_tokens", "output_tokens")
    )
