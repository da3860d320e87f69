"""Runs clients that know exactly what each engine would answer, in a process of their own, and judges every answer.

Called with one JSON argument, an `Order`. Three kinds of clients: `streams`, all opened at the beginning; `users`, who
ask again as soon as they are answered; `rate`, who ask at their own times whatever the answers do. Users and rate go on
until the file `stop` appears. What became of each request is one line of the file `report`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import TextIO
from urllib.parse import urlsplit

import uvloop

from tests.faults import verdict
from tests.faults.wire import Ended, Head, Wire

STOP_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Order:
    """What to send. `seeds`: of the engines of each tier. `streams`: tokens of each. `users`: in closed loops; `rate`:
    requests a second in an open loop. Of their requests `batch_share` are of that priority and `whole_share` are not
    streamed. `key_file` is read for every request. `keep`: whether connections are used again."""

    url: str
    model: str
    report: str
    stop: str
    seeds: Mapping[str, Sequence[int]]
    tokens: int = 20
    streams: Sequence[int] = ()
    users: int = 0
    rate: float = 0.0
    batch_share: float = 0.0
    whole_share: float = 0.0
    pause_seconds: float = 0.0
    silence_seconds: float = 45.0
    key_file: str = ""
    keep: bool = True


@dataclass(slots=True)
class Told:
    """What became of one request. Times are seconds since the epoch; `first`: of the first content, 0 for none.
    `verdict`: see `tests.faults.verdict`."""

    kind: str
    name: str
    priority: str
    tokens: int
    opened: float
    first: float = 0.0
    ended: float = 0.0
    status: int = 0
    tier: str = ""
    reason: str = ""
    code: str = ""
    retry_after: str = ""
    verdict: str = ""

    @property
    def seconds(self) -> float:
        """From the request to the last byte of its answer."""
        return self.ended - self.opened

    @property
    def right(self) -> bool:
        """Whether this may become of a request."""
        return self.verdict in verdict.RIGHT


@dataclass(slots=True)
class Clients:
    """All of them, and the connections that are free."""

    order: Order
    report: TextIO
    chance: Random = field(default_factory=lambda: Random(1))
    idle: list[Wire] = field(default_factory=list)
    count: int = 0

    async def ask(self, kind: str, tokens: int, on_first: Callable[[], None] = lambda: None) -> Told:
        """One request, judged."""
        order = self.order
        self.count += 1
        batch = self.chance.random() < order.batch_share
        streamed = kind == "stream" or self.chance.random() >= order.whole_share
        told = Told(kind, f"{kind}-{self.count}", "batch" if batch else "interactive", tokens, time.time())
        asked = verdict.Asked(verdict.prompt(told.name), tokens, order.seeds)
        wire: Wire | None = None
        try:
            wire = await self._wire()
            wire.say(self._request(asked, streamed, told.priority))
            keeps = await self._answer(wire, asked, told, on_first)
            told.ended = time.time()
            if wire.buffer:
                told.verdict = f"more than one answer: {bytes(wire.buffer[:60])!r}"
            elif keeps and order.keep and not wire.ended:
                self.idle.append(wire)
                wire = None
        except TimeoutError:  # which is an OSError, too
            told.verdict = verdict.SILENCE
        except (Ended, OSError):
            told.verdict = verdict.RESET
        except (ValueError, KeyError, TypeError) as error:
            told.verdict = f"unreadable: {type(error).__name__} {error}"
        finally:
            if wire is not None:
                wire.close()
        told.ended = told.ended or time.time()
        self.tell(told)
        return told

    def tell(self, told: Told) -> None:
        """A line of the report."""
        self.report.write(json.dumps(asdict(told)) + "\n")
        self.report.flush()

    async def _wire(self) -> Wire:
        while self.idle:
            wire = self.idle.pop()
            if not wire.ended:
                if wire.buffer:
                    raise ValueError("an answer that nobody asked for")
                return wire
        where = urlsplit(self.order.url)
        async with asyncio.timeout(self.order.silence_seconds):
            return await Wire.open(where.hostname or "", where.port or 80)

    def _request(self, asked: verdict.Asked, streamed: bool, priority: str) -> bytes:
        order = self.order
        values = {
            "model": order.model,
            "messages": [{"role": "user", "content": asked.prompt}],
            "max_tokens": asked.tokens,
            "ignore_eos": True,
        }
        if streamed:
            values |= {"stream": True, "stream_options": {"include_usage": True}}
        body = json.dumps(values).encode()
        lines = [
            "POST /v1/chat/completions HTTP/1.1",
            f"host: {urlsplit(order.url).netloc}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"x-tierwise-priority: {priority}",
        ]
        if order.key_file:
            lines.append(f"authorization: Bearer {Path(order.key_file).read_text(encoding='utf-8').strip()}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    async def _answer(self, wire: Wire, asked: verdict.Asked, told: Told, on_first: Callable[[], None]) -> bool:
        """Read one answer into `told`; whether the connection may be kept."""
        silence = self.order.silence_seconds
        async with asyncio.timeout(silence):
            head = await wire.head()
        told.status, told.tier = head.status, head.headers.get("x-tierwise-tier", "")
        told.reason, told.retry_after = head.headers.get("x-tierwise-reason", ""), head.headers.get("retry-after", "")
        seen, parts, ended = verdict.Stream(), list[bytes](), ""
        events = head.headers.get("content-type", "").startswith("text/event-stream")
        try:
            async with asyncio.timeout(silence) as limit:
                async for piece in wire.body(head):
                    limit.reschedule(asyncio.get_running_loop().time() + silence)
                    if not events:
                        parts.append(piece)
                    if (seen.take(piece) if events else bool(piece)) and not told.first:
                        told.first = time.time()
                        on_first()
        except Ended:
            ended = verdict.CUT
        except TimeoutError:
            ended = verdict.SILENCE
        self._judge(asked, told, head, (seen, b"".join(parts), ended))
        return not ended and head.keeps

    def _judge(self, asked: verdict.Asked, told: Told, head: Head, came: tuple[verdict.Stream, bytes, str]) -> None:
        seen, body, ended = came
        if head.headers.get("content-type", "").startswith("text/event-stream"):
            told.verdict = verdict.of_stream(asked, told.tier, seen, ended)
            told.code = str((seen.error or {}).get("code", "")) if isinstance(seen.error, dict) else ""
        elif ended:
            told.verdict = ended
        elif head.status == 200:
            told.verdict = verdict.of_whole(asked, told.tier, body)
        else:
            told.verdict = verdict.of_refusal(head.status, head.headers, body)
            told.code = str(json.loads(body)["error"]["code"]) if told.verdict == verdict.REFUSED else ""


async def run(order: Order, report: TextIO) -> None:
    """Open all streams, then let the others ask; ends when the streams have and `stop` exists."""
    clients = Clients(order, report)
    stopped = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for first in [_stream(clients, tokens, group) for tokens in order.streams]:
            await first.wait()
        clients.tell(Told("all open", "", "", 0, time.time()))
        _watch(Path(order.stop), stopped)
        for _ in range(order.users):
            group.create_task(_user(clients, stopped))
        if order.rate:
            await _open_loop(clients, stopped, group)


def _stream(clients: Clients, tokens: int, group: asyncio.TaskGroup) -> asyncio.Event:
    """Open one; the event is set with its first content, or with its end."""
    first = asyncio.Event()
    group.create_task(clients.ask("stream", tokens, first.set)).add_done_callback(lambda _: first.set())
    return first


def _watch(file: Path, stopped: asyncio.Event) -> None:
    """Look again and again whether another process has made the file."""
    if file.exists():
        stopped.set()
    else:
        asyncio.get_running_loop().call_later(STOP_SECONDS, _watch, file, stopped)


async def _user(clients: Clients, stopped: asyncio.Event) -> None:
    while not stopped.is_set():
        await clients.ask("user", clients.order.tokens)
        await asyncio.sleep(clients.order.pause_seconds)


async def _open_loop(clients: Clients, stopped: asyncio.Event, group: asyncio.TaskGroup) -> None:
    """Poisson arrivals. One that is late is sent at once: the load does not give way to the server."""
    loop, rate = asyncio.get_running_loop(), clients.order.rate
    due = loop.time()
    while not stopped.is_set():
        due += clients.chance.expovariate(rate)
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        group.create_task(clients.ask("rate", clients.order.tokens))


def main() -> None:
    """Do what the argument says."""
    order = Order(**json.loads(sys.argv[1]))
    with Path(order.report).open("w", encoding="utf-8") as report:
        uvloop.run(run(order, report))


if __name__ == "__main__":
    main()
