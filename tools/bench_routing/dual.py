"""Fits the same model from inner products of questions, for hundreds of small draws from one set of questions.

A regularized logistic regression depends on the rows only through their inner products: with L·Lᵀ = X·Xᵀ a fit to the
rows of L has the same scores as one to the rows of X. L is as small as the draw, X has 100,000 columns. The products of
all questions are made once, and 10,000 fits take minutes instead of hours. A test compares it with `model.fit`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg
from sklearn.linear_model import LogisticRegression

from tierwise.routing.classifier import LENGTH_WEIGHT
from tierwise.routing.text_features import LENGTH
from tierwise_training import model
from tierwise_training.model import Questions, Reals, Rows

BLOCK = 500
JITTER = 1e-9  # the products of questions that are equal would have no root otherwise


@dataclass(frozen=True, eq=False, slots=True)
class Products:
    """Questions, and the inner products of their pieces."""

    asked: Questions
    table: npt.NDArray[np.float32]

    @classmethod
    def of(cls, asked: Questions) -> Products:
        """All products: n² numbers of 4 bytes."""
        table = np.empty((len(asked), len(asked)), dtype=np.float32)
        turned = asked.pieces.T.tocsr()
        for start in range(0, len(asked), BLOCK):
            table[start : start + BLOCK] = (asked.pieces[start : start + BLOCK] @ turned).toarray()
        return cls(asked, table)

    def out_of_fold(self, rows: Rows, seed: int) -> Reals:
        """`model.out_of_fold` of these questions."""
        mine = self.asked.take(rows)
        scores = np.zeros(rows.size)
        for learned, held in model.folds(mine, seed):
            scores[held] = self.scores(rows[learned], rows[held])
        return scores

    def scores(self, learned: Rows, held: Rows) -> Reals:
        """`model.fit(learned).scores(held)`."""
        sizes = self.asked.sizes[learned]
        means, deviations = model.scale(sizes)
        known = model.standardized(sizes, means, deviations)
        other = model.standardized(self.asked.sizes[held], means, deviations)
        products = self.table[np.ix_(learned, learned)].astype(np.float64) + known @ known.T
        root = linalg.cholesky(products + JITTER * np.eye(learned.size), lower=True)
        across = self.table[np.ix_(held, learned)].astype(np.float64) + other @ known.T
        seen, new = np.zeros((learned.size, 2)), np.zeros((held.size, 2))
        for tier, right in enumerate((self.asked.small, self.asked.large)):
            found = LogisticRegression(C=model.C, max_iter=model.MOST_ITERATIONS).fit(root, right[learned])
            weights = linalg.solve_triangular(root, found.coef_[0], lower=True, trans="T")
            seen[:, tier] = root @ found.coef_[0] + found.intercept_
            new[:, tier] = across @ weights + found.intercept_
        names = [[self.asked.groups[row] for row in rows] for rows in (learned, held)]
        groups = model.group_gains(names[0], (self.asked.large - self.asked.small)[learned])
        mine, theirs = (model.gains(logits, each, groups) for logits, each in zip((seen, new), names, strict=True))
        scores: Reals = (theirs - mine.mean()) / mine.std() + LENGTH_WEIGHT * other[:, LENGTH]
        return scores
