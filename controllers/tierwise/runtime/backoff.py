"""Computes how long to wait before the next try.

The pause grows, never exceeds half a minute, and differs between processes: when the API server comes back, its clients
must not all arrive in the same second. It never ends: giving up would need a person to notice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0


def delays(chance: Callable[[], float] = random.random) -> Iterator[float]:
    """Seconds to wait before try after try, for ever: half of a doubling step plus a random half of it."""
    step = FIRST_SECONDS
    while True:
        yield step / 2 + chance() * step / 2
        step = min(LONGEST_SECONDS, step * 2)


class InfiniteBackoff:
    """The same for kopf, which iterates anew for each request. It has no length: kopf then knows of no last try."""

    def __iter__(self) -> Iterator[float]:
        return delays()
