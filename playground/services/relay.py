"""Forwards connections from a ClusterIP to a pod.

One listener per ClusterIP:port that has a ready endpoint; without one there is no listener and the kernel
refuses the connection, as it does on a cluster. Endpoints take turns per connection. Bytes pass through as
they come, with back pressure and half-closed connections in both directions; an endpoint that refuses resets
the client.
"""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from playground.services.routing import Address, Routes

log = logging.getLogger(__name__)

CONNECT_S = 10.0
REBIND_S = 2.0


class _Side(asyncio.Protocol):
    """One of the two connections of a relay; what it receives goes to its peer."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: _Side | None = None
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        peer = self.peer
        if peer is None or peer.transport is None or peer.transport.is_closing():
            return False
        if peer.ended:
            # Both have said everything: closing sends what is still buffered first.
            peer.transport.close()
            return False
        peer.transport.write_eof()
        return True  # the other direction stays open

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None and not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        peer, self.peer = self.peer, None
        if peer is None or peer.transport is None:
            return
        peer.peer = None
        if error is None:
            peer.transport.close()
        else:
            peer.transport.abort()


class Listener:
    """Relays what comes in at one ClusterIP:port."""

    def __init__(self, address: Address) -> None:
        """Prepare; `open` listens."""
        self.address = address
        self.endpoints: tuple[Address, ...] = ()
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Start listening. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._accept, self.address.host, self.address.port, backlog=512, start_serving=True
        )

    def close(self) -> None:
        """Stop listening; connections that exist go on."""
        if self._server is not None:
            self._server.close()

    def _accept(self) -> asyncio.Protocol:
        return _Client(self)

    def connect(self, client: _Side) -> None:
        """Find a peer for a client that has just connected."""
        task = asyncio.create_task(self._connect(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, client: _Side) -> None:
        transport = client.transport
        if transport is None or not self.endpoints:
            if transport is not None:
                transport.abort()
            return
        # Not yet in connection_made: early releases of Python 3.11 add the reader after it, paused or not.
        transport.pause_reading()
        endpoint = self.endpoints[self._turn % len(self.endpoints)]
        self._turn += 1
        upstream = _Side()
        try:
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().create_connection(lambda: upstream, endpoint.host, endpoint.port)
        except (OSError, TimeoutError) as error:
            log.debug("%s -> %s: %s", self.address, endpoint, error)
            transport.abort()
            return
        if transport.is_closing():
            if upstream.transport is not None:
                upstream.transport.abort()
            return
        client.peer, upstream.peer = upstream, client
        transport.resume_reading()


class _Client(_Side):
    """The side that came in: read only once there is somewhere to write to."""

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._listener.connect(self)


class Forwarder:
    """All listeners, kept equal to a routing table."""

    def __init__(self) -> None:
        """Start with none."""
        self._listeners: dict[Address, Listener] = {}

    async def update(self, table: Routes) -> bool:
        """Open and close listeners; False if an address could not be bound yet (try again in REBIND_S)."""
        wanted = {address: endpoints for address, endpoints in table.items() if endpoints}
        for address in [a for a in self._listeners if a not in wanted]:
            self._listeners.pop(address).close()
        complete = True
        for address, endpoints in sorted(wanted.items()):
            listener = self._listeners.get(address)
            if listener is None:
                listener = Listener(address)
                listener.endpoints = endpoints
                try:
                    await listener.open()
                except OSError as error:
                    log.warning("cannot listen on %s: %s", address, error)
                    complete = False
                    continue
                self._listeners[address] = listener
            listener.endpoints = endpoints
        return complete
