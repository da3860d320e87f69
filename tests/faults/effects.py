"""Defines what a server, or the network before it, may do to a request.

Each effect is given to a rule of the proxy. Those that hold something up end when the rule is taken away.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from tests.faults.proxy import Exchange, Request

_REASONS = {403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired", 422: "Invalid", 429: "TooManyRequests"}


def status(code: int, message: str) -> dict[str, object]:
    """A metav1.Status."""
    reason = _REASONS.get(code, "InternalError")
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


@dataclass(slots=True)
class Answer:
    """The server refuses: 409, 422, 429 with Retry-After, 5xx. `body` replaces the usual metav1.Status."""

    code: int
    message: str = "injected by a test"
    retry_after: int | None = None
    body: bytes | None = None

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        """Answer without asking the server."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        body = self.body if self.body is not None else json.dumps(status(self.code, self.message)).encode()
        return await exchange.answer(self.code, body, headers)


@dataclass(slots=True)
class Delay:
    """The request waits, then goes on as usual."""

    seconds: float

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        """Wait, pass on."""
        await asyncio.sleep(self.seconds)
        return await exchange.forward()


@dataclass(slots=True)
class Hang:
    """No answer while the rule stands; the server never hears of it."""

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        """Hold it, then close the connection."""
        assert exchange.rule is not None
        await exchange.rule.over.wait()
        return exchange.gone()


@dataclass(slots=True)
class Drop:
    """The connection breaks: before the server hears of the request, or (`landed`) after it has carried it out."""

    landed: bool = False

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        """Close the connection without an answer."""
        if self.landed:
            async with await exchange.send() as far:
                await far.read()
        return exchange.gone()


@dataclass(slots=True)
class Call:
    """Something happens at the very moment: before the server hears of the request, or (`landed`) after it has carried
    it out and before the client knows. The connection then breaks."""

    action: Callable[[], None]
    landed: bool = False

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        """Act in a thread, so that the proxy goes on."""
        if self.landed:
            async with await exchange.send() as far:
                await far.read()
        await asyncio.to_thread(self.action)
        return exchange.gone()


@dataclass(slots=True)
class Hold:
    """Something happens when a request is on its way, and the request itself arrives only when the rule is over: a
    packet that was held up. `status`: what the server then said."""

    action: Callable[[], None]
    status: int = 0

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        """Act, wait, pass on, whether or not the client still waits."""
        assert exchange.rule is not None
        await asyncio.to_thread(self.action)
        await exchange.rule.over.wait()
        async with await exchange.send() as far:
            await far.read()
            self.status = far.status
        return exchange.gone()


@dataclass(slots=True)
class Rewrite:
    """The answer's body is another one (of Prometheus: a NaN, a label that is wrong)."""

    change: Callable[[bytes], bytes]

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        """Pass on, change what comes back."""
        async with await exchange.send() as far:
            body = self.change(await far.read())
            return await exchange.answer(far.status, body, {"Content-Type": far.headers.get("Content-Type", "")})


@dataclass(slots=True)
class Break:
    """A watch ends after so many events: in the middle of the next line, cleanly (`whole`), or with an event of its own
    (`last`, e.g. an ERROR 410)."""

    events: int = 0
    whole: bool = False
    last: bytes = b""

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        """Pass on so many lines."""

        async def pipe(far: aiohttp.ClientResponse, near: web.StreamResponse) -> None:
            passed = 0
            while passed < self.events or not self.whole:
                if self.last and passed >= self.events:
                    await near.write(self.last)
                    return
                line = await far.content.readline()
                if not line:
                    return
                if passed >= self.events:
                    await near.write(line[: len(line) // 2])
                    raise ConnectionResetError
                await near.write(line)
                passed += 1

        return await exchange.forward(pipe)


def expired(message: str = "too old resource version: 1 (2)") -> Break:
    """A watch that at once says that its resource version is too old."""
    event = {"type": "ERROR", "object": status(410, message)}
    return Break(last=json.dumps(event).encode() + b"\n")


@dataclass(slots=True)
class Freeze:
    """A watch stays open and says nothing while the rule stands; what came meanwhile is lost (`lost`) or comes later.

    A watch that is open already is not touched: cut the connections, and the one that follows it is frozen."""

    lost: bool = False

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        """Pass lines on while the rule is over."""
        rule = exchange.rule
        assert rule is not None

        async def pipe(far: aiohttp.ClientResponse, near: web.StreamResponse) -> None:
            while line := await far.content.readline():
                if not rule.over.is_set() and self.lost:
                    continue
                await rule.over.wait()
                await near.write(line)

        return await exchange.forward(pipe)


@dataclass(slots=True)
class Lose:
    """Single events of a watch never arrive; the others do."""

    which: Callable[[bytes], bool]
    lost: list[bytes] = field(default_factory=list)

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        """Pass on what is not to be lost."""

        async def pipe(far: aiohttp.ClientResponse, near: web.StreamResponse) -> None:
            while line := await far.content.readline():
                if self.which(line):
                    self.lost.append(line)
                else:
                    await near.write(line)

        return await exchange.forward(pipe)


@dataclass(slots=True)
class Record:
    """The last answers to a list or get are kept, by what was asked, for `Replay`."""

    kept: dict[tuple[str, str], bytes] = field(default_factory=dict)

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        """Pass on and keep."""
        async with await exchange.send() as far:
            body = await far.read()
            if far.status == 200:
                self.kept[_asked(exchange)] = body
            return await exchange.answer(far.status, body, {"Content-Type": far.headers.get("Content-Type", "")})


@dataclass(slots=True)
class Replay:
    """An API server that is behind: it answers what was recorded before, and what it has not recorded as it is."""

    kept: dict[tuple[str, str], bytes]

    async def apply(self, exchange: Exchange) -> web.StreamResponse:
        """Answer from the record."""
        body = self.kept.get(_asked(exchange))
        return await exchange.forward() if body is None else await exchange.answer(200, body)


def _asked(exchange: Exchange) -> tuple[str, str]:
    """Path and query, and in which form the answer is wanted."""
    return exchange.raw.raw_path, exchange.raw.headers.get("Accept", "")


def about(name: str) -> Callable[[Request], bool]:
    """Requests about the object of this name."""
    return lambda request: request.name == name
