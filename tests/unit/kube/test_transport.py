"""Checks what each answer (and each missing answer) of an API server becomes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config.config_exception import ConfigException

from tests.unit.act.api_server import Answer, ApiServer, serving, status
from tierwise.errors import Conflict, Forbidden, Gone, Refused, TierwiseError, Transient
from tierwise.kube import transport as wire_module
from tierwise.kube.refusals import refusal
from tierwise.kube.transport import TOTAL_SECONDS, ApiTransport


class Time:
    """A clock that sleeping moves on."""

    def __init__(self) -> None:
        self.at = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


@asynccontextmanager
async def wired(*answers: Answer, **options: Any) -> AsyncIterator[tuple[ApiTransport, ApiServer]]:
    async with serving(*answers) as server:
        configuration = Configuration(host=server.url)
        configuration.api_key["BearerToken"] = "Bearer secret"
        async with ApiClient(configuration) as client:
            yield ApiTransport(client, **options), server


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, Refused),
        (401, Transient),
        (403, Forbidden),
        (404, Gone),
        (409, Conflict),
        (410, Gone),
        (422, Refused),
        (429, Transient),
        (500, Transient),
        (503, Transient),
        (504, Transient),
    ],
)
async def test_each_code_has_its_error(code: int, kind: type[TierwiseError]) -> None:
    async with wired(status(code, "because", "Word")) as (wire, _):
        with pytest.raises(kind) as caught:
            await wire.call("apply things a/b", "PATCH", "/apis/x/v1/things/b", body={})
    assert type(caught.value) is kind
    assert caught.value.message.startswith("apply things a/b: ")
    if isinstance(caught.value, Refused):
        assert (caught.value.status, caught.value.reason) == (code, "Word")


async def test_an_answer_is_returned_and_the_request_is_what_was_asked() -> None:
    async with wired(Answer(200, {"a": 1})) as (wire, server):
        answer = await wire.call(
            "x",
            "PATCH",
            "/apis/x/v1/things/b",
            query=(("force", "true"),),
            body={"b": 2},
            content_type="application/x+json",
        )
        assert answer == {"a": 1}
    request = server.requests[0]
    assert (request.method, request.path, request.query) == ("PATCH", "/apis/x/v1/things/b", {"force": "true"})
    assert request.body == {"b": 2}
    assert request.headers["Content-Type"] == "application/x+json"
    assert request.headers["Authorization"] == "Bearer secret"


async def test_an_empty_answer_is_an_empty_object() -> None:
    async with wired(Answer(200, "")) as (wire, _):
        assert await wire.call("x", "DELETE", "/x") == {}


async def test_the_token_is_asked_for_before_each_request() -> None:
    async with serving(Answer(200)) as server:
        configuration = Configuration(host=server.url)
        tokens = iter(("Bearer one", "Bearer two"))

        def refresh(of: Configuration) -> None:
            of.api_key["BearerToken"] = next(tokens)

        configuration.api_key["BearerToken"] = "Bearer zero"
        configuration.refresh_api_key_hook = refresh
        async with ApiClient(configuration) as client:
            wire = ApiTransport(client)
            await wire.call("x", "GET", "/x")
            await wire.call("x", "GET", "/x")
    assert [request.headers["Authorization"] for request in server.requests] == ["Bearer one", "Bearer two"]


async def test_the_servers_wish_to_wait_is_followed() -> None:
    time = Time()
    busy = Answer(429, headers={"Retry-After": "4"})
    async with wired(busy, busy, Answer(200, {"a": 1}), monotonic=time.monotonic, sleep=time.sleep) as (wire, server):
        assert await wire.call("x", "GET", "/x") == {"a": 1}
    assert time.slept == [4.0, 4.0]
    assert len(server.requests) == 3


async def test_a_wish_to_wait_too_long_ends_the_call_and_holds_for_the_next() -> None:
    time = Time()
    async with wired(
        Answer(503, headers={"Retry-After": "60"}), Answer(200), monotonic=time.monotonic, sleep=time.sleep
    ) as (wire, server):
        with pytest.raises(Transient) as first:
            await wire.call("x", "GET", "/x")
        told = set()
        for _ in range(2):
            with pytest.raises(Transient) as second:
                await wire.call("y", "GET", "/y")
            told.add(second.value.message)
            time.at += 1
        assert len(told) == 1, "it ends in a condition, which would change every second"
        time.at -= 2
        assert first.value.retry_after == 60.0
        assert len(server.requests) == 1
        time.at += 45
        await wire.call("z", "GET", "/z")
    assert time.slept == [15.0]
    assert len(server.requests) == 2


async def test_a_call_after_a_wait_has_only_the_time_that_is_left() -> None:
    time = Time()
    wish = str(TOTAL_SECONDS - 1.0)
    answers = (Answer(429, headers={"Retry-After": wish}), Answer(200, delay=3.0))
    async with wired(*answers, monotonic=time.monotonic, sleep=time.sleep) as (wire, server):
        with pytest.raises(Transient, match="cannot be reached"):
            await wire.call("x", "GET", "/x")
    assert len(server.requests) == 2


def test_a_wish_that_is_no_number_is_no_wish() -> None:
    error = refusal("x", 429, b"", "Wed, 21 Oct 2026 07:28:00 GMT")
    assert isinstance(error, Transient)
    assert error.retry_after is None


async def test_nothing_is_written_without_the_fences_leave() -> None:
    def fence() -> None:
        raise Transient("not the leader")

    async with wired(Answer(200), fence=fence) as (wire, server):
        await wire.call("x", "GET", "/x")
        for method in ("PATCH", "POST", "PUT", "DELETE"):
            with pytest.raises(Transient, match="not the leader"):
                await wire.call("x", method, "/x", body={})
    assert [request.method for request in server.requests] == ["GET"]


async def test_the_fence_is_asked_again_after_a_wait() -> None:
    time = Time()
    leave = iter((True, False))

    def fence() -> None:
        if not next(leave):
            raise Transient("no longer the leader")

    busy = Answer(429, headers={"Retry-After": "9"})
    async with wired(busy, fence=fence, monotonic=time.monotonic, sleep=time.sleep) as (wire, server):
        with pytest.raises(Transient, match="no longer"):
            await wire.call("x", "PATCH", "/x", body={})
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [Answer(200, "{not json"), Answer(200, "[1]"), Answer(200, cut=True)])
async def test_half_an_answer_is_no_answer(answer: Answer) -> None:
    async with wired(answer) as (wire, _):
        with pytest.raises(Transient):
            await wire.call("x", "GET", "/x")


async def test_a_server_that_is_not_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with ApiClient(Configuration(host=url)) as client:
            with pytest.raises(Transient, match="cannot be reached"):
                await ApiTransport(client).call("x", "GET", "/x")


async def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_module, "TOTAL_SECONDS", 0.05)
    async with wired(Answer(200, delay=1.0)) as (wire, _):
        with pytest.raises(Transient, match="cannot be reached"):
            await wire.call("x", "GET", "/x")


async def test_credentials_that_cannot_be_read_are_no_defect() -> None:
    async with serving(Answer(200)) as server:
        configuration = Configuration(host=server.url)
        configuration.api_key["BearerToken"] = "x"

        def refresh(_: Configuration) -> None:
            raise ConfigException("token file is empty")

        configuration.refresh_api_key_hook = refresh
        async with ApiClient(configuration) as client:
            with pytest.raises(Transient, match="token file is empty"):
                await ApiTransport(client).call("x", "GET", "/x")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"<html>502 from a proxy</html>", "<html>502 from a proxy</html>"),
        (b'{"kind": "Secret", "data": {"key": "hidden"}}', "HTTP 500"),
        (b'["odd"]', "HTTP 500"),
        (b"", "HTTP 500"),
        (b'{"kind": "Status", "message": "' + b"x" * 5000 + b'"}', "x" * 600),
    ],
)
def test_what_is_not_a_status_is_not_repeated(body: bytes, text: str) -> None:
    assert refusal("w", 500, body).message == f"w: {text}"


async def collect(wire: ApiTransport) -> list[dict[str, Any]]:
    return [event async for event in wire.stream("watch things", "/things", [("watch", "true")])]


async def test_a_stream_yields_its_events_until_the_server_ends_it() -> None:
    events = ({"type": "ADDED", "object": {"a": 1}}, {"type": "BOOKMARK", "object": {}})
    async with wired(Answer(lines=events)) as (wire, server):
        assert await collect(wire) == list(events)
    assert server.requests[0].query == {"watch": "true"}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (status(404, "no such kind"), Gone),
        (status(403, "cannot watch"), Forbidden),
        (Answer(lines=({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}},)), Gone),
        (Answer(lines=({"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd"}},)), Transient),
        (Answer(lines=({"type": "ERROR"},)), Transient),
        (Answer(lines=('{"type": "ADD',)), Transient),
        (Answer(lines=({"type": "ADDED", "object": {}},), cut=True), Transient),
    ],
)
async def test_a_broken_stream(answer: Answer, kind: type[TierwiseError]) -> None:
    async with wired(answer) as (wire, _):
        with pytest.raises(kind):
            await collect(wire)


async def test_a_stream_waits_as_asked_too() -> None:
    time = Time()
    async with wired(
        Answer(429, headers={"Retry-After": "40"}), Answer(lines=({},)), monotonic=time.monotonic, sleep=time.sleep
    ) as (wire, server):
        with pytest.raises(Transient):
            await wire.call("x", "GET", "/x")
        with pytest.raises(Transient):
            await collect(wire)
        time.at += 30
        assert await collect(wire) == [{}]
    assert len(server.requests) == 2
