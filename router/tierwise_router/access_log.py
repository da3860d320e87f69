"""Writes one JSON line per request, without keeping a request waiting.

Lines are collected and written a few times a second, by a thread; when the reader of the log stands still, lines are
dropped and counted rather than requests held. There is no prompt, no answer and no key in a line.
"""

from __future__ import annotations

import asyncio
import time
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
        self._records: list[tuple[Record, float]] = []

    def __call__(self, record: Record, ended_at: float) -> None:
        """A request has ended."""
        if len(self._records) < MOST_LINES:
            self._records.append((record, ended_at))
        else:
            self._ledger.lines_dropped += 1

    async def run(self) -> None:
        """Until cancelled; what is left is then written."""
        try:
            while True:
                await asyncio.sleep(PERIOD_SECONDS)
                if self._records:
                    records, self._records = self._records, []
                    await asyncio.to_thread(self._write, records)
        finally:
            self._write(self._records)

    def _write(self, records: list[tuple[Record, float]]) -> None:
        now, monotonic = self._now().timestamp(), time.monotonic()
        second, at = -1, ""
        for record, ended_at in records:
            if (ended := int(now - (monotonic - ended_at))) != second:
                second, at = ended, rfc3339(ended)
            self._out.write(orjson.dumps(record.line(ended_at, at)) + b"\n")
        self._out.flush()
