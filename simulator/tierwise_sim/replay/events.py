"""Keeps what is planned, and gives it back in the order of time."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Event = Callable[[float], None]


class Events:
    """Events of one simulation. Of two of one moment the one that was planned first comes first. `now`: the time of the
    one that is under way, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Event]] = []
        self._planned = 0

    def after(self, at: float, event: Event) -> None:
        """Plan an event; it is told the time."""
        self._planned += 1
        heapq.heappush(self._heap, (at, self._planned, event))

    def every(self, seconds: float, first: float, event: Event) -> None:
        """Plan an event that comes again and again."""

        def again(now: float) -> None:
            event(now)
            self.after(now + seconds, again)

        self.after(first, again)

    def next_at(self) -> float:
        """When the next event comes; infinite when nothing is planned."""
        return self._heap[0][0] if self._heap else float("inf")

    def step(self) -> None:
        """Let the next event happen."""
        self.now, _, event = heapq.heappop(self._heap)
        event(self.now)
