"""Decides how far the share of the reference tier is moved down while that tier is full and cannot grow.

What is steered is the share of the requests, not the classifier's threshold: load is share times arrivals, so the law
is linear in it, and what it costs in quality can be read off the curve of the classifier. The law has two parts:

    share <= 0.95 (capacity - fixed) / arrivals  -  gain * max(0, queue - 5),     gain = 0.3 / (arrivals * delay)

The first sends what the tier completes; the second drains the queue that has grown meanwhile. The queue is seen late,
by `delay` seconds, and the gain falls with that: arrivals * gain * delay = 0.3 has no overshoot (up to 0.37, and above
1.57 it grows for ever).

Arrivals come by chance, and a share that fell with each busy second and rose slowly after it would stay well below what
the tier can take. So a rate is counted over as long as it has been the same, up to a minute, and begins anew where
chance does not explain a change: that is sure within seconds where a load doubles, and exact where it stays. The share
falls at once as far as the error of that count does not explain; beyond, it moves slowly, down as well as up.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

FULL = 0.95
"""Of the capacity that is used: the rest drains the queue."""
QUEUE_GOAL = 5.0
"""So many may wait: a tier without a queue would not be used up."""
GAIN = 0.3
DELAY_SECONDS = 10.0
"""What the law is given where nobody has measured the delay. Engines say once a second what waits, requests have to end
first, and a tier that is nearly full has a queue that comes and goes: a law that believed every look would follow it.
"""
SLOWLY_PER_SECOND = 0.2
"""Percentage points."""
MOST_LOOKS = 60
"""A rate is counted over at most so many looks, one a second."""
SHORTEST_SECONDS = 3.0
"""Of a new rate there must be so many."""
SURE = 4.5
"""Standard errors that make a change: by chance, seen once in hours."""
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

    `queued`: requests that waited for it `delay` seconds ago. `error`: the standard error of `arrivals`, as a part of
    them."""

    arrivals: float
    queued: float
    delay: float
    capacity: float | None = None
    fixed: float = 0.0
    error: float = 0.0


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
    slowly = SLOWLY_PER_SECOND * seconds
    near = min(max(room, now - slowly), now + slowly)
    limit = near if load is None else min(near, room * (1 + load.error))
    return None if limit >= wanted else limit


class Rate:
    """Counts what comes, look by look, over as long as it has come at one rate."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, float]] = deque(maxlen=MOST_LOOKS)

    def add(self, count: float, seconds: float) -> None:
        """So many came in the last `seconds`."""
        if seconds > 0:
            self._looks.append((count, seconds))
            for _ in range(_before_a_change(self._looks)):
                self._looks.popleft()

    @property
    def per_second(self) -> float:
        """Since it has been the same."""
        count, seconds = _sums(self._looks)
        return count / seconds if seconds else 0.0

    @property
    def error(self) -> float:
        """The standard error of that, as a part of it; 0 where nothing came."""
        count, _ = _sums(self._looks)
        return math.sqrt(_burstiness(self._looks) / count) if count else 0.0


def _before_a_change(looks: Sequence[tuple[float, float]]) -> int:
    """How many of the first looks had another rate than the later ones: 0 where chance may have done it.

    For each place twice the logarithm of the ratio of likelihoods, two rates against one: about the square of the
    difference in standard errors. Of counts that spread more than chance, that is less by as much."""
    count, seconds = _sums(looks)
    least, found = SURE**2 * _burstiness(looks), 0
    later = later_seconds = 0.0
    for place in range(len(looks) - 1, 0, -1):
        later, later_seconds = later + looks[place][0], later_seconds + looks[place][1]
        if later_seconds < SHORTEST_SECONDS:
            continue
        two = _fit(later, later_seconds) + _fit(count - later, seconds - later_seconds)
        ratio = 2 * (two - _fit(count, seconds))
        if ratio > least:
            least, found = ratio, place
    return found


def _fit(count: float, seconds: float) -> float:
    """The logarithm of the likelihood of a count at its own rate, but for what all fits have in common."""
    return count * math.log(count / seconds) if count > 0 else 0.0


def _burstiness(looks: Sequence[tuple[float, float]]) -> float:
    """How much more the counts spread than those of requests that come one by one by chance: variance by mean, at least
    1. It is that of neighbours, since a rate that changes once spreads the others."""
    ratios = []
    for (one, took), (other, longer) in pairwise(looks):
        mean = (one + other) / (took + longer)
        if mean > 0:
            ratios.append((one / took - other / longer) ** 2 / (mean * (1 / took + 1 / longer)))
    return max(1.0, sum(ratios) / len(ratios)) if ratios else 1.0


def _sums(looks: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(count for count, _ in looks), sum(seconds for _, seconds in looks)


class Capacity:
    """Learns how many requests a second one replica completes while the tier is full.

    Only seconds count in which somebody waited from beginning to end: without a queue a tier completes what it is
    given. A tier that is left has one, however few wait: what else would wait goes to another tier. What was seen is
    forgotten within a minute of such seconds, since requests change."""

    def __init__(self) -> None:
        self._completed = 0.0
        self._seconds = 0.0
        self._full_before = False

    def look(self, completed: float, seconds: float, queued: float, replicas: int, *, left: bool = False) -> None:
        """In the last `seconds` so many were completed by so many replicas; so many wait now. `left`: requests go to
        another tier since this one is full."""
        full = (left or queued > QUEUE_GOAL) and replicas > 0
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
