"""Computes from a judge's verdicts how good a route is, in percent of its reference tier, and how far that is known.

Three things make a plain rate of good verdicts dishonest, and each widens the interval here. It is looked at whenever
somebody likes, so the interval has to hold at all times at once and not for one number of samples. A judge errs: where
people have checked it, the level is corrected for that, and how little they checked counts as well. And the reference
tier does not always match itself: what a second answer of its own would get is the most that can be asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

NORMAL = 1.96
"""Standard errors of 95 percent, both sides."""
ERROR = 0.05
PRIOR_GOOD, PRIOR_BAD = 9.5, 0.5
"""A route is near 95 percent: the interval holds wherever it is, and is narrowest there."""
LEAST_SKILL = 0.1
"""A judge whose sensitivity and specificity add up to less than one and this says nothing."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Verdicts: so many answers were at least as good as the reference, so many were not."""

    good: int = 0
    bad: int = 0

    @property
    def count(self) -> int:
        """Both together."""
        return self.good + self.bad

    @property
    def rate(self) -> float:
        """Good ones, 0 to 1; 1 without a verdict."""
        return self.good / self.count if self.count else 1.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.good + other.good, self.bad + other.bad)


NONE = Tally()


@dataclass(frozen=True, slots=True)
class Audit:
    """What people found of the judge: of `good` answers it called `judged_good` so, of `bad` ones `judged_bad`."""

    good: int
    judged_good: int
    bad: int
    judged_bad: int

    @property
    def sensitivity(self) -> float:
        """Of good answers, the part that is called good."""
        return self.judged_good / self.good if self.good else 1.0

    @property
    def specificity(self) -> float:
        """Of bad answers, the part that is called bad."""
        return self.judged_bad / self.bad if self.bad else 1.0


PERFECT = Audit(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Interval:
    """A value, 0 to 1 (parity may be above), with the bounds between which it lies in 95 percent of routes."""

    value: float
    lower: float
    upper: float


def rate(tally: Tally, error: float = ERROR) -> Interval:
    """The rate of good verdicts. Its interval holds at all numbers of verdicts at once (Robbins' mixture; a rate is in
    it while the likelihood of a Beta mixture is less than 1/error times its own)."""
    if not tally.count:
        return Interval(1.0, 0.0, 1.0)
    mixture = _log_beta(PRIOR_GOOD + tally.good, PRIOR_BAD + tally.bad) - _log_beta(PRIOR_GOOD, PRIOR_BAD)
    least = mixture - math.log(1 / error)

    def inside(value: float) -> bool:
        return _log_likelihood(tally, value) > least

    return Interval(tally.rate, _edge(inside, tally.rate, 0.0), _edge(inside, tally.rate, 1.0))


def level(tally: Tally, audit: Audit) -> Interval:
    """The part of answers that are truly good: (p + Sp - 1) / (Se + Sp - 1), with the error of the audit.

    Rogan and Gladen's estimate; the variances of the verdicts, of sensitivity and of specificity add up (arXiv
    2511.21140). The verdicts' part holds at all times, the audit's for the answers that were audited."""
    skill = audit.sensitivity + audit.specificity - 1
    if skill < LEAST_SKILL:
        return Interval(0.5, 0.0, 1.0)
    seen = rate(tally)
    value = (seen.value + audit.specificity - 1) / skill
    audited = NORMAL**2 * (value**2 * _variance(audit.judged_good, audit.good) + (1 - value) ** 2 * _doubt(audit))
    below = math.sqrt((seen.value - seen.lower) ** 2 + audited) / skill
    above = math.sqrt((seen.upper - seen.value) ** 2 + audited) / skill
    return Interval(_within(value), _within(value - below), _within(value + above))


def parity(cheap: Tally, again: Tally, audit: Audit = PERFECT) -> Interval:
    """How often a cheaper answer is as good as the reference, compared with how often a second answer of the reference
    tier (`again`) is. The judge's sensitivity cancels out; its specificity is that of the audit.

    Without a verdict on second answers the reference is taken to match itself."""
    mine = rate(cheap)
    most = rate(again) if again.count else Interval(1.0, 1.0, 1.0)
    blind = 1 - audit.specificity  # bad answers that are called good, whoever made them
    ceiling = most.value - blind
    if ceiling < LEAST_SKILL:
        return Interval(0.5, 0.0, 1.0)
    value = (mine.value - blind) / ceiling
    doubt = (NORMAL * (1 - value)) ** 2 * _doubt(audit)
    below = math.hypot(mine.value - mine.lower, value * (most.upper - most.value), math.sqrt(doubt)) / ceiling
    above = math.hypot(mine.upper - mine.value, value * (most.value - most.lower), math.sqrt(doubt)) / ceiling
    return Interval(max(0.0, value), max(0.0, value - below), max(0.0, value + above))


def of_route(cheap: Interval, share: float) -> Interval:
    """The quality of all requests, of which the part `share` (0 to 1) is answered by the reference tier itself."""
    return Interval(*(share + (1 - share) * part for part in (cheap.value, cheap.lower, cheap.upper)))


def one_step_looser(cheap: Interval, margin: Interval, share: float, step: float) -> Interval:
    """The quality of all requests if the part `step` of them, those of `margin`, went to a cheaper tier as well.

    The two intervals are of different requests, so their widths add up as squares."""
    kept = max(0.0, share - step)
    moved = share - kept
    value = kept + moved * margin.value + (1 - share) * cheap.value
    below = math.hypot(moved * (margin.value - margin.lower), (1 - share) * (cheap.value - cheap.lower))
    above = math.hypot(moved * (margin.upper - margin.value), (1 - share) * (cheap.upper - cheap.value))
    return Interval(value, value - below, value + above)


def _variance(hits: int, count: int) -> float:
    """Of a rate; with one hit and one miss more, so that a perfect small audit is not taken for certainty."""
    if not count:
        return 0.0
    guess = (hits + 1) / (count + 2)
    return guess * (1 - guess) / count


def _doubt(audit: Audit) -> float:
    return _variance(audit.judged_bad, audit.bad)


def _log_beta(good: float, bad: float) -> float:
    return math.lgamma(good) + math.lgamma(bad) - math.lgamma(good + bad)


def _log_likelihood(tally: Tally, value: float) -> float:
    total = 0.0
    for count, chance in ((tally.good, value), (tally.bad, 1 - value)):
        if count:
            total += count * math.log(chance) if chance > 0 else -math.inf
    return total


def _edge(inside: Callable[[float], bool], within: float, end: float) -> float:
    """The bound between `within`, which is inside, and `end`."""
    if inside(end):
        return end
    for _ in range(50):
        middle = (within + end) / 2
        if inside(middle):
            within = middle
        else:
            end = middle
    return within


def _within(value: float) -> float:
    return min(1.0, max(0.0, value))
