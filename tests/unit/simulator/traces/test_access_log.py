"""Access logs are read by the names that products give to things, and what they do not say is not guessed."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.cost import Usage
from tierwise_router.access_log import AccessLog
from tierwise_router.record import Charge, Ledger, Record
from tierwise_sim.traces import access_log
from tierwise_sim.traces.arrival import Arrival, Trace
from tierwise_sim.traces.beginnings import ASSUMED
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.formats import read

ORIGIN = {"time": "2026-03-01T10:00:00Z", "prompt_tokens": 1, "completion_tokens": 1}
"""A first row, so that the time of the second is seen."""


def log(folder: Path, *rows: dict[str, Any]) -> Trace:
    path = folder / "access.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read(path)


def second(folder: Path, row: dict[str, Any]) -> Arrival:
    return log(folder, ORIGIN, row).arrivals[1]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param(
            {"time": "2026-03-01T10:00:07.5Z", "prompt_tokens": 120, "completion_tokens": 30},
            Arrival(7.5, 120, 30),
            id="plain",
        ),
        pytest.param(
            {"timestamp": 1772359207.5, "input_tokens": 120, "output_tokens": 30, "tenant": "a", "model": "m"},
            Arrival(7.5, 120, 30, tenant="a", model="m"),
            id="seconds since 1970",
        ),
        pytest.param(
            {"ts": 1772359207500, "promptTokens": "120", "completionTokens": "30"},
            Arrival(7.5, 120, 30),
            id="milliseconds, numbers as text",
        ),
        pytest.param(
            {"ts": "1772359207500000000", "inputTokens": 120, "outputTokens": 30},
            Arrival(7.5, 120, 30),
            id="nanoseconds",
        ),
        pytest.param(
            {
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1772359207, "model": "m",
                "usage": {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150},
            },
            Arrival(7.0, 120, 30, model="m"),
            id="an OpenAI answer",
        ),
        pytest.param(
            {
                "created_at": 1772359207, "model": "m", "status": "completed",
                "usage": {"input_tokens": 120, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 30},
            },
            Arrival(7.0, 120, 30, model="m"),
            id="an OpenAI response",
        ),
        pytest.param(
            {
                "custom_id": "1",
                "response": {
                    "status_code": 200,
                    "body": {
                        "created": 1772359207, "model": "m", "usage": {"prompt_tokens": 9, "completion_tokens": 3},
                    },
                },
            },
            Arrival(7.0, 9, 3, model="m"),
            id="an OpenAI batch result",
        ),
        pytest.param(
            {
                "time": "2026-03-01T10:00:07+00:00", "model": "c",
                "usage": {
                    "input_tokens": 20, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 0,
                    "output_tokens": 30,
                },
            },
            Arrival(7.0, 120, 30, model="c"),
            id="an Anthropic usage object, whose input is without the cache",
        ),
        pytest.param(
            {
                "request_id": "r", "call_type": "acompletion", "api_key": "88dc28", "spend": 0.001, "total_tokens": 150,
                "prompt_tokens": 120, "completion_tokens": 30, "startTime": "2026-03-01T10:00:07+00:00",
                "endTime": "2026-03-01T10:00:09+00:00", "model": "azure/gpt-4o", "model_group": "gpt-4o", "user": "u",
                "team_id": "team-7", "metadata": {"user_api_key": "88dc28"}, "cache_hit": "False", "status": "success",
            },
            Arrival(7.0, 120, 30, tenant="team-7", model="gpt-4o"),
            id="a LiteLLM spend log",
        ),
        pytest.param(
            {
                "id": "x", "status": "success", "prompt_tokens": 120, "completion_tokens": 30,
                "startTime": 1772359207.25, "endTime": 1772359208.0, "response_time": 0.75,
                "model": "m", "model_group": "chat", "end_user": "",
                "metadata": {"user_api_key_team_alias": "sales"},
            },
            Arrival(7.25, 120, 30, tenant="sales", model="chat"),
            id="a LiteLLM standard logging payload",
        ),
        pytest.param(
            {
                "@timestamp": "2026-03-01T11:00:07+01:00",
                "attributes": {
                    "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 120, "gen_ai.usage.output_tokens": 30,
                },
            },
            Arrival(7.0, 120, 30, model="m"),
            id="OpenTelemetry",
        ),
        pytest.param(
            {
                "time": "2026-03-01 10:00:07", "prompt_tokens": 40, "completion_tokens": 30, "prefix": [5, 6],
                "block_tokens": 16, "label": 0.25,
            },
            Arrival(7.0, 40, 30, (5, 6), 16, label=0.25),
            id="a prefix and a label",
        ),
        pytest.param(
            {
                "time": "2026-03-01 10:00:07", "prompt_tokens": 40, "completion_tokens": 3, "prefix_hash": "ab",
                "prefix_tokens": 32,
            },
            Arrival(7.0, 40, 3, (xxhash.xxh3_64_intdigest(b"ab"),), 32),
            id="one hash, of so many tokens",
        ),
    ],
)  # fmt: skip
def test_what_people_have(tmp_path: Path, row: dict[str, Any], expected: Arrival) -> None:
    assert second(tmp_path, row) == expected


def test_times_may_be_seconds_since_the_start(tmp_path: Path) -> None:
    trace = log(tmp_path, *({"time": at, "prompt_tokens": 5, "output_tokens": 5} for at in (0.5, 1.5)))
    assert [each.at for each in trace.arrivals] == [0.5, 1.5]


def test_a_csv_of_the_same_names(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        "startTime,prompt_tokens,completion_tokens,model_group,team_id\n"
        "2026-03-01 10:00:00,5,6,m,\n2026-03-01 10:00:02,7,8,,a\n"
    )
    assert read(path).arrivals == (Arrival(0.0, 5, 6, model="m"), Arrival(2.0, 7, 8, tenant="a"))


def test_an_array_over_many_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(json.dumps([ORIGIN, ORIGIN], indent=2))
    assert len(read(path).arrivals) == 2
    path.write_text(json.dumps([ORIGIN, {**ORIGIN, "time": "noon"}], indent=2))
    with pytest.raises(TraceError, match=r"log:7: time is 'noon'; expected a time"):
        read(path)


def test_pages_of_an_api(tmp_path: Path) -> None:
    path = tmp_path / "log"
    page = {"data": [ORIGIN, ORIGIN], "total": 4, "page": 1, "page_size": 2, "total_pages": 2}
    path.write_text(json.dumps(page) + json.dumps({**page, "page": 2}))
    assert len(read(path).arrivals) == 4


def test_cached_tokens_become_one_shared_beginning(tmp_path: Path) -> None:
    def row(tenant: str, cached: int) -> dict[str, Any]:
        details = {"prompt_tokens_details": {"cached_tokens": cached}}
        return {"time": 0, "tenant": tenant, "usage": {"prompt_tokens": 1000, "completion_tokens": 5, **details}}

    trace = log(tmp_path, row("a", 0), row("a", 512), row("a", 256), row("b", 256))
    none, long, short, other = (arrival.prefix for arrival in trace.arrivals)
    assert none == ()
    assert (len(long), len(short), len(other)) == (4, 2, 2)
    assert long[:2] == short
    assert not set(other) & set(long)
    assert trace.arrivals[1].block_tokens == 128
    assert ASSUMED in trace.notes


def test_cached_tokens_of_anthropic_are_added_to_the_input(tmp_path: Path) -> None:
    usage = {"input_tokens": 20, "cache_read_input_tokens": 256, "output_tokens": 30}
    found = second(tmp_path, {"time": "2026-03-01T10:00:07Z", "usage": usage})
    assert (found.prompt_tokens, len(found.prefix)) == (276, 2)


def test_those_that_litellm_repeats_are_not_added_twice(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 276, "cache_read_input_tokens": 256, "completion_tokens": 30}
    found = second(tmp_path, {"time": "2026-03-01T10:00:07Z", "usage": usage})
    assert (found.prompt_tokens, len(found.prefix)) == (276, 2)


@pytest.mark.parametrize(
    "failed",
    [{"status": "failure"}, {"status": 503}, {"status_code": "429"}, {"prompt_tokens": 0, "completion_tokens": 0}],
)
def test_failed_requests_are_left_out_and_counted(tmp_path: Path, failed: dict[str, Any]) -> None:
    trace = log(tmp_path, ORIGIN, {**ORIGIN, **failed})
    assert len(trace.arrivals) == 1
    assert any(note.startswith("1 rows left out: they say that the request failed") for note in trace.notes)
    with pytest.raises(TraceError, match=r"1 rows say that the request failed.*; expected at least one request"):
        log(tmp_path, {**ORIGIN, **failed})


def test_an_embedding_counts_one_output_token_and_says_so(tmp_path: Path) -> None:
    trace = log(tmp_path, {**ORIGIN, "completion_tokens": 0})
    assert trace.arrivals[0].output_tokens == 1
    assert trace.notes == ("1 of 1 requests have no output tokens: one is assumed",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt_tokens": 1, "completion_tokens": 1}, "no time of the request; expected one of startTime, start_time"),
        ({"time": 1, "completion_tokens": 1}, "no input tokens; expected one of prompt_tokens"),
        ({"time": 1, "prompt_tokens": 1}, "no output tokens; expected one of completion_tokens"),
        ({"time": "soon", "prompt_tokens": 1, "completion_tokens": 1}, "time is 'soon'; expected a time"),
        ({"time": -5, "prompt_tokens": 1, "completion_tokens": 1}, "time is -5; expected a time"),
        ({"time": True, "prompt_tokens": 1, "completion_tokens": 1}, "time is True; expected a time"),
        ({"time": 1, "prompt_tokens": -1, "completion_tokens": 1}, "prompt_tokens is -1; expected a whole number"),
        ({"time": 1, "prompt_tokens": 1e300, "completion_tokens": 1}, "prompt_tokens is 1e"),
        ({"time": 1, "prompt_tokens": [], "completion_tokens": 1}, r"prompt_tokens is \[\]; expected a number"),
        ({"time": 1, "prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": 10}, "10 cached of 9 input tokens"),
        (
            {"time": 1, "prompt_tokens": 9, "completion_tokens": 1, "prefix": [1]},
            "prefix without the tokens of a block",
        ),
        (
            {"time": 1, "prompt_tokens": 9, "completion_tokens": 1, "prefix": [1.5], "block_tokens": 4},
            "a block of prefix is 1.5; expected a whole number or a text",
        ),
        (
            {"time": 1, "prompt_tokens": 9, "completion_tokens": 1, "prefix": [1, 2, 3], "block_tokens": 5},
            "a prefix of 3 blocks for 9 tokens; expected at most 2",
        ),
        ({"time": 1, "prompt_tokens": 9, "completion_tokens": 1, "label": 2}, "label is 2.0; expected the probability"),
        ({"time": 1772359207, "prompt_tokens": 9, "completion_tokens": 1}, "days after the first; expected one trace"),
    ],
)
def test_a_broken_row_is_refused_with_its_line(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=rf"access\.jsonl:3: .*{message}"):
        log(tmp_path, {**ORIGIN, "time": 1}, {**ORIGIN, "time": 2}, row)


# --- Tierwise's own router --------------------------------------------------------------------------------------------


def lines_of_the_router(records: list[tuple[Record, float]], now: datetime) -> bytes:
    """What the router itself writes of these records."""
    out = io.BytesIO()
    written = AccessLog(out, Ledger(), lambda: now)
    for record, ended_at in records:
        written(record, ended_at)
    written._write(written._records)
    return out.getvalue()


def record(began_at: float, **changes: Any) -> Record:
    charge = Charge("large", Usage(input=100, cached_input=256, cache_write=20, output=30), Decimal("0.01"))
    made = Record("id", began_at, path="/v1/chat/completions", tenant="a", model="chat", tier="large")
    made.status, made.outcome, made.attempts, made.first_content_at = 200, "ok", 1, began_at + 0.1
    made.charges = [charge]
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_the_routers_own_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierwise_router.access_log.time.monotonic", lambda: 1000.0)
    now = datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC)
    thrown = Charge("small", Usage(input=376, output=8), Decimal("0.001"), discarded=True)
    cascade = record(12.0)
    cascade.charges.insert(0, thrown)
    refused = record(13.0, outcome="refused", status=429, charges=[])
    broken = record(14.0, outcome="upstream_error", status=502)
    path = tmp_path / "access.jsonl"
    path.write_bytes(lines_of_the_router([(record(10.0), 20.0), (cascade, 20.0), (refused, 20.0), (broken, 20.0)], now))
    trace = access_log.read(path)
    shared = trace.arrivals[0].prefix
    assert len(shared) == 2
    assert trace.arrivals == (
        Arrival(0.0, 376, 30, shared, 128, "a", "chat"),
        Arrival(2.0, 376, 30, shared, 128, "a", "chat"),
    )
    assert "2 rows left out: they say that the request failed, or that it had no tokens" in trace.notes
    assert any("end in whole seconds" in note for note in trace.notes)


@given(
    rows=st.lists(
        st.tuples(st.floats(0, 1e6), st.integers(1, 10**6), st.integers(1, 10**5), st.sampled_from(["", "a", "b"])),
        min_size=1,
        max_size=10,
    )
)
def test_a_log_written_and_read_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, int, int, str]]
) -> None:
    written = [
        {"time": 1.7e9 + at, "prompt_tokens": prompt, "completion_tokens": output, "tenant": tenant}
        for at, prompt, output, tenant in rows
    ]
    trace = log(tmp_path_factory.mktemp("log"), *written)
    first = min(at for at, *_ in rows)
    ordered = sorted(rows, key=lambda row: row[0])
    assert [each.at for each in trace.arrivals] == pytest.approx([at - first for at, *_ in ordered], abs=2e-6)
    assert sorted((a.prompt_tokens, a.output_tokens, a.tenant) for a in trace.arrivals) == sorted(
        (prompt, output, tenant) for _, prompt, output, tenant in rows
    )
