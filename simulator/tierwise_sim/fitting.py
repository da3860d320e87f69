"""Finds the parameters under which a model comes nearest to what was measured.

Damped Gauss-Newton steps on the logarithms of the parameters (they are all positive: shares and seconds), with numbers
of some hundred rows and a handful of columns. The further off a row is, the less it pulls (Cauchy's loss), so that
points that were measured otherwise do not bend the rest. No library that the command line depends on does
this; scipy's `least_squares` would, for 100 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_TURN = 0.1
"""Up to about this relative error a row counts with its square."""


def fit(
    errors: Callable[[Sequence[float]], Sequence[float]],
    start: Sequence[float],
    bounds: Sequence[tuple[float, float]],
    steps: int = 40,
) -> tuple[float, ...]:
    """The parameters, within their bounds (positive), for which the relative errors are least.

    `errors` takes parameters and gives one signed relative error per row.
    """
    low, high = (np.log(np.array(side, dtype=float)) for side in zip(*bounds, strict=True))
    at = np.clip(np.log(np.array(start, dtype=float)), low, high)

    def rows(logs: Numbers) -> Numbers:
        return np.asarray(errors(tuple(float(value) for value in np.exp(logs))), dtype=float)

    now, damping = rows(at), 1e-2
    for _ in range(steps):
        slope = _slope(rows, at, now)
        weight = 1 / (1 + (now / _TURN) ** 2)
        normal = slope.T @ (slope * weight[:, None])
        towards = slope.T @ (now * weight)
        step = -np.linalg.solve(normal + damping * (np.diag(np.diag(normal)) + 1e-9 * np.eye(len(at))), towards)
        there = np.clip(at + np.clip(step, -1.0, 1.0), low, high)
        then = rows(there)
        if _cost(then) < _cost(now):
            done = _cost(now) - _cost(then) < 1e-9 * _cost(now)
            at, now, damping = there, then, max(damping / 4, 1e-9)
            if done:
                break
        else:
            damping *= 8
            if damping > 1e6:
                break
    return tuple(float(value) for value in np.exp(at))


def best_fit(
    errors: Callable[[Sequence[float]], Sequence[float]],
    starts: Sequence[Sequence[float]],
    bounds: Sequence[tuple[float, float]],
) -> tuple[float, ...]:
    """The best of the fits that begin at each start: a model with a bend in it has valleys beside the deepest one."""
    found = [fit(errors, start, bounds) for start in starts]
    return min(found, key=lambda values: _cost(np.asarray(errors(values), dtype=float)))


def _slope(rows: Callable[[Numbers], Numbers], at: Numbers, now: Numbers) -> Numbers:
    columns = []
    for place in range(len(at)):
        moved = at.copy()
        moved[place] += 1e-3
        columns.append((rows(moved) - now) / 1e-3)
    return np.stack(columns, axis=1)


def _cost(rows: Numbers) -> float:
    return float(np.sum(np.log1p((rows / _TURN) ** 2)))
