"""Checks that intervals hold as often as they say: exactly where that can be summed up, by draws where it cannot."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise_training.intervals import Interval, clopper_pearson, corrected, mean, wilson


def coverage(n: int, share: float, intervals: list[Interval]) -> float:
    """How often the interval of a binomial with n draws holds its share."""
    weights = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    return math.fsum(weight for weight, one in zip(weights, intervals, strict=True) if one.low <= share <= one.high)


@settings(max_examples=30)
@given(st.integers(1, 60), st.floats(0.01, 0.99))
def test_the_exact_interval_holds_at_least_as_often_as_it_says(n: int, share: float) -> None:
    assert coverage(n, share, [clopper_pearson(hits, n) for hits in range(n + 1)]) >= 0.95 - 1e-9


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8, 0.95])
def test_wilsons_interval_holds_about_as_often_as_it_says(share: float) -> None:
    assert coverage(100, share, [wilson(hits, 100) for hits in range(101)]) >= 0.92


def test_the_intervals_are_those_of_the_books() -> None:
    exact = clopper_pearson(8, 10)  # R: binom.test(8, 10)
    assert (exact.low, exact.high) == pytest.approx((0.4439045, 0.9747893), abs=1e-6)
    score = wilson(8, 10)  # R: binom::binom.wilson(8, 10)
    assert (score.low, score.high) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert clopper_pearson(0, 20).low == 0
    assert clopper_pearson(0, 20).high == pytest.approx(1 - 0.025 ** (1 / 20), abs=1e-9)


@given(st.integers(0, 200), st.integers(0, 200))
def test_an_interval_holds_its_share_and_is_wider_than_a_larger_samples(hits: int, more: int) -> None:
    n = hits + more
    for made in (clopper_pearson, wilson):
        one = made(hits, n)
        if not n:
            assert (one.low, one.high, one.n) == (0, 1, 0)
            continue
        assert 0 <= one.low <= one.value <= one.high <= 1
        assert made(2 * hits, 2 * n).half_width < one.half_width


def test_more_hits_than_draws_are_refused() -> None:
    for made in (clopper_pearson, wilson):
        with pytest.raises(ValueError, match="3 of 2"):
            made(3, 2)


def drawn(rng: Random, share: float, n: int) -> int:
    return sum(rng.random() < share for _ in range(n))


@pytest.mark.parametrize(("se", "sp", "level"), [(0.95, 0.85, 0.9), (0.9, 0.7, 0.9), (0.8, 0.9, 0.6)])
def test_the_corrected_level_holds_the_true_one_19_of_20_times_and_the_raw_share_does_not(
    se: float, sp: float, level: float
) -> None:
    rng = Random(7)
    held = raw = 0
    draws = 600
    for _ in range(draws):
        called = drawn(rng, level * se + (1 - level) * (1 - sp), 412)
        found = corrected(called, 412, clopper_pearson(drawn(rng, se, 50), 50), clopper_pearson(drawn(rng, sp, 50), 50))
        held += found.low <= level <= found.high
        plain = wilson(called, 412)
        raw += plain.low <= level <= plain.high
    assert held / draws >= 0.94
    assert raw / draws < 0.9


def test_a_judge_that_is_no_better_than_chance_tells_nothing() -> None:
    found = corrected(80, 100, clopper_pearson(25, 50), clopper_pearson(20, 50))
    assert (found.low, found.high, found.n) == (0, 1, 0)
    assert corrected(80, 100, clopper_pearson(0, 0), clopper_pearson(20, 50)).n == 0


def test_a_perfect_judge_leaves_the_share_as_it_is() -> None:
    found = corrected(80, 100, clopper_pearson(10_000, 10_000), clopper_pearson(10_000, 10_000))
    assert found.value == pytest.approx(0.8)
    assert found.half_width == pytest.approx(wilson(80, 100).half_width, abs=0.005)


def test_a_mean_of_all_has_no_error() -> None:
    assert mean([1.0, 2.0, 3.0], 3).error == 0
    assert mean([1.0, 2.0, 3.0], 300).error == pytest.approx(math.sqrt(0.99 / 3))
    assert mean([1.0], 2).error == math.inf
