"""Checks that the acceptance model is the one it cites, and that the schedule is read as vLLM reads it."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise_sim.speculation import Speculation, parse_schedule


@given(st.floats(0.05, 0.95), st.integers(1, 8))
def test_expected_tokens_is_one_plus_the_chance_of_each_position(acceptance: float, drafted: int) -> None:
    expected = 1 + sum(acceptance**position for position in range(1, drafted + 1))
    assert Speculation("ngram", drafted, acceptance).expected_tokens(drafted) == pytest.approx(expected)


@pytest.mark.parametrize(("acceptance", "expected"), [(0.0, 0), (1.0, 4)])
def test_certain_acceptance_needs_no_luck(acceptance: float, expected: int) -> None:
    speculation = Speculation("ngram", 4, acceptance)
    assert {speculation.accepted(4, Random(seed)) for seed in range(20)} == {expected}
    assert speculation.expected_tokens(4) == 1 + expected


def test_drawn_acceptance_has_the_expected_mean() -> None:
    speculation, rng = Speculation("eagle3", 3, 0.7), Random(7)
    draws = [speculation.accepted(3, rng) for _ in range(20_000)]
    assert max(draws) == 3
    assert 1 + sum(draws) / len(draws) == pytest.approx(speculation.expected_tokens(3), rel=0.01)


def test_a_schedule_turns_drafting_off_above_a_batch_and_carries_over_gaps() -> None:
    speculation = Speculation("ngram", 3, 0.5, schedule=parse_schedule([[9, 64, 1], [1, 4, 3], [65, 512, 0]]))
    assert [speculation.tokens_at(batch) for batch in (1, 4, 6, 9, 64, 65, 1000)] == [3, 3, 3, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("1-4:3", "must be a non-empty list"),
        ([], "must not be empty"),
        ([[1, 2]], "3-item sequence"),
        ([[0, 2, 1]], r"\(0, 2\) must be positive"),
        ([[3, 2, 1]], "start must be <= end"),
        ([[1, 2, -1]], "must be >= 0"),
        ([[1, 4, 3], [4, 8, 0]], "non-overlapping"),
        ([[2, 4, 3]], "must start at 1"),
    ],
)
def test_bad_schedules_are_refused_in_vllms_words(entries: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_schedule(entries)
