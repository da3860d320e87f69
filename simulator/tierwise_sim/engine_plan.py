"""Holds what an engine has planned: one step, or several equal ones that may be cut short."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

from tierwise_sim.sequence import Sequence
from tierwise_sim.step_time import Batch


@dataclass(slots=True)
class Plan:
    """One scheduled step, or several: work, drafted tokens per decode, durations, and when the last one ends.

    `batch` is that of the first step. `shortest`: after so many steps the first of the decodes has all its tokens.
    `whole`: all that ran are in it."""

    batch: Batch
    chunks: list[tuple[Sequence, int]]
    decodes: list[Sequence]
    drafted: int
    durations: list[float]
    ends_at: float
    shortest: int = 0
    whole: bool = False

    @property
    def may_end(self) -> bool:
        """Whether a request may be over when the plan is."""
        return bool(self.chunks) or self.drafted > 0 or len(self.durations) >= self.shortest

    def keep(self, begins_at: float, until: float) -> tuple[int, int]:
        """Take away the steps that have not begun by `until`: how many are left, and how many of these have ended."""
        ends = list(accumulate(self.durations, initial=begins_at))[1:]
        done = bisect_right(ends, until)
        steps = max(1, done)
        del self.durations[steps:]
        self.ends_at = ends[steps - 1]
        return steps, done
