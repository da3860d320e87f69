"""Checks the intervals of quality against their formulas, worked out on audits whose variances are round numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.quality import NONE, PERFECT, Audit, Interval, Tally, level, one_step_looser, parity, rate

AUDIT = Audit(good=98, judged_good=89, bad=98, judged_bad=79)
"""With one hit and one miss more, 90 of 100 and 80 of 100: the variances are .9 x .1 / 98 and .8 x .2 / 98."""
SENSITIVITY, SPECIFICITY = 89 / 98, 79 / 98
SKILL = SENSITIVITY + SPECIFICITY - 1
OF_SENSITIVITY, OF_SPECIFICITY = 0.09 / 98, 0.16 / 98
TALLIES = st.builds(Tally, st.integers(1, 3000), st.integers(0, 300))


def near(found: Interval, value: float, lower: float, upper: float) -> None:
    assert (found.value, found.lower, found.upper) == pytest.approx((value, lower, upper), abs=1e-9)


@pytest.mark.parametrize("tally", [Tally(700, 300), Tally(350, 150), Tally(1200, 800)])
def test_the_level_is_rogan_and_gladens_with_the_errors_of_verdicts_and_audit(tally: Tally) -> None:
    seen = rate(tally)
    truth = (tally.rate - (1 - SPECIFICITY)) / SKILL
    audited = truth**2 * OF_SENSITIVITY + (1 - truth) ** 2 * OF_SPECIFICITY
    below = math.sqrt((seen.value - seen.lower) ** 2 + 1.96**2 * audited) / SKILL
    above = math.sqrt((seen.upper - seen.value) ** 2 + 1.96**2 * audited) / SKILL
    assert 0 < truth - below < truth + above < 1, "nothing is cut off"
    near(level(tally, AUDIT), truth, truth - below, truth + above)


def test_a_level_is_never_above_one() -> None:
    found = level(Tally(1000, 0), AUDIT)
    assert (found.value, found.upper) == (1.0, 1.0)


@pytest.mark.parametrize("cheap", [Tally(700, 300), Tally(450, 50), Tally(300, 200)])
def test_parity_is_a_ratio_with_the_errors_of_both_rates_and_of_the_judge(cheap: Tally) -> None:
    again = Tally(180, 20)
    mine, most = rate(cheap), rate(again)
    blind = 1 - SPECIFICITY
    ceiling = again.rate - blind
    value = (cheap.rate - blind) / ceiling
    judge = 1.96 * (1 - value) * math.sqrt(OF_SPECIFICITY)
    below = math.sqrt((mine.value - mine.lower) ** 2 + (value * (most.upper - most.value)) ** 2 + judge**2) / ceiling
    above = math.sqrt((mine.upper - mine.value) ** 2 + (value * (most.value - most.lower)) ** 2 + judge**2) / ceiling
    near(parity(cheap, again, AUDIT), value, max(0.0, value - below), value + above)


@given(TALLIES)
def test_where_no_second_answer_was_judged_parity_is_the_rate(tally: Tally) -> None:
    seen = rate(tally)
    near(parity(tally, NONE), seen.value, seen.lower, seen.upper)


def test_without_an_audit_of_bad_answers_the_judge_adds_no_doubt() -> None:
    assert parity(Tally(80, 20), NONE, Audit(98, 89, 0, 0)) == parity(Tally(80, 20), NONE, PERFECT)


def test_a_reference_that_matches_itself_one_time_in_ten_still_says_something() -> None:
    assert parity(Tally(1, 9), Tally(1, 9)).value == pytest.approx(1.0)
    assert parity(Tally(1, 9), Tally(99, 901)) == Interval(0.5, 0.0, 1.0)


def test_one_step_looser_weighs_the_parts_and_adds_their_widths_as_squares() -> None:
    cheap, margin = Interval(0.9, 0.8, 0.95), Interval(0.7, 0.4, 0.9)
    # 20 % stay, 10 % move, 70 % are cheap already
    value = 0.2 + 0.1 * 0.7 + 0.7 * 0.9
    near(
        one_step_looser(cheap, margin, 0.3, 0.1),
        value,
        value - math.sqrt(0.03**2 + 0.07**2),
        value + math.sqrt(0.02**2 + 0.035**2),
    )


def test_no_more_moves_than_there_is() -> None:
    near(one_step_looser(Interval(1, 1, 1), Interval(0.5, 0.25, 1), 0.04, 0.05), 0.98, 0.97, 1.0)
