"""Compares two numbers that change in steps, and says for how much of the time they are near each other."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

Steps = Sequence[tuple[float, int]]
"""(seconds, value from then on), in order of time."""
NEAR = 1
WANTED = 0.95


@dataclass(frozen=True, slots=True)
class Timeline:
    """Replicas of one tier on one side: asked for, and ready."""

    asked: Steps
    ready: Steps


def value(steps: Steps, at: float) -> int:
    """What held at a time; before the first step its value. Raises ValueError without steps."""
    if not steps:
        raise ValueError("nothing was recorded")
    return steps[max(0, bisect_right([when for when, _ in steps], at) - 1)][1]


def share_near(one: Steps, other: Steps, seconds: float, most: int = NEAR) -> float:
    """The part of the time from 0 to `seconds` in which both differ by at most so much."""
    moments = sorted({0.0, *(at for at, _ in (*one, *other) if 0 < at < seconds), seconds})
    near = sum(
        end - begin
        for begin, end in itertools.pairwise(moments)
        if abs(value(one, begin) - value(other, begin)) <= most
    )
    return near / seconds


def mean(steps: Steps, seconds: float) -> float:
    """The mean over the time from 0 to `seconds`."""
    moments = sorted({0.0, *(at for at, _ in steps if 0 < at < seconds), seconds})
    pairs = itertools.pairwise(moments)
    return sum((end - begin) * value(steps, begin) for begin, end in pairs) / seconds
