"""Checks the ratio of answer lengths by values: Student's quantile, and the bound from the residuals of the pairs.

The other file draws lengths and counts how often the bound holds; this one knows the right answer of each example.
"""

from __future__ import annotations

import math
from statistics import mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.routing.test_length_ratio import sums
from tierwise.routing.length_ratio import length_ratio, student_quantile
from tierwise.types import PairSums

TABLE = {9: 2.262157, 10: 2.228139, 12: 2.178813, 15: 2.131450, 20: 2.085963, 29: 2.045230, 60: 2.000298}
"""97.5 % quantiles of Student's t, as tables print them."""
PAIRS = [(30, 20), (10, 12), (44, 21), (25, 25), (18, 9), (52, 33), (7, 11), (40, 17), (21, 14), (33, 28)]
LENGTHS = st.integers(1, 2_000)


@pytest.mark.parametrize(("degrees", "known"), TABLE.items())
def test_the_quantile_agrees_with_the_table_to_five_digits(degrees: int, known: float) -> None:
    assert student_quantile(degrees) == pytest.approx(known, abs=4e-5)


@pytest.mark.parametrize(
    ("degrees", "known"),
    [(1, 11.300117563479770), (2, 4.270551341899817), (3, 3.178616995054062)],
)
def test_the_expansion_is_the_printed_one_to_the_last_digit(degrees: int, known: float) -> None:
    """Abramowitz and Stegun's polynomials in exact fractions. With few degrees their last terms weigh most, so that
    each coefficient counts (the quantile itself is another there)."""
    assert student_quantile(degrees) == pytest.approx(known, rel=1e-12)


def by_residuals(pairs: list[tuple[int, int]], quantile: float) -> tuple[float, float]:
    """The ratio and its bound, from what each pair lies off the line through the origin (Cochran's other form)."""
    ratio = sum(r for r, _ in pairs) / sum(s for _, s in pairs)
    off = [r - ratio * s for r, s in pairs]
    error = stdev(off) / math.sqrt(len(pairs)) / mean(s for _, s in pairs)
    return ratio, max(0.0, ratio - quantile * error)


def test_ten_pairs_have_the_bound_of_their_residuals_and_of_nine_degrees() -> None:
    found, (ratio, lower) = length_ratio(sums(PAIRS)), by_residuals(PAIRS, TABLE[9])
    assert float(found.value) == pytest.approx(280 / 190, abs=1e-6)
    assert float(found.value) == pytest.approx(ratio, abs=1e-6)
    assert float(found.lower) == pytest.approx(lower, abs=1e-4)
    assert 0 < found.lower < found.value


@given(st.lists(st.tuples(LENGTHS, LENGTHS), min_size=10, max_size=40))
def test_the_bound_is_that_of_the_residuals_whatever_the_pairs(pairs: list[tuple[int, int]]) -> None:
    found, (ratio, lower) = length_ratio(sums(pairs)), by_residuals(pairs, student_quantile(len(pairs) - 1))
    assert float(found.value) == pytest.approx(ratio, rel=1e-6, abs=1e-6)
    assert float(found.lower) == pytest.approx(lower, rel=1e-5, abs=2e-6)


def test_a_single_token_of_the_cheaper_tier_can_be_compared() -> None:
    assert not length_ratio(sums([(3, 1)] + [(0, 0)] * 9)).assumed
    assert length_ratio(PairSums(10, 3)).assumed
