"""Measures one contender: latency and requests per second with wrk, many streams with a client of its own.

wrk is C and takes next to nothing; CPU and memory are those of the contender's own processes, from /proc, so that the
engines and the load do not count. What an event costs is measured while all streams are open, and what a stream costs
beside its events is a figure of its own: opening and closing it would otherwise be counted as twenty events.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tools.bench_router.contenders import MODEL, Running

PROMPT = ("You are a helpful assistant. Answer briefly and truthfully. " * 40)[:2048]
_TICKS = os.sysconf("SC_CLK_TCK")
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1000.0}
OPENING_SECONDS = 10.0
OPEN_SECONDS = 20.0
"""How long each stream lasts: twice as long as it takes to open all of them."""
LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Requests:
    """Of whole answers with so many connections. Times in milliseconds, CPU in microseconds per request."""

    connections: int
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    errors: int


@dataclass(frozen=True, slots=True)
class Load:
    """So many streams at once, with so many events a second in all of them together."""

    streams: int
    per_second: int

    @property
    def gap_seconds(self) -> float:
        """Between two events of a stream."""
        return self.streams / self.per_second

    @property
    def events(self) -> int:
        """Of one stream."""
        return max(1, round(OPEN_SECONDS / self.gap_seconds))


@dataclass(frozen=True, slots=True)
class Streams:
    """Of so many streams at once. CPU in microseconds per event while all are open (of which `user_us` outside of the
    kernel; None where they never were all open), and per stream what it costs beside its events; gaps in milliseconds,
    memory in KiB per stream."""

    streams: int
    per_second: int
    errors: int
    events: int
    cpu_us: float | None
    user_us: float | None
    stream_us: float | None
    gap_p50_ms: float
    gap_p99_ms: float
    memory_kib: float


def requests(target: Running, connections: int, seconds: int, folder: Path) -> Requests:
    """Ask as fast as it answers. Of several processes each gets an equal share of the connections, and the slower one's
    times count."""
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 64})
    script = folder / "post.lua"
    script.write_text(f'wrk.method="POST"\nwrk.headers["content-type"]="application/json"\nwrk.body=[==[{body}]==]\n')
    urls = (target.url, *target.others)[:connections]
    before = cpu_seconds(target.pids)
    with ThreadPoolExecutor(len(urls)) as threads:
        shown = list(threads.map(lambda url: _wrk(url, connections // len(urls), seconds, script), urls))
    used = cpu_seconds(target.pids) - before
    count = sum(int(_found(r"(\d+) requests in", each)) for each in shown)
    return Requests(
        connections,
        sum(float(_found(r"Requests/sec:\s+([\d.]+)", each)) for each in shown),
        max(_milliseconds(_found(r"^\s+50%\s+(\S+)", each)) for each in shown),
        max(_milliseconds(_found(r"^\s+99%\s+(\S+)", each)) for each in shown),
        1e6 * used / max(1, count),
        sum(_errors(each) for each in shown),
    )


def _wrk(url: str, connections: int, seconds: int, script: Path) -> str:
    asked = ("--latency", "-s", str(script), f"{url}/v1/chat/completions")
    command = ["wrk", f"-c{connections}", "-t1", f"-d{seconds}s", *asked]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _errors(shown: str) -> int:
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", shown)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", shown)
    return (int(bad[1]) if bad else 0) + (sum(map(int, broken.groups())) if broken else 0)


@dataclass(frozen=True, slots=True)
class _Mark:
    """What was used, and how many events had come."""

    cpu: float
    user: float
    events: int

    @classmethod
    def now(cls, target: Running, clients: Sequence[_Stream]) -> _Mark:
        return cls(cpu_seconds(target.pids), user_seconds(target.pids), sum(one.events for one in clients))


async def streams(target: Running, load: Load) -> Streams:
    """So many streams side by side, opened evenly over some seconds."""
    loop = asyncio.get_running_loop()
    count = load.streams
    request = _request(load)
    addresses = [url.removeprefix("http://").partition(":") for url in (target.url, *target.others)]
    clients = [_Stream(request, loop) for _ in range(count)]
    patience = 60 + OPENING_SECONDS + 2 * OPEN_SECONDS

    async def one(number: int, client: _Stream) -> None:
        await asyncio.sleep(OPENING_SECONDS * number / count)
        host, _, port = addresses[number % len(addresses)]
        try:
            await loop.create_connection(lambda: client, host, int(port))
            await asyncio.wait_for(client.done, patience)
        except (OSError, TimeoutError):
            client.failed = True

    idle = peak = memory_kib(target.pids)
    began = _Mark.now(target, clients)
    opened = last = None
    running = asyncio.gather(*(one(number, client) for number, client in enumerate(clients)))
    while not running.done():
        await asyncio.sleep(LOOK_SECONDS)
        peak = max(peak, memory_kib(target.pids))
        if not any(client.done.done() for client in clients) and all(client.events for client in clients):
            last = _Mark.now(target, clients)
            opened = opened or last
    await running
    await asyncio.sleep(LOOK_SECONDS)  # what closing costs
    ended = _Mark.now(target, clients)
    gaps = sorted(gap for client in clients for gap in client.gaps)
    good = sum(not client.failed and client.complete for client in clients)
    cpu_us = user_us = stream_us = None
    if opened is not None and last is not None and last.events > opened.events:
        cpu_us = 1e6 * (last.cpu - opened.cpu) / (last.events - opened.events)
        user_us = 1e6 * (last.user - opened.user) / (last.events - opened.events)
        stream_us = (1e6 * (ended.cpu - began.cpu) - cpu_us * ended.events) / count
    return Streams(
        count,
        load.per_second,
        count - good,
        ended.events,
        cpu_us,
        user_us,
        stream_us,
        1000 * gaps[len(gaps) // 2] if gaps else 0.0,
        1000 * gaps[len(gaps) * 99 // 100] if gaps else 0.0,
        (peak - idle) / count,
    )


def _request(load: Load) -> bytes:
    body = json.dumps(
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": "hello"}],
            "stream": True,
            "chunks": load.events,
            "gap_ms": 1000 * load.gap_seconds,
        }
    )
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}"
    ).encode()


class _Stream(asyncio.Protocol):
    """One stream: counts its events and the pauses between them."""

    def __init__(self, request: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self._request = request
        self._at = 0.0
        self._tail = b""
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = loop.create_future()
        self.gaps: list[float] = []
        self.events = 0
        self.failed = self.complete = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Some events."""
        now = time.monotonic()
        count = data.count(b"data: {")
        if count and self._at:
            self.gaps.append(now - self._at)
        if count:
            self._at = now
        self.events += count
        self._tail = (self._tail + data)[-64:]
        if self._tail.endswith(b"0\r\n\r\n") and b"[DONE]" in self._tail:
            self.complete = True
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._end()

    def _end(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if not self.done.done():
            self.done.set_result(None)


def cpu_seconds(pids: Sequence[int]) -> float:
    """What the processes have used."""
    return sum(sum(_ticks(pid)) for pid in pids) / _TICKS


def user_seconds(pids: Sequence[int]) -> float:
    """What they have used outside of the kernel."""
    return sum(_ticks(pid)[0] for pid in pids) / _TICKS


def _ticks(pid: int) -> tuple[int, int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]), int(fields[12])


def memory_kib(pids: Sequence[int]) -> int:
    """What they hold: their own pages."""
    total = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += sum(int(number) for number in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE))
    return total


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk has not said {pattern}:\n{text}")
    return found[1]


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]
