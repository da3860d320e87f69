"""Runs clients that read their streams to the last byte, from one process inside the playground.

Called with one JSON argument, an `Order`. Streams are opened one after another, each when the one before has its first
byte, so that a Service which takes its endpoints in turn spreads them as the caller has planned. From then on new short
requests are sent all the time, until the file `stop` appears. What each client saw is a line of the file `report`; the
tokens are the server's own count (`usage`), and every byte up to the close is looked at: an error chunk, a missing
[DONE], a reset and a silence are told apart.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import aiohttp

SILENCE_SECONDS = 45.0
PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Order:
    """What to send: `streams` are the tokens of each answer in the order of opening; `users` send the new requests."""

    url: str
    model: str
    streams: list[int]
    report: str
    stop: str
    users: int = 0
    new_tokens: int = 20


@dataclass(frozen=True, slots=True)
class Seen:
    """What one client saw. `kind` is "stream" or "new"; `opened` and `ended` are seconds since the epoch; `fault` is
    empty only for a stream with a finish reason, a usage, [DONE] and no error."""

    kind: str
    number: int
    wanted: int
    opened: float
    ended: float
    tokens: int = 0
    fault: str = ""

    @property
    def whole(self) -> bool:
        """Whether the client has everything it asked for."""
        return not self.fault and self.tokens == self.wanted


@dataclass(slots=True)
class _Answer:
    """The events of one answer so far."""

    tokens: int | None = None
    finish: str = ""
    done: bool = False
    fault: str = ""
    rest: bytes = field(default=b"")

    def take(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            if line == b"data: [DONE]":
                self.done = True
            elif line.startswith(b"data: "):
                self._event(json.loads(line[6:]))

    def _event(self, event: dict[str, Any]) -> None:
        if "error" in event:
            self.fault = "error chunk"
        for choice in event.get("choices", []):
            self.finish = choice.get("finish_reason") or self.finish
        if event.get("usage"):
            self.tokens = event["usage"]["completion_tokens"]

    def verdict(self) -> str:
        if self.fault:
            return self.fault
        if self.finish != "length":
            return f"finish reason {self.finish or 'missing'}"
        if self.tokens is None or self.rest:
            return "no usage" if self.tokens is None else "cut inside an event"
        return "" if self.done else "no [DONE]"


class _Clients:
    def __init__(self, order: Order, session: aiohttp.ClientSession, report: TextIO) -> None:
        self._order, self._session, self._report = order, session, report

    async def ask(self, kind: str, number: int, wanted: int, first: asyncio.Event) -> None:
        """One request; `first` is set with its first byte, or with its end."""
        opened, answer = time.time(), _Answer()
        body = {
            "model": self._order.model,
            "messages": [{"role": "user", "content": f"{kind} {number}"}],
            "max_tokens": wanted,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        try:
            async with self._session.post(f"{self._order.url}/v1/chat/completions", json=body) as response:
                if response.status != 200:
                    answer.fault = f"http {response.status}"
                async for data in response.content.iter_any():
                    first.set()
                    answer.take(data)
            fault = answer.verdict()
        except TimeoutError:
            fault = "silence"
        except (aiohttp.ClientError, OSError) as error:
            fault = type(error).__name__
        first.set()
        self.tell(Seen(kind, number, wanted, opened, time.time(), answer.tokens or 0, fault))

    def tell(self, seen: Seen) -> None:
        self._report.write(json.dumps(asdict(seen)) + "\n")
        self._report.flush()

    async def user(self, user: int) -> None:
        turn = 0
        while not self._told_to_stop():
            await self.ask("new", 1000 * user + turn, self._order.new_tokens, asyncio.Event())
            turn += 1
            await asyncio.sleep(PAUSE_SECONDS)

    def _told_to_stop(self) -> bool:
        return Path(self._order.stop).exists()


async def run(order: Order, report: TextIO) -> None:
    """Open all streams, then let the users send; ends when the streams have and `stop` exists."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENCE_SECONDS)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session, asyncio.TaskGroup() as group:
        clients = _Clients(order, session, report)
        for number, tokens in enumerate(order.streams):
            first = asyncio.Event()
            group.create_task(clients.ask("stream", number, tokens, first))
            await first.wait()
        now = time.time()
        clients.tell(Seen("all open", 0, 0, now, now))
        for user in range(order.users):
            group.create_task(clients.user(user))


def main() -> None:
    """Do what the argument says."""
    order = Order(**json.loads(sys.argv[1]))
    with Path(order.report).open("w", encoding="utf-8") as report:
        asyncio.run(run(order, report))


if __name__ == "__main__":
    main()
