"""A test that waits for minutes takes none, and things happen in the order of their time."""

from __future__ import annotations

import asyncio
import time

from tests.jumping import jumping


def test_time_passes_without_being_waited_for() -> None:
    seen: list[tuple[str, float]] = []

    @jumping
    async def waits(name: str) -> None:
        now = asyncio.get_running_loop().time

        async def after(seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append((name, now()))

        first = asyncio.create_task(after(3600))
        await asyncio.gather(after(60), after(5))
        try:
            async with asyncio.timeout(600):
                await first
        except TimeoutError:
            seen.append((name, now()))

    began = time.monotonic()
    waits("a")
    waits("b")
    assert seen == [("a", 5), ("a", 60), ("a", 660), ("b", 5), ("b", 60), ("b", 660)]
    assert time.monotonic() - began < 60, "an hour took no time"
