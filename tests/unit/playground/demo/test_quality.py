"""Checks that the demo fails where the measured quality is not the true one, or nothing was chosen by content."""

from __future__ import annotations

import pytest

from playground.demo.account import Answer
from playground.demo.quality import check

SAID = {"samples": 120, "parityPercent": "96.0", "lowerPercent": "92.0", "upperPercent": "99.0"}


def answers(right: int, count: int = 100, why: str = "Classified", tier: str = "large") -> list[Answer]:
    half = count // 2
    tiers = ["small"] * half + [tier] * (count - half)
    return [Answer(name, True, 1, 1, 0.1, 1.0, why=why, right=number < right) for number, name in enumerate(tiers)]


def _holds(*given: object) -> list[bool]:
    return [each.holds for each in check(*given)]  # type: ignore[arg-type]


def test_the_true_quality_lies_in_the_interval() -> None:
    chosen, measured = check(SAID, answers(95))
    assert chosen.holds
    assert chosen.figures == "100 of 100 requests went where it said: large, small"
    assert measured.holds
    assert measured.figures == "96.0 (92.0-99.0) of 120 samples, and 95.0 % of all answers are right"


@pytest.mark.parametrize("right", [91, 100])
def test_outside_of_it_the_demo_fails(right: int) -> None:
    assert _holds(SAID, answers(right)) == [True, False]


@pytest.mark.parametrize("samples", [0, 19])
def test_too_few_samples_are_no_measurement(samples: int) -> None:
    assert _holds({**SAID, "samples": samples}, answers(95)) == [True, False]
    assert _holds({}, []) == [False, False]


def test_who_is_not_asked_has_not_chosen() -> None:
    assert _holds(SAID, answers(95, why="Default")) == [False, True]
    assert _holds(SAID, answers(95, tier="small")) == [False, True]
