"""Checks that a person's words reach the right answer, whichever was shown first, and that nothing is given away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import StringIO

from rich.console import Console

from tests.unit.training.made import PLAN, many
from tests.unit.training.test_make_labels import answered
from tierwise_training import audit
from tierwise_training.labels import Verdict
from tierwise_training.questions import Answer

PLAIN = replace(PLAN, ceiling_percent=0, again_percent=0)
PROMPTS = many(40)
ANSWERS: dict[str, Answer] = {
    key: one
    for prompt in PROMPTS
    for key, one in answered(prompt, PLAIN, {"small": "small says 3", "reference": "large says 4"}).items()
}


def judge(words: Iterator[str], wanted: int, audits: dict[str, Verdict]) -> str:
    shown = audit.pairs(PROMPTS, PLAIN, ANSWERS, audits, wanted)
    out = StringIO()
    audit.ask(shown, Console(file=out, width=80), lambda: next(words, ""), audits.__setitem__)
    return out.getvalue()


def test_both_orders_are_shown_and_a_person_that_always_says_a_prefers_nobody() -> None:
    audits: dict[str, Verdict] = {}
    judge(iter(["a\n"] * 40), 40, audits)
    wins = sum(verdict == "win" for verdict in audits.values())
    assert len(audits) == 40
    assert 8 < wins < 32


def test_a_person_who_reads_gets_what_was_meant() -> None:
    for pair in audit.pairs(PROMPTS, PLAIN, ANSWERS, {}, 40):
        better = "a" if "large" in pair.first else "b"
        assert pair.verdict(better) == "loss"
        assert pair.verdict("t") == "tie"


def test_skipping_stopping_and_going_on() -> None:
    audits: dict[str, Verdict] = {}
    said = judge(iter(["s\n", "x\n", "t\n", "q\n"]), 10, audits)
    assert len(audits) == 1
    assert "pair 3 of 10" in said
    judge(iter(["B\n"] * 100), 10, audits)
    assert len(audits) == 10
    judge(iter([]), 11, audits)
    assert len(audits) == 10


def test_nothing_says_who_wrote_what_or_what_the_judge_said() -> None:
    said = judge(iter(["s\n"] * 5), 5, {})
    for word in ("tier", "win", "loss", "reference", "cheap"):
        assert word not in said.lower()
