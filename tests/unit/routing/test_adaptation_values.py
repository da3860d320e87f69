"""Checks the edges of a move: which window says it, how many points it has, and from which exact quality on.

The other file follows months; here each case is one decision.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.adaptation import STEP, Day, Evidence, Move, next_move, quality
from tierwise.routing.quality import PERFECT, Audit, Tally, of_route, one_step_looser, parity

AGAIN = Tally(2000, 0)
AUDIT = Audit(500, 480, 500, 420)
GOOD, BAD = Tally(970, 30), Tally(160, 40)


def day(cheap: Tally, margin: Tally | None = None, reference: int = 300) -> Day:
    return Day(cheap, margin or Tally(), 1000, reference)


def moved(evidence: Evidence, target: float, share: float) -> Move:
    found = next_move(evidence, target, share)
    assert found is not None
    return found


def above(value: float) -> float:
    return math.nextafter(value, math.inf)


@pytest.mark.parametrize("audit", [PERFECT, AUDIT])
def test_the_quality_is_the_parity_of_the_cheap_part_and_one_for_the_rest(audit: Audit) -> None:
    found = quality(Evidence([day(BAD), day(GOOD)], 2, AGAIN, audit), 1)
    assert found == of_route(parity(GOOD, AGAIN, audit), 0.3)


# --- which window says it --------------------------------------------------------------------------------------------


def test_a_large_loss_is_told_by_the_last_two_days() -> None:
    found = moved(Evidence([day(GOOD)] * 12 + [day(Tally(500, 500))] * 2, 14, AGAIN), 0.95, 30)
    assert found.days == 2
    assert found.quality == of_route(parity(Tally(1000, 1000), AGAIN), 0.3)


def test_the_shortest_window_that_is_sure_says_it_even_if_longer_ones_are_as_well() -> None:
    assert moved(Evidence([day(BAD)] * 14, 14, AGAIN), 0.95, 30).days == 2


@pytest.mark.parametrize("window", [4, 7, 14])
def test_a_smaller_loss_is_told_by_the_first_window_that_is_long_enough(window: int) -> None:
    shorter = {4: 2, 7: 4, 14: 7}[window]
    evidence = Evidence([day(Tally(46, 6))] * 14, 14, AGAIN)
    target = (quality(evidence, shorter).upper + quality(evidence, window).upper) / 2
    found = moved(evidence, target, 30)
    assert found.days == window
    assert found.quality == quality(evidence, window)


def test_an_upper_bound_at_the_target_moves_nothing_and_one_below_it_does() -> None:
    evidence = Evidence([day(BAD)] * 2, 2, AGAIN)
    edge = quality(evidence, 2).upper
    assert next_move(evidence, edge, 30) is None
    assert moved(evidence, above(edge), 30).points > 0


def test_after_an_alarm_the_run_is_judged_at_the_share_of_the_last_two_days() -> None:
    past = [day(GOOD, reference=reference) for reference in (100, 200, 300, 600, 400)]
    found = moved(Evidence(past, 5, AGAIN, run=Tally(100, 100)), 0.9, 50)
    assert found.days == 0, "no window of days says it"
    assert found.quality == of_route(parity(Tally(100, 100), AGAIN), 0.5)


def test_nothing_is_raised_above_everything() -> None:
    assert next_move(Evidence([day(BAD)] * 2, 2, AGAIN), 0.95, 100) is None
    assert moved(Evidence([day(BAD)] * 2, 2, AGAIN), 0.999, 97).points == 3


# --- by how much -----------------------------------------------------------------------------------------------------


@given(
    st.integers(40, 195),
    st.sampled_from([0.85, 0.9, 0.95, 0.99]),
    st.integers(0, 19).map(lambda steps: STEP * steps),
    st.sampled_from([PERFECT, AUDIT]),
)
def test_the_points_are_the_fewest_steps_that_keep_the_promise(
    good: int, target: float, share: int, audit: Audit
) -> None:
    """Were the cheap answers a quarter of the way from the upper bound to the value as good."""
    cheap = Tally(good, 200 - good)
    found = next_move(Evidence([day(cheap, reference=0)], 1, AGAIN, audit), target, share)
    answers = parity(cheap, AGAIN, audit)
    assert (found is not None) is (answers.upper < target)
    if found is None:
        return
    likely = answers.upper - (answers.upper - answers.value) / 4

    def kept(points: int) -> float:
        part = (share + points) / 100
        return part + (1 - part) * likely

    assert found.points % STEP == 0
    assert found.points == STEP or kept(found.points - STEP) < target
    assert found.points == 100 - share or kept(found.points) >= target - 1e-9


def test_the_points_of_a_loss_worked_out_by_hand() -> None:
    cheap = Tally(50_000, 50_000)
    answers = parity(cheap, Tally(10**9, 0))
    assert answers.upper == pytest.approx(0.5, abs=0.01)
    # To be 90 percent right with answers that are right half of the time, 80 percent have to go: 50 more than 30.
    assert moved(Evidence([day(cheap)] * 2, 2, Tally(10**9, 0)), 0.9, 30).points == 50
    assert moved(Evidence([day(cheap)] * 2, 2, Tally(10**9, 0)), 0.9, 77).points == STEP
    assert moved(Evidence([day(cheap)] * 2, 2, Tally(10**9, 0)), 0.9, 90).points == STEP


# --- one step looser -------------------------------------------------------------------------------------------------

MARGIN = Tally(90, 10)


@pytest.mark.parametrize("audit", [PERFECT, AUDIT])
def test_the_quality_of_a_smaller_share_says_whether_it_is_lowered(audit: Audit) -> None:
    evidence = Evidence([day(GOOD, MARGIN)] * 10, 10, AGAIN, audit)
    looser = one_step_looser(
        parity(Tally(9700, 300), AGAIN, audit), parity(Tally(900, 100), AGAIN, audit), 0.3, STEP / 100
    )
    assert next_move(evidence, looser.lower, 30) == Move(-STEP, looser, 10), "the bound is at the promise"
    assert next_move(evidence, above(looser.lower), 30) is None


def test_the_last_step_can_be_lowered_and_less_than_a_step_cannot() -> None:
    evidence = Evidence([day(GOOD, MARGIN)] * 10, 10, AGAIN)
    assert moved(evidence, 0.9, STEP).points == -STEP
    assert next_move(evidence, 0.9, STEP - 0.5) is None


def test_both_kinds_of_answers_must_have_been_judged_before_it_is_lowered() -> None:
    everything = 1000
    known = Evidence([day(Tally(1, 0), Tally(990, 10), everything)] * 10, 10, AGAIN)
    assert moved(known, 0.9, 100).points == -STEP
    no_cheap = Evidence([day(Tally(), Tally(990, 10), everything)] * 10, 10, AGAIN)
    assert next_move(no_cheap, 0.9, 100) is None
    no_margin = Evidence([day(Tally(990, 10), Tally(), 300)] * 10, 10, AGAIN)
    assert next_move(no_margin, 0.5, 30) is None
