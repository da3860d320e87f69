"""Checks the share that can be promised: how often the promise is kept on data whose truth is known, and its price."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise.routing.promise import SHARES, curve, lower_mean, promised_share


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Questions of a known kind: the large tier is right in 90 %, the small one the less the higher the score is."""
    chance = np.random.default_rng(seed)
    scores = chance.uniform(size=n)
    large = (chance.uniform(size=n) < 0.9).astype(np.float64)
    small = (chance.uniform(size=n) < 0.95 - 0.6 * scores).astype(np.float64)
    return scores, small, large


def truth(share: float) -> float:
    """The quality at a share of such questions: the small tier answers the lowest scores."""
    rest = 1 - share
    return (0.9 * share + rest * (0.95 - 0.6 * rest / 2)) / 0.9


def naive_share(n: int, seed: int) -> int:
    """The smallest share with which the quality was reached on the labels themselves."""
    return min(step.share_percent for step in curve(*drawn(n, seed), 95) if step.quality_percent >= 95)


@pytest.mark.parametrize("n", [300, 1000])
def test_the_promise_is_kept_in_nine_of_ten_draws_and_the_naive_one_is_not(n: int) -> None:
    draws = range(400)
    promised = [promised_share(curve(*drawn(n, seed), 95)) for seed in draws]
    kept = sum(share is not None and truth(share / 100) >= 0.95 for share in promised)
    naive = sum(truth(naive_share(n, seed) / 100) >= 0.95 for seed in draws)
    assert kept >= 0.88 * len(draws)
    assert naive < 0.75 * len(draws)


def test_more_labels_make_the_promise_cheaper() -> None:
    def mean(n: int) -> float:
        return float(np.mean([promised_share(curve(*drawn(n, seed), 95)) for seed in range(60)]))

    assert mean(3000) < mean(1000) < mean(300)


@given(st.integers(2, 300), st.integers(0, 10_000), st.integers(50, 100))
@settings(max_examples=50)
def test_the_walk_stops_at_the_first_share_that_fails(n: int, seed: int, quality: int) -> None:
    steps = curve(*drawn(n, seed), quality)
    assert [step.share_percent for step in steps] == list(SHARES)
    kept = [step.kept for step in steps]
    assert kept == sorted(kept, reverse=True)
    if kept[0]:
        assert promised_share(steps) == SHARES[sum(kept) - 1]
    else:
        assert promised_share(steps) is None
    assert all(step.lower_percent <= step.quality_percent for step in steps)
    assert steps[0].quality_percent in (100, pytest.approx(100))


def test_all_of_the_quality_can_be_promised_only_where_all_goes_to_the_large_tier_or_the_small_one_is_better() -> None:
    chance = np.random.default_rng(1)
    scores = chance.uniform(size=400)
    large = (chance.uniform(size=400) < 0.8).astype(np.float64)
    assert promised_share(curve(scores, np.zeros(400), large, 100)) == 100
    assert promised_share(curve(scores, np.ones(400), large, 100)) == 0


def test_a_large_tier_that_is_never_right_promises_nothing_false() -> None:
    scores, nothing = np.linspace(0, 1, 50), np.zeros(50)
    steps = curve(scores, nothing, nothing, 95)
    assert all(step.quality_percent == 100 for step in steps)
    assert all(step.lower_percent == 0 for step in steps)


def test_which_scores_are_equal_is_decided_by_their_order() -> None:
    small, large = np.array([1.0, 0.0] * 50), np.ones(100)
    assert curve(np.zeros(100), small, large, 95) == curve(np.zeros(100), small, large, 95)


def test_the_lower_mean_is_the_one_of_the_normal_distribution() -> None:
    values = np.array([0.0, 1.0] * 50)
    assert lower_mean(values) == pytest.approx(0.5 - 1.2816 * 0.5025 / 10, abs=1e-4)
