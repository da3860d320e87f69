"""Gets one answer whole: for what the router asks by itself, with no client to pass it on to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from tierwise.routing.failover import Failure
from tierwise_router.upstream import Pool, UpstreamError


class Refusal(UpstreamError):
    """An answer with another status than 200, and what it said."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(Failure.STATUS, f"status {status}")
        self.status = status
        self.headers = headers
        self.body = body


class Page:
    """One answer, whole."""

    def __init__(self, loop: asyncio.AbstractEventLoop, most_bytes: int) -> None:
        self.done: asyncio.Future[bytes] = loop.create_future()
        self.reusable = False
        self._most = most_bytes
        self._status = 0
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._size = 0

    def head_came(self, status: int, headers: dict[str, str]) -> None:
        """The head of the answer."""
        self._status, self._headers = status, headers

    def body_came(self, data: bytes) -> None:
        """Some of it."""
        self._size += len(data)
        if self._size <= self._most:
            self._parts.append(data)

    def answer_ended(self, reusable: bool) -> None:
        """It is complete."""
        self.reusable = reusable
        if self.done.done():
            return
        if self._status == 200 and self._size <= self._most:
            self.done.set_result(b"".join(self._parts))
        else:
            self.done.set_exception(Refusal(self._status, self._headers, b"".join(self._parts)))

    def failed(self, error: UpstreamError) -> None:
        """There will be none."""
        if not self.done.done():
            self.done.set_exception(error)


async def fetch(pool: Pool, request: bytes, monotonic: Callable[[], float], most_bytes: int) -> bytes:
    """Send a request and return the body of its answer, at most so many bytes. Raises UpstreamError; for any other
    status than 200, or too many bytes, Refusal."""
    connection = pool.take(monotonic()) or await pool.connect()
    page = Page(asyncio.get_running_loop(), most_bytes)
    connection.send(request, page)
    try:
        body = await page.done
    except BaseException:
        connection.abandon()
        raise
    if page.reusable:
        connection.answered()
        pool.give_back(connection, monotonic())
    else:
        connection.close()
    return body
