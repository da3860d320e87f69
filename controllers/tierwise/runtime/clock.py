"""Reads the machine's clock. Everything else is given a Clock."""

from __future__ import annotations

import time


class SystemClock:
    """The machine's clocks (tierwise.ports.Clock)."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()
