"""Checks the ratio of answer lengths on planted ones: near the truth, above its lower bound as often as promised."""

from __future__ import annotations

import math
from decimal import Decimal
from random import Random

import pytest

from tierwise.routing.length_ratio import FEWEST_PAIRS, LengthRatio, length_ratio, student_quantile
from tierwise.types import PairSums

DRAWS = 400
PLANTED = (0.5, 1.39, 3.0)
GSM8K = (0.45, 0.45), 0.74
"""So the ratio of GSM8K's answers spreads: by 4.6 % at 100 pairs."""


def sums(pairs: list[tuple[int, int]]) -> PairSums:
    """Of (reference, cheaper) output tokens."""
    return PairSums(
        len(pairs),
        sum(r for r, _ in pairs),
        sum(s for _, s in pairs),
        sum(r * r for r, _ in pairs),
        sum(s * s for _, s in pairs),
        sum(r * s for r, s in pairs),
    )


def planted(chance: Random, ratio: float, count: int, spread: tuple[float, float], tied: float) -> PairSums:
    """Pairs of lognormal lengths with a known ratio of their means. `spread`: sd of the logarithms of the reference's
    and the cheaper tier's; `tied`: how much both follow the question."""
    found = []
    for _ in range(count):
        question = chance.gauss(0, 1)
        one, other = (
            math.exp(sd * (tied * question + math.sqrt(1 - tied**2) * chance.gauss(0, 1)) - sd * sd / 2)
            for sd in spread
        )
        found.append((round(1000 * ratio * one), round(1000 * other)))
    return sums(found)


@pytest.mark.parametrize("ratio", PLANTED)
def test_a_hundred_pairs_find_a_planted_ratio_within_ten_percent(ratio: float) -> None:
    chance = Random(f"error {ratio}")
    errors = [float(length_ratio(planted(chance, ratio, 100, *GSM8K)).value) / ratio - 1 for _ in range(DRAWS)]
    off = math.sqrt(sum(error**2 for error in errors) / DRAWS)
    assert off == pytest.approx(0.046, abs=0.004)
    assert abs(sum(errors) / DRAWS) <= 0.01, "it is not one-sided"
    assert sum(abs(error) <= 0.10 for error in errors) >= 0.95 * DRAWS


@pytest.mark.parametrize("spread", [(0.45, 0.45), (0.7, 0.7), (0.6, 0.9), (0.9, 0.6)])
@pytest.mark.parametrize("ratio", [0.5, 3.0])
def test_the_lower_bound_holds_in_ninety_five_of_a_hundred_draws(ratio: float, spread: tuple[float, float]) -> None:
    chance = Random(f"bound {ratio} {spread}")
    held = sum(float(length_ratio(planted(chance, ratio, 100, spread, 0.5)).lower) <= ratio for _ in range(DRAWS))
    assert held >= 0.95 * DRAWS


def test_the_bound_says_something() -> None:
    found = length_ratio(planted(Random(1), 1.39, 100, (0.45, 0.45), 0.5))
    assert Decimal("1.1") < found.lower < found.value < Decimal("1.6")
    more = length_ratio(planted(Random(1), 1.39, 3000, (0.45, 0.45), 0.5))
    assert found.value - found.lower > 3 * (more.value - more.lower)


def test_it_is_the_ratio_of_the_sums_and_not_the_mean_of_ratios() -> None:
    found = length_ratio(sums([(100, 100)] * 9 + [(9100, 1100)]))
    assert found.value == 5


def test_pairs_that_agree_leave_no_doubt() -> None:
    assert length_ratio(sums([(150, 100)] * 10)) == LengthRatio(Decimal("1.5"), Decimal("1.5"), 10, assumed=False)


@pytest.mark.parametrize("count", [0, 1, FEWEST_PAIRS - 1])
def test_with_too_few_pairs_the_ratio_is_assumed(count: int) -> None:
    assert length_ratio(sums([(150, 100)] * count)) == LengthRatio(Decimal(1), Decimal(1), count, assumed=True)


def test_answers_that_are_empty_say_nothing() -> None:
    assert length_ratio(sums([(150, 0)] * 50)).assumed


def test_where_the_pairs_leave_everything_open_the_bound_is_zero() -> None:
    found = length_ratio(sums([(0, 1000)] * 9 + [(1000, 1)]))
    assert found.value > 0
    assert found.lower == 0


@pytest.mark.parametrize(("degrees", "known"), [(9, 2.2622), (29, 2.0452), (99, 1.9842), (9999, 1.9602)])
def test_the_quantile_is_the_tables(degrees: int, known: float) -> None:
    assert student_quantile(degrees) == pytest.approx(known, abs=1e-3)
