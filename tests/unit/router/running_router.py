"""Runs the real server, gateway and state on a port of 127.0.0.1, and finds what a test has leaked.

`Client` is a client that says exactly the bytes it is told and reads answers by strict rules of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any, cast

import orjson

from tests.unit.router.scripted_upstream import Upstream
from tierwise.routing.route import Deadlines, Provider, QueueLimits, Route, RouteTier, Tariff, TokenRates
from tierwise_router.bodies import Bodies
from tierwise_router.client_connection import ClientConnection, Shared, Timeouts
from tierwise_router.gateway import Gateway
from tierwise_router.purse import Purse
from tierwise_router.record import Record
from tierwise_router.router_state import Clocks, RouterState
from tierwise_router.server import Server

PRICES = TokenRates(Decimal(1), Decimal(1), Decimal(1), Decimal(2))
CHAT = "/v1/chat/completions"
HANGS_SECONDS = 20.0  # what takes so long will not come: seven lanes on two cores make a test ten times as slow


def tier(name: str, *upstreams: Upstream, provider: bool = False, **changes: Any) -> RouteTier:
    """A tier in front of these servers."""
    where: dict[str, Any] = {"urls": tuple(one.url for one in upstreams)}
    if provider:
        where = {"provider": Provider(upstreams[0].url + "/v1", "key")}
    given: dict[str, Any] = {"model": f"{name}-model", "tariff": Tariff(PRICES), "keep_alive_seconds": 30.0}
    return RouteTier(name=name, **where, **(given | changes))


def route(*tiers: RouteTier, **changes: Any) -> Route:
    """A route over these tiers, named `auto`; the first is the default."""
    given: dict[str, Any] = {
        "queue": QueueLimits(100, 1.0, 0.2),
        "deadlines": Deadlines(10.0, 5.0, 5.0),
    }
    given |= {"model_names": ("auto",), "default_tier": tiers[0].name}
    return Route(name="auto", tiers=tiers, **(given | changes))


@dataclass
class Router:
    """A running router and what it has recorded."""

    state: RouterState
    server: Server
    port: int
    records: list[Record] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    stopping: bool = False

    @contextlib.asynccontextmanager
    async def client(self, tls: ssl.SSLContext | None = None, ahead: int = 1 << 24) -> AsyncIterator[Client]:
        """A connection, closed at the end; it takes at most twice `ahead` bytes that nobody has asked for yet."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=ahead, ssl=tls)
        client = Client(reader, writer)
        try:
            yield client
        finally:
            await client.close()

    async def ask(self, raw: bytes) -> Answered:
        """One answer, on a connection of its own."""
        async with self.client() as client:
            return await client.ask(raw)

    async def until_quiet(self, seconds: float = HANGS_SECONDS) -> None:
        """Wait until no connection and no attempt is left."""
        await until(lambda: not self.server.connections and not self.state.attempts, seconds)

    def later(self, seconds: float) -> None:
        """Let every connection look at its bounds as if so much time had passed."""
        now = asyncio.get_running_loop().time() + seconds
        for connection in list(self.server.connections):
            connection.check(now)

    @property
    def only(self) -> ClientConnection:
        """The one connection that there is."""
        (connection,) = self.server.connections
        return connection


@contextlib.asynccontextmanager
async def running(
    served: Route,
    *,
    timeouts: Timeouts | None = None,
    keys: Mapping[str, str] | None = None,
    sweep_seconds: float | None = None,
    most_body_bytes: int = 1 << 25,
    most_connections: int = 20_000,
    most_bodies_bytes: int = 1 << 27,
    tls: ssl.SSLContext | None = None,
    seconds: float = 2 * HANGS_SECONDS,
) -> AsyncIterator[Router]:
    """A router for a route, for so many seconds at most; at the end nothing of any request may be left, and no callback
    may have failed."""
    before = asyncio.all_tasks()
    faults = unheard()
    numbers = count()
    clocks = Clocks(time.monotonic, lambda: datetime.now(UTC), lambda: f"req_{next(numbers)}")
    purse = Purse(served.budget, served.overflow, clocks.now, clocks.monotonic)
    state = RouterState.of(served, clocks, purse, dict(keys or {"key": "sk-ours"}))
    gateway = Gateway(state, lambda: (not server.draining, "draining" if server.draining else "ready"))
    shared = Shared(gateway, gateway.admit, timeouts or Timeouts(), most_body_bytes, Bodies(most_bodies_bytes))
    server = Server(shared, most_connections=most_connections)
    router = Router(state, server, await server.start("127.0.0.1", 0, tls))

    def log(record: Record, ended_at: float) -> None:
        router.records.append(record)
        router.lines.append(orjson.dumps(record.line(ended_at, "now")).decode())

    state.log = log
    sweeper = None if sweep_seconds is None else asyncio.create_task(_sweep(state, sweep_seconds))
    try:
        async with asyncio.timeout(seconds):
            yield router
        await router.until_quiet()
    finally:
        if sweeper is not None:
            sweeper.cancel()
            await asyncio.gather(sweeper, return_exceptions=True)
        await server.close()
        for one in state.tiers.values():
            one.close()
    with contextlib.suppress(AssertionError):
        await until(lambda: not leaks(state, server, before), 5.0)
    assert leaks(state, server, before) == []
    assert faults == []


def unheard() -> list[str]:
    """What goes wrong in callbacks from now on: the loop only logs it."""
    faults: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(repr(context)))
    return faults


def leaks(state: RouterState, server: Server, before: set[asyncio.Task[Any]]) -> list[str]:
    """What is left of requests that have ended."""
    found = [f"connection {one}" for one in server.connections]
    found += [f"attempt {one}" for one in state.attempts]
    for one in state.tiers.values():
        found += [f"{replica.key}: {replica.in_flight} in flight" for replica in one.replicas if replica.in_flight]
        found += [f"{one.spec.name}: {one.waiting} waiting"] if one.waiting else []
        found += [f"{one.spec.name}: idle connections" for pool in one._pools.values() if pool._idle]
    if server._shared.bodies.used:
        found.append(f"{server._shared.bodies.used} bytes of bodies")
    account = state.purse.account
    if account is not None and account.reserved:
        found.append(f"reserved {account.reserved}")
    if account is not None and account.spent < 0:
        found.append(f"spent {account.spent}")
    if state.purse.cap._reserved:
        found.append(f"reserved for spilling {state.purse.cap._reserved}")
    mine = asyncio.current_task()
    # A server of the test itself may still play its script; what the router made is named after its coroutine.
    left = [task for task in asyncio.all_tasks() - before if task is not mine and "_play" not in repr(task)]
    return found + [f"task {task}" for task in left]


async def until(true: Any, seconds: float = HANGS_SECONDS) -> None:
    """Wait for something; fails when it does not come."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.001)


async def _sweep(state: RouterState, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        state.sweep()


@dataclass(frozen=True)
class Answered:
    """An answer. `whole`: it was framed to its end; `head` is everything before the body."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool
    head: bytes

    @property
    def json(self) -> Any:
        """The body's values."""
        return orjson.loads(self.body)

    @property
    def code(self) -> str:
        """Of an error."""
        return str(self.json["error"]["code"])


class Client:
    """One connection to the router."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, raw: bytes) -> None:
        """Send bytes, if the other side has not ended the connection."""
        if not self.writer.transport.is_closing():
            self.writer.write(raw)

    async def ask(self, raw: bytes, head_only: bool = False) -> Answered:
        """Send bytes and read one answer."""
        self.say(raw)
        return await self.answer(head_only)

    async def answer(self, head_only: bool = False) -> Answered:
        """The next answer; one that ends too early is not whole."""
        async with asyncio.timeout(HANGS_SECONDS):
            while True:
                head = await self.reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 100 "):
                    break
            first, *lines = head[:-4].decode("latin-1").split("\r\n")
            headers: dict[str, str] = {}
            for line in lines:
                name, colon, value = line.partition(": ")
                assert colon, line
                assert name not in headers, f"{name} stands twice"
                headers[name] = value
            version, status, _ = first.split(" ", 2)
            assert version == "HTTP/1.1"
            if head_only or status in ("204", "304"):
                return Answered(int(status), headers, b"", True, head)
            body, whole = await self._body(headers)
            return Answered(int(status), headers, body, whole, head)

    async def _body(self, headers: dict[str, str]) -> tuple[bytes, bool]:
        if "content-length" in headers:
            assert "transfer-encoding" not in headers
            try:
                return await self.reader.readexactly(int(headers["content-length"])), True
            except asyncio.IncompleteReadError as error:
                return error.partial, False
        if headers.get("transfer-encoding") != "chunked":
            assert headers["connection"] == "close"
            return await self._to_end(), True
        parts = []
        try:
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                parts.append(await self.reader.readexactly(size))
                assert await self.reader.readexactly(2) == b"\r\n"
            assert await self.reader.readexactly(2) == b"\r\n"
        except (asyncio.IncompleteReadError, ConnectionError):
            return b"".join(parts), False
        return b"".join(parts), True

    async def _to_end(self) -> bytes:
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    async def rest(self) -> bytes:
        """Everything until the connection ends."""
        async with asyncio.timeout(HANGS_SECONDS):
            return await self._to_end()

    def half_close(self) -> None:
        """Send no more."""
        if not self.writer.transport.is_closing():
            self.writer.write_eof()

    def vanish(self) -> None:
        """End the connection at once."""
        self.writer.transport.abort()

    def read_nothing(self) -> None:
        """Leave everything in the buffers of the kernel."""
        cast(asyncio.Transport, self.writer.transport).pause_reading()

    def read_again(self) -> None:
        """Take what has come."""
        cast(asyncio.Transport, self.writer.transport).resume_reading()

    async def close(self) -> None:
        """End the connection."""
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


def post(body: bytes | dict[str, Any], path: str = CHAT, extra: str = "", version: str = "1.1") -> bytes:
    """A request with a JSON body; `extra` are header lines, each with its CRLF."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    head = f"POST {path} HTTP/{version}\r\nHost: router\r\nContent-Length: {len(raw)}\r\n{extra}\r\n"
    return head.encode("latin-1") + raw


def chat(stream: bool = False, model: str = "auto", **more: Any) -> dict[str, Any]:
    """A small request for chat completions."""
    streamed = {"stream": True} if stream else {}
    return {"model": model, "messages": [{"role": "user", "content": "hi"}]} | streamed | more
