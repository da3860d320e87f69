"""Serves one client connection: requests in order, answers framed as the client's HTTP version wants it.

Reading never pauses, since a paused transport sees neither the end nor the reset of a connection, and a client that is
gone must be noticed at once: what comes too early is kept up to a bound. A client that does not read its answer is
noticed by a clock of its own, also when the connection is already closing: a transport waits for ever to write what is
left. A client that has closed its sending side counts as gone, as it does for the engines behind.

Who asks is found out when a head has come, so that a stranger cannot make the router read and keep a body.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

from tierwise_router.bodies import Bodies
from tierwise_router.http_request import MOST_BODY_BYTES, Request, RequestParser
from tierwise_router.keep_alive import keep_alive
from tierwise_router.openai_error import ClientError
from tierwise_router.reply import Reply as Reply
from tierwise_router.unsent import unsent

logger = logging.getLogger(__name__)

MOST_EARLY_BYTES = 65_536
MOST_EARLY_REQUESTS = 128
WRITE_HIGH_BYTES, WRITE_LOW_BYTES = 262_144, 65_536
SEND_BUFFER_BYTES = 131_072  # megabytes otherwise, for each client that does not read
PROGRESS_BYTES = 16_384
"""A client that takes so much of its answer within the time for reading is slow, not stalled."""
LINGER_SECONDS = 2.0
LINGER_MOST_SECONDS = 10.0
"""Of a client that goes on sending what is not read any more: most read the answer only when they have sent all."""
LAST_REQUEST_SECONDS = 1.0
"""How long a connection may take to send a request while the server drains: a new one, and one whose last answer did
not say that it would be closed, so that its client may be sending already."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Of a client connection, in seconds: for a head, between requests, and for reading some of what was sent.

    A body may take as long as it needs, but in any `body_window` seconds so many bytes of it must come as `body_rate`
    (bytes a second) says: a large one over a slow line ends well, and one that only trickles does not."""

    head: float = 10.0
    body_window: float = 20.0
    body_rate: float = 8192.0
    idle: float = 75.0
    write: float = 30.0


Handler = Callable[[Request, Reply], Coroutine[Any, Any, None]]


def everybody(_: Request) -> None:
    """Let every request in."""


@dataclass(slots=True)
class Shared:
    """What all client connections of a server have in common.

    `admit` is asked when a head has come, before any of its body is read; it raises ClientError for a request that must
    not come in, and may say of the request that its body is not kept. `open`: the connections that there are."""

    handler: Handler
    admit: Callable[[Request], None] = everybody
    timeouts: Timeouts = field(default_factory=Timeouts)
    most_body_bytes: int = MOST_BODY_BYTES
    bodies: Bodies = field(default_factory=Bodies)
    open: set[ClientConnection] = field(default_factory=set)


class ClientConnection(asyncio.Protocol):
    """One connection."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._timeouts = shared.timeouts
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser(self, shared.most_body_bytes, shared.bodies)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Request] = deque()
        self._early: list[bytes] = []
        self._early_bytes = 0
        self._reply: Reply | None = None
        self._task: asyncio.Task[None] | None = None
        self._since = self._loop.time()  # of the present state: idle, head, body, or the last progress in writing
        self._unsent = 0
        self._body_seen = 0  # bytes of the body that had come at `_since`
        self._unasked: Request | None = None  # its head came behind another request
        self._cut_off = False
        self._lingering = False
        self._lingers_since = 0.0
        self.closing = False
        self.paused = False

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        self._shared.open.add(self)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            keep_alive(sock)

    def data_received(self, data: bytes) -> None:
        """The client has sent something."""
        if self._lingering:
            now = self._loop.time()
            if now - self._lingers_since < LINGER_MOST_SECONDS:
                self._since = now
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
        self._shared.open.discard(self)
        self._parser.stop()
        self._forget_waiting()
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
        """A head is complete: whether its body may follow, and the client may be waiting for the word to send it."""
        self._since, self._body_seen = self._loop.time(), 0
        if self._reply is None and not self._waiting:
            self._let_in(request)
        else:
            self._unasked = request

    def request_came(self, request: Request) -> None:
        """A request is complete."""
        if len(self._waiting) < MOST_EARLY_REQUESTS:
            self._waiting.append(request)
        else:
            self.closing = self._cut_off = True
            self._shared.bodies.give_back(request)
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
        # Not twice: over TLS, asyncio takes the second close() for the end of all, and abort() for nothing.
        if self._transport is not None and not self._transport.is_closing():
            self._mark()
            self._transport.close()

    def let_go(self, request: Request) -> None:
        """The memory of its body is free."""
        self._shared.bodies.give_back(request)

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    def drain(self, now: float) -> None:
        """Take one request more at most: a connection that has been idle for a moment ends, and the next answer on any
        other one says that it is the last."""
        self.closing = True
        ended = self._lingering or self._transport is None or self._transport.is_closing()
        if not ended and not self.busy and now - self._since > LAST_REQUEST_SECONDS:
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
        elif self._parser.in_body:
            self._check_body(now, waited)
        elif self._parser.in_head:
            if waited > self._timeouts.head:
                self._too_slow()
        elif unsent(self._transport):
            self._check_writing(now, self._transport)
        elif waited > self._timeouts.idle:
            self.end()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed(data)
        except ClientError as error:
            self._forget_waiting()
            if self._reply is None:
                self._refuse(error)
            else:
                self.closing = self._cut_off = True  # the one before is answered; what follows it is not read

    def _next(self) -> None:
        if self._reply is not None or not self._waiting or self._transport is None or self._transport.is_closing():
            return
        request = self._waiting.popleft()
        self._reply = Reply(self, request)
        self._task = self._loop.create_task(self._shared.handler(request, self._reply))
        self._task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        reply, self._reply, self._task = self._reply, None, None
        if reply is None or self._transport is None:
            return
        self._shared.bodies.give_back(reply.request)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("a request has failed within the router", exc_info=error)
            if not reply.started:
                reply.error(ClientError(500, "the router has failed", code="internal_error", close=True), [])
        if not reply.ended:
            self.abort()
            return
        self._since = self._loop.time()
        if self._cut_off or not reply.request.keep_alive:
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
        if not self.answering:
            self._ask_behind()
        for position, data in enumerate(early):
            if self.answering:
                self._early = early[position:]
                self._early_bytes = sum(map(len, self._early))
                return
            if self._lingering:
                return
            self._feed(data)

    def _let_in(self, request: Request) -> None:
        """Raises ClientError for a request that must not come in, or whose body there is no room for."""
        self._shared.admit(request)
        if request.keeps_body and request.length:
            self._shared.bodies.expect(request.length)
        if request.expects_continue:
            self.write(_CONTINUE)

    def _ask_behind(self) -> None:
        """The request whose head came behind another one is the next: what was not asked then."""
        request, self._unasked = self._unasked, None
        if request is None or request.complete:
            return
        try:
            self._let_in(request)
        except ClientError as error:
            self._parser.stop()
            self._refuse(error)

    def _forget_waiting(self) -> None:
        for request in self._waiting:
            self._shared.bodies.give_back(request)
        self._waiting.clear()

    def _check_body(self, now: float, waited: float) -> None:
        if waited <= self._timeouts.body_window:
            return
        come = self._parser.body_bytes - self._body_seen
        if come < self._timeouts.body_rate * waited:
            self._too_slow()
        else:
            self._since, self._body_seen = now, self._parser.body_bytes

    def _too_slow(self) -> None:
        self._parser.stop()
        self._refuse(ClientError(408, "the request did not come in time", code="request_timeout", close=True))

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
        self._lingers_since = self._loop.time()
        self._mark()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _mark(self) -> None:
        """From now on something has to happen: the client reads what was sent to it."""
        self._since = self._loop.time()
        if self._transport is not None:
            self._unsent = unsent(self._transport)

    def _check_writing(self, now: float, transport: asyncio.Transport) -> None:
        left = unsent(transport)
        if left <= self._unsent - PROGRESS_BYTES or (self._unsent and not left):
            self._since, self._unsent = now, left
        self._unsent = max(self._unsent, left)
        if now - self._since > (self._timeouts.write if left else LINGER_SECONDS):
            self.abort()

    def _gone(self) -> None:
        reply, task = self._reply, self._task
        if reply is not None:
            reply.gone = True
        # An answer that was cut short ends the connection itself; its task has still to account for it.
        if task is not None and (reply is None or not reply.ended):
            task.cancel()
