"""Checks what a share means for the traffic of now, and that only another traffic is called so."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.routing.classifiers import classifier
from tierwise.routing.classifier import quantiles_of
from tierwise.routing.score_window import OWN_FROM, RENEW_EVERY, WINDOW, ScoreWindow

Scores = npt.NDArray[np.float64]


def window(trained: Scores, labels: int = 1_000) -> ScoreWindow:
    return ScoreWindow(classifier(thresholds=quantiles_of(trained.tolist())).threshold, labels)


def filled(of: ScoreWindow, scores: Scores) -> ScoreWindow:
    for score in scores.tolist():
        of.add(score)
    return of


def shifted(of: ScoreWindow) -> bool | None:
    return None if of.shift is None else of.shift.shifted


def normal(seed: int, size: int = WINDOW, mean: float = 0.0) -> Scores:
    return np.random.default_rng(seed).normal(mean, 1.0, size)


TRAINED = normal(1, 20_000)


def test_few_scores_use_the_threshold_of_the_training_and_many_their_own() -> None:
    of = filled(window(TRAINED), normal(2, OWN_FROM - 1, mean=3.0))
    assert of.threshold(50) == pytest.approx(0, abs=0.05)
    of.add(3.0)
    assert of.threshold(50) == pytest.approx(3, abs=0.2)


def test_the_share_is_kept_when_the_scores_shift() -> None:
    """Of 2,000 requests that all score as if they were hard, the wanted 40 % go to the reference tier."""
    of, sent = window(TRAINED), 0
    for score in normal(3, 3_000, mean=2.0).tolist():
        of.add(score)
        sent += score >= of.threshold(40) and of._added > 1_000
    assert sent / 2_000 == pytest.approx(0.4, abs=0.05)


@given(
    kinds=st.lists(st.floats(-3, 3), min_size=1, max_size=4),
    shares=st.tuples(st.floats(1, 99), st.floats(1, 99)),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_the_share_is_kept_where_many_requests_score_alike(
    kinds: list[float], shares: tuple[float, float], seed: int
) -> None:
    """An application that asks few different questions has few different scores, and no threshold divides them."""
    of, chance = window(TRAINED), np.random.default_rng(seed)
    for share in shares:
        drawn = chance.choice(kinds, WINDOW + 2_000).tolist()
        sent = 0
        for number, score in enumerate(drawn):
            of.add(score)
            sent += of.reaches(score, share) and number >= WINDOW
        assert sent / 2_000 == pytest.approx(share / 100, abs=0.05)


@given(st.lists(st.floats(-5, 5), min_size=OWN_FROM, max_size=OWN_FROM + 9), st.floats(0.01, 99.99))
@settings(max_examples=30)
def test_the_threshold_of_own_scores_is_their_quantile(scores: list[float], share: float) -> None:
    of = filled(window(TRAINED), np.array(scores))
    assert of.threshold(share) == pytest.approx(np.quantile(scores, 1 - share / 100), abs=1e-9)


@pytest.mark.parametrize(("share", "limit"), [(0, math.inf), (100, -math.inf)])
def test_nothing_and_everything_are_no_quantiles(share: float, limit: float) -> None:
    assert window(TRAINED).threshold(share) == limit
    assert filled(window(TRAINED), normal(2)).threshold(share) == limit


def test_another_share_counts_at_once_and_further_scores_from_time_to_time() -> None:
    of = filled(window(TRAINED), normal(2))
    before = of.threshold(50)
    assert of.threshold(20) > before
    of.threshold(50)
    for _ in range(RENEW_EVERY - 1):
        of.add(9.0)
        assert of.threshold(50) == before
    of.add(9.0)
    assert of.threshold(50) > before


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.floats(1, 99), st.floats(1, 99))
def test_a_larger_share_never_has_a_higher_threshold(seed: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    of = filled(window(TRAINED), normal(seed))
    assert of.threshold(high) <= of.threshold(low)


def test_a_traffic_that_has_not_shifted_is_called_so_in_none_of_2000_windows() -> None:
    """1,000 labels and 1,000 scores a window, all drawn from one distribution: fewer than 1 in 10,000 may alarm."""
    draws = np.random.default_rng(4)
    alarms = 0
    for _ in range(200):
        of = window(draws.normal(size=1_000))
        for _ in range(10):
            filled(of, draws.normal(size=WINDOW))
            assert of.shift is not None
            alarms += of.shift.shifted
    assert alarms == 0


@pytest.mark.parametrize(("mean", "found"), [(0.1, False), (0.8, True), (-0.8, True)])
def test_a_shift_is_found_when_it_is_larger_than_the_margin_and_chance(mean: float, found: bool) -> None:
    of = filled(window(TRAINED), normal(5, mean=mean))
    assert of.shift is not None
    assert of.shift.shifted is found
    # With so many labels: 5 points and what 1,000 scores and 1,000 labels differ by chance.
    assert of.shift.allowed_points == pytest.approx(5 + 100 * math.sqrt(math.log(2e4) / 2 * 2 / 1_000))
    assert of.shift.points == pytest.approx(abs(of.shift.seen_percent - of.shift.at_percent))


def test_it_is_judged_window_by_window_and_taken_back() -> None:
    of = filled(window(TRAINED), normal(6, WINDOW - 1, mean=2.0))
    assert shifted(of) is None
    of.add(2.0)
    assert shifted(of)
    filled(of, normal(7, WINDOW - 1))
    assert shifted(of)
    of.add(0.0)
    assert shifted(of) is False


def test_with_fewer_labels_more_is_left_to_chance() -> None:
    allowed = []
    for labels in (300, 1_000, 10_000):
        shift = filled(window(TRAINED, labels), normal(8)).shift
        assert shift is not None
        allowed.append(shift.allowed_points)
    assert allowed == sorted(allowed, reverse=True)
