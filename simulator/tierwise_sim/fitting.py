"""Finds the parameters under which a model comes nearest to what was measured.

Damped Gauss-Newton steps on the logarithms of the parameters (they are all positive: shares and seconds), with numbers
of some hundred rows and a handful of columns. The further off a row is, the less it pulls (Cauchy's loss), so that
points that were measured otherwise do not bend the rest. No library that the command line depends on does
this; scipy's `least_squares` would, for 100 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_TURN = 0.1
"""Up to about this relative error a row counts with its square."""

_NEAR = 0.01
"""What the rows do not tell apart stays near its start: tenfold is worth so much relative error in every row."""


@dataclass(frozen=True)
class _Problem:
    """Rows as a function of the logarithms of the parameters, and where the search began."""

    rows: Callable[[Numbers], Numbers]
    start: Numbers

    def cost(self, at: Numbers, now: Numbers) -> float:
        away = _NEAR / _TURN * (at - self.start) / np.log(10)
        return float(np.sum(np.log1p((now / _TURN) ** 2)) + len(now) * np.sum(away**2))

    def step(self, at: Numbers, now: Numbers, damping: float) -> Numbers:
        """Towards the least cost, from the slopes here."""
        slope = _slope(self.rows, at, now)
        weight = 1 / (1 + (now / _TURN) ** 2)
        pull = len(now) * (_NEAR / np.log(10)) ** 2
        normal = slope.T @ (slope * weight[:, None]) + pull * np.eye(len(at))
        towards = slope.T @ (now * weight) + pull * (at - self.start)
        found: Numbers = -np.linalg.solve(normal + damping * np.diag(np.diag(normal)), towards)
        return np.clip(found, -1.0, 1.0)


def fit(
    errors: Callable[[Sequence[float]], Sequence[float]],
    start: Sequence[float],
    bounds: Sequence[tuple[float, float]],
    steps: int = 40,
) -> tuple[float, ...]:
    """The parameters, within their bounds (positive), for which the relative errors are least.

    `errors` takes parameters and gives one signed relative error per row.
    """
    return _fit(errors, start, bounds, steps)[0]


def best_fit(
    errors: Callable[[Sequence[float]], Sequence[float]],
    starts: Sequence[Sequence[float]],
    bounds: Sequence[tuple[float, float]],
) -> tuple[float, ...]:
    """The best of the fits that begin at each start: a model with a bend in it has valleys beside the deepest one."""
    return min((_fit(errors, start, bounds, 40) for start in starts), key=lambda found: found[1])[0]


def _fit(
    errors: Callable[[Sequence[float]], Sequence[float]],
    start: Sequence[float],
    bounds: Sequence[tuple[float, float]],
    steps: int,
) -> tuple[tuple[float, ...], float]:
    low, high = (np.log(np.array(side, dtype=float)) for side in zip(*bounds, strict=True))
    at = np.clip(np.log(np.array(start, dtype=float)), low, high)

    def rows(logs: Numbers) -> Numbers:
        return np.asarray(errors(tuple(float(value) for value in np.exp(logs))), dtype=float)

    problem = _Problem(rows, at)
    now, damping = rows(at), 1e-2
    cost = problem.cost(at, now)
    for _ in range(steps):
        there = np.clip(at + problem.step(at, now, damping), low, high)
        then = rows(there)
        less = problem.cost(there, then)
        if less < cost:
            done = cost - less < 1e-6 * cost
            at, now, cost, damping = there, then, less, max(damping / 4, 1e-9)
            if done:
                break
        else:
            damping *= 8
            if damping > 1e6:
                break
    return tuple(float(value) for value in np.exp(at)), cost


def _slope(rows: Callable[[Numbers], Numbers], at: Numbers, now: Numbers) -> Numbers:
    columns = []
    for place in range(len(at)):
        moved = at.copy()
        moved[place] += 1e-3
        columns.append((rows(moved) - now) / 1e-3)
    return np.stack(columns, axis=1)
