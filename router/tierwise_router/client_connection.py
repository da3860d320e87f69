"""Serves one client connection: requests in order, answers framed as the client's HTTP version wants it.

Reading never pauses, since a paused transport sees neither the end nor the reset of a connection, and a client that is
gone must be noticed at once: what comes too early is kept up to a bound. A client that does not read its answer is
noticed by a clock of its own, also when the connection is already closing: a transport waits for ever to write what is
left. A client that has closed its sending side counts as gone, as it does for the engines behind.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast

from tierwise_router.http_request import Request, RequestParser
from tierwise_router.openai_error import ClientError
from tierwise_router.reply import Reply as Reply

logger = logging.getLogger(__name__)

MOST_EARLY_BYTES = 65_536
MOST_EARLY_REQUESTS = 128
WRITE_HIGH_BYTES, WRITE_LOW_BYTES = 262_144, 65_536
SEND_BUFFER_BYTES = 131_072  # megabytes otherwise, for each client that does not read
PROGRESS_BYTES = 16_384
"""A client that takes so much of its answer within the time for reading is slow, not stalled."""
LINGER_SECONDS = 2.0
FIRST_REQUEST_SECONDS = 1.0
"""How long a new connection may take to send its request while the server drains."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Of a client connection, in seconds: for a head, for a body, between requests, and for reading some of what was
    sent."""

    head: float = 10.0
    body: float = 60.0
    idle: float = 75.0
    write: float = 30.0


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
        self._since = self._loop.time()  # of the present state: idle, head, body, or the last progress in writing
        self._unsent = 0
        self._owes_continue: Request | None = None
        self._cut_off = False
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
                self.closing = self._cut_off = True
                self._early.clear()
            else:
                self._early.append(data)
            return
        idle = not (self._parser.in_head or self._parser.in_body)
        self._feed(data)
        if idle and self._parser.in_head:
            self._since = self._loop.time()

    def eof_received(self) -> None:
        """The client sends no more; the transport closes then."""
        self._mark()
        self._gone()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._connections.discard(self)
        self._gone()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is sent to."""
        self.paused = True
        self._mark()
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
        if not request.expects_continue:
            return
        if self._reply is None and not self._waiting:
            self.write(_CONTINUE)
        else:
            self._owes_continue = request

    def request_came(self, request: Request) -> None:
        """A request is complete."""
        self._asked = True
        if len(self._waiting) < MOST_EARLY_REQUESTS:
            self._waiting.append(request)
        else:
            self.closing = self._cut_off = True
        self._next()

    # --- the server -------------------------------------------------------------------------------------------------

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What answers a request now."""
        return self._task

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
            self._mark()
            self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    def drain(self, now: float) -> None:
        """Take no further request: an idle connection ends, a busy one says so in its answer."""
        self.closing = True
        ended = self._lingering or self._transport is None or self._transport.is_closing()
        if not ended and not self.busy and (self._asked or now - self._since > FIRST_REQUEST_SECONDS):
            self.end()

    def check(self, now: float) -> None:
        """End it where a bound has passed."""
        waited = now - self._since
        if self._transport is None:
            return
        if self.paused or self._lingering or self._transport.is_closing():
            self._check_writing(now, self._transport)
        elif self._reply is not None:
            return
        elif self._parser.in_body or self._parser.in_head:
            if waited > (self._timeouts.body if self._parser.in_body else self._timeouts.head):
                self._refuse(ClientError(408, "the request did not come in time", code="request_timeout", close=True))
        elif waited > self._timeouts.idle:
            self.end()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed(data)
        except ClientError as error:
            self._waiting.clear()
            if self._reply is None:
                self._refuse(error)
            else:
                self.closing = self._cut_off = True  # the one before is answered; what follows it is not read

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
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("a request has failed within the router", exc_info=error)
            if not reply.started:
                reply.error(ClientError(500, "the router has failed", code="internal_error", close=True), [])
        if not reply.ended:
            self.abort()
            return
        self._since = self._loop.time()
        if self.closing or not reply.request.keep_alive:
            if self._cut_off or self._parser.in_head or self._parser.in_body:
                self._linger()
            else:
                self.end()
            return
        self._go_on()

    def _go_on(self) -> None:
        """Take what has come while a request was answered."""
        early, self._early, self._early_bytes = self._early, [], 0
        self._next()
        owed, self._owes_continue = self._owes_continue, None
        if owed is not None and not owed.complete and not self.answering:
            self.write(_CONTINUE)
        for position, data in enumerate(early):
            if self.answering:
                self._early = early[position:]
                self._early_bytes = sum(map(len, self._early))
                return
            if self._lingering:
                return
            self._feed(data)

    def _refuse(self, error: ClientError) -> None:
        """Answer what is no request."""
        if self._transport is None or self._transport.is_closing():
            return
        reply = Reply(self, Request("POST", "", "", "1.1", [], keep_alive=False))
        reply.error(error, [])
        self._linger()

    def _linger(self) -> None:
        """End it, but read for a while what still comes: a reset would take the answer with it."""
        if self._transport is None or self._transport.is_closing():
            return
        self._lingering = True
        self._mark()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _mark(self) -> None:
        """From now on something has to happen: the client reads what was sent to it."""
        self._since = self._loop.time()
        if self._transport is not None:
            self._unsent = self._transport.get_write_buffer_size()

    def _check_writing(self, now: float, transport: asyncio.Transport) -> None:
        unsent = transport.get_write_buffer_size()
        if unsent <= self._unsent - PROGRESS_BYTES or (self._unsent and not unsent):
            self._since, self._unsent = now, unsent
        self._unsent = max(self._unsent, unsent)
        if now - self._since > (self._timeouts.write if unsent else LINGER_SECONDS):
            self.abort()

    def _gone(self) -> None:
        reply, task = self._reply, self._task
        if reply is not None:
            reply.gone = True
        # An answer that was cut short ends the connection itself; its task has still to account for it.
        if task is not None and (reply is None or not reply.ended):
            task.cancel()
