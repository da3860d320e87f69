"""Reads HTTP/1.1 requests with llhttp, and refuses what it lets through.

llhttp's strict mode catches most tricks of framing. Measured with httptools 0.9.0, it accepts the rest of this list,
and each of these has let one server see a request that another did not: a transfer coding besides chunked, any on
HTTP/1.0, no Host or two, HTTP/0.9, `Transfer_Encoding`, unbounded URLs, headers and chunk extensions. It also takes a
request with `Upgrade` for one without a body, and the body for the next request; here the body is read by a second
parser and belongs to the request it came with. Trailers are dropped. What stays accepted, since no request is read
twice for it: empty lines before a request, more spaces than one in its first line, `RTSP/1.0` for `HTTP/1.0`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol

import httptools

from tierwise_router.openai_error import ClientError

MOST_URL_BYTES = 8_192
MOST_HEAD_BYTES = 32_768
MOST_HEADERS = 128
MOST_BODY_BYTES = 32 << 20
# Bytes that frame a body (sizes of chunks, extensions, trailers): so many, and so many per byte of the body.
FRAMING_BYTES = 65_536
FRAMING_PER_BYTE = 8

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HOST = re.compile(rb"[A-Za-z0-9._~%\-:\[\]]*")
_TARGET = re.compile(rb"/[\x21-\x7e]*")
_BLANKS = b" \t"
_ALIASES = frozenset({b"transfer_encoding", b"content_length"})


@dataclass(slots=True, eq=False)
class Request:
    """One request. `headers` in the order they came, names in lower case; `complete` when its body has come whole.

    `length` is what its head says of its body: bytes, 0 for none, None for chunks. `keeps_body` False: the body is read
    and dropped. `tenant`: who asks, where that was found out before the body was read. `held`: bytes of the body that
    are counted as memory."""

    method: str
    path: str
    query: str
    version: str
    headers: list[tuple[bytes, bytes]]
    keep_alive: bool
    expects_continue: bool = False
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False
    length: int | None = 0
    keeps_body: bool = True
    tenant: str | None = None
    held: int = 0

    def header(self, name: bytes) -> str | None:
        """The last value of a header (name in lower case)."""
        for key, value in reversed(self.headers):
            if key == name:
                return value.decode("latin-1")
        return None


class Sink(Protocol):
    """Who is told. Both are called while bytes are fed; a ClientError that they raise ends the connection."""

    def head_came(self, request: Request) -> None:
        """The head is read; the body will follow."""
        ...

    def request_came(self, request: Request) -> None:
        """The request is complete."""
        ...


class Memory(Protocol):
    """Where the memory of bodies is counted."""

    def take(self, request: Request, size: int) -> None:
        """So many bytes more of a body have come. Raises ClientError where there is no room for them."""
        ...

    def give_back(self, request: Request) -> None:
        """Its body will not be read."""
        ...


class _Boundless:
    """Memory that nobody counts."""

    def take(self, request: Request, size: int) -> None:
        """There is room."""

    def give_back(self, request: Request) -> None:
        """Nothing was taken."""


class RequestParser:
    """Of one connection. After it has raised, or after a request that ends the connection, nothing is read any more."""

    def __init__(self, sink: Sink, most_body_bytes: int = MOST_BODY_BYTES, memory: Memory | None = None) -> None:
        self._sink = sink
        self._memory = memory or _Boundless()
        self._most_body = most_body_bytes
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._raw = 0
        self.body_bytes = 0
        """Of the body that is coming; framing does not count."""
        self._request: Request | None = None
        self._begun = False
        self._upgrading = False
        self._over = False
        self._failed = False

    @property
    def in_head(self) -> bool:
        """Whether a head has begun and is not complete."""
        return self._begun and self._request is None

    @property
    def in_body(self) -> bool:
        """Whether a body has begun and is not complete."""
        return self._request is not None

    def feed(self, data: bytes) -> None:
        """Take what has come. Raises ClientError for what is no acceptable request."""
        if self._failed:
            return
        self._raw += len(data)
        try:
            rest = self._read(data)
            if rest is not None:
                self._body_after_upgrade(rest)
            self._check_bounds()
        except ClientError:
            self.stop()
            if not self._over:  # what lies behind the last request is nobody's
                raise

    def stop(self) -> None:
        """Read nothing any more, and forget what has come of a request."""
        self._failed = True
        if self._request is not None:
            self._memory.give_back(self._request)
        self._begun, self._request = False, None

    # --- what httptools calls ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A message begins."""
        self.body_bytes = 0
        self._url, self._headers, self._head_bytes = b"", [], 0
        self._request = None
        self._begun = not self._over

    def on_url(self, url: bytes) -> None:
        """A piece of the URL."""
        self._url += url  # it comes in pieces
        if len(self._url) > MOST_URL_BYTES:
            raise ClientError(414, "the URL is too long", code="uri_too_long", close=True)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer."""
        if self._request is not None:
            return  # a trailer
        self._head_bytes += len(name) + len(value)
        if len(self._headers) >= MOST_HEADERS or self._head_bytes > MOST_HEAD_BYTES:
            raise _too_large()
        if not _TOKEN.fullmatch(name):
            raise _bad("a header has an invalid name")
        self._headers.append((name.lower(), value.rstrip(_BLANKS)))

    def on_headers_complete(self) -> None:
        """The head is complete."""
        if self._over:
            return
        request = self._checked()
        self._request = request
        self._upgrading = self._parser.should_upgrade()
        self._sink.head_came(request)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        request = self._request
        if request is None:
            return
        self.body_bytes += len(data)
        if self.body_bytes > self._most_body:
            raise _too_long(self._most_body)
        if request.keeps_body:
            self._memory.take(request, len(data))
            request.body += data

    def on_message_complete(self) -> None:
        """The message is complete."""
        request = self._request
        if request is None or self._upgrading:
            return
        self._request = None
        self._begun = False
        self._raw = 0
        self._over = not request.keep_alive
        request.complete = True
        self._sink.request_came(request)

    # --- checks -----------------------------------------------------------------------------------------------------

    def _checked(self) -> Request:
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise ClientError(505, "only HTTP/1.1 and HTTP/1.0 are spoken here", close=True)
        method = self._parser.get_method().decode("ascii")
        if not _TARGET.fullmatch(self._url) or method == "CONNECT":
            raise _bad("the request target must be a path")
        named: dict[bytes, list[bytes]] = {}
        for name, value in self._headers:
            named.setdefault(name, []).append(value)
        hosts = named.get(b"host", [])
        if len(hosts) > 1 or (not hosts and version == "1.1") or not all(_HOST.fullmatch(host) for host in hosts):
            raise _bad("exactly one valid Host is needed")
        if _ALIASES & named.keys():
            raise _bad("a header looks like one that frames the body")
        codings = named.get(b"transfer-encoding", [])
        if codings and (version == "1.0" or len(codings) > 1 or codings[0].lower() != b"chunked"):
            raise _bad("the only transfer coding is chunked, on HTTP/1.1")
        lengths = named.get(b"content-length", [])
        if lengths and int(lengths[0]) > self._most_body:
            raise _too_long(self._most_body)
        expected = [value.lower() for value in named.get(b"expect", [])]
        if any(value != b"100-continue" for value in expected):
            raise ClientError(417, "only 100-continue may be expected", close=True)
        path, _, query = self._url.decode("ascii").partition("?")
        return Request(
            method=method,
            path=path,
            query=query,
            version=version,
            headers=self._headers,
            keep_alive=version == "1.1" and self._parser.should_keep_alive(),
            expects_continue=bool(expected) and version == "1.1",
            length=None if codings else int(lengths[0]) if lengths else 0,
        )

    def _read(self, data: bytes) -> bytes | None:
        """Let the parser read. What it has not read, where it stops at what it takes for another protocol."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            return data[stopped.args[0] :]
        except httptools.HttpParserCallbackError as error:
            # Our own refusal, or a fault of ours: that one is no fault of the client's.
            raise error.__context__ or error from None
        except httptools.HttpParserError:
            raise _bad("this is not a valid HTTP/1.1 request") from None
        return None

    def _body_after_upgrade(self, rest: bytes) -> None:
        """Nothing is upgraded. The body has its own framing still to be read: by a parser that begins with it."""
        request = self._request
        self._upgrading = False
        if request is None:
            raise _bad("an upgrade cannot be asked for here")
        request.keep_alive = False
        coded = request.header(b"transfer-encoding") is not None
        frame = "Transfer-Encoding: chunked" if coded else f"Content-Length: {request.header(b'content-length') or 0}"
        self._parser = httptools.HttpRequestParser(_BodyReader(self))
        # What it takes for a further request is behind the body, and not read.
        self._read(f"POST / HTTP/1.1\r\nHost: body\r\n{frame}\r\n\r\n".encode() + rest)

    def _check_bounds(self) -> None:
        """Of what httptools keeps or skips without telling: one endless header, chunk extensions, trailers."""
        if self._request is None:
            if self._raw > MOST_URL_BYTES + MOST_HEAD_BYTES:
                raise _too_large()
        elif self._raw > FRAMING_BYTES + MOST_HEAD_BYTES + (1 + FRAMING_PER_BYTE) * self.body_bytes:
            raise _bad("the chunks of the body are too small or their frames too large")


class _BodyReader:
    """Reads one body; its owner is told, and told to end with it."""

    def __init__(self, owner: RequestParser) -> None:
        self._owner = owner

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._owner.on_body(data)

    def on_message_complete(self) -> None:
        """The message is complete."""
        self._owner.on_message_complete()


def _bad(message: str) -> ClientError:
    return ClientError(400, message, code="bad_request", close=True)


def _too_large() -> ClientError:
    return ClientError(431, "the headers are too large", code="headers_too_large", close=True)


def _too_long(most: int) -> ClientError:
    return ClientError(413, f"the body is larger than {most} bytes", code="body_too_large", close=True)
