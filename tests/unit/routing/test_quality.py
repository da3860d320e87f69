"""Checks the quality that is computed from verdicts: its value, and that its interval holds as often as it says."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.quality import (
    PERFECT,
    Audit,
    Interval,
    Tally,
    level,
    of_route,
    one_step_looser,
    parity,
    rate,
)

TALLIES = st.builds(Tally, st.integers(0, 5000), st.integers(0, 500))
AUDITS = st.tuples(st.integers(0, 300), st.integers(0, 300), st.floats(0, 1), st.floats(0, 1)).map(
    lambda drawn: Audit(drawn[0], round(drawn[0] * drawn[2]), drawn[1], round(drawn[1] * drawn[3]))
)


@given(TALLIES, AUDITS)
def test_every_interval_holds_its_value_and_lies_in_order(tally: Tally, audit: Audit) -> None:
    for found in (rate(tally), level(tally, audit), parity(tally, Tally(90, 10), audit)):
        assert 0 <= found.lower <= found.value + 1e-9 <= found.upper + 2e-9


@given(TALLIES)
def test_more_verdicts_of_the_same_rate_never_widen_the_interval(tally: Tally) -> None:
    few, many = rate(tally), rate(Tally(10 * tally.good, 10 * tally.bad))
    assert many.upper - many.lower <= few.upper - few.lower + 1e-9


def test_nothing_is_known_without_a_verdict() -> None:
    assert rate(Tally()) == Interval(1.0, 0.0, 1.0)


def test_a_perfect_judge_and_412_verdicts_know_the_rate_to_three_points() -> None:
    """Reference: 96.1 percent, plus or minus 2.9 points where it may be looked at at any time."""
    found = rate(Tally(396, 16))
    assert 100 * (found.upper - found.lower) / 2 == pytest.approx(2.9, abs=0.3)


@pytest.mark.parametrize(
    ("count", "good", "bad", "half_width"),
    [(412, 50, 50, 8.0), (2000, 1000, 100, 2.2)],
    ids=["a small audit", "a large audit"],
)
def test_the_audit_widens_the_interval(count: int, good: int, bad: int, half_width: float) -> None:
    """The audit's part of the reference half-widths; the verdicts' part is wider here, since it holds at all times."""
    audit = Audit(good, round(0.95 * good), bad, round(0.85 * bad))
    judged_good = round(count * (0.96 * 0.95 + 0.04 * 0.15))
    found = level(Tally(judged_good, count - judged_good), audit)
    plain = level(Tally(judged_good, count - judged_good), Audit(10**7, 95 * 10**5, 10**7, 85 * 10**5))
    assert found.value == pytest.approx(0.96, abs=0.02)
    assert half_width - 1 < 100 * (found.value - found.lower) < half_width + 2.5
    assert found.lower < plain.lower


def test_a_judge_that_says_nothing_leaves_the_level_unknown() -> None:
    coin = Audit(100, 50, 100, 50)
    assert level(Tally(500, 500), coin) == Interval(0.5, 0.0, 1.0)
    assert parity(Tally(500, 500), Tally(50, 950), PERFECT) == Interval(0.5, 0.0, 1.0)


def drawn(chance: random.Random, truth: float, count: int, judge: tuple[float, float]) -> Tally:
    """Verdicts of a judge with this sensitivity and specificity."""
    right, wrong = judge
    good = sum(chance.random() < (right if chance.random() < truth else 1 - wrong) for _ in range(count))
    return Tally(good, count - good)


def test_the_corrected_level_is_held_and_the_raw_rate_is_not() -> None:
    chance = random.Random(1)
    truth, judge, held, raw_held, runs = 0.96, (0.95, 0.85), 0, 0, 200
    for _ in range(runs):
        good, bad = drawn(chance, 1.0, 200, judge), drawn(chance, 0.0, 100, judge)
        audit = Audit(200, good.good, 100, bad.bad)
        verdicts = drawn(chance, truth, 1000, judge)
        found, raw = level(verdicts, audit), rate(verdicts)
        held += found.lower <= truth <= found.upper
        raw_held += raw.lower <= truth <= raw.upper
    assert held >= 0.93 * runs
    assert raw_held <= 0.2 * runs


def test_parity_is_right_without_an_audit_as_far_as_the_judge_errs_alike_on_both() -> None:
    """Its judge calls 5 % of good answers bad and 15 % of bad ones good: the raw rate is 91.8 %, parity 96 to 97 %."""
    cheap = Tally(9180, 820)
    again = Tally(9500, 500)
    assert 0.96 <= parity(cheap, again).value <= 0.97
    assert parity(cheap, again, Audit(10**6, 95 * 10**4, 10**6, 85 * 10**4)).value == pytest.approx(0.96, abs=1e-3)


def test_the_interval_holds_although_it_is_looked_at_after_every_verdict() -> None:
    chance = random.Random(2)
    missed, runs = 0, 60
    for _ in range(runs):
        good = 0
        for count in range(1, 1001):
            good += chance.random() < 0.95
            if count % 20 == 0 or count < 40:
                found = rate(Tally(good, count - good))
                if not found.lower <= 0.95 <= found.upper:
                    missed += 1
                    break
    assert missed <= 0.05 * runs + 3


def test_the_route_is_as_good_as_the_reference_where_the_reference_answers() -> None:
    assert of_route(Interval(0.9, 0.8, 0.95), 0.5).value == pytest.approx(0.95)
    assert of_route(Interval(0.9, 0.8, 0.95), 1.0) == Interval(1.0, 1.0, 1.0)


def test_a_looser_step_counts_what_cheaper_answers_to_it_are_worth() -> None:
    found = one_step_looser(Interval(0.96, 0.94, 0.98), Interval(0.7, 0.5, 0.9), 0.40, 0.05)
    assert found.value == pytest.approx(0.35 + 0.05 * 0.7 + 0.6 * 0.96)
    assert found.value - found.lower == pytest.approx(((0.05 * 0.2) ** 2 + (0.6 * 0.02) ** 2) ** 0.5)
