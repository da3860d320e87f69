"""Checks that the adapter asks Prometheus correctly, and says what to check when there is no answer.

Against a real HTTP server on loopback that answers as Prometheus does, or does not.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tierwise.errors import Transient
from tierwise.prom.client import THREADS, Access, PrometheusMetrics, SettingNames

GOOD = {
    "status": "success",
    "data": {
        "resultType": "vector",
        "result": [{"metric": {"pod": "a"}, "value": [1.0, "4"]}, {"metric": {}, "value": [1.0, "NaN"]}],
    },
}
RANGE = {
    "status": "success",
    "data": {
        "resultType": "matrix",
        "result": [{"metric": {"pod": "a"}, "values": [[60.0, "4"], [180.0, "NaN"]]}, {"metric": {}, "values": []}],
    },
}
BAD = {"status": "error", "errorType": "bad_data", "error": 'parse error: unexpected "x"'}


class Web:
    """What the server answers next, and what it was asked."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.status, self.body, self.wait = 200, json.dumps(GOOD), 0.0
        self.headers: dict[str, str] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.seen.append((self.path, dict(self.headers)))
                time.sleep(web.wait)
                web.may_answer.wait(60)
                body = web.body.encode()
                self.send_response(web.status)
                for name, value in {"Content-Length": str(len(body)), **web.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Be silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def web() -> Iterator[Web]:
    found = Web()
    yield found
    found.stop()


async def failure(access: Access) -> str:
    metrics = PrometheusMetrics(access)
    with pytest.raises(Transient) as caught:
        await metrics.query("up")
    metrics.close()
    return caught.value.message


async def test_a_question_and_its_answer(web: Web) -> None:
    metrics = PrometheusMetrics(Access(f"{web.url}/prefix/", timeout_seconds=3))
    answer = await metrics.query('up{a="b"}')
    assert [dict(series.labels) for series in answer] == [{"pod": "a"}, {}]
    assert answer[0].value == 4
    assert answer[1].value != answer[1].value
    metrics.close()
    path, headers = web.seen[0]
    assert urlsplit(path).path == "/prefix/api/v1/query"
    assert parse_qs(urlsplit(path).query) == {"query": ['up{a="b"}'], "timeout": ["3s"]}, "no time is ever sent"
    assert "Authorization" not in headers
    assert "X-Scope-OrgID" not in headers


async def test_a_question_over_a_range(web: Web) -> None:
    web.body = json.dumps(RANGE)
    metrics = PrometheusMetrics(Access(web.url, timeout_seconds=3))
    first, second = await metrics.query_range('up{a="b"}', 60.0, 240.0, 60.0)
    metrics.close()
    assert (dict(first.labels), second.points) == ({"pod": "a"}, ())
    assert first.points[0] == (60.0, 4.0)
    assert first.points[1][0] == 180.0
    assert first.points[1][1] != first.points[1][1]
    path = urlsplit(web.seen[0][0])
    assert path.path == "/api/v1/query_range"
    asked = {"query": ['up{a="b"}'], "start": ["60"], "end": ["240"], "step": ["60"], "timeout": ["3s"]}
    assert parse_qs(path.query) == asked


async def test_an_instant_answer_to_a_range_is_none(web: Web) -> None:
    metrics = PrometheusMetrics(Access(web.url))
    with pytest.raises(Transient, match="answers, but not as Prometheus does"):
        await metrics.query_range("up", 0.0, 60.0, 60.0)
    metrics.close()


async def test_messages_name_what_the_user_has_set(web: Web, tmp_path: Path) -> None:
    """A command's user has no chart."""
    options = SettingNames(url="--url", bearer_file="--token-file", ca_file="--ca-file")
    web.status, web.body = 401, "no"
    assert (await failure(Access(web.url, settings=options))).endswith("answers with HTTP 401; check --token-file")
    web.status = 404
    assert (await failure(Access(web.url, settings=options))).endswith("check the path of --url")
    closed = await failure(Access("http://127.0.0.1:9", settings=options))
    assert closed.endswith("cannot be reached: Connection refused; check --url")
    assert (await failure(Access("x", settings=options))).endswith("that is no URL; check --url")
    tls = await failure(Access(web.url.replace("http:", "https:"), settings=options))
    assert "check --url" in tls


async def test_token_and_tenant_are_sent_and_the_token_is_read_anew(web: Web, tmp_path: Path) -> None:
    token = tmp_path / "token"
    metrics = PrometheusMetrics(Access(web.url, bearer_file=token, tenant="team-a"))
    for value in ("first", "second"):
        token.write_text(f"{value}\n")
        await metrics.query("up")
    metrics.close()
    assert [headers["Authorization"] for _, headers in web.seen] == ["Bearer first", "Bearer second"]
    assert web.seen[0][1]["X-Scope-OrgID"] == "team-a"


async def test_the_environment_changes_nothing(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    metrics = PrometheusMetrics(Access(web.url))
    assert await metrics.query("up")
    metrics.close()


async def test_the_loop_runs_on_while_prometheus_thinks(web: Web) -> None:
    web.may_answer.clear()
    metrics, ticks = PrometheusMetrics(Access(web.url, timeout_seconds=60)), 0
    question = asyncio.create_task(metrics.query("up"))
    while not web.seen or ticks < 4:
        assert not question.done(), f"{ticks} ticks before an answer that waits for them"
        await asyncio.sleep(0.01)
        ticks += 1
    web.may_answer.set()
    assert await question
    metrics.close()


async def test_a_resolver_that_hangs_holds_a_few_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def hang(*_: object, **__: object) -> None:
        answered.wait(120)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    metrics = PrometheusMetrics(Access("http://prometheus.invalid:9090"))
    try:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await asyncio.gather(*(metrics.query("up") for _ in range(20)))
        assert sum(thread.name.startswith("prometheus") for thread in threading.enumerate()) <= THREADS
        async with asyncio.timeout(60):
            assert await asyncio.to_thread(lambda: "free") == "free"
        began = time.monotonic()
        metrics.close()
        assert time.monotonic() - began < 60, "the end waits for no look-up"
    finally:
        answered.set()


async def test_an_answer_after_the_end_keeps_no_connection(web: Web) -> None:
    web.may_answer.clear()
    metrics = PrometheusMetrics(Access(web.url, timeout_seconds=60))
    question = asyncio.create_task(metrics.query("up"))
    while not web.seen:
        assert not question.done(), "it is asked before it is answered"
        await asyncio.sleep(0.01)
    metrics.close()
    web.may_answer.set()
    assert len(await question) == 2
    assert metrics._idle == []


async def test_questions_at_the_same_time_have_connections_of_their_own(web: Web) -> None:
    web.wait = 0.2
    metrics = PrometheusMetrics(Access(web.url))
    answers = await asyncio.gather(*(metrics.query(f"up + {number}") for number in range(4)))
    assert all(len(answer) == 2 for answer in answers)
    metrics.close()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, json.dumps(BAD), ["HTTP 400", "parse error: unexpected"]),
        (401, "no", ["HTTP 401", "prometheus.bearerTokenFile"]),
        (403, "no", ["HTTP 403", "token"]),
        (404, "no", ["HTTP 404", "path", "prometheus.url"]),
        (422, json.dumps({**BAD, "error": "query timed out"}), ["HTTP 422", "query timed out"]),
        (503, "", ["HTTP 503", "overloaded"]),
        (418, "", ["HTTP 418", "prometheus.url"]),
        (200, "<html>a login page</html>", ["not as Prometheus does"]),
        (200, '{"status": "success"}', ["not as Prometheus does"]),
        (200, '{"data": {"result": [{"metric": {}, "value": []}]}}', ["not as Prometheus does"]),
        (200, '{"data": {"result": [{"metric": {}, "value": [1, "four"]}]}}', ["ValueError"]),
    ],
)
async def test_answers_that_are_none(web: Web, status: int, body: str, words: list[str]) -> None:
    web.status, web.body = status, body
    message = await failure(Access(web.url))
    for word in (*words, f"Prometheus at {web.url}"):
        assert word in message
    assert len(web.seen) == 1, "nothing is tried again"
    assert len(message) < 400


async def test_a_redirect_is_not_followed(web: Web) -> None:
    web.status, web.headers = 302, {"Location": "https://login.example.com/"}
    assert "redirects" in await failure(Access(web.url))


async def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    message = await failure(Access(f"http://user:secret@127.0.0.1:{port}"))
    assert message == (
        f"Prometheus at http://127.0.0.1:{port} cannot be reached: Connection refused; "
        "check the chart value prometheus.url"
    )


async def test_a_connection_that_is_cut() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def cut_it() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)

        cut = threading.Thread(target=cut_it)
        cut.start()
        message = await failure(Access(f"http://127.0.0.1:{server.getsockname()[1]}"))
        cut.join()
    assert "cannot be reached: RemoteDisconnected;" in message


async def test_nobody_has_that_name() -> None:
    message = await failure(Access("http://prometheus.invalid:9090"))
    assert "http://prometheus.invalid:9090 cannot be reached" in message
    assert "prometheus.url" in message


async def test_an_answer_that_takes_too_long(web: Web) -> None:
    web.wait = 1.0
    assert "did not answer within 0.2 s" in await failure(Access(web.url, timeout_seconds=0.2))


async def test_a_server_that_speaks_no_tls(web: Web) -> None:
    message = await failure(Access(web.url.replace("http:", "https:")))
    assert "ends the TLS handshake" in message
    assert "check the chart value prometheus.url" in message


async def test_files_that_are_not_there(web: Web, tmp_path: Path) -> None:
    message = await failure(Access(web.url, bearer_file=tmp_path / "token"))
    assert (
        message
        == f"the file {tmp_path / 'token'} with what Prometheus asks for cannot be read: No such file or directory"
    )
    message = await failure(Access(web.url.replace("http:", "https:"), ca_file=tmp_path / "ca.pem"))
    assert "ca.pem" in message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("prometheus:9090", "prometheus:9090"),
        ("user:secret@prometheus:9090", "prometheus:9090"),
        ("http://user:secret@prometheus:port", "http://prometheus:port"),
        ("http://user:secret@[::1", "http://[::1"),
        ("http://", "http://"),
    ],
)
async def test_a_url_that_is_none(url: str, shown: str) -> None:
    message = await failure(Access(url))
    assert message == (f"Prometheus at {shown} cannot be asked: that is no URL; check the chart value prometheus.url")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@metrics.example.com:8443/api?token=x", "https://metrics.example.com:8443/api"),
        ("http://[fd00::1]:9090", "http://[fd00::1]:9090"),
        ("http://prometheus/#x", "http://prometheus/"),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    assert Access(url).shown == shown
