"""Lets a test wait for minutes that take no time: an event loop whose clock jumps to what is waited for next.

What is measured is then the program, on a busy machine as on a quiet one. The clock jumps as soon as nothing is ready
to run, so such a test may wait for timers, events and tasks, not for threads, processes or the network.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec

P = ParamSpec("P")


class Jumping(asyncio.SelectorEventLoop):
    """The event loop. Its time begins at 0."""

    at = 0.0

    def time(self) -> float:
        """Seconds that have passed in here."""
        return self.at

    def _run_once(self) -> None:
        loop: Any = self
        if not loop._ready and loop._scheduled:
            self.at = max(self.at, loop._scheduled[0].when())
        loop_class: Any = super()
        loop_class._run_once()


def jumping(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an asynchronous test on such a loop."""

    @functools.wraps(test)
    def run(*positional: P.args, **named: P.kwargs) -> None:
        async def whole() -> None:
            await test(*positional, **named)

        with asyncio.Runner(loop_factory=Jumping) as runner:
            runner.run(whole())

    return run
