"""Keeps the parts of a process running: one that fails is logged and started again, later each time.

So nothing but a signal ends a process, and one part that cannot work does not take the others with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from tierwise.runtime.backoff import delays

logger = logging.getLogger(__name__)

# A part that ran for so long was well; what it fails of then is not what it failed of before.
GOOD_RUN_SECONDS = 300.0


async def supervise(
    name: str,
    part: Callable[[], Awaitable[None]],
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run a part until it ends by itself. One that fails is started again: later each time, at first soon again after
    it has run well for a while."""
    pauses = delays()
    while True:
        began = monotonic()
        try:
            await part()
            return
        except Exception:
            if monotonic() - began >= GOOD_RUN_SECONDS:
                pauses = delays()
            pause = next(pauses)
            logger.exception("%s has failed and is started again in %.1f s", name, pause)
        await sleep(pause)
