"""Writes the answer to one request, framed as the client's HTTP version wants it.

An answer whose length is not known is chunked; on HTTP/1.0 it ends with the connection. One that fails within is cut:
without the last chunk no client takes it for complete.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from tierwise_router.http_request import Request
from tierwise_router.openai_error import ClientError

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_BODILESS = (204, 304)


class Wire(Protocol):
    """The connection that an answer goes out on."""

    @property
    def paused(self) -> bool:
        """Whether the client reads more slowly than it is written to."""
        ...

    @property
    def closing(self) -> bool:
        """Whether no further request is taken on it."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def end(self) -> None:
        """End it when what is written has gone out."""
        ...

    def let_go(self, request: Request) -> None:
        """The memory of its body is free."""
        ...


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
        "tee",
    )

    def __init__(self, connection: Wire, request: Request) -> None:
        self._connection = connection
        self._chunked = False
        self._head_only = request.method == "HEAD"
        self._on_pause: Callable[[bool], None] | None = None
        self.tee: Callable[[bytes], None] | None = None
        """Is told of the body as well."""
        self.request = request
        self.started = self.ended = self.gone = False
        self.sent_bytes = 0

    def start(self, status: int, headers: list[tuple[str, str]], first: bytes = b"") -> None:
        """Send the head of an answer whose length is not known (chunked, or to the end of the connection on HTTP/1.0),
        and the first of its body."""
        self._write(self._head(status, headers, None) + self._framed(first))

    def _head(self, status: int, headers: list[tuple[str, str]], length: int | None) -> bytes:
        self.started = True
        request = self.request
        if length is None and (request.version == "1.0" or not request.keep_alive):
            request.keep_alive = False
        self._chunked = length is None and request.version == "1.1"
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if status in _BODILESS:
            self._head_only, self._chunked = True, False
        elif length is not None:
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
        if framed := self._framed(data):
            self._write(framed)

    def end(self, last: bytes = b"") -> None:
        """The body is complete with this."""
        self.ended = True
        closing = b"0\r\n\r\n" if self._chunked and not self._head_only else b""
        if data := self._framed(last) + closing:
            self._write(data)

    def whole(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Send an answer of which everything is known."""
        head = self._head(status, headers, len(body))
        self.ended = True
        if self._head_only:
            body = b""
        self.sent_bytes += len(body)
        if self.tee is not None:
            self.tee(body)
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

    def let_go(self) -> None:
        """Nobody needs the body of the request any more."""
        self._connection.let_go(self.request)

    def on_pause(self, told: Callable[[bool], None] | None) -> None:
        """`told(True)` when the client reads more slowly than it is written to, `told(False)` when it caught up."""
        self._on_pause = told
        if told is not None and self._connection.paused:
            told(True)

    def paused(self, paused: bool) -> None:
        """The connection's buffer has become full, or empty."""
        if self._on_pause is not None:
            self._on_pause(paused)

    def _framed(self, data: bytes) -> bytes:
        if not data or self._head_only:
            return b""
        self.sent_bytes += len(data)
        if self.tee is not None:
            self.tee(data)
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def _write(self, data: bytes) -> None:
        if not self.gone:
            self._connection.write(data)
