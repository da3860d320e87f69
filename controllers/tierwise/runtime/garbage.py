"""Keeps the garbage collector from stopping the process.

A full collection of CPython (before 3.14) looks at every object that there is, and nothing else runs meanwhile: 0.6 s
with 1,000 tiers, seconds with 10,000, several times a minute, in the event loop that renews the Lease. Nearly all of
these objects are values without reference cycles, which are freed without a collector.

So what is alive after a cycle is set aside (`gc.freeze`): collections go on, and look only at what has come since.
A reference cycle that was set aside and dies later would stay. Therefore everything is looked at once more whenever
the process has grown by a quarter; a process that does not grow never pauses.
"""

from __future__ import annotations

import gc
import sys

# New objects between two collections of the youngest: more than the default of 700, since a round of measurements
# makes hundreds of thousands that live on. A collection takes 0.5 to 2 microseconds an object: 20,000 of them, which
# are read from cold memory after a round with 10,000 tiers, took 39 ms in one piece.
YOUNG = 8_000
MIDDLE = 250  # collections of the youngest between two of the middle ones: 2 million new objects
GROWTH = 1.25


class GarbageCollection:
    """The collector of this process, tuned for a large heap that hardly changes."""

    def __init__(self) -> None:
        gc.set_threshold(YOUNG, MIDDLE, 100)
        self._blocks = 0

    def after_cycle(self) -> None:
        """Set aside what is alive; look at everything first when there is much more of it than the last time."""
        if sys.getallocatedblocks() > GROWTH * self._blocks:
            gc.unfreeze()
            gc.collect()
            self._blocks = sys.getallocatedblocks()
        gc.freeze()
