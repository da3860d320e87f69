"""Checks the alarm's parts by values: what is usual, what a verdict adds, and what a bet is worth.

The other file follows months of verdicts; a wrong constant can hide in chance there.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.alarm import LEARN, MOST, Watch, e_value, scores, watch
from tierwise.routing.quality import Tally

PER_MONTH = 1000
BAD = Tally(0, 1)
KNOWN = Tally(900, 100)
"""A tenth is bad, with a standard error of sqrt(.1 / 1000) = .01."""


# --- what is usual ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usual", "rate"),
    [
        (Tally(), 0.005),
        (KNOWN, 0.1 + 0.25 * 0.01),
        (Tally(3600, 400), 0.1 + 0.25 * 0.005),
        (Tally(10, 90), 0.5),
    ],
    ids=["nothing known", "a tenth", "a tenth of more", "mostly bad"],
)
def test_the_usual_rate_is_the_one_seen_and_a_quarter_of_its_error_within_bounds(usual: Tally, rate: float) -> None:
    assert Watch(usual=usual).usual_bad == pytest.approx(rate, abs=1e-12)


@given(st.integers(0, LEARN), st.integers(0, LEARN))
def test_while_it_learns_every_verdict_is_kept_as_it_was(good: int, bad: int) -> None:
    good, bad = good // 2, bad // 2
    assert watch(Watch(), Tally(good, bad), PER_MONTH) == Watch(usual=Tally(good, bad))


@given(st.integers(0, 60), st.integers(0, 60))
def test_no_verdict_is_lost_or_changed_when_it_is_counted(good: int, bad: int) -> None:
    after = watch(Watch(usual=KNOWN), Tally(good, bad), PER_MONTH)
    assert after.usual + after.run == KNOWN + Tally(good, bad)


def test_the_verdict_after_those_it_learned_from_is_judged() -> None:
    assert watch(Watch(usual=Tally(LEARN - 1, 0)), BAD, PER_MONTH) == Watch(usual=Tally(LEARN - 1, 1))
    assert watch(Watch(usual=Tally(LEARN, 0)), BAD, PER_MONTH).run == BAD
    running = Watch(usual=Tally(200, 0), run=Tally(90, 10), sum=1.0)
    assert watch(running, BAD, PER_MONTH).run == Tally(90, 11), "a run has been learned from as well"


@pytest.mark.parametrize("usual", [Tally(MOST - 1000, 1000), Tally(MOST - 1001, 1001)])
def test_more_verdicts_than_are_kept_are_halved(usual: Tally) -> None:
    assert watch(Watch(usual=usual), Tally(1, 0), PER_MONTH).usual == Tally(9_500, 500)


def test_so_many_verdicts_are_kept() -> None:
    full = watch(Watch(usual=Tally(MOST - 1001, 1000)), Tally(1, 0), PER_MONTH)
    assert full.usual == Tally(MOST - 1000, 1000)


# --- the sum ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("usual", "fall", "worse"), [(0.1, 0.06, 0.16), (0.04, 0.02, 0.06), (0.95, 0.06, 0.99)])
def test_a_verdict_adds_the_logarithm_of_its_likelihood_under_the_fall(usual: float, fall: float, worse: float) -> None:
    assert scores(usual, fall) == pytest.approx((math.log((1 - worse) / (1 - usual)), math.log(worse / usual)))


@pytest.mark.parametrize("fall", [0.02, 0.06])
def test_a_bad_verdict_raises_the_sum_and_a_good_one_lowers_it(fall: float) -> None:
    usual = 0.1025
    up, down = math.log((usual + fall) / usual), math.log((1 - usual - fall) / (1 - usual))
    one = watch(Watch(usual=KNOWN), BAD, PER_MONTH, fall)
    assert one.sum == pytest.approx(up)
    assert watch(one, Tally(1, 0), PER_MONTH, fall).sum == pytest.approx(up + down)


# --- the bets --------------------------------------------------------------------------------------------------------

HIGHER = 0.11
"""The rate of KNOWN and one standard error."""
MEAN_STAKE = (0.5 + 1 + 2 + 4 + 7) / 5


def test_bets_begin_when_enough_is_known() -> None:
    assert e_value([BAD], Tally(LEARN - 1, 0)) == 0
    assert e_value([BAD], Tally(LEARN, 0)) > 1


def test_one_verdict_wins_or_loses_the_stake_times_what_it_is_off() -> None:
    assert e_value([BAD], KNOWN) == pytest.approx(1 + MEAN_STAKE * (1 - HIGHER))
    assert e_value([Tally(1, 0)], KNOWN) == pytest.approx(1 - MEAN_STAKE * HIGHER)
    assert e_value([], KNOWN) == 0


def test_the_wealth_of_a_stake_is_the_product_of_its_verdicts() -> None:
    each = [(1 + s * (1 - HIGHER)) ** 3 * (1 - s * HIGHER) ** 5 for s in (0.5, 1, 2, 4, 7)]
    assert e_value([Tally(5, 3)], KNOWN) == pytest.approx(sum(each) / 5)
    assert e_value([Tally(2, 1), Tally(3, 2)], KNOWN) == pytest.approx(
        max(sum(each) / 5, sum((1 + s * 0.89) ** 2 * (1 - s * 0.11) ** 3 for s in (0.5, 1, 2, 4, 7)) / 5)
    )


def test_no_stake_is_so_high_that_a_good_verdict_loses_all() -> None:
    # A quarter is bad, and the error .5 / 20: the highest stake is .9 / .275, at which a good one leaves a tenth.
    found = e_value([Tally(1, 0)], Tally(300, 100))
    assert found == pytest.approx((3 - 3.5 * 0.275 + 2 * 0.1) / 5)


def test_a_wealth_beyond_all_numbers_is_cut_off() -> None:
    assert e_value([Tally(0, 100_000)], KNOWN) == pytest.approx(math.exp(700))
