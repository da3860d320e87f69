"""Spans: what a collector receives of requests, how traces go on, and that no request waits for a collector."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import opentelemetry.semconv._incubating.attributes.gen_ai_attributes as gen_ai
import pytest
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes, url_attributes

from tests.unit.router.collector import Collector, collector
from tests.unit.router.router_process import router
from tests.unit.router.running_router import Client, chat, post
from tests.unit.router.scripted_upstream import COMPLETION, GOOD_STREAM, Seen, Upstream, answer, upstream
from tierwise.errors import Invalid
from tierwise_router.tracing import tracing

SERVER, CLIENT, ERROR = 2, 3, 2
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: vendor=1\r\n"


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield found


def served(*ups: Upstream) -> dict[str, Any]:
    """A route over one tier with a price."""
    prices = {"input": "1", "cachedInput": "1", "cacheWrite": "1", "output": "2"}
    servers = [up.url for up in ups]
    return {"modelNames": ["auto"], "tiers": [{"name": "a", "model": "m", "servers": servers, "prices": prices}]}


def posted(*ups: Upstream) -> list[Seen]:
    """The requests that came, without the looks at the engines' load."""
    return [one for up in ups for one in up.seen if one.method == "POST"]


async def ask(url: str, raw: bytes) -> Any:
    """One answer of the process."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]), limit=1 << 24)
    client = Client(reader, writer)
    try:
        return await client.ask(raw)
    finally:
        await client.close()


async def test_a_request_and_its_attempts_are_spans_of_the_clients_trace(sink: Collector, tmp_path: Path) -> None:
    broken = answer(b'{"error":{"message":"no"}}', 500)
    async with upstream(default=[broken]) as bad, upstream(default=[broken]) as good:
        with router(served(bad, good), tmp_path) as process:
            asked = await ask(process.url, post(chat(max_tokens=2**64 - 1), extra=SAMPLED))
            assert asked.status == 502
            spans = await asyncio.to_thread(sink.wait, 3)
            request, *attempts = spans
            assert {one.service for one in spans} == {"tierwise-router"}
            assert sink.paths == {"/v1/traces"}
            assert {one.trace for one in spans} == {TRACE}
            assert (request.name, request.kind, request.parent) == ("POST /v1/chat/completions", SERVER, PARENT)
            assert {(one.name, one.kind, one.parent) for one in attempts} == {("chat m", CLIENT, request.id)}
            seen = posted(bad, good)
            for one in seen:
                assert one.headers["tracestate"] == "vendor=1"
            assert {one.headers["traceparent"] for one in seen} == {f"00-{TRACE}-{one.id}-01" for one in attempts}
            assert attempts[0].attributes["error.type"] == "status"
            assert attempts[0].attributes["http.response.status_code"] == 500
            assert attempts[0].status == ERROR
            assert attempts[0].attributes["gen_ai.request.max_tokens"] == 2**63 - 1


async def test_what_a_span_says_of_a_stream(sink: Collector, tmp_path: Path) -> None:
    async with upstream(default=GOOD_STREAM) as up:
        with router(served(up), tmp_path) as process:
            assert (await ask(process.url, post(chat(stream=True)))).status == 200
            request, attempt = await asyncio.to_thread(sink.wait, 2)
            (line,) = await asyncio.to_thread(process.log_until, 1)
            assert request.parent == ""
            assert request.status != ERROR
            assert request.attributes == {
                "http.request.method": "POST",
                "url.path": "/v1/chat/completions",
                "http.response.status_code": 200,
                "gen_ai.request.model": "auto",
                "tierwise.tier": "a",
                "tierwise.reason": "Default",
                "tierwise.tenant": "anonymous",
                "tierwise.request_id": line["id"],
                "tierwise.outcome": "ok",
                "tierwise.attempts": 1,
                "tierwise.cost_usd": line["costUSD"],
            }
            first = attempt.attributes.pop("gen_ai.response.time_to_first_chunk")
            assert 0 < first <= attempt.seconds + 0.1
            assert attempt.attributes == {
                "gen_ai.provider.name": "openai",
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "m",
                "gen_ai.request.stream": True,
                "server.address": "127.0.0.1",
                "server.port": up.port,
                "tierwise.tier": "a",
                "http.response.status_code": 200,
                "gen_ai.usage.input_tokens": 10,
                "gen_ai.usage.output_tokens": 2,
                "gen_ai.usage.cache_read.input_tokens": 0,
                "gen_ai.usage.cache_creation.input_tokens": 0,
                "tierwise.usage.estimated": False,
            }
            known = {
                value
                for module in (gen_ai, error_attributes, http_attributes, server_attributes, url_attributes)
                for value in vars(module).values()
                if isinstance(value, str)
            }
            said = {name for one in (request, attempt) for name in one.attributes if not name.startswith("tierwise.")}
            assert said <= known, "names of the conventions"


async def test_a_trace_context_that_is_none_begins_a_trace(sink: Collector, tmp_path: Path) -> None:
    given = ("traceparent: junk\r\n", f"traceparent: 00-{'0' * 32}-{PARENT}-01\r\n", "tracestate: \x80=\xff\r\n")
    async with upstream(default=[COMPLETION]) as up:
        with router(served(up), tmp_path) as process:
            for each in given:
                assert (await ask(process.url, post(chat(), extra=each))).status == 200
            spans = await asyncio.to_thread(sink.wait, 6)
            requests = {one.id: one for one in spans if one.kind == SERVER}
            assert {one.parent for one in requests.values()} == {""}
            assert len({one.trace for one in spans}) == 3
            attempts = [one for one in spans if one.kind == CLIENT]
            for seen, attempt in zip(posted(up), attempts, strict=True):
                assert seen.headers["traceparent"].startswith(f"00-{attempt.trace}-{attempt.id}-0")


async def test_a_client_that_does_not_sample_is_obeyed(sink: Collector, tmp_path: Path) -> None:
    async with upstream(default=[COMPLETION]) as up:
        with router(served(up), tmp_path) as process:
            await ask(process.url, post(chat(), extra=SAMPLED.replace("-01\r", "-00\r")))
            await ask(process.url, post(chat()))
            spans = await asyncio.to_thread(sink.wait, 2)
            assert TRACE not in {one.trace for one in spans}
            assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-00", posted(up)[0].headers["traceparent"])


async def test_what_never_reaches_a_tier_is_a_span_too(sink: Collector, tmp_path: Path) -> None:
    async with upstream(default=[COMPLETION]) as up:
        with router(served(up), tmp_path) as process:
            assert (await ask(process.url, post(chat(model="nobody")))).status == 404
            (request,) = await asyncio.to_thread(sink.wait, 1)
            assert request.attributes["http.response.status_code"] == 404
            assert request.attributes["tierwise.outcome"] == "client_error"


@pytest.mark.parametrize("how", ["refuses", "away"])
async def test_no_request_and_no_end_waits_for_a_collector(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sink: Collector
) -> None:
    sink.refuse = True
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")  # whoever waited for it would wait for long
    if how == "away":
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    async with upstream(default=[COMPLETION]) as up:
        with router(served(up), tmp_path) as process:
            began = time.monotonic()
            for _ in range(20):
                assert (await ask(process.url, post(chat()))).status == 200
            assert time.monotonic() - began < 20
            began = time.monotonic()
            process.terminate()
            assert await asyncio.to_thread(process.process.wait, 60) == 0
            assert time.monotonic() - began < 20


async def test_the_last_spans_are_sent_at_the_end(
    sink: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    async with upstream(default=[COMPLETION]) as up:
        with router(served(up), tmp_path) as process:
            assert (await ask(process.url, post(chat()))).status == 200
            process.terminate()
            assert await asyncio.to_thread(process.process.wait, 60) == 0
    assert len(sink.spans()) == 2


def test_without_a_collector_nothing_of_opentelemetry_is_imported() -> None:
    code = "import sys, tierwise_router.app; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_there_are_no_spans_unless_they_are_asked_for(environ: dict[str, str]) -> None:
    assert tracing(environ) is None


def test_a_protocol_that_is_not_spoken_is_refused() -> None:
    with pytest.raises(Invalid, match="http/protobuf only"):
        tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})


def test_spans_without_the_package_are_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Invalid, match=r"pip install '\.\[tracing\]'"):
        tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"})
