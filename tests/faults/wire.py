"""Speaks HTTP/1.1 on one connection and misses nothing that the server says: a client for tests that count answers.

Client libraries drop what comes after an answer, ask again by themselves, and call a cut and a close the same. Here a
second answer, a byte too many, an end without a terminator and a silence each have a name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast


class Ended(Exception):
    """The server ended the connection where more had to come."""


@dataclass(frozen=True, slots=True)
class Head:
    """Of an answer."""

    status: int
    headers: dict[str, str]

    @property
    def keeps(self) -> bool:
        """Whether the connection may be used again."""
        return self.headers.get("connection", "").lower() != "close"


class Wire(asyncio.Protocol):
    """One connection; `buffer` is what has come and was not read yet."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.ended = False
        self._changed = asyncio.Event()
        self._transport: asyncio.Transport

    @classmethod
    async def open(cls, host: str, port: int) -> Wire:
        """A new connection. Raises OSError."""
        _, made = await asyncio.get_running_loop().create_connection(cls, host, port)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._changed.set()

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self._transport.write(data)

    def close(self) -> None:
        """End it."""
        self._transport.abort()

    async def head(self) -> Head:
        """The head of the next answer. Raises Ended; ValueError for what is no HTTP/1.1."""
        lines = (await self._until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, status, _ = (lines[0] + "  ").split(" ", 2)
        if version != "HTTP/1.1":
            raise ValueError(f"{lines[0][:40]!r} is no answer")
        pairs = (line.split(": ", 1) for line in lines[1:])
        return Head(int(status), {name.lower(): value for name, value in pairs})

    async def body(self, head: Head) -> AsyncIterator[bytes]:
        """The pieces of a body, as they come; it ends after the last one. Raises Ended where it is cut."""
        if "content-length" in head.headers:
            yield await self._exactly(int(head.headers["content-length"]))
            return
        if head.headers.get("transfer-encoding") != "chunked":
            raise ValueError("neither a length nor chunks")
        while size := int(await self._until(b"\r\n"), 16):
            yield (await self._exactly(size + 2))[:-2]
        await self._exactly(2)

    async def _until(self, mark: bytes) -> bytes:
        while (end := self.buffer.find(mark)) < 0:
            await self._more()
        return self._cut(end, len(mark))

    async def _exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            await self._more()
        return self._cut(count, 0)

    def _cut(self, count: int, mark: int) -> bytes:
        found = bytes(self.buffer[:count])
        del self.buffer[: count + mark]
        return found

    async def _more(self) -> None:
        if self.ended:
            raise Ended
        self._changed.clear()
        await self._changed.wait()
