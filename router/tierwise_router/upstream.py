"""Connects to replicas and providers, and keeps idle connections as long as the other side surely does.

A server closes an idle connection just when a request is on its way, and the request is lost: so connections are kept
for less long than the server keeps them. The newest idle connection is taken first; the others grow old and are closed.
Connections belong to a replica, not to an address: addresses of pods are used again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, cast
from urllib.parse import urlsplit

from tierwise.errors import Invalid
from tierwise.routing.failover import Failure
from tierwise.routing.route import RouteTier
from tierwise_router.http_response import ProtocolError, ResponseParser, ResponseSink
from tierwise_router.keep_alive import keep_alive

CONNECT_SECONDS = 5.0
MOST_IDLE = 256  # per server
STALE_SECONDS = 2.0
"""A kept connection that the other side has closed says so within a round trip of a request. One that ends later was
open, and its request may have been worked on."""
VERSION = "/v1"  # below which the paths of the API are here


class UpstreamError(Exception):
    """An attempt has failed before or while it was answered; `failure` says how."""

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


class Exchange(ResponseSink, Protocol):
    """Who waits for an answer: told of it as it comes, and of its failure."""

    def failed(self, error: UpstreamError) -> None:
        """The connection has ended or is no use; nothing more comes."""
        ...


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is."""

    host: str
    port: int
    tls: bool
    prefix: str
    """The path before the API's, without a slash at its end."""
    version: str = VERSION
    """What stands there in the place of our /v1; a provider may call it otherwise."""

    @classmethod
    def of(cls, url: str, *, provider: bool = False) -> Server:
        """Of its base URL; a path that ends with /v1 is what OpenAI's clients call the base URL. Raises ValueError.

        Any other path is a folder of a server of ours, below which is /v1; of a provider it is the base URL as well,
        such as /v1beta/openai or /api/paas/v4."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no http or https URL")
        tls, path = parts.scheme == "https", parts.path.rstrip("/")
        version = "" if provider and path and not path.endswith(VERSION) else VERSION
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls, path.removesuffix(VERSION), version)

    def target(self, path: str) -> str:
        """Where it has what is at this path of ours, which begins with /v1."""
        return self.prefix + self.version + path.removeprefix(VERSION)

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def check_addresses(tiers: Iterable[RouteTier]) -> None:
    """Raise Invalid where a tier names a server by something that is no address."""
    for tier in tiers:
        for url in (*tier.urls, *([tier.provider.base_url] if tier.provider is not None else [])):
            try:
                Server.of(url)
            except ValueError as error:
                raise Invalid(f"tier {tier.name!r}: {url!r} is no address of a server: {error}") from error


class Connection(asyncio.Protocol):
    """One connection to a server; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = ResponseParser()
        self._exchange: Exchange | None = None
        self._received = False
        self._used = False
        self._sent_at = 0.0
        self._paused = False
        self._aborted = False
        self.idle_since = 0.0
        self.open = False

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast(asyncio.Transport, transport)
        self.open = True
        sock = transport.get_extra_info("socket")
        if sock is not None:
            keep_alive(sock)

    def data_received(self, data: bytes) -> None:
        """Upstream has sent something."""
        self._received = True
        try:
            self._parser.feed(data)
        except ProtocolError as error:
            self.close()
            self._fail(Failure.PROTOCOL, str(error))
            return
        if self._parser.surplus:
            self.close()

    def eof_received(self) -> None:
        """Upstream sends no more: asyncio closes the connection then."""

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self.open = False
        # Only an orderly end by the other side ends an answer that has no length.
        if not self._parser.waiting or (exc is None and not self._aborted and self._parser.ended()):
            self._exchange = None
            return
        self._fail_ended()

    # --- what the router does with it -------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether another request may be sent on it."""
        return self.open and self._exchange is None and self._transport is not None and not self._transport.is_closing()

    @property
    def fresh(self) -> bool:
        """Whether no request was sent on it before."""
        return not self._used

    def send(self, request: bytes, exchange: Exchange) -> None:
        """Send a request; its answer is told to `exchange`."""
        self._exchange = exchange
        self._received = False
        self._sent_at = asyncio.get_running_loop().time()
        self._parser.expect(exchange)
        if self.open and self._transport is not None and not self._transport.is_closing():
            self._transport.write(request)
        else:
            # It has ended since it was taken, and will not say so again.
            asyncio.get_running_loop().call_soon(self._fail_ended)

    def answered(self) -> None:
        """The answer has come whole: the connection is free again."""
        self._exchange = None
        self._used = True
        self.resume()

    def pause(self) -> None:
        """Read no more for now: whoever gets the answer is slower."""
        if not self._paused and self.open and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._paused and self._transport is not None:
            self._paused = False
            if self.open:
                self._transport.resume_reading()

    def close(self) -> None:
        """End it at once; upstream sees that nobody waits for the answer any more."""
        self.open = False
        self._aborted = True
        if self._transport is not None:
            # Not close(): over TLS that waits for the other side, on uvloop for up to 30 s.
            self._transport.abort()

    def abandon(self) -> None:
        """The answer is no longer wanted: nothing is told to the exchange, and upstream can stop."""
        self._exchange = None
        self._parser = ResponseParser()
        self.close()

    def _fail_ended(self) -> None:
        waited = asyncio.get_running_loop().time() - self._sent_at
        stale = self._used and not self._received and waited < STALE_SECONDS
        failure = Failure.RESET_IDLE if stale else Failure.RESET
        self._fail(failure, "upstream closed the connection before its answer was complete")

    def _fail(self, failure: Failure, message: str) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.failed(UpstreamError(failure, message))


class Pool:
    """The connections to one server."""

    def __init__(
        self, url: str, keep_seconds: float, tls: ssl.SSLContext | None = None, *, provider: bool = False
    ) -> None:
        self.server = Server.of(url, provider=provider)
        self.keep_seconds = keep_seconds
        """So long a connection is kept while it is idle."""
        self._tls = tls or (default_tls() if self.server.tls else None)
        self._idle: list[Connection] = []
        self._closed = False

    def take(self, now: float) -> Connection | None:
        """An idle connection that is surely still open on the other side."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and now - connection.idle_since < self.keep_seconds:
                return connection
            connection.close()
        return None

    async def connect(self) -> Connection:
        """A new connection. Raises UpstreamError."""
        self._closed = False
        server = self.server
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(
                    Connection,
                    server.host,
                    server.port,
                    ssl=self._tls,
                    server_hostname=server.host if self._tls else None,
                )
        except (OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: a name that no resolver takes
            raise UpstreamError(Failure.CONNECT, f"no connection: {type(error).__name__}") from error
        return connection

    def give_back(self, connection: Connection, now: float) -> None:
        """Keep it for the next request."""
        if not connection.usable or self._closed or self.keep_seconds <= 0 or len(self._idle) >= MOST_IDLE:
            connection.close()
            return
        connection.idle_since = now
        self._idle.append(connection)

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long. The oldest come first."""
        while self._idle and (now - self._idle[0].idle_since >= self.keep_seconds or not self._idle[0].usable):
            self._idle.pop(0).close()

    def close(self) -> None:
        """Close all that are idle, and those in use when they become idle, until another one is made."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()


def default_tls() -> ssl.SSLContext:
    """For providers: the system's authorities, and HTTP/1.1 only."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
