"""Computes intervals of shares and of a level that an imperfect judge has measured.

Clopper and Pearson's interval is exact: it holds at least as often as it says, at any size. Wilson's is shorter and
holds about as often. Where a judge errs, the share that it calls right is corrected by its sensitivity and specificity,
and the interval contains what is not known of those (Lee et al., arXiv 2511.21140).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A share with its bounds, 0 to 1; `n` is what it was counted over. Without any, it may be anything."""

    value: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half the distance of the bounds."""
        return (self.high - self.low) / 2


UNKNOWN = Interval(math.nan, 0.0, 1.0, 0)


@lru_cache(maxsize=4096)
def clopper_pearson(hits: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """The exact interval of a share. Raises ValueError for more hits than there are."""
    _check(hits, n)
    if not n:
        return UNKNOWN
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else _solve(lambda share: 1 - _at_most(hits - 1, n, share) - tail)
    high = 1.0 if hits == n else _solve(lambda share: tail - _at_most(hits, n, share))
    return Interval(hits / n, low, high, n)


def wilson(hits: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a share. Raises ValueError for more hits than there are."""
    _check(hits, n)
    if not n:
        return UNKNOWN
    z = _z(confidence)
    share, weight = hits / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / weight
    half = z / weight * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)), n)


def corrected(hits: int, n: int, sensitivity: Interval, specificity: Interval) -> Interval:
    """The level behind a judge's verdicts, 95 %: `hits` of `n` were called good.

    theta = (p + Sp - 1) / (Se + Sp - 1), its variance with those of Se and Sp, each estimate moved towards the middle
    as Agresti and Coull do (arXiv 2511.21140). UNKNOWN where the judge is not known to be better than chance."""
    _check(hits, n)
    if not n or not sensitivity.n or not specificity.n:
        return UNKNOWN
    z = _z(CONFIDENCE)
    p, weight = (hits + z * z / 2) / (n + z * z), n + z * z
    se, se_weight = (sensitivity.value * sensitivity.n + 1) / (sensitivity.n + 2), sensitivity.n + 2
    sp, sp_weight = (specificity.value * specificity.n + 1) / (specificity.n + 2), specificity.n + 2
    better = se + sp - 1
    if better <= 0:
        return UNKNOWN
    level = (p + sp - 1) / better
    of_se, of_sp = se * (1 - se) / se_weight, sp * (1 - sp) / sp_weight
    shift = 2 * z * z * (level * of_se - (1 - level) * of_sp)
    spread = math.sqrt(p * (1 - p) / weight + level**2 * of_se + (1 - level) ** 2 * of_sp) / better
    low, high = (_share(level + shift + side * z * spread) for side in (-1, 1))
    plain = (hits / n + specificity.value - 1) / max(sensitivity.value + specificity.value - 1, 1e-9)
    return Interval(min(high, max(low, _share(plain))), low, high, n)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its standard error. `n` is how many values it was taken over."""

    value: float
    error: float
    n: int


def mean(values: Sequence[float], of: int) -> Mean:
    """The mean of a sample without replacement from `of` values: what is known of all has no error."""
    if not values:
        return Mean(math.nan, math.inf, 0)
    left = max(0.0, 1 - len(values) / max(of, 1))
    spread = stdev(values) if len(values) > 1 else math.inf
    return Mean(fmean(values), spread * math.sqrt(left / len(values)) if left else 0.0, len(values))


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _check(hits: int, n: int) -> None:
    if not 0 <= hits <= n:
        raise ValueError(f"{hits} of {n} is no share")


def _at_most(hits: int, n: int, share: float) -> float:
    """P(X <= hits) of a binomial with n draws."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return 1.0 if hits >= n else 0.0
    log, other = math.log(share), math.log1p(-share)
    whole = math.lgamma(n + 1)
    return min(
        1.0,
        math.fsum(
            math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log + (n - k) * other)
            for k in range(hits + 1)
        ),
    )


def _solve(rising: Callable[[float], float]) -> float:
    """Where a rising function of a share is zero."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
