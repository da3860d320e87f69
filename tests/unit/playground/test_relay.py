"""Checks that the relays carry bytes both ways, and that the proxy goes only where it is told."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.relay import parse_head, serve_fixed, serve_proxy, service_of
from playground.sandbox import loopback_listener


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("web.default.svc", ("default", "web")),
        ("web.default.svc.cluster.local", ("default", "web")),
        ("web.default.svc.cluster.local.", ("default", "web")),
        ("web.default.svc.example.com", None),
        ("10.200.1.1", None),
        ("web", None),
        ("../secrets.default.svc", None),
    ],
)
def test_which_names_are_services(host: str, service: tuple[str, str] | None) -> None:
    assert service_of(host) == service


def test_connect_names_its_target_and_sends_nothing_on() -> None:
    host, port, first, greeting = parse_head(b"CONNECT web.a.svc:8000 HTTP/1.1\r\nHost: web.a.svc:8000\r\n\r\n")
    assert (host, port, first) == ("web.a.svc", 8000, b"")
    assert greeting.startswith(b"HTTP/1.1 200 ")


def test_an_absolute_url_becomes_a_plain_request_on_a_connection_of_its_own() -> None:
    head = b"GET http://web.a.svc/v1/models?x=1 HTTP/1.1\r\nHost: web.a.svc\r\nProxy-Connection: keep-alive\r\n\r\n"
    host, port, first, greeting = parse_head(head)
    assert (host, port, greeting) == ("web.a.svc", 80, b"")
    assert first == b"GET /v1/models?x=1 HTTP/1.1\r\nHost: web.a.svc\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET https://web/ HTTP/1.1\r\n\r\n",
        b"CONNECT web HTTP/1.1\r\n\r\n",
        b"CONNECT web:99999 HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ],
)
def test_what_is_no_proxy_request_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_head(head)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_otherwise(head: bytes) -> None:
    try:
        host, port, _, _ = parse_head(head)
    except ValueError:
        return
    assert host
    assert 0 <= port <= 65535


@pytest.fixture
async def upstream() -> AsyncIterator[int]:
    """A server that reverses what it gets, after its client has said everything."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read())[::-1])
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def _exchange(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


async def test_the_fixed_relay_carries_both_directions_and_the_end_of_each(upstream: int) -> None:
    listener = loopback_listener()
    port = listener.getsockname()[1]
    server = await serve_fixed(listener, "127.0.0.1", upstream)
    data = bytes(range(256)) * 4096
    assert await _exchange(port, data) == data[::-1]
    server.close()


async def test_a_client_that_has_said_everything_gets_its_answer_however_late() -> None:
    answer = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await reader.read()
        await answer.wait()
        writer.write(said)
        writer.close()

    upstream = await asyncio.start_server(late, "127.0.0.1", 0)
    listener = loopback_listener()
    server = await serve_fixed(listener, "127.0.0.1", upstream.sockets[0].getsockname()[1])
    exchange = asyncio.create_task(_exchange(listener.getsockname()[1], b"abc"))
    await asyncio.sleep(0.2)
    gc.collect()
    answer.set()
    assert await asyncio.wait_for(exchange, 10) == b"abc"
    server.close()
    upstream.close()


async def test_the_proxy_resolves_the_name_and_tunnels(upstream: int) -> None:
    async def resolve(host: str) -> str:
        assert host == "web.a.svc"
        return "127.0.0.1"

    listener = loopback_listener()
    port = listener.getsockname()[1]
    server = await serve_proxy(listener, resolve)
    answer = await _exchange(port, f"CONNECT web.a.svc:{upstream} HTTP/1.1\r\n\r\nabc".encode())
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\ncba"
    server.close()


async def test_the_proxy_says_why_it_cannot() -> None:
    async def resolve(host: str) -> str:
        if host == "gone.a.svc":
            raise LookupError("there is no Service gone in namespace a")
        return "127.0.0.1"

    listener = loopback_listener()
    port = listener.getsockname()[1]
    server = await serve_proxy(listener, resolve)
    assert b"no Service gone" in await _exchange(port, b"CONNECT gone.a.svc:80 HTTP/1.1\r\n\r\n")
    closed = loopback_listener()
    free = closed.getsockname()[1]
    closed.close()
    answer = await _exchange(port, f"CONNECT 127.0.0.1:{free} HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"Connect call failed" in answer
    assert (await _exchange(port, b"hello\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    server.close()
