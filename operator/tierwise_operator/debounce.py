"""Decides when the loop runs next.

Changes come in bursts, so a wake-up waits for a quiet moment, but never longer than a limit. Without any change the
loop runs once per tick, because metrics change without an event. Cycles do not overlap: a wake-up during a cycle starts
the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DebounceConfig:
    """Seconds: between ticks, of quiet that end a burst, and the longest a burst may hold the loop up."""

    tick: float
    quiet: float
    limit: float


def due(rhythm: DebounceConfig, started: float, first: float | None, last: float | None) -> float:
    """When the next cycle is due, on the clock of its arguments: `started` (of the waiting), the first and the last
    wake-up since then (None: none yet)."""
    tick = started + rhythm.tick
    if first is None or last is None:
        return tick
    return min(tick, last + rhythm.quiet, first + rhythm.limit)


async def _wait_for(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


class Debouncer:
    """Wake-ups from anywhere in, cycles out."""

    def __init__(
        self,
        rhythm: DebounceConfig,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wait_for: Callable[[asyncio.Event, float], Awaitable[bool]] = _wait_for,
    ) -> None:
        """`wait_for` waits for the event, at most so many seconds, and tells whether it came."""
        self._rhythm = rhythm
        self._monotonic = monotonic
        self._wait_for = wait_for
        self._woken = asyncio.Event()
        self._first: float | None = None
        self._last: float | None = None

    def wake(self) -> None:
        """Something changed: run soon."""
        self._last = self._monotonic()
        self._first = self._last if self._first is None else self._first
        self._woken.set()

    async def beat(self) -> bool:
        """Return when the next cycle is due; whether a change (and not only the tick) made it so."""
        started = self._monotonic()
        while True:
            self._woken.clear()
            left = due(self._rhythm, started, self._first, self._last) - self._monotonic()
            if left <= 0:
                break
            await self._wait_for(self._woken, left)
        changed = self._first is not None
        self._first = self._last = None
        return changed
