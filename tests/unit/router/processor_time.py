"""Measures processor time for bounds that are said in times of a yardstick: a slow machine makes both longer."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time


def processor_seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """The best of some rounds: a core that other programs share is slower, too."""
    best = float("inf")
    for _ in range(rounds):
        began = process_time()
        work()
        best = min(best, process_time() - began)
    return best
