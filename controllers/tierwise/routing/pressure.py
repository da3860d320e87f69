"""Decides how far the share of the reference tier is moved down while that tier is full and cannot grow.

What is steered is the share of the requests, not the classifier's threshold: load is share times arrivals, so the law
is linear in it, and what it costs in quality can be read off the curve of the classifier. The law has two parts:

    share <= 0.95 (capacity - fixed) / arrivals  -  gain * max(0, queue - 5),     gain = 0.3 / (arrivals * delay)

The first sends what the tier completes; the second drains the queue that has grown meanwhile. The queue is seen late,
by `delay` seconds, and the gain falls with that: arrivals * gain * delay = 0.3 has no overshoot (up to 0.37, and above
1.57 it grows for ever). The share falls at once and rises slowly, so that it does not follow a queue that comes and
goes.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

FULL = 0.95
"""Of the capacity that is used: the rest drains the queue."""
QUEUE_GOAL = 5.0
"""So many may wait: a tier without a queue would not be used up."""
GAIN = 0.3
RISE_PER_SECOND = 0.2
"""Percentage points."""
SHORTEST_SECONDS, LONGEST_SECONDS = 10, 60
ENOUGH_ARRIVALS = 100
"""A rate is counted over ten seconds, or over as many as so many arrivals take, at most a minute."""
FORGET_SECONDS = 30.0
LEARNED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which percents the share may be moved."""

    least: float = 0.0
    most: float = 100.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is seen of one tier. Rates are requests per second: `arrivals` are those whose tier the share decides,
    `fixed` those that reach this tier whatever it is, `capacity` what it completes while it is full (None: never seen).

    `queued`: requests that waited for it `delay` seconds ago."""

    arrivals: float
    queued: float
    delay: float
    capacity: float | None = None
    fixed: float = 0.0


def allowed(load: Load, wanted: float) -> float:
    """The share that the tier can take, in percent; infinite where nothing says that it is less than any share. Without
    a capacity, the queue is drained from the share that is `wanted`."""
    if not load.arrivals > 0:
        return math.inf
    base = wanted
    if load.capacity is not None:
        base = 100.0 * FULL * max(0.0, load.capacity - load.fixed) / load.arrivals
    over = max(0.0, load.queued - QUEUE_GOAL)
    return base - 100.0 * GAIN / (load.arrivals * max(1.0, load.delay)) * over


def next_limit(before: float | None, wanted: float, load: Load | None, bounds: Bounds, seconds: float) -> float | None:
    """The most percent of the requests that go to the tier from now on; None while it takes what is `wanted`.

    `before`: the last answer, `seconds` ago. `load` None: the tier is not full, or it can grow, so that the limit is
    taken away slowly. What is wanted below the least is not raised."""
    room = math.inf if load is None else max(bounds.least, allowed(load, wanted))
    now = wanted if before is None else min(wanted, before)
    if room < now:
        return room
    if before is None:
        return None
    risen = min(room, before + RISE_PER_SECOND * seconds)
    return None if risen >= wanted else risen


class Rate:
    """Counts what comes, second by second."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, float]] = deque(maxlen=LONGEST_SECONDS)

    def add(self, count: float, seconds: float) -> None:
        """So many came in the last `seconds`."""
        if seconds > 0:
            self._counts.append((count, seconds))

    @property
    def per_second(self) -> float:
        """Over the last ten seconds, or so many more that there is enough to count."""
        count = seconds = 0.0
        for more, took in reversed(self._counts):
            if seconds >= LONGEST_SECONDS or (seconds >= SHORTEST_SECONDS and count >= ENOUGH_ARRIVALS):
                break
            count, seconds = count + more, seconds + took
        return count / seconds if seconds else 0.0


class Capacity:
    """Learns how many requests a second one replica completes while the tier is full.

    Only seconds count in which somebody waited from beginning to end: without a queue a tier completes what it is
    given. What was seen is forgotten within a minute of such seconds, since requests change."""

    def __init__(self) -> None:
        self._completed = 0.0
        self._seconds = 0.0
        self._full_before = False

    def look(self, completed: float, seconds: float, queued: float, replicas: int) -> None:
        """In the last `seconds` so many were completed by so many replicas; so many wait now."""
        full = queued > QUEUE_GOAL and replicas > 0
        if full and self._full_before and seconds > 0:
            kept = math.exp(-seconds / FORGET_SECONDS)
            self._completed = kept * self._completed + completed / replicas
            self._seconds = kept * self._seconds + seconds
        self._full_before = full

    def per_second(self, replicas: int) -> float | None:
        """Of so many replicas; None until it was seen for some seconds."""
        if self._seconds < LEARNED_SECONDS or not self._completed > 0:
            return None
        return replicas * self._completed / self._seconds
