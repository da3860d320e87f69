"""Checks what a score costs, in a unit that a slow machine makes longer too. A file of its own: mutants are made of
slower code, on which no speed is a promise."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import numpy as np
import pytest

from tests.unit.routing.classifiers import WORDS, classifier
from tierwise.routing.text_features import SIZES, TextFacts

LIMITS = {200: 3.0, 2_048: 4.5, 40_960: 6.0}
"""By size, in times of the yardstick: twice what was measured (1.6, 2.2, 2.8). Wanted are 0.1 ms at 2 KB and 0.2 at 40
KB, which `python -m tools.bench_scoring` measures: idle machines took 0.1 ms on one day and 0.2 on another."""
MOST_ROUNDS = 200
_PLACES = np.arange(2_048)


def yardstick() -> None:
    """Work of the same kind, numpy on 2 KB and the interpreter: about as long as half a score of 2 KB."""
    for _ in range(10):
        _PLACES.take(_PLACES)
        np.add.reduce(_PLACES)
    sum(range(1_000))


def milliseconds(work: Callable[[], object], enough: float = 0.0, rounds: int = MOST_ROUNDS) -> float:
    """Processor time; the best of some rounds, of more while it is not below `enough`: a core that other programs share
    is slower, too."""
    best = float("inf")
    for number in range(rounds):
        if number >= 7 and best < enough:
            break
        began = process_time()
        for _ in range(20):
            work()
        best = min(best, (process_time() - began) / 20 * 1000)
    return best


def test_a_score_takes_no_longer_than_some_passes_over_two_kilobytes(capsys: pytest.CaptureFixture[str]) -> None:
    one = classifier(seed=1, size_weights=((0.3, -0.2),) * len(SIZES), intercepts=(0.4, 0.9), gain_deviation=0.25)
    unit = milliseconds(yardstick)
    took = {
        size: milliseconds(lambda size=size: one.score(WORDS[:size], TextFacts()), limit * unit)  # type: ignore[misc]
        for size, limit in LIMITS.items()
    }
    with capsys.disabled():
        said = ", ".join(f"{size:,} bytes {each:.3f} ms" for size, each in took.items())
        print(f"\nscore: {said}; yardstick {unit:.3f} ms")
    assert {size: each / unit for size, each in took.items() if each >= LIMITS[size] * unit} == {}
