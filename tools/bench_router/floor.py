"""Passes bytes from clients to engines and back, and reads none of them: what uvloop itself costs.

`python -m tools.bench_router.floor PORT HOST:PORT ...`. A router in Python on uvloop cannot be cheaper than this one,
which knows no HTTP, picks engines in turn and keeps no connection.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import cycle
from typing import cast

import uvloop


class Side(asyncio.Protocol):
    """One of two connections; what comes on it goes out on the other."""

    def __init__(self, other: Side | None = None) -> None:
        self.other = other
        self.early: list[bytes] = []
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport = cast(asyncio.Transport, transport)
        for data in self.early:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self.other is None:
            return
        if self.other.transport is None:
            self.other.early.append(data)
        else:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The other one ends too."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Client(Side):
    """A connection of a client, which is given one to the next engine."""

    def __init__(self, engine: tuple[str, int]) -> None:
        super().__init__()
        self._engine = engine

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect to the engine."""
        super().connection_made(transport)
        upstream = self.other = Side(self)
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(loop.create_connection(lambda: upstream, *self._engine))


async def _serve(port: int, engines: list[str]) -> None:
    turn = cycle((host, int(number)) for host, _, number in (one.partition(":") for one in engines))
    server = await asyncio.get_running_loop().create_server(lambda: Client(next(turn)), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), sys.argv[2:]))
