"""Plays an upstream server by script, on a real socket: sends these bytes, waits, resets, half-closes, holds.

It reads requests by rules of its own and keeps every byte, so that what a router sends is judged by somebody else: a
request that is not framed by exactly one Content-Length, or bytes behind it, are kept as a complaint.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import cast


class Do(Enum):
    """What a script can do besides sending bytes, waiting for seconds (a float) or for an event."""

    RESET = "reset"
    CLOSE = "close"
    HALF_CLOSE = "half-close"
    HOLD = "hold"
    """Nothing more, until the other side ends the connection."""


Step = bytes | float | asyncio.Event | Do
Script = Sequence[Step]


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    head: bytes
    connection: int
    """The number of the connection that it came on, from 0."""


@dataclass
class Upstream:
    """What the server does and what it has seen. `scripts` are used up in order; then `default` is played."""

    default: Script = ()
    scripts: list[Script] = field(default_factory=list)
    choose: Callable[[Seen], Script | None] | None = None
    seen: list[Seen] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    ended_at: list[float] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a connection has ended."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    sent_bytes: int = 0
    port: int = 0
    tls: bool = False

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def script_for(self, seen: Seen) -> Script:
        """What to play for a request."""
        chosen = None if self.choose is None else self.choose(seen)
        if chosen is not None:
            return chosen
        return self.scripts.pop(0) if self.scripts else self.default


class _Connection(asyncio.Protocol):
    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._number = upstream.connections
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._playing: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._upstream.connections += 1
        self._upstream.open += 1
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._playing is None or self._playing.done():
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.open -= 1
        self._upstream.ended_at.append(time.monotonic())
        self._upstream.ended.set()
        self._lost.set()
        self._writable.set()
        if self._playing is not None:
            self._playing.cancel()
        if self._buffer:
            self._upstream.complaints.append(f"left unread: {self._buffer[:80]!r}")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _next(self) -> None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
        names = [line.partition(":")[0].lower() for line in lines]
        headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
        if version != "HTTP/1.1" or len(set(names)) != len(names) or "transfer-encoding" in headers:
            self._upstream.complaints.append(f"not framed as agreed: {head!r}")
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        seen = Seen(method, target, headers, rest[:length], head, self._number)
        self._upstream.seen.append(seen)
        self._upstream.asked.set()
        self._playing = asyncio.get_running_loop().create_task(self._play(self._upstream.script_for(seen)))
        self._playing.add_done_callback(self._played)

    def _played(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is None and self._buffer and not self._lost.is_set():
            self._next()

    async def _play(self, script: Script) -> None:
        transport = self._transport
        assert transport is not None
        for step in script:
            if isinstance(step, bytes):
                await self._writable.wait()
                if transport.is_closing():
                    return
                transport.write(step)
                self._upstream.sent_bytes += len(step)
            elif isinstance(step, asyncio.Event):
                await step.wait()
            elif step is Do.RESET:
                sock = transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                transport.abort()
            elif step is Do.CLOSE:
                transport.close()
            elif step is Do.HALF_CLOSE:
                transport.write_eof()
            elif step is Do.HOLD:
                await self._lost.wait()
            else:
                await asyncio.sleep(step)


@contextlib.asynccontextmanager
async def upstream(
    *scripts: Script, default: Script = (), tls: ssl.SSLContext | None = None
) -> AsyncIterator[Upstream]:
    """A running server. Fails when a request came that was not framed as agreed."""
    state = Upstream(default=default, scripts=list(scripts), tls=tls is not None)
    loop = asyncio.get_running_loop()
    connections: list[_Connection] = []

    def made() -> _Connection:
        connections.append(_Connection(state))
        return connections[-1]

    server = await loop.create_server(made, "127.0.0.1", 0, ssl=tls)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for one in connections:
            if one._transport is not None:
                one._transport.abort()
        await asyncio.sleep(0.001)
    assert state.complaints == []


def answer(body: bytes, status: int = 200, content_type: str = "application/json", extra: str = "") -> bytes:
    """A whole answer."""
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def chunk(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
ROLE = b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
FINISH = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12}}\n\n'
DONE = b"data: [DONE]\n\n"


def word(text: str) -> bytes:
    """An event with content."""
    return b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % text.encode()


def stream(*events: bytes) -> list[bytes]:
    """The steps of a whole answer of events, each in its own chunk."""
    return [STREAM_HEAD, *(chunk(event) for event in events), LAST_CHUNK]


GOOD_STREAM = stream(ROLE, word("Hel"), word("lo"), FINISH, USAGE, DONE)
COMPLETION = answer(
    b'{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12}}'
)
