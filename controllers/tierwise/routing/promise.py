"""Finds the smallest share of requests for the large tier with which a quality can be promised.

A threshold that merely reaches the quality on the labels at hand keeps it on new requests about every second time: it
was chosen because it looked good. Fixed-sequence testing (Learn then Test: Angelopoulos et al., arXiv 2110.01052) walks
from "all requests go to the large tier" downwards in fixed steps and stops at the first share that the labels do not
support with 90 % confidence. The order is fixed before the labels are seen, so every step may use the whole confidence.

The scores must not come from a classifier that has seen the same labels (out-of-fold scores are fine). The promise
holds for requests like the labelled ones, and for no others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

STEP_PERCENT = 2
SHARES = tuple(range(100, -1, -STEP_PERCENT))
"""Percent, in the order in which they are tried."""
ONE_SIDED_90 = 1.2816
"""The 90 % quantile of the normal distribution."""

Outcomes = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Step:
    """One share that was tried: percent of the reference's right answers that are kept there by the labels, the value
    that is exceeded with 90 % confidence, and whether the promise stands."""

    share_percent: int
    quality_percent: float
    lower_percent: float
    kept: bool


def curve(
    scores: Outcomes,
    small: Outcomes,
    large: Outcomes,
    quality_percent: float,
    count: int | None = None,
    weights: Outcomes | None = None,
) -> tuple[Step, ...]:
    """Every share of `SHARES`, from all requests down to none.

    `scores`, and whether each tier answered right (0 or 1), are arrays of one length, at least 2. The quality at a
    share is a ratio, right answers of the mix by right answers of the large tier, and its bound the one of the
    differences Z = mix − ratio · large (the delta method). A share keeps the promise if it and all shares above it have
    mean(Z) − 1.28 · sd(Z) / √n ≥ 0 with Z = mix − quality · large. `count` stands for n where it is asked what as many
    labels would show if they were like these.

    `weights` say how many requests each label stands for (inverse sampling rates, in any unit): shares, means and their
    errors are then those of the requests (Hájek's estimator)."""
    order = np.argsort(-scores, kind="stable")
    best, cheap = large[order], small[order]
    stands_for = (np.ones(scores.size) if weights is None else weights)[order]
    right = float(np.average(best, weights=stands_for))
    steps, unbroken = [], True
    for share in SHARES:
        first = taken(stands_for, share)
        mix = np.concatenate((best[:first], cheap[first:]))
        unbroken = unbroken and lower_mean(mix - quality_percent / 100 * best, count, stands_for) >= 0
        ratio = float(np.average(mix, weights=stands_for)) / right if best.any() else 1.0
        spread = _error(mix - ratio * best, count, stands_for)
        lower = ratio - ONE_SIDED_90 * spread / right if best.any() else 0.0
        steps.append(Step(share, 100 * ratio, 100 * lower, unbroken))
    return tuple(steps)


def taken(weights: Outcomes, share_percent: float) -> int:
    """How many labels, from the first on, stand for at most this share of all requests."""
    ahead = np.cumsum(weights)
    return int(np.searchsorted(ahead, ahead[-1] * (share_percent / 100 + 1e-9), side="right"))


def promised_share(steps: tuple[Step, ...]) -> int | None:
    """The smallest share of a `curve` that keeps the promise; None where not even all requests would show it."""
    kept = [step.share_percent for step in steps if step.kept]
    return min(kept) if kept else None


def lower_mean(values: Outcomes, count: int | None = None, weights: Outcomes | None = None) -> float:
    """The value that the mean exceeds with 90 % confidence, by the normal approximation (at least 2 values, or `count`
    of the same kind)."""
    stands_for = np.ones(values.size) if weights is None else weights
    return float(np.average(values, weights=stands_for)) - ONE_SIDED_90 * _error(values, count, stands_for)


def _error(values: Outcomes, count: int | None, weights: Outcomes) -> float:
    """The standard error of the weighted mean; without weights it is sd / √n."""
    n = values.size
    differences = weights * (values - np.average(values, weights=weights))
    whole = math.sqrt(float(differences @ differences) * n / (n - 1)) / float(weights.sum())
    return whole * math.sqrt(n / (count or n))
