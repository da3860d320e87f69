"""Reads HTTP/1.1 answers of upstream servers with llhttp, and knows when one has ended.

httptools' parser of answers takes an informational answer (1xx) for the answer, never ends one that is delimited by the
end of the connection, waits for the body of an answer to HEAD, and reads whatever follows as the next answer. It also
keeps a header without end, and of several Transfer-Encodings believes the last. We never send HEAD; the rest is handled
here: a connection that says more than it was asked for is not used again.
"""

from __future__ import annotations

import logging
from typing import Protocol

import httptools

logger = logging.getLogger(__name__)

MOST_HEADERS = 256
MOST_HEAD_BYTES = 65_536
MOST_QUIET_BYTES = 1 << 20
"""Of what is neither a head nor a body: one endless header, chunk extensions, trailers."""
_BLANKS = " \t"


class ProtocolError(Exception):
    """Upstream does not speak HTTP/1.1 as we do."""


class ResponseSink(Protocol):
    """Who is told; called while bytes are fed."""

    def head_came(self, status: int, headers: dict[str, str]) -> None:
        """The head of the answer is there; names in lower case, the last of two equal ones counts."""
        ...

    def body_came(self, data: bytes) -> None:
        """Some of the body."""
        ...

    def answer_ended(self, reusable: bool) -> None:
        """The answer is complete."""
        ...


class ResponseParser:
    """Of one connection, one answer at a time: `expect` says to whom the next one goes."""

    def __init__(self) -> None:
        self._sink: ResponseSink | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._quiet_bytes = 0
        self._head_done = False
        self._by_eof = False
        self._reusable = False
        self._pieces: list[bytes] = []
        self.surplus = False

    def expect(self, sink: ResponseSink) -> None:
        """The next answer goes to `sink`."""
        self._sink = sink
        self._quiet_bytes = 0
        self._head_done = self._by_eof = False

    @property
    def waiting(self) -> bool:
        """Whether an answer is due, or has begun and not ended."""
        return self._sink is not None

    def feed(self, data: bytes) -> None:
        """Take what has come. Raises ProtocolError."""
        if self._sink is None:
            self.surplus = True
            return
        self._quiet_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._tell()  # what came before the fault
            if self.waiting:
                raise _refusal(error) from None
            self.surplus = True  # what follows the answer is no answer
            return
        if self._pieces:
            self._tell()
        if self._quiet_bytes > MOST_QUIET_BYTES:
            raise ProtocolError("upstream's headers, or what frames its answer, are too large")

    def ended(self) -> bool:
        """The other side has ended the connection: whether that completes the answer."""
        sink = self._sink
        if sink is None:
            return True
        if not (self._head_done and self._by_eof):
            return False
        self._sink = None
        sink.answer_ended(False)
        return True

    # --- what httptools calls ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A message begins."""
        if self._sink is None:
            self.surplus = True
        self._headers, self._head_bytes = {}, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer."""
        self._head_bytes += len(name) + len(value)
        if len(self._headers) >= MOST_HEADERS or self._head_bytes > MOST_HEAD_BYTES:
            raise ProtocolError("upstream's headers are too large")
        if self._head_done:
            return
        key = name.decode("latin-1").lower()
        if key == "transfer-encoding" and key in self._headers:
            raise ProtocolError("upstream uses an unknown transfer coding")
        self._headers[key] = value.decode("latin-1").rstrip(_BLANKS)

    def on_headers_complete(self) -> None:
        """The head is complete."""
        if self._sink is None:
            return
        status = self._parser.get_status_code()
        if self._parser.get_http_version() not in ("1.1", "1.0") or not 100 <= status <= 599:
            raise ProtocolError("upstream's answer is not valid HTTP/1.1")
        if status == 101:
            raise ProtocolError("upstream wants another protocol")
        if status < 200:
            return
        self._head_done = True
        self._quiet_bytes = 0
        headers = self._headers
        chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        if "transfer-encoding" in headers and not chunked:
            raise ProtocolError("upstream uses an unknown transfer coding")
        self._by_eof = not chunked and "content-length" not in headers and status not in (204, 304)
        self._reusable = not self._by_eof and self._parser.should_keep_alive()
        self._sink.head_came(status, headers)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self._sink is not None and self._head_done:
            self._quiet_bytes = 0
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        """The message is complete."""
        sink = self._sink
        if sink is None or not self._head_done:
            return  # informational, or nothing that was asked for
        self._tell()
        self._sink = None
        sink.answer_ended(self._reusable)

    def _tell(self) -> None:
        """What has come of the body, if anything."""
        pieces = self._pieces
        if not pieces or self._sink is None:
            return
        self._pieces = []
        try:
            self._sink.body_came(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        except Exception as fault:
            raise _fault(fault) from fault


def _refusal(error: Exception) -> ProtocolError:
    if isinstance(error, httptools.HttpParserUpgrade):
        return ProtocolError("upstream wants another protocol")
    if not isinstance(error, httptools.HttpParserCallbackError):
        return ProtocolError("upstream's answer is not valid HTTP/1.1")
    cause = error.__context__
    if isinstance(cause, ProtocolError):
        return cause
    return _fault(cause)


def _fault(cause: BaseException | None) -> ProtocolError:
    """Of ours, not of upstream's."""
    logger.error("reading an answer has failed", exc_info=cause)
    return ProtocolError("upstream's answer cannot be read")
