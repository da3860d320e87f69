"""Checks that a judge's words are read whichever order it saw, and that contradictions are ties."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise_training import verdicts
from tierwise_training.labels import Pair, Verdict

SAID: list[Verdict] = ["win", "tie", "loss"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Both are fine.\nVERDICT: TIE", "tie"),
        ("reasons\nVERDICT: A", "win"),
        ("reasons\n**VERDICT: B**", "loss"),
        ("reasons\nVerdict: [[A]]", "win"),
        ("VERDICT: A is what one might say.\nBut no.\nVERDICT: B", "loss"),
        ("A is better", None),
        ("My VERDICT: A", None),
        ("VERDICT: ABSTAIN", None),
        ("", None),
    ],
)
def test_the_last_verdict_line_counts(text: str, wanted: Verdict | None) -> None:
    assert verdicts.read_verdict(text, swapped=False) == wanted


@given(st.sampled_from("AB"))
def test_a_swapped_verdict_is_of_the_same_answer(word: str) -> None:
    plain, swapped = (verdicts.read_verdict(f"VERDICT: {word}", one) for one in (False, True))
    assert {plain, swapped} == {"win", "loss"}
    assert verdicts.read_verdict("VERDICT: TIE", True) == "tie"


@pytest.mark.parametrize(("one", "other"), list(product([*SAID, None], repeat=2)))
def test_both_orders_make_one_verdict(one: Verdict | None, other: Verdict | None) -> None:
    pair = verdicts.combine([one, other])
    if one is None or other is None:
        assert pair.verdict is None
        assert verdicts.flipped(pair) is None
    else:
        assert pair.verdict == (one if one == other else "tie")
        assert verdicts.flipped(pair) is (one != other)


@given(st.sampled_from(SAID), st.sampled_from(SAID))
def test_the_order_of_asking_does_not_change_the_verdict(one: Verdict, other: Verdict) -> None:
    assert verdicts.combine([one, other]).verdict == verdicts.combine([other, one]).verdict


def test_a_judge_that_always_prefers_the_first_is_seen() -> None:
    pair = Pair(verdict="tie", orders=("win", "loss"))
    assert verdicts.first_shown(pair) == (2, 2)
    assert verdicts.first_shown(Pair(verdict="tie", orders=("loss", "win"))) == (0, 2)
    assert verdicts.first_shown(Pair(verdict="tie", orders=("tie", "win"))) == (0, 1)


@given(st.sampled_from(SAID))
def test_rights_and_verdicts_are_each_other(verdict: Verdict) -> None:
    assert verdicts.of_rights(*verdicts.rights(verdict)) == verdict
    assert verdicts.rights(None) == (None, None)
    assert verdicts.of_rights(None, True) is None


def test_the_judge_is_told_the_gold_answer_and_not_who_wrote_what() -> None:
    system, user = verdicts.judge_messages("2+2?", "4", "four", "five")
    assert system["role"] == "system"
    assert [user["content"].index(text) for text in ("2+2?", "REFERENCE]\n4", "four", "five")] == sorted(
        user["content"].index(text) for text in ("2+2?", "REFERENCE]\n4", "four", "five")
    )
    assert "REFERENCE" not in verdicts.judge_messages("2+2?", None, "four", "five")[1]["content"]
