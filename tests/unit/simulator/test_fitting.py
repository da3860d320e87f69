"""Checks that a fit finds what made the data, and is not bent by a few rows that another thing made."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise_sim.fitting import fit

PLACES = [(weights, tokens) for weights in (1, 2, 4, 8) for tokens in (0, 10, 100, 1000, 5000)]
BOUNDS = [(1e-6, 10.0), (1e-8, 1.0), (1e-6, 1.0)]


def model(values: Sequence[float], place: tuple[int, int]) -> float:
    """A roofline in small: the slower of two, and an overhead."""
    weights, token, step = values
    return max(weights / place[0], token * place[1]) + step


@settings(max_examples=40, deadline=None)
@given(st.floats(0.002, 0.2), st.floats(1e-5, 1e-3), st.floats(1e-3, 0.05))
def test_what_made_the_data_is_found(weights: float, token: float, step: float) -> None:
    truth = [model((weights, token, step), place) for place in PLACES]

    def errors(values: Sequence[float]) -> list[float]:
        return [model(values, place) / true - 1 for place, true in zip(PLACES, truth, strict=True)]

    found = fit(errors, (0.05, 1e-4, 5e-3), BOUNDS)
    assert max(abs(each) for each in errors(found)) < 0.05


def test_a_few_rows_that_are_far_off_do_not_bend_the_rest() -> None:
    truth = [model((0.05, 1e-4, 0.01), place) for place in PLACES]
    truth[3], truth[11] = 4 * truth[3], truth[11] / 5

    def errors(values: Sequence[float]) -> list[float]:
        return [model(values, place) / true - 1 for place, true in zip(PLACES, truth, strict=True)]

    found = fit(errors, (0.02, 3e-4, 3e-3), BOUNDS)
    assert found[:2] == pytest.approx((0.05, 1e-4), rel=0.1)
    assert found[2] == pytest.approx(0.01, rel=0.3)


def test_bounds_are_kept() -> None:
    found = fit(lambda values: [values[0] / 100 - 1], [1.0], [(0.5, 2.0)])
    assert found == pytest.approx((2.0,))
