"""Checks that the fault proxy passes on what it should, and breaks only what a rule names."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator

import pytest
import requests
from aiohttp import web

from tests.faults.effects import Answer, Break, Call, Delay, Drop, Freeze, Hang, Lose, Record, Replay, Rewrite, expired
from tests.faults.proxy import Proxy, understand

TIERS = "/apis/tierwise.io/v1alpha1/namespaces/shop/modeltiers"
SCALE = "/apis/apps/v1/namespaces/shop/deployments/chat-predictor/scale"


class Server:
    """A server that counts what it carried out; a watch sends five events."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.version = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.done.append(f"{request.method} {request.path_qs}")
        if request.query.get("watch") != "true":
            return web.json_response({"version": self.version, "sent": await request.text()})
        stream = web.StreamResponse()
        await stream.prepare(request)
        for number in range(5):
            await stream.write(json.dumps({"type": "MODIFIED", "object": number}).encode() + b"\n")
        if "open" in request.query:
            await asyncio.sleep(60)
        return stream

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.url) as made:
        yield made


def test_a_request_is_understood_in_the_words_of_the_api() -> None:
    asked = {
        ("GET", TIERS, ""): ("list", "modeltiers", "shop", ""),
        ("GET", TIERS, "watch=true&resourceVersion=1"): ("watch", "modeltiers", "shop", ""),
        ("GET", f"{TIERS}/chat", ""): ("get", "modeltiers", "shop", "chat"),
        ("PATCH", f"{TIERS}/chat/status", ""): ("patch", "modeltiers/status", "shop", "chat"),
        ("PATCH", SCALE, ""): ("patch", "deployments/scale", "shop", "chat-predictor"),
        ("POST", "/api/v1/namespaces/shop/events", ""): ("create", "events", "shop", ""),
        ("GET", "/api/v1/namespaces/shop", ""): ("get", "namespaces", "", "shop"),
        ("DELETE", "/api/v1/nodes/gpu-0", ""): ("delete", "nodes", "", "gpu-0"),
        ("GET", "/readyz", ""): ("get", "/readyz", "", ""),
        ("POST", "/api/v1/query", ""): ("create", "query", "", ""),
    }
    for (method, path, query), expected in asked.items():
        found = understand(method, path, query)
        assert (found.verb, found.resource, found.namespace, found.name) == expected, path


def test_what_no_rule_names_passes(proxy: Proxy, server: Server) -> None:
    with proxy.rule("patch", "deployments/scale", Answer(500)):
        answer = requests.get(proxy.url + TIERS, timeout=30)
    assert answer.json() == {"version": 0, "sent": ""}
    assert requests.patch(proxy.url + SCALE, data="{}", timeout=30).json()["sent"] == "{}"
    lines = requests.get(f"{proxy.url}{TIERS}?watch=true", timeout=30).text.splitlines()
    assert [json.loads(line)["object"] for line in lines] == [0, 1, 2, 3, 4]
    assert [request.verb for request in proxy.requests] == ["list", "patch", "watch"]


def test_an_answer_of_its_own_for_the_second_and_third_request(proxy: Proxy, server: Server) -> None:
    with proxy.rule("list", "modeltiers", Answer(429, retry_after=2), skip=1, times=2) as rule:
        answers = [requests.get(proxy.url + TIERS, timeout=30) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 429, 429, 200]
    assert answers[1].headers["Retry-After"] == "2"
    assert answers[1].json()["reason"] == "TooManyRequests"
    assert len(rule.hits) == 2
    assert len(server.done) == 2


def test_a_dropped_request_may_or_may_not_have_landed(proxy: Proxy, server: Server) -> None:
    for landed in (False, True):
        with proxy.rule("patch", "*", Drop(landed=landed)), pytest.raises(requests.ConnectionError):
            requests.patch(proxy.url + SCALE, timeout=30)
        assert len(server.done) == int(landed)


def test_a_delay_and_a_hanging_request(proxy: Proxy, server: Server) -> None:
    began = time.monotonic()
    with proxy.rule("list", "*", Delay(0.3)):
        requests.get(proxy.url + TIERS, timeout=30)
    assert time.monotonic() - began >= 0.3
    with proxy.rule("list", "*", Hang()), pytest.raises(requests.ReadTimeout):
        requests.get(proxy.url + TIERS, timeout=0.3)
    assert len(server.done) == 1


def test_something_happens_at_the_moment_of_a_write(proxy: Proxy, server: Server) -> None:
    seen: list[int] = []
    with (
        proxy.rule("patch", "deployments/scale", Call(lambda: seen.append(len(server.done)), landed=True)),
        pytest.raises(requests.ConnectionError),
    ):
        requests.patch(proxy.url + SCALE, timeout=30)
    assert seen == [1]


def test_watches_break_expire_freeze_and_lose(proxy: Proxy) -> None:
    watch = f"{proxy.url}{TIERS}?watch=true"
    with proxy.rule("watch", "*", Break(2)), requests.get(watch, timeout=30, stream=True) as answer:
        got: list[bytes] = []
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            got.extend(answer.iter_content(None))
        assert b"".join(got).count(b"\n") == 2
        assert not b"".join(got).endswith(b"\n")
    with proxy.rule("watch", "*", Break(3, whole=True)):
        assert len(requests.get(watch, timeout=30).text.splitlines()) == 3
    with proxy.rule("watch", "*", expired()):
        assert requests.get(watch, timeout=30).json()["object"]["code"] == 410
    with proxy.rule("watch", "*", Freeze(lost=True)):
        assert requests.get(watch, timeout=30).text == ""
    with proxy.rule("watch", "*", Lose(lambda line: json.loads(line)["object"] == 3)) as rule:
        assert len(requests.get(watch, timeout=30).text.splitlines()) == 4
    assert len(rule.hits) == 1


def test_a_server_that_is_behind(proxy: Proxy, server: Server) -> None:
    with proxy.rule("list", "*", Record()) as rule:
        requests.get(proxy.url + TIERS, timeout=30)
    server.version = 7
    assert isinstance(rule.effect, Record)
    with proxy.rule("list", "*", Replay(rule.effect.kept)):
        assert requests.get(proxy.url + TIERS, timeout=30).json()["version"] == 0
    assert requests.get(proxy.url + TIERS, timeout=30).json()["version"] == 7


def test_a_rewritten_body(proxy: Proxy) -> None:
    with proxy.rule("get", "/api/v1/query", Rewrite(lambda body: body.replace(b"0", b"NaN"))):
        pass
    with proxy.rule("*", "*", Rewrite(lambda body: body.replace(b'"version": 0', b'"version": NaN'))):
        assert "NaN" in requests.get(proxy.url + TIERS, timeout=30).text


def test_open_streams_are_cut_at_once(proxy: Proxy) -> None:
    with requests.get(f"{proxy.url}{TIERS}?watch=true&open", timeout=30, stream=True) as answer:
        cutting = threading.Timer(0.2, proxy.cut)
        cutting.start()
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            list(answer.iter_lines())
    cutting.join(10)
    assert requests.get(proxy.url + TIERS, timeout=30).status_code == 200


def test_nobody_listens_and_then_somebody_does_again(proxy: Proxy, server: Server) -> None:
    url = proxy.url
    with proxy.away(), pytest.raises(requests.ConnectionError):
        requests.get(url + TIERS, timeout=30)
    assert requests.get(proxy.url + TIERS, timeout=30).status_code == 200
    assert proxy.url == url
