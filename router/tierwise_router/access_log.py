"""Writes one JSON line per request, without keeping a request waiting.

Lines are collected and written a few times a second, by a thread; when the reader of the log stands still, lines are
dropped and counted rather than requests held. There is no prompt, no answer and no key in a line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import BinaryIO

import orjson

from tierwise.times import rfc3339
from tierwise_router.record import Ledger, Record

MOST_LINES = 20_000
PERIOD_SECONDS = 0.25


class AccessLog:
    """Of one process."""

    def __init__(self, out: BinaryIO, ledger: Ledger, now: Callable[[], datetime]) -> None:
        self._out = out
        self._ledger = ledger
        self._now = now
        self._lines: list[bytes] = []

    def __call__(self, record: Record, ended_at: float) -> None:
        """A request has ended."""
        if len(self._lines) >= MOST_LINES:
            self._ledger.lines_dropped += 1
            return
        self._lines.append(orjson.dumps(record.line(ended_at, rfc3339(self._now().timestamp()))) + b"\n")

    async def run(self) -> None:
        """Until cancelled; what is left is then written."""
        try:
            while True:
                await asyncio.sleep(PERIOD_SECONDS)
                if self._lines:
                    lines, self._lines = self._lines, []
                    await asyncio.to_thread(self._write, lines)
        finally:
            self._write(self._lines)

    def _write(self, lines: list[bytes]) -> None:
        self._out.write(b"".join(lines))
        self._out.flush()
