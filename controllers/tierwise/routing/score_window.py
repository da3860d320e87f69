"""Keeps the latest scores of a classifier: what a share means for the traffic of now, and whether it is another
traffic.

The share that goes to the reference tier is a quantile of scores. The file of a classifier brings those of its
training; as soon as enough requests have been scored, theirs take their place, since a share that is kept when the
traffic shifts keeps the promised quality more often than a fixed number does (docs/routing.md). Of requests that score
exactly alike, such as one prompt that comes again and again, every so many-th belongs to the share: no threshold
divides them.

Whether the traffic has shifted is a test, made once for every full window, so that windows do not overlap. By the
quantiles of the file p percent of the requests lie above the p-th one. The largest difference between that and what is
seen is compared with a margin of 5 points, which nobody would act on, plus what chance explains: by the inequality of
Dvoretzky, Kiefer, Wolfowitz and Massart two samples of n and m of one distribution differ by more than
sqrt(ln(2/a)/2 (1/n + 1/m)) with a probability of about a.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WINDOW = 1_000
OWN_FROM = 300
"""With so many scores of its own a router no longer uses those of the training."""
RENEW_EVERY = 50
"""After so many further scores the threshold is found anew: 10 µs, which no request should pay each time."""
MARGIN_POINTS = 5.0
FALSE_ALARM = 1e-4
"""For each window, of a traffic that has not shifted by a point. Of one within the margin it is far less."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How a full window of scores differs from those of the training, in percentage points of requests.

    `points` is the largest difference, at the share `at_percent`, and `seen_percent` what lay above there;
    `allowed_points` is what margin and chance explain."""

    points: float
    at_percent: int
    seen_percent: float
    allowed_points: float

    @property
    def shifted(self) -> bool:
        """Whether it is another traffic than the labelled one."""
        return self.points > self.allowed_points


class ScoreWindow:
    """The latest scores of one classifier. `trained` is the score that a share of percent begins at in training, and
    `labels` how many scores that was learned from."""

    def __init__(self, trained: Callable[[float], float], labels: int) -> None:
        self._trained = trained
        self._labels = max(1, labels)
        self._scores = np.zeros(WINDOW, dtype=np.float64)
        self._added = 0
        self._threshold: tuple[float, float] | None = None
        self._until = 0
        self._alike = 1.0
        """Of the scores at the threshold, the part that belongs to the share."""
        self._owed = 0.0
        self.shift: Shift | None = None
        """Of the last full window; None before the first one is full."""

    def __len__(self) -> int:
        """How many scores it holds."""
        return min(self._added, WINDOW)

    def add(self, score: float) -> None:
        """A request was scored."""
        self._scores[self._added % WINDOW] = score
        self._added += 1
        if self._added % WINDOW == 0:
            self.shift = self._compare()

    def reaches(self, score: float, share_percent: float) -> bool:
        """Whether a request with this score belongs to the share."""
        limit = self.threshold(share_percent)
        if score != limit or self._added < OWN_FROM:
            return score >= limit
        self._owed += self._alike
        if self._owed < 1:
            return False
        self._owed -= 1
        return True

    def threshold(self, share_percent: float) -> float:
        """The score from which on a request belongs to the share; infinite for 0, minus infinite for 100."""
        if self._added < OWN_FROM or not 0 < share_percent < 100:
            return self._trained(share_percent)
        if self._threshold is None or self._threshold[0] != share_percent or self._added >= self._until:
            scores = self._scores[: len(self)]
            own = _quantile(scores, 1 - share_percent / 100)
            above, equal = (int(np.count_nonzero(part)) for part in (scores > own, scores == own))
            self._alike = min(1.0, max(0.0, (share_percent / 100 * len(self) - above) / equal)) if equal else 1.0
            self._threshold, self._until = (share_percent, own), self._added + RENEW_EVERY
        return self._threshold[1]

    def _compare(self) -> Shift:
        percents = np.arange(1, 100)
        limits = np.array([self._trained(float(percent)) for percent in percents])
        above = 100.0 * (1.0 - np.searchsorted(np.sort(self._scores), limits) / WINDOW)
        place = int(np.argmax(np.abs(above - percents)))
        chance = math.sqrt(math.log(2 / FALSE_ALARM) / 2 * (1 / WINDOW + 1 / self._labels))
        return Shift(
            points=float(abs(above[place] - percents[place])),
            at_percent=int(percents[place]),
            seen_percent=float(above[place]),
            allowed_points=MARGIN_POINTS + 100 * chance,
        )


def _quantile(scores: npt.NDArray[np.float64], part: float) -> float:
    """What `np.quantile` says. That one takes twice as long, and its first call imports 50 ms of modules, for which all
    streams of the router would wait."""
    place = part * (scores.size - 1)
    low = int(place)
    high = min(low + 1, scores.size - 1)
    ordered = np.partition(scores, (low, high))
    return float(ordered[low] + (ordered[high] - ordered[low]) * (place - low))
