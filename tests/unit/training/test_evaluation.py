"""Checks the measures of an order against ones that are known by hand, and against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise_training.evaluation import bootstrap, interval, measure, quality_by_share

SMALL, LARGE = np.array([1.0, 0, 0, 1, 0]), np.array([1.0, 1, 1, 0, 1])


def test_a_perfect_order_by_hand() -> None:
    scores = np.array([0, 3, 3, -1, 3])
    assert quality_by_share(scores, SMALL, LARGE) == pytest.approx([0.4, 0.6, 0.8, 1.0, 1.0, 0.8])
    found = measure(scores, SMALL, LARGE, 100)
    # Recovered: 0, .5, 1, 1.5, 1.5, 1 at shares of fifths; the area is that of the trapezoids.
    assert found.apgr == pytest.approx((0.25 + 0.75 + 1.25 + 1.5 + 1.25) / 5)
    assert (found.cpt50, found.cpt80, found.large_share) == (20, 40, 40)


@given(st.integers(2, 60), st.integers(0, 1000))
@settings(max_examples=60)
def test_equal_scores_are_a_random_order(count: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    small, large = chance.integers(0, 2, count).astype(float), chance.integers(0, 2, count).astype(float)
    line = quality_by_share(np.zeros(count), small, large)
    assert line == pytest.approx(np.linspace(small.mean(), large.mean(), count + 1))
    if large.mean() > small.mean():
        assert measure(np.zeros(count), small, large).apgr == pytest.approx(0.5)


@given(st.integers(5, 60), st.integers(0, 1000))
@settings(max_examples=60)
def test_an_order_and_its_reverse_are_alike_around_a_half(count: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    small, large = chance.integers(0, 2, count).astype(float), chance.integers(0, 2, count).astype(float)
    scores = chance.uniform(size=count)
    there, back = measure(scores, small, large).apgr, measure(-scores, small, large).apgr
    if large.mean() > small.mean():
        assert there + back == pytest.approx(1)
        assert measure(large - small, small, large).apgr >= there - 1e-9
    else:
        assert math.isnan(there)


def test_no_gap_has_no_measure_and_needs_no_large_tier() -> None:
    found = measure(np.arange(5.0), LARGE, LARGE)
    assert math.isnan(found.apgr)
    assert found.large_share == 0


def test_a_bootstrap_is_repeatable_and_around_the_measure() -> None:
    chance = np.random.default_rng(5)
    scores = chance.uniform(size=800)
    large = (chance.uniform(size=800) < 0.9).astype(float)
    small = (chance.uniform(size=800) < 0.9 - 0.4 * scores).astype(float)
    samples = bootstrap(scores, small, large, 60, seed=1)
    assert samples == bootstrap(scores, small, large, 60, seed=1)
    low, high = interval([each.apgr for each in samples])
    assert low < measure(scores, small, large).apgr < high
    assert high - low < 0.2
