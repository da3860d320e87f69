"""Serves one client connection: requests in order, answers framed as the client's HTTP version wants it.

Reading never pauses, since a paused transport sees neither the end nor the reset of a connection, and a client that is
gone must be noticed at once: what comes too early is kept up to a bound. A client that does not read its answer is
noticed by its own clock. A client that has closed its sending side counts as gone, as it does for the engines behind.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from tierwise_router.http_request import Request, RequestParser
from tierwise_router.openai_error import ClientError

MOST_EARLY_BYTES = 65_536
MOST_EARLY_REQUESTS = 128
WRITE_HIGH_BYTES, WRITE_LOW_BYTES = 262_144, 65_536
SEND_BUFFER_BYTES = 131_072  # megabytes otherwise, for each client that does not read
LINGER_SECONDS = 2.0
FIRST_REQUEST_SECONDS = 1.0
"""How long a new connection may take to send its request while the server drains."""

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Of a client connection, in seconds: for a head, for a body, between requests, and for reading what was sent."""

    head: float = 10.0
    body: float = 60.0
    idle: float = 75.0
    write: float = 30.0


class Reply:
    """The answer to one request."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_head_only",
        "_on_pause",
        "ended",
        "gone",
        "request",
        "sent_bytes",
        "started",
    )

    def __init__(self, connection: ClientConnection, request: Request) -> None:
        self._connection = connection
        self._chunked = False
        self._head_only = request.method == "HEAD"
        self._on_pause: Callable[[bool], None] | None = None
        self.request = request
        self.started = self.ended = self.gone = False
        self.sent_bytes = 0

    def start(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Send the head of an answer whose length is not known: chunked, or to the end of the connection on
        HTTP/1.0."""
        self._write(self._head(status, headers, None))

    def _head(self, status: int, headers: list[tuple[str, str]], length: int | None) -> bytes:
        self.started = True
        request = self.request
        if length is None and (request.version == "1.0" or not request.keep_alive):
            request.keep_alive = False
        self._chunked = length is None and request.version == "1.1"
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if length is not None:
            lines.append(f"content-length: {length}")
        elif self._chunked:
            lines.append("transfer-encoding: chunked")
        if not request.keep_alive or self._connection.closing:
            request.keep_alive = False
            lines.append("connection: close")
        elif request.version == "1.0":
            lines.append("connection: keep-alive")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def write(self, data: bytes) -> None:
        """Send some of the body."""
        if data and not self._head_only:
            self.sent_bytes += len(data)
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        """The body is complete."""
        self.ended = True
        if self._chunked and not self._head_only:
            self._write(b"0\r\n\r\n")

    def whole(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Send an answer of which everything is known."""
        head = self._head(status, headers, len(body))
        self.ended = True
        if self._head_only:
            body = b""
        self.sent_bytes += len(body)
        self._write(head + body)

    def error(self, error: ClientError, headers: list[tuple[str, str]]) -> None:
        """Send an error."""
        if error.close:
            self.request.keep_alive = False
        extra = [*headers, *error.headers.items(), ("content-type", "application/json")]
        self.whole(error.status, extra, error.body())

    def cut(self) -> None:
        """End the connection within the answer, when what is written has gone out: without the last chunk the client
        sees that it is not complete."""
        self.request.keep_alive = False
        self.ended = True
        self._connection.end()

    def on_pause(self, told: Callable[[bool], None] | None) -> None:
        """`told(True)` when the client reads more slowly than it is written to, `told(False)` when it caught up."""
        self._on_pause = told
        if told is not None and self._connection.paused:
            told(True)

    def paused(self, paused: bool) -> None:
        """The connection's buffer has become full, or empty."""
        if self._on_pause is not None:
            self._on_pause(paused)

    def _write(self, data: bytes) -> None:
        if not self.gone:
            self._connection.write(data)


Handler = Callable[[Request, Reply], Coroutine[Any, Any, None]]


class ClientConnection(asyncio.Protocol):
    """One connection. `connections` is where it stands while it is open."""

    def __init__(
        self, handler: Handler, connections: set[ClientConnection], timeouts: Timeouts, most_body_bytes: int
    ) -> None:
        self._handler = handler
        self._connections = connections
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser(self, most_body_bytes)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Request] = deque()
        self._early: list[bytes] = []
        self._early_bytes = 0
        self._reply: Reply | None = None
        self._task: asyncio.Task[None] | None = None
        self._since = self._loop.time()  # of the present state: idle, head, body, or the paused writing
        self._lingering = False
        self._asked = False
        self.closing = False
        self.paused = False

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        self._connections.add(self)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        """The client has sent something."""
        if self._lingering:
            return
        if self._reply is not None:
            self._early_bytes += len(data)
            if self._early_bytes > MOST_EARLY_BYTES:
                self.closing = True
                self._early.clear()
            else:
                self._early.append(data)
            return
        if not (self._parser.in_head or self._parser.in_body):
            self._since = self._loop.time()
        self._feed(data)

    def eof_received(self) -> None:
        """The client sends no more."""
        self._gone()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._connections.discard(self)
        self._gone()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is sent to."""
        self.paused = True
        self._since = self._loop.time()
        if self._reply is not None:
            self._reply.paused(True)

    def resume_writing(self) -> None:
        """It has caught up."""
        self.paused = False
        if self._reply is not None:
            self._reply.paused(False)

    # --- what the parser calls --------------------------------------------------------------------------------------

    def head_came(self, request: Request) -> None:
        """A head is complete: the client may be waiting for the word to send its body."""
        self._since = self._loop.time()
        if request.expects_continue and self._reply is None and not self._waiting:
            self.write(_CONTINUE)

    def request_came(self, request: Request) -> None:
        """A request is complete."""
        self._asked = True
        if len(self._waiting) < MOST_EARLY_REQUESTS:
            self._waiting.append(request)
        else:
            self.closing = True
        self._next()

    # --- the server -------------------------------------------------------------------------------------------------

    @property
    def answering(self) -> bool:
        """Whether a request is being answered."""
        return self._reply is not None

    @property
    def busy(self) -> bool:
        """Whether a request is being answered or has begun to come."""
        return self._reply is not None or self._parser.in_head or self._parser.in_body

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def end(self) -> None:
        """End it when what is written has gone out."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    def drain(self, now: float) -> None:
        """Take no further request: an idle connection ends, a busy one says so in its answer."""
        self.closing = True
        idle = not self.busy and (self._asked or now - self._since > FIRST_REQUEST_SECONDS)
        if idle and self._transport is not None:
            self._transport.close()

    def check(self, now: float) -> None:
        """End it where a bound has passed."""
        waited = now - self._since
        if self._lingering:
            if waited > LINGER_SECONDS:
                self.abort()
        elif self.paused:
            if waited > self._timeouts.write:
                self.abort()
        elif self._reply is not None:
            return
        elif self._parser.in_body or self._parser.in_head:
            if waited > (self._timeouts.body if self._parser.in_body else self._timeouts.head):
                self._refuse(ClientError(408, "the request did not come in time", code="request_timeout", close=True))
        elif waited > self._timeouts.idle and self._transport is not None:
            self._transport.close()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed(data)
        except ClientError as error:
            self._waiting.clear()
            if self._reply is None:
                self._refuse(error)
            else:
                self.closing = True  # the one before is answered; what follows it is not read

    def _next(self) -> None:
        if self._reply is not None or not self._waiting or self._transport is None or self._transport.is_closing():
            return
        request = self._waiting.popleft()
        self._reply = Reply(self, request)
        self._task = self._loop.create_task(self._handler(request, self._reply))
        self._task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        reply, self._reply, self._task = self._reply, None, None
        if reply is None or self._transport is None:
            return
        failed = task.cancelled() or task.exception() is not None
        if failed or not reply.ended:
            self.abort()
            return
        self._since = self._loop.time()
        if self.closing or not reply.request.keep_alive:
            self._transport.close()
            return
        early, self._early, self._early_bytes = self._early, [], 0
        self._next()
        for position, data in enumerate(early):
            if self.answering:
                self._early = early[position:] + self._early
                self._early_bytes = sum(map(len, self._early))
                return
            self._feed(data)

    def _refuse(self, error: ClientError) -> None:
        """Answer what is no request, and read for a while what still comes: a reset would take the answer with it."""
        reply = Reply(self, Request("POST", "", "", "1.1", [], keep_alive=False))
        reply.error(error, [])
        self._lingering = True
        self._since = self._loop.time()
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def _gone(self) -> None:
        reply, task = self._reply, self._task
        if reply is not None:
            reply.gone = True
        # An answer that was cut short ends the connection itself; its task has still to account for it.
        if task is not None and (reply is None or not reply.ended):
            task.cancel()
