"""Client connections that stall, stay, come in crowds or meet a fault of ours: none is left, and none harms another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator

import pytest

import tierwise_router.server
from tests.unit.router.running_router import HANGS_SECONDS, Client, unheard, until
from tierwise_router.client_connection import ClientConnection, Handler, Reply, Shared, Timeouts
from tierwise_router.http_request import Request
from tierwise_router.openai_error import ClientError
from tierwise_router.server import Server

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
PIECE = b"x" * 60_000


async def _short(request: Request, reply: Reply) -> None:
    reply.whole(200, [], request.path.encode())


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, timeouts: Timeouts | None = None, most: int = 100
) -> AsyncIterator[tuple[Server, int]]:
    """A server with this handler; at the end no connection and no task may be left, and no callback has failed."""
    before = asyncio.all_tasks()
    faults = unheard()
    server = Server(Shared(handler, timeouts=timeouts or Timeouts()), most_connections=most)
    port = await server.start("127.0.0.1", 0)
    try:
        async with asyncio.timeout(2 * HANGS_SECONDS):
            yield server, port
    finally:
        await server.close()
    await until(lambda: not server.connections and asyncio.all_tasks() <= before)
    assert faults == []


@contextlib.asynccontextmanager
async def client(port: int, receive_bytes: int = 0) -> AsyncIterator[Client]:
    """A connection, ended hard at the end. `receive_bytes`: how much the kernel takes of what nobody reads."""
    sock = socket.socket()
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock)
    one = Client(reader, writer)
    try:
        yield one
    finally:
        one.vanish()
        await one.close()


def _later(server: Server, seconds: float) -> None:
    now = asyncio.get_running_loop().time() + seconds
    for connection in list(server.connections):
        connection.check(now)


def _unsent(connection: ClientConnection) -> int:
    assert connection._transport is not None
    return connection._transport.get_write_buffer_size()


async def _only(server: Server) -> ClientConnection:
    await until(lambda: len(server.connections) == 1)
    return next(iter(server.connections))


def _filled(kilobytes: int) -> Handler:
    async def handler(request: Request, reply: Reply) -> None:
        reply.whole(200, [], b"x" * (kilobytes << 10))

    return handler


# 420 KB are more than the kernels take, and what is left of them is less than what counts as paused.
@pytest.mark.parametrize("kilobytes", [420, 4_000])
@pytest.mark.parametrize("how", ["kept", "closing", "half-closed"])
async def test_case_30_a_client_that_reads_nothing_is_ended_in_whatever_state(kilobytes: int, how: str) -> None:
    async with serving(_filled(kilobytes), Timeouts(write=30.0)) as (server, port), client(port, 4_096) as one:
        one.read_nothing()
        one.say(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") if how == "closing" else GET)
        connection = await _only(server)
        await until(lambda: not connection.answering and _unsent(connection) > 0)
        if how == "half-closed":
            one.half_close()
            await asyncio.sleep(0.02)
        assert _unsent(connection) > 0
        assert connection.paused is (kilobytes == 4_000)
        _later(server, 29.0)
        await asyncio.sleep(0.01)
        assert server.connections
        if how == "kept" and not connection.paused:
            _later(server, 76.0)  # idle for too long: it is closed, and a transport would wait for ever to write
        await asyncio.sleep(0.01)
        _later(server, 107.0)
        await until(lambda: not server.connections)


async def test_a_client_that_reads_slowly_is_not_ended_while_it_reads() -> None:
    async with serving(_filled(4_000), Timeouts(write=30.0)) as (server, port), client(port, 4_096) as one:
        one.say(GET)
        connection = await _only(server)
        await until(lambda: connection.paused)
        await one.reader.readuntil(b"\r\n\r\n")
        left = 4_000 << 10
        for step in range(1, 6):
            unsent = _unsent(connection)
            left -= len(await one.reader.readexactly(400_000))
            assert _unsent(connection) < unsent
            _later(server, 29.0 * step)
        assert connection.paused
        assert len(await one.reader.readexactly(left)) == left
        await until(lambda: not connection.paused)


async def test_case_30_readers_that_stall_take_bounded_memory_and_are_ended() -> None:
    produced = [0]

    async def endless(request: Request, reply: Reply) -> None:
        going = asyncio.Event()
        going.set()
        reply.on_pause(lambda paused: going.clear() if paused else going.set())
        reply.start(200, [])
        for _ in range(1_000):
            await going.wait()
            reply.write(PIECE)
            produced[0] += len(PIECE)
            await asyncio.sleep(0)
        reply.end()

    async with serving(endless, Timeouts(write=30.0)) as (server, port), contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            one = await stack.enter_async_context(client(port))
            one.read_nothing()
            one.say(GET)
        await until(lambda: len(server.connections) == 20 and all(each.paused for each in server.connections))
        buffered = [_unsent(each) for each in server.connections]
        assert max(buffered) <= 262_144 + 2 * len(PIECE)
        assert produced[0] < 20 * (12 << 20)
        _later(server, 31.0)
        await until(lambda: not server.connections)


async def test_early_bytes_behind_a_bad_request_are_not_answered_twice() -> None:
    waiting = asyncio.Event()

    async def held(request: Request, reply: Reply) -> None:
        await waiting.wait()
        await _short(request, reply)

    async with serving(held) as (server, port), client(port) as one:
        one.say(GET)
        connection = await _only(server)
        await until(lambda: connection.answering)
        for piece in (b"BAD\r\n\r\n", b"more\r\n\r\n", GET):
            one.say(piece)
            await asyncio.sleep(0.005)
        waiting.set()
        assert (await one.answer()).status == 200
        assert (await one.answer()).status == 400
        assert await one.rest() == b""


async def test_a_request_that_has_begun_behind_another_must_come_in_time() -> None:
    async with serving(_short) as (server, port), client(port) as one:
        one.say(GET + GET[:10])
        assert (await one.answer()).status == 200
        assert (await _only(server)).busy
        _later(server, 11.0)
        assert (await one.answer()).status == 408


async def test_an_idle_connection_is_ended_and_empty_lines_do_not_keep_it() -> None:
    async with serving(_short) as (server, port), client(port) as one:
        await one.ask(GET)
        one.say(b"\r\n")
        await asyncio.sleep(0.01)
        _later(server, 11.0)
        await asyncio.sleep(0.01)
        assert server.connections, "an empty line is no request that has begun"
        _later(server, 76.0)
        assert await one.rest() == b""
        await until(lambda: not server.connections)


async def test_a_fault_of_ours_is_logged_and_answered_with_500(caplog: pytest.LogCaptureFixture) -> None:
    async def faulty(request: Request, reply: Reply) -> None:
        if request.path == "/late":
            reply.start(200, [])
        raise KeyError("x")

    async with serving(faulty) as (_, port):
        with caplog.at_level(logging.ERROR):
            async with client(port) as one:
                got = await one.ask(GET)
                assert (got.status, got.code, got.headers["connection"]) == (500, "internal_error", "close")
            assert "KeyError" in caplog.text
            async with client(port) as one:
                got = await one.ask(GET.replace(b"/x", b"/late"))
                assert not got.whole


async def test_a_handler_that_answers_nothing_ends_the_connection() -> None:
    async def silent(request: Request, reply: Reply) -> None:
        await asyncio.sleep(0)

    async with serving(silent) as (_, port), client(port) as one:
        one.say(GET)
        assert await one.rest() == b""


async def test_a_connection_that_cannot_be_looked_after_does_not_end_the_looking(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: ClientConnection, now: float) -> None:
        raise RuntimeError("the handler is closed")

    monkeypatch.setattr(tierwise_router.server, "SWEEP_SECONDS", 0.02)
    async with serving(_short) as (server, port), client(port) as one:
        await one.ask(GET)
        with caplog.at_level(logging.ERROR), monkeypatch.context() as patched:
            patched.setattr(ClientConnection, "check", broken)
            await until(lambda: not server.connections, 3)
        assert server._sweeper is not None
        assert not server._sweeper.done()


async def test_one_connection_too_many_is_told_so_and_the_others_go_on() -> None:
    async with serving(_short, most=2) as (server, port), client(port) as one, client(port) as two:
        assert (await one.ask(GET)).status == 200
        assert (await two.ask(GET)).status == 200
        async with client(port) as three:
            got = await three.answer()
            assert (got.status, got.headers["retry-after"]) == (503, "1")
        assert (await one.ask(GET)).status == 200
        assert len(server.connections) == 2


async def test_case_22_draining_ends_what_is_idle_and_waits_for_what_is_not() -> None:
    waiting = asyncio.Event()

    async def held(request: Request, reply: Reply) -> None:
        reply.start(200, [])
        reply.write(b"first ")
        if request.path == "/x":
            await waiting.wait()
        reply.write(b"last")
        reply.end()

    async with serving(held) as (server, port), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(port)) for _ in range(60)]
        idle, busy = clients[:10], clients[10:]
        for one in idle:
            assert (await one.ask(GET.replace(b"/x", b"/y"))).whole
        for one in busy:
            one.say(GET)
        await until(lambda: sum(each.answering for each in server.connections) == 50)
        draining = asyncio.create_task(server.drain(5.0))
        for one in idle:
            assert await one.rest() == b""
        async with client(port) as late:  # one that does not know yet
            got = await late.ask(GET.replace(b"/x", b"/y"))
            assert (got.whole, got.headers["connection"]) == (True, "close")
        waiting.set()
        for one in busy:
            got = await one.answer()
            assert (got.whole, got.body) == (True, b"first last")
            assert await one.rest() == b""
        await asyncio.wait_for(draining, 1)


async def test_closing_cancels_what_is_being_answered() -> None:
    cancelled = asyncio.Event()

    async def endless(request: Request, reply: Reply) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    async with serving(endless) as (server, port), client(port) as one:
        one.say(GET)
        await until(lambda: any(each.answering for each in server.connections))
        await server.close()
        assert cancelled.is_set()


async def test_an_error_may_carry_headers_and_keep_the_connection() -> None:
    async def refuses(request: Request, reply: Reply) -> None:
        reply.error(ClientError(429, "no", code="c", headers={"retry-after": "3"}), [("x-a", "b")])

    async with serving(refuses) as (_, port), client(port) as one:
        for _ in range(2):
            got = await one.ask(GET)
            assert (got.status, got.code, got.headers["retry-after"], got.headers["x-a"]) == (429, "c", "3", "b")


async def test_the_kernel_looks_after_clients_that_vanish_while_an_answer_is_made() -> None:
    going = asyncio.Event()

    async def slow(request: Request, reply: Reply) -> None:
        await going.wait()
        reply.whole(200, [], b"")

    async with serving(slow) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await until(lambda: any(one.answering for one in server.connections))
        (connection,) = server.connections
        assert connection._transport is not None
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60
        going.set()
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        await writer.wait_closed()
