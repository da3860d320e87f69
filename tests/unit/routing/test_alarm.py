"""Checks the alarm over simulated months: how soon a fall is noticed, and how often there is none."""

from __future__ import annotations

import math
import random
from statistics import mean, median

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.alarm import E_ALARM, LEARN, Watch, e_value, scores, threshold, watch
from tierwise.routing.quality import Tally

PER_MONTH, MONTHS = 1_000, 20
PERFECT = (1.0, 1.0)
NOISY = (0.95, 0.85)


def raw_bad(truth: float, judge: tuple[float, float]) -> float:
    """The rate of bad verdicts where `truth` of the answers are good."""
    sensitivity, specificity = judge
    return truth * (1 - sensitivity) + (1 - truth) * specificity


def raw_fall(judge: tuple[float, float]) -> float:
    return 0.06 * (sum(judge) - 1)


def verdicts(chance: random.Random, bad: float, count: int) -> list[Tally]:
    return [Tally(0, 1) if chance.random() < bad else Tally(1, 0) for _ in range(count)]


def known(judge: tuple[float, float], count: int = 10_000) -> Watch:
    """It is known well what is usual."""
    bad = round(count * raw_bad(0.96, judge))
    return Watch(usual=Tally(count - bad, bad))


def delay(state: Watch, chance: random.Random, judge: tuple[float, float]) -> int:
    """Verdicts until the fall from 96 to 90 percent is noticed; it comes after some ordinary ones."""
    while True:
        ordinary = state
        for verdict in verdicts(chance, raw_bad(0.96, judge), 60):
            ordinary = watch(ordinary, verdict, PER_MONTH, raw_fall(judge))
        if not ordinary.alarm:
            break
    state = ordinary
    for count, verdict in enumerate(verdicts(chance, raw_bad(0.90, judge), 5_000), start=1):
        state = watch(state, verdict, PER_MONTH, raw_fall(judge))
        if state.alarm:
            return count
    return 5_000


@pytest.mark.parametrize(("judge", "most"), [(PERFECT, 180), (NOISY, 350)], ids=["perfect judge", "judge that errs"])
def test_a_fall_from_96_to_90_percent_is_noticed_soon(judge: tuple[float, float], most: int) -> None:
    chance = random.Random(5)
    assert mean(delay(known(judge), chance, judge) for _ in range(150)) <= most


def test_two_months_that_have_to_be_learned_from_cost_some_of_that() -> None:
    chance = random.Random(7)
    found = []
    for _ in range(60):
        bad = sum(chance.random() < 0.04 for _ in range(2_000))
        found.append(delay(Watch(usual=Tally(2_000 - bad, bad)), chance, PERFECT))
    assert median(found) <= 180


@pytest.mark.parametrize("judge", [PERFECT, NOISY], ids=["perfect judge", "judge that errs"])
def test_the_simulated_months_agree_with_that(judge: tuple[float, float]) -> None:
    chance = random.Random(6)
    alarms, runs = 0, 8
    for _ in range(runs):
        state = known(judge)
        for verdict in verdicts(chance, raw_bad(0.96, judge), MONTHS * PER_MONTH):
            state = watch(state, verdict, PER_MONTH, raw_fall(judge))
            if state.alarm:
                alarms += 1
                state = Watch(state.usual)
    # Of a mean of one a run no more than this happens in 39 of 40 tests.
    assert alarms <= runs + 2 * math.sqrt(runs)


def test_a_verdict_counts_as_the_reference_says() -> None:
    good, bad = scores(0.04)
    assert (round(bad, 3), round(good, 4)) == (0.916, -0.0645)


@given(st.integers(50, 20_000), st.floats(0.005, 0.3))
def test_more_verdicts_a_month_need_more_to_give_alarm(per_month: int, usual_bad: float) -> None:
    assert threshold(per_month, usual_bad) <= threshold(2 * per_month, usual_bad)


def run_lengths(usual_bad: float, fall: float, per_month: int) -> tuple[float, float]:
    """The mean number of verdicts to an alarm, without a fall (from a sum of zero) and with it (it comes after a long
    time without one). Exact but for its 300 steps of the sum: a Markov chain (Brook and Evans 1972)."""
    highest, states = threshold(per_month, usual_bad, fall), 300
    width = highest / states

    def chain(bad: float) -> npt.NDArray[np.float64]:
        moves = np.zeros((states + 1, states + 1))
        for score, chance in zip(scores(usual_bad, fall), (1 - bad, bad), strict=True):
            for state in range(states + 1):
                place, part = divmod(max(0.0, state * width + score) / width, 1)
                if place < states:
                    moves[state, int(place)] += chance * (1 - part)
                    moves[state, int(place) + 1] += chance * part
        return moves

    def lengths(moves: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(np.linalg.solve(np.eye(states + 1) - moves, np.ones(states + 1)), dtype=np.float64)

    calm = chain(usual_bad)
    before = np.ones(states + 1) / (states + 1)
    for _ in range(2_000):
        before = before @ calm
        before /= before.sum()
    return float(lengths(calm)[0]), float(before @ lengths(chain(usual_bad + fall)))


@pytest.mark.parametrize("per_month", [500, 1_000, 3_000, 10_000])
@pytest.mark.parametrize("judge", [PERFECT, NOISY, (0.9, 0.9)], ids=["perfect judge", "judge that errs", "worse judge"])
def test_a_false_alarm_comes_once_in_two_years_whatever_the_number_of_verdicts(
    judge: tuple[float, float], per_month: int
) -> None:
    calm, fallen = run_lengths(raw_bad(0.96, judge), raw_fall(judge), per_month)
    assert MONTHS * per_month <= calm <= 1.5 * MONTHS * per_month
    if per_month <= 1_000 and judge != (0.9, 0.9):
        assert fallen <= (180 if judge == PERFECT else 350)


def test_nothing_is_an_alarm_before_it_is_known_what_is_usual() -> None:
    assert watch(Watch(), Tally(0, LEARN), PER_MONTH) == Watch(usual=Tally(0, LEARN))


def test_an_alarm_ends_when_the_answers_are_as_good_as_before() -> None:
    usual = Watch(usual=Tally(1920, 80))
    alarmed = watch(usual, Tally(80, 40), PER_MONTH)
    assert alarmed.alarm
    assert alarmed.run.count <= 120
    well = watch(alarmed, Tally(400, 8), PER_MONTH)
    assert not well.alarm


def test_months_of_bad_answers_do_not_keep_the_alarm_for_months() -> None:
    state = watch(Watch(usual=Tally(1920, 80)), Tally(3_000, 3_000), PER_MONTH)
    assert state.sum <= 2 * threshold(PER_MONTH, round(state.usual_bad, 3))


@given(st.integers(0, 300), st.integers(0, 60))
def test_no_verdict_is_lost_or_counted_twice(good: int, bad: int) -> None:
    start = Watch(usual=Tally(1920, 80))
    state = watch(start, Tally(good, bad), PER_MONTH)
    assert (state.usual + state.run).count == 2_000 + good + bad
    assert watch(state, Tally(), PER_MONTH) == state


def test_the_daily_bets_win_on_a_small_fall_that_lasts_and_hardly_ever_without_one() -> None:
    chance = random.Random(9)
    usual = Tally(1920, 80)

    def days(bad: float) -> list[Tally]:
        found = []
        for _ in range(14):
            count = sum(chance.random() < bad for _ in range(150))
            found.append(Tally(150 - count, count))
        return found

    fallen = [e_value(days(0.08), usual) >= E_ALARM for _ in range(40)]
    calm = [e_value(days(0.04), usual) >= E_ALARM for _ in range(200)]
    assert mean(fallen) >= 0.9
    assert sum(calm) <= 2


def test_the_bets_are_worth_nothing_before_it_is_known_what_is_usual() -> None:
    assert e_value([Tally(0, 100)], Tally(10, 1)) == 0
    assert math.isfinite(e_value([Tally(0, 10_000)] * 14, Tally(1920, 80)))
