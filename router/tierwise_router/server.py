"""Listens, keeps the bounds of all client connections, and ends without cutting an answer.

One timer looks at all connections each second: a timer for each would cost more than it brings.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from typing import Any, cast

from tierwise_router.client_connection import ClientConnection, Shared

logger = logging.getLogger(__name__)

# asyncio's own 100 makes a burst of new connections wait for seconds (measured: 14 s at 1,500).
BACKLOG = 4_096
MOST_CONNECTIONS = 20_000
CLOSE_SECONDS = 2.0
HANDSHAKE_SECONDS = 10.0  # asyncio's 60 is too much for somebody who has not even said who they are
SWEEP_SECONDS = 1.0


class Server:
    """The listening socket and its connections. Use as: start, then `drain`, then `close`."""

    def __init__(self, shared: Shared, *, most_connections: int = MOST_CONNECTIONS) -> None:
        self._shared = shared
        self._most = most_connections
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self.draining = False

    @property
    def connections(self) -> set[ClientConnection]:
        """Those that are open."""
        return self._shared.open

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; the port that was got. Raises OSError."""
        loop = asyncio.get_running_loop()
        times: dict[str, Any] = {}
        if tls is not None:
            times = {"ssl_handshake_timeout": HANDSHAKE_SECONDS, "ssl_shutdown_timeout": CLOSE_SECONDS}
        self._server = await loop.create_server(
            self._accepted, host, port, backlog=BACKLOG, ssl=tls, reuse_address=True, **times
        )
        self._sweeper = loop.create_task(self._sweep())
        return int(self._server.sockets[0].getsockname()[1])

    async def drain(self, seconds: float) -> None:
        """Answer what is being answered, for at most so long. New connections are still accepted, since a client may
        not know yet that this server is going; each is told to close after its answer."""
        self.draining = True
        until = time.monotonic() + seconds
        while self.connections and time.monotonic() < until:
            now = asyncio.get_running_loop().time()
            for connection in list(self.connections):
                connection.drain(now)
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._server is not None:
            self._server.close()
        ending = [task for one in self.connections if (task := one.task) is not None]
        for connection in list(self.connections):
            connection.abort()
        if ending:
            await asyncio.wait(ending, timeout=CLOSE_SECONDS)
        await asyncio.sleep(0)

    def _accepted(self) -> asyncio.Protocol:
        if len(self.connections) >= self._most:
            return _Refused()
        connection = ClientConnection(self._shared)
        connection.closing = self.draining
        return connection

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = loop.time()
            for connection in list(self.connections):
                try:
                    connection.check(now)
                except Exception:
                    # One connection's fault must not end the looking after all others.
                    logger.exception("a client connection cannot be looked after; it is ended")
                    connection.abort()


class _Refused(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is told to come again."""
        refused = cast(asyncio.Transport, transport)
        refused.write(
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n"
        )
        refused.close()
