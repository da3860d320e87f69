"""Keeps figures for some seconds: the moving windows of the autoscalers.

A window is open at its old end, as Prometheus' ranges are: a figure of exactly `seconds` ago has left it. The HPA keeps
its recommendations at exactly that age (`closed`).
"""

from __future__ import annotations

import math
from collections import deque


class Window:
    """Figures by time, the oldest first. Times must rise."""

    def __init__(self, seconds: float, *, closed: bool = False) -> None:
        self._seconds = seconds
        self._closed = closed
        self._figures: deque[tuple[float, float]] = deque()

    def add(self, at: float, value: float) -> None:
        """Keep a figure, and drop those that have left the window."""
        self._figures.append((at, value))
        self.trim(at)

    def trim(self, now: float) -> None:
        """Drop what has left the window."""
        limit = now - self._seconds
        while self._figures and (self._figures[0][0] < limit or (self._figures[0][0] == limit and not self._closed)):
            self._figures.popleft()

    def __len__(self) -> int:
        return len(self._figures)

    @property
    def values(self) -> tuple[float, ...]:
        """The figures, the oldest first."""
        return tuple(value for _, value in self._figures)

    @property
    def mean(self) -> float:
        """Their mean (NaN if one is NaN); NaN of none."""
        return math.fsum(self.values) / len(self) if self._figures else math.nan

    def mean_since(self, start: float) -> float:
        """The mean of the figures that are younger than `start`; NaN of none."""
        young = [value for at, value in self._figures if at > start]
        return math.fsum(young) / len(young) if young else math.nan
