"""Measures an order of questions: how much of the large tier's advantage is had for how many of its calls.

The measures are RouteLLM's (Ong et al., arXiv 2406.18665, section 3.2), so that figures can be laid side by side. All
are of scores by which questions are sent to the large tier, highest first, and of whether each tier answers right.
`weights` say how many requests each question stands for; without them all stand for one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measures:
    """`apgr` is the average part of the gap between the tiers that is recovered, over all shares; about 0.5 for a
    random order. `cpt50` and `cpt80` are the percent of calls to the large tier that recover 50 and 80 % of the gap;
    `large_share` the percent that keeps a quality of the large tier's right answers."""

    apgr: float
    cpt50: float
    cpt80: float
    large_share: float


def quality_by_share(scores: Reals, small: Reals, large: Reals, weights: Reals | None = None) -> Reals:
    """The share of right answers when the first k of n questions go to the large tier, for k from 0 to n. Equal scores
    are taken as if in every order: the mean of their answers."""
    stands_for = np.ones(scores.size) if weights is None else weights
    _, place = np.unique(-scores, return_inverse=True)
    means = np.bincount(place, weights=stands_for * (large - small)) / np.bincount(place, weights=stands_for)
    order = np.argsort(place, kind="stable")
    gained = np.cumsum(stands_for[order] * means[place[order]])
    cheap = float(np.average(small, weights=stands_for))
    found: Reals = np.concatenate(([0.0], gained)) / stands_for.sum() + cheap
    return found


def measure(
    scores: Reals, small: Reals, large: Reals, quality_percent: float = 95, weights: Reals | None = None
) -> Measures:
    """All measures. Where the large tier is no better than the small one there is no gap: every measure of it is
    nan."""
    curve = quality_by_share(scores, small, large, weights)
    shares = np.linspace(0, 100, curve.size)
    if weights is not None:
        ahead = np.concatenate(([0.0], np.cumsum(weights[np.argsort(-scores, kind="stable")])))
        shares = 100 * ahead / ahead[-1]
    low, high = float(curve[0]), float(curve[-1])
    needed = _first(shares, curve, quality_percent / 100 * high)
    if high <= low:
        return Measures(float("nan"), float("nan"), float("nan"), needed)
    recovered = (curve - low) / (high - low)
    return Measures(
        float(np.trapezoid(recovered, shares / 100)),
        _first(shares, recovered, 0.5),
        _first(shares, recovered, 0.8),
        needed,
    )


def _first(shares: Reals, values: Reals, wanted: float) -> float:
    return float(shares[int(np.argmax(values >= wanted - 1e-12))])


def bootstrap(
    scores: Reals,
    small: Reals,
    large: Reals,
    times: int,
    seed: int,
    quality_percent: float = 95,
    weights: Reals | None = None,
) -> list[Measures]:
    """The measures of samples of the questions, drawn with replacement; from one seed."""
    chance = np.random.default_rng(seed)
    samples = (chance.integers(0, scores.size, scores.size) for _ in range(times))
    return [
        measure(scores[rows], small[rows], large[rows], quality_percent, None if weights is None else weights[rows])
        for rows in samples
    ]


def interval(values: list[float]) -> tuple[float, float]:
    """The 2.5 % and the 97.5 % quantile of what is a number."""
    low, high = np.nanquantile(np.array(values), [0.025, 0.975])
    return float(low), float(high)
