"""Holds a grace period that can only get shorter.

A grace period that can only get shorter: a second delete with a smaller grace period brings the end forward
for everybody who already waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress


class Deadline:
    """A moment on the event loop's clock that may be brought forward."""

    def __init__(self, seconds: float) -> None:
        """Set it `seconds` from now."""
        self._loop = asyncio.get_running_loop()
        self._at = self._loop.time() + seconds
        self._moved = asyncio.Event()

    @property
    def remaining(self) -> float:
        """Return the seconds left, never negative."""
        return max(0.0, self._at - self._loop.time())

    def bring_forward(self, seconds: float) -> None:
        """Set it `seconds` from now, if that is sooner."""
        sooner = self._loop.time() + seconds
        if sooner < self._at:
            self._at = sooner
            self._moved.set()

    def at_least(self, seconds: float) -> None:
        """Put it off until `seconds` from now, if it is sooner."""
        self._at = max(self._at, self._loop.time() + seconds)

    async def passed(self) -> None:
        """Return when the moment has come."""
        while self.remaining > 0:
            self._moved.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.remaining):
                    await self._moved.wait()

    async def first(self, *others: Awaitable[object]) -> bool:
        """Wait for any of these or for the moment; tell whether it was one of these. Cancels the rest."""
        tasks = [asyncio.ensure_future(other) for other in others]
        over = asyncio.create_task(self.passed())
        try:
            await asyncio.wait({over, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            return any(task.done() for task in tasks)
        finally:
            for task in (over, *tasks):
                task.cancel()
            await asyncio.gather(over, *tasks, return_exceptions=True)
