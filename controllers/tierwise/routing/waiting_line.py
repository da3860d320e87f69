"""Says who of those that wait for a replica comes next, and how many may wait.

Whoever has come first is next, while that answers everybody soon. Where the line is so long that whoever comes now
would wait for `LONG_SECONDS` in the order of arrival, and somebody has waited for `PATIENCE_SECONDS`, more come than
there are places for: then the youngest is next. In the order of arrival nobody would be answered in time; so most are
answered at once, and those that were there before are answered when the rush is over, or told to come again. A line
that stands and is short is no rush: clients that ask again after each answer would take turns with few, and the others
starve. The rule is a form of adaptive LIFO (Maurer, "Fail at Scale", ACM Queue 13(8), 2015);
docs/design/0021-places-and-queues.md has what it does to time to first token.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from itertools import chain
from typing import Generic, TypeVar

from tierwise.routing.route import QueueLimits

PATIENCE_SECONDS = 0.5
LONG_SECONDS = 2.0
PACE_WEIGHT = 0.1
LONGEST_PACE_SECONDS = 60.0
FEWEST_ALLOWED = 100
"""So many may wait where the route does not say how many, however small the tier is."""

Item = TypeVar("Item", bound=Hashable)


def most_waiting(limits: QueueLimits, places: int) -> int:
    """How many requests may wait for a tier whose replicas work on `places` at a time."""
    return max(FEWEST_ALLOWED, places) if limits.max_requests is None else limits.max_requests


class Pace:
    """How often a place becomes free while somebody waits. What ends while nobody waits says nothing of that."""

    __slots__ = ("_known", "_last", "seconds")

    def __init__(self) -> None:
        self.seconds = 1.0
        """Between two places, on average over the last dozen or so."""
        self._known = False
        self._last: float | None = None

    def freed(self, now: float, *, waiting: bool) -> None:
        """A place is free. `waiting`: somebody waits for it."""
        if self._last is not None:
            took = min(LONGEST_PACE_SECONDS, now - self._last)
            self.seconds += (PACE_WEIGHT if self._known else 1.0) * (took - self.seconds)
            self._known = True
        self._last = now if waiting else None


class WaitingLine(Generic[Item]):
    """Those that wait, each with the time since when (seconds of a clock that only grows)."""

    __slots__ = ("_again", "_first_in_first_out", "_since")

    def __init__(self, *, first_in_first_out: bool = False) -> None:
        """`first_in_first_out`: always, for work that nobody waits in front of."""
        self._first_in_first_out = first_in_first_out
        self._again: OrderedDict[Item, float] = OrderedDict()
        self._since: OrderedDict[Item, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._again) + len(self._since)

    def __iter__(self) -> Iterator[Item]:
        """In the order of arrival, those that have had a place before first."""
        return chain(self._again, self._since)

    def __contains__(self, item: object) -> bool:
        return item in self._since or item in self._again

    def add(self, item: Item, now: float, *, again: bool = False) -> None:
        """It waits from now on. `again`: it has had a place, and comes before all that had none."""
        (self._again if again else self._since)[item] = now

    def remove(self, item: Item) -> None:
        """It no longer waits. Raises KeyError where it did not."""
        del (self._again if item in self._again else self._since)[item]

    def in_turn(self, now: float, pace: Pace) -> Iterator[Item]:
        """Who is next, and then. The line must not change between two of them."""
        return chain(self._again, reversed(self._since) if self._youngest_first(now, pace) else self._since)

    def next(self, now: float, pace: Pace) -> Item | None:
        """Who is next; None where nobody waits."""
        return next(self.in_turn(now, pace), None)

    def youngest(self) -> Item | None:
        """Who has come last; None where nobody waits."""
        return next(chain(reversed(self._since), reversed(self._again)), None)

    def _youngest_first(self, now: float, pace: Pace) -> bool:
        if self._first_in_first_out or len(self._since) * pace.seconds <= LONG_SECONDS:
            return False
        oldest = next(iter(self._since.values()), now)
        return now - oldest > PATIENCE_SECONDS
