"""Fits the classifier: two logistic regressions, the standardized length, a shrunken mean per group.

The numbers in this module were fixed before any data of a user is seen, and are not searched for: choosing among models
by cross-validation does not pay at a few hundred labels. C = 0.1 loses little where the questions are like the labelled
ones and wins where they are not; half a standardized length never hurt in 15 settings; a group's mean counts as if ten
average questions had been seen of it.

The matrix of questions is the one that the router computes with: `Classifier.score` of a question is the score that
this module gives its row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold

from tierwise.routing.classifier import LENGTH_WEIGHT, MOST_GROUPS, MOST_STANDARD
from tierwise.routing.text_features import BUCKETS, LENGTH, SIZES, Features

C = 0.1
GROUP_PRIOR = 10
FOLDS = 5
SEED = 20261129
LEAST_DEVIATION = 1e-6
MOST_ITERATIONS = 200

Reals = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Questions:
    """Labelled questions. `pieces` is a sparse matrix with a row per question and a column per bucket, `sizes` a dense
    one with a column per size; `small` and `large` are 1 where the tier answered right. `groups` are hashes of system
    prompts ("" without one), `blocks` what must not be divided between folds ("" for all: divide as you like).
    `weights` say how many requests each question stands for; None: all for as many."""

    pieces: sparse.csr_array
    sizes: Reals
    small: Reals
    large: Reals
    groups: tuple[str, ...]
    blocks: tuple[str, ...]
    weights: Reals | None = None

    def __len__(self) -> int:
        return len(self.groups)

    def take(self, rows: Rows) -> Questions:
        """Some of them, in this order."""
        return Questions(
            self.pieces[rows],
            self.sizes[rows],
            self.small[rows],
            self.large[rows],
            tuple(self.groups[row] for row in rows),
            tuple(self.blocks[row] for row in rows),
            None if self.weights is None else self.weights[rows],
        )


def questions(
    features: Sequence[Features],
    small: Sequence[bool],
    large: Sequence[bool],
    blocks: Sequence[str] | None = None,
    weights: Reals | None = None,
) -> Questions:
    """Rows from features and verdicts of one length."""
    counts = [each.buckets.size for each in features]
    worth = np.concatenate([np.repeat(each.piece_weights, each.counts) for each in features] or [np.zeros(0)])
    columns = (
        np.concatenate([each.buckets for each in features]).astype(np.int32) if features else np.zeros(0, np.int32)
    )
    starts = np.concatenate(([0], np.cumsum(counts)))
    pieces = sparse.csr_array((worth, columns, starts), shape=(len(features), BUCKETS))
    pieces.sum_duplicates()
    return Questions(
        pieces,
        np.array([each.sizes for each in features], dtype=np.float64).reshape(len(features), len(SIZES)),
        np.array(small, dtype=np.float64),
        np.array(large, dtype=np.float64),
        tuple(each.group for each in features),
        tuple(blocks) if blocks is not None else ("",) * len(features),
        weights,
    )


@dataclass(frozen=True, eq=False, slots=True)
class Model:
    """What was fitted. Columns of `weights` and `size_weights` are the cheaper tier and the reference tier."""

    weights: Reals
    intercepts: Reals
    size_means: Reals
    size_deviations: Reals
    size_weights: Reals
    gain_mean: float
    gain_deviation: float
    groups: dict[str, float] = field(default_factory=dict)

    def logits(self, asked: Questions) -> Reals:
        """Of "answers right", one column per tier."""
        sizes = standardized(asked.sizes, self.size_means, self.size_deviations)
        found: Reals = asked.pieces @ self.weights + sizes @ self.size_weights + self.intercepts
        return found

    def gains(self, asked: Questions) -> Reals:
        """By how much the reference tier is likelier to be right, with what is known of the question's group."""
        return gains(self.logits(asked), asked.groups, self.groups)

    def scores(self, asked: Questions) -> Reals:
        """What `Classifier.score` gives each question, before its weights are rounded to 16 bits."""
        length = standardized(asked.sizes, self.size_means, self.size_deviations)[:, LENGTH]
        scores: Reals = (self.gains(asked) - self.gain_mean) / self.gain_deviation + LENGTH_WEIGHT * length
        return scores


def fit(asked: Questions, c: float = C) -> Model:
    """Fit all of it to these questions (at least one). The same questions give the same model. Only a benchmark has
    another `c`. Questions with weights count as often as they say, with a mean of 1, so that C keeps its meaning."""
    counted = None if asked.weights is None else asked.weights / asked.weights.mean()
    means, deviations = scale(asked.sizes, counted)
    sizes = standardized(asked.sizes, means, deviations)
    # Buckets that no question has get no weight; leaving them out makes the fit several times as fast.
    used = np.flatnonzero(np.bincount(asked.pieces.indices, minlength=BUCKETS))
    table = _table(asked.pieces, used, sizes)
    weights, size_weights, intercepts = np.zeros((BUCKETS, 2)), np.zeros((len(SIZES), 2)), np.zeros(2)
    for tier, right in enumerate((asked.small, asked.large)):
        coefficients, intercepts[tier] = _regress(table, right, c, counted)
        weights[used, tier] = coefficients[: used.size]
        size_weights[:, tier] = coefficients[used.size :]
    raw = Model(
        weights,
        intercepts,
        means,
        deviations,
        size_weights,
        0.0,
        1.0,
        group_gains(asked.groups, asked.large - asked.small, counted),
    )
    gain_mean, deviation = (float(each[0]) for each in _spread(raw.gains(asked)[:, None], counted))
    return Model(
        weights,
        intercepts,
        means,
        deviations,
        size_weights,
        gain_mean,
        deviation if deviation > LEAST_DEVIATION else 1.0,
        raw.groups,
    )


def out_of_fold(asked: Questions, seed: int = SEED, c: float = C) -> Reals:
    """The score of each question by a model that has not seen it, nor any of its block. At least 2 questions."""
    scores = np.zeros(len(asked))
    for learned, held in folds(asked, seed):
        scores[held] = fit(asked.take(learned), c).scores(asked.take(held))
    return scores


def folds(asked: Questions, seed: int = SEED) -> list[tuple[Rows, Rows]]:
    """Rows to learn from and rows to try on: five times, or as often as there are blocks."""
    rows = np.arange(len(asked))
    blocks = len(set(asked.blocks))
    if blocks > 1:
        divide = GroupKFold(min(FOLDS, blocks), shuffle=True, random_state=seed)
        return list(divide.split(rows, groups=np.array(asked.blocks)))
    return list(KFold(min(FOLDS, len(asked)), shuffle=True, random_state=seed).split(rows))


def _table(pieces: sparse.csr_array, used: Rows, sizes: Reals) -> sparse.csr_array:
    """The used columns and then the sizes, in one matrix."""
    places = np.zeros(BUCKETS, dtype=np.int32)
    places[used] = np.arange(used.size, dtype=np.int32)
    kept = sparse.csr_array((pieces.data, places[pieces.indices], pieces.indptr), shape=(pieces.shape[0], used.size))
    table = sparse.hstack([kept, sparse.csr_array(sizes)], format="csr")
    table.indices, table.indptr = table.indices.astype(np.int32), table.indptr.astype(np.int32)
    return table


def _regress(table: sparse.csr_array, right: Reals, c: float, weights: Reals | None) -> tuple[Reals, float]:
    """Coefficients and intercept. A tier that was always right, or never, has no coefficients: its share is known, less
    half a question, and nothing tells which question would have been the exception."""
    count, sum_right = right.size, float(right.sum())
    if sum_right in (0.0, float(count)):
        share = (sum_right + 0.5) / (count + 1)
        return np.zeros(table.shape[1]), float(np.log(share / (1 - share)))
    found = LogisticRegression(C=c, max_iter=MOST_ITERATIONS, tol=1e-4).fit(table, right, sample_weight=weights)
    return found.coef_[0], float(found.intercept_[0])


def gains(logits: Reals, groups: Sequence[str], known: Mapping[str, float]) -> Reals:
    """By how much the reference tier is likelier to be right, with what is known of each question's group."""
    right = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    found: Reals = right[:, 1] - right[:, 0] + np.array([known.get(group, 0.0) for group in groups])
    return found


def group_gains(groups: Sequence[str], gained: Reals, weights: Reals | None = None) -> dict[str, float]:
    """What a group's mean gain adds to the mean of all, shrunken; the most frequent groups, by hash."""
    counted = np.ones(gained.size) if weights is None else weights
    mean = float(np.average(gained, weights=counted))
    sums: dict[str, list[tuple[float, float]]] = {}
    for group, gain, weight in zip(groups, gained, counted, strict=True):
        if group:
            sums.setdefault(group, []).append((float(gain * weight), float(weight)))
    totals = {group: (sum(gain for gain, _ in all_), sum(count for _, count in all_)) for group, all_ in sums.items()}
    frequent = sorted(totals, key=lambda group: (-totals[group][1], group))[:MOST_GROUPS]
    return {
        group: (totals[group][0] + GROUP_PRIOR * mean) / (totals[group][1] + GROUP_PRIOR) - mean
        for group in sorted(frequent)
    }


def scale(sizes: Reals, weights: Reals | None = None) -> tuple[Reals, Reals]:
    """Means and standard deviations. A size that never varied has the deviation 1: another value says little either."""
    means, deviations = _spread(sizes, weights)
    deviations[deviations < LEAST_DEVIATION] = 1.0
    return means, deviations


def _spread(values: Reals, weights: Reals | None) -> tuple[Reals, Reals]:
    """Mean and standard deviation of each column."""
    if weights is None:
        return values.mean(axis=0), values.std(axis=0)
    means: Reals = np.average(values, axis=0, weights=weights)
    return means, np.sqrt(np.average((values - means) ** 2, axis=0, weights=weights))


def standardized(sizes: Reals, means: Reals, deviations: Reals) -> Reals:
    """In standard deviations from the mean, cut at `MOST_STANDARD` as the router does."""
    return np.clip((sizes - means) / deviations, -MOST_STANDARD, MOST_STANDARD)
