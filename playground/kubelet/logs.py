"""Stores the output of containers, and lets readers follow it.

One file per start of a container, each line with its time in front, as container runtimes write it. Readers
that follow get new lines as they come, without looking at the file again and again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

LIMIT_BYTES = 16 * 1024 * 1024
# FallbackToLogsOnError takes at most this much from the end of the log (the kubelet's own limits).
FALLBACK_BYTES, FALLBACK_LINES = 2048, 80


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What `kubectl logs` asks for."""

    follow: bool = False
    tail: int | None = None
    timestamps: bool = False
    since: datetime | None = None
    limit: int | None = None


class LogFile:
    """The output of one start of one container."""

    def __init__(self, path: Path) -> None:
        """Open the file for appending. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._stream = path.open("ab", buffering=0)
        self._partial = b""
        self._followers: set[asyncio.Queue[bytes | None]] = set()
        self.closed = False

    def write(self, data: bytes) -> None:
        """Take output as it comes from the pipe; only whole lines are kept."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        if lines:
            self._append(lines)

    def close(self) -> None:
        """End the file: the container has ended."""
        if self._partial:
            self._append([self._partial])
            self._partial = b""
        self._stream.close()
        self.closed = True
        for follower in self._followers:
            follower.put_nowait(None)

    def _append(self, lines: list[bytes]) -> None:
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z ").encode()
        stamped = [stamp + line + b"\n" for line in lines]
        self._stream.write(b"".join(stamped))
        if self._stream.tell() > LIMIT_BYTES:
            self._stream.close()
            self._path.replace(self._old())
            self._stream = self._path.open("ab", buffering=0)
        for follower in self._followers:
            for line in stamped:
                follower.put_nowait(line)

    def _old(self) -> Path:
        return self._path.with_suffix(".old")

    def lines(self) -> Iterator[bytes]:
        """Yield every line kept, with its time. Raises OSError."""
        for path in (self._old(), self._path):
            if path.exists():
                with path.open("rb") as stream:
                    yield from stream

    def last_words(self) -> str:
        """Return the end of the log for a termination message."""
        tail = deque((line.partition(b" ")[2] for line in self.lines()), maxlen=FALLBACK_LINES)
        return b"".join(tail)[-FALLBACK_BYTES:].decode(errors="replace")

    async def read(self, query: LogQuery) -> AsyncIterator[bytes]:
        """Yield what a query asks for; with `follow` until the container ends. Raises OSError."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        follow = query.follow and not self.closed
        # From here to the first await nothing can be written, so that no line is lost or doubled.
        kept = [line for line in self.lines() if _recent(line, query.since)]
        if query.tail is not None:
            kept = kept[-query.tail :] if query.tail else []
        if follow:
            self._followers.add(queue)
        left = query.limit if query.limit is not None else -1
        try:
            for line in kept:
                yield (part := _cut(line, query, left))
                left -= len(part) if left >= 0 else 0
                if left == 0:
                    return
            while follow and (fresh := await queue.get()) is not None:
                yield (part := _cut(fresh, query, left))
                left -= len(part) if left >= 0 else 0
                if left == 0:
                    return
        finally:
            self._followers.discard(queue)


def _cut(line: bytes, query: LogQuery, left: int) -> bytes:
    shown = line if query.timestamps else line.partition(b" ")[2]
    return shown if left < 0 else shown[:left]


def _recent(line: bytes, since: datetime | None) -> bool:
    if since is None:
        return True
    stamp = line.partition(b" ")[0].decode()
    return datetime.fromisoformat(stamp[:26] + "+00:00") >= since
