"""Checks what is asked about a prompt, and what label its answers make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training.made import PLAN, answer, many, prompt
from tierwise_training.make_labels import make_label, open_questions, unreadable_gold
from tierwise_training.prompts import Prompt
from tierwise_training.questions import Answer, Plan, answer_questions, sampled, shuffled

JUDGED = replace(PLAN, judge="tier:judge", ceiling_percent=0, again_percent=0)
ALL = replace(JUDGED, ceiling_percent=100, again_percent=100)


def answered(of: Prompt, plan: Plan, texts: Mapping[str, str], judge: Any = None) -> dict[str, Answer]:
    """The answers to everything; `judge` says what the judge says to the texts shown as A and B."""
    answers: dict[str, Answer] = {}
    while questions := open_questions(of, plan, answers):
        for question in questions:
            if question.use == "judge":
                shown = question.body["messages"][1]["content"]
                first, second = (shown.partition(f"[ANSWER {name}]\n")[2].partition("\n[END")[0] for name in ("A", "B"))
                answers[question.key] = answer(judge(first, second), model="judge-7b", cost="0.001")
            else:
                answers[question.key] = answer(texts[question.use], model=f"{question.tier}-7b", cost="0.002")
    return answers


def better(first: str, second: str) -> str:
    """A judge that prefers the answer with the larger number."""
    return f"reasons\nVERDICT: {'A' if int(first) > int(second) else 'B' if int(first) < int(second) else 'TIE'}"


@pytest.mark.parametrize(
    ("gold", "small", "reference", "right"),
    [
        (4, "#### 4", "#### 5", (True, False)),
        ("$4.00", "it is 4", "4", (True, True)),
        (4, "no idea", "4", (None, True)),
        (None, "4.0", "it is 4", (True, True)),
        (None, "5", "4", (False, True)),
        (None, "5", "no idea", (None, None)),
        (None, "no idea", "4", (None, True)),
    ],
)
def test_a_rule_compares_with_gold_or_else_with_the_reference(
    gold: object, small: str, reference: str, right: tuple[bool | None, bool | None]
) -> None:
    of = prompt(gold=gold) if gold is not None else prompt()
    plan = replace(PLAN, ceiling_percent=0, again_percent=0)
    made = make_label(of, plan, answered(of, plan, {"small": small, "reference": reference}))
    assert made is not None
    assert (made.small.right, made.reference.right) == right
    assert made.judge is not None
    assert made.judge.against == ("reference" if gold is None else "gold")
    assert made.judge.cost_usd == "0.004"
    assert made.judge.models == {"small": "small-7b", "large": "large-7b"}


def test_a_judge_is_asked_in_both_orders_and_its_verdicts_are_kept() -> None:
    of = prompt(gold="four")
    plan = JUDGED
    made = make_label(of, plan, answered(of, plan, {"small": "3", "reference": "4"}, better))
    assert made is not None
    assert made.judge is not None
    assert (made.judge.verdict, made.judge.orders) == ("loss", ("loss", "loss"))
    assert (made.small.right, made.reference.right) == (False, True)
    assert made.judge.cost_usd == "0.006"


@pytest.mark.parametrize(("ties", "right"), [("right", True), ("unknown", None)])
def test_a_judge_that_prefers_the_first_makes_a_tie_or_nothing(ties: Any, right: bool | None) -> None:
    of = prompt()
    plan = replace(JUDGED, ties=ties)
    made = make_label(of, plan, answered(of, plan, {"small": "3", "reference": "4"}, lambda *_: "VERDICT: A"))
    assert made is not None
    assert made.judge is not None
    assert (made.judge.verdict, made.judge.orders) == ("tie", ("win", "loss"))
    assert (made.small.right, made.reference.right) == (right, right)


def test_answers_that_say_the_same_need_no_judge() -> None:
    of = prompt()
    answers = answered(of, JUDGED, {"small": "4 ", "reference": " 4"}, None)
    made = make_label(of, JUDGED, answers)
    assert len(answers) == 2
    assert made is not None
    assert made.judge is not None
    assert (made.judge.identical, made.judge.verdict) == (True, "tie")


def test_second_samples_give_the_ceiling_and_the_stability() -> None:
    of = prompt()
    texts = {"small": "3", "reference": "4", "small again": "5", "reference again": "4.5"}

    def judge(first: str, second: str) -> str:
        return f"VERDICT: {'A' if float(first) > float(second) else 'B'}"

    answers = answered(of, ALL, texts, judge)
    made = make_label(of, ALL, answers)
    assert len(answers) == 4 + 6
    assert made is not None
    assert made.judge is not None
    assert made.judge.ceiling is not None
    assert made.judge.again is not None
    assert (made.judge.verdict, made.judge.again.verdict, made.judge.ceiling.verdict) == ("loss", "win", "win")


def test_a_second_sample_has_another_seed_where_there_is_one() -> None:
    seeds = {q.use: q.body.get("seed") for q in answer_questions(prompt(), replace(ALL, request={"seed": 5}))}
    assert seeds == {"small": 5, "reference": 5, "small again": 6, "reference again": 6}
    assert len({q.key for q in answer_questions(prompt(), ALL)}) == 4


def test_a_label_waits_for_all_its_answers() -> None:
    of = prompt()
    answers = answered(of, JUDGED, {"small": "3", "reference": "4"}, better)
    for key in answers:
        assert make_label(of, JUDGED, {name: one for name, one in answers.items() if name != key}) is None


def test_a_refused_prompt_is_not_known() -> None:
    of = prompt()
    for plan in (PLAN, JUDGED):
        keys = {q.use: q.key for q in answer_questions(of, plan)}
        answers = {keys["small"]: Answer("", refused="400 context_length_exceeded"), keys["reference"]: answer("4")}
        made = make_label(of, plan, answers | {key: answer("4") for key in set(keys.values()) - answers.keys()})
        assert made is not None
        assert made.small.right is None
        assert made.small.finish_reason == "400 context_length_exceeded"


def test_with_a_salt_features_stand_where_the_prompt_did() -> None:
    of = prompt("Tell me a secret about 2 + 2")
    plan = replace(PLAN, ceiling_percent=0, again_percent=0)
    answers = answered(of, plan, {"small": "4", "reference": "4"})
    plain, hidden = make_label(of, plan, answers), make_label(of, plan, answers, salt=b"0123456789abcdef")
    assert plain is not None
    assert plain.prompt == [{"role": "user", "content": "Tell me a secret about 2 + 2"}]
    assert hidden is not None
    assert hidden.prompt is None
    assert hidden.features is not None
    assert "secret" not in hidden.model_dump_json()
    other = make_label(of, plan, answers, salt=b"another salt, 16")
    assert other is not None
    assert other.features != hidden.features


def test_another_request_or_prompt_is_another_question() -> None:
    plans = [PLAN, replace(PLAN, request={"temperature": 0}), replace(PLAN, small="tiny")]
    keys = {answer_questions(prompt(text), plan)[0].key for plan in plans for text in ("a", "b")}
    assert len(keys) == 6


@given(st.integers(0, 100))
def test_samples_are_of_about_the_size_that_is_wanted_and_always_the_same(percent: int) -> None:
    found = [sampled(one, "again", percent) for one in MANY]
    assert abs(sum(found) / len(MANY) * 100 - percent) < 10
    assert found == [sampled(one, "again", percent) for one in MANY]


MANY = many(400)


def test_the_order_of_asking_is_not_the_files_and_does_not_depend_on_it() -> None:
    assert shuffled(MANY) == shuffled(MANY[::-1])
    assert shuffled(MANY) != MANY


def test_gold_that_the_rule_cannot_read_is_found_before_anything_is_asked() -> None:
    some = [prompt("a", id="a", gold="none"), prompt("b", id="b", gold="7 apples"), prompt("c", id="c")]
    assert unreadable_gold(some, "number") == ["a"]
    assert unreadable_gold(some, "tier:judge") == []
