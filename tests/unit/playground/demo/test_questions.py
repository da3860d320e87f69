"""Checks that the demo's questions have the trace's lengths, tell how hard they are, and can be answered and judged."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from playground.demo import questions
from tierwise.routing.judge import Verdict, judge_messages, read_verdict
from tierwise_sim.arithmetic import Skill, asked, conclusion, difficulty, judgement
from tierwise_sim.tokens import chat_tokens
from tierwise_sim.workloads import Arrival
from tierwise_training.labels import parse


@pytest.mark.parametrize("tokens", [60, 500, 3_000])
def test_a_request_is_as_long_as_the_trace_says(tokens: int) -> None:
    asked_for = [questions.messages(Arrival(0, tokens, 10), str(number)) for number in range(20)]
    assert {len(chat_tokens(chat)) for chat in asked_for} == {tokens}
    assert len({chat[0]["content"] for chat in asked_for}) == 20, "no cache knows them"


def test_a_request_that_is_too_short_for_a_document_has_a_word_of_it() -> None:
    document, question = questions.messages(Arrival(0, 1, 10), "7")
    assert document["content"]
    assert question["content"] == questions.question("7")


def test_the_declared_share_is_beyond_the_small_model_and_none_beyond_the_large_one() -> None:
    found = [difficulty(asked(questions.question(str(number))) or "") for number in range(3_000)]
    assert sum(one > questions.SMALL.level for one in found) / 3_000 == pytest.approx(questions.HARD_SHARE, abs=0.03)
    assert 1 <= min(found) <= max(found) <= questions.LARGE.level


def test_whether_an_answer_is_right_is_seen_at_its_end() -> None:
    for number in range(50):
        asking = questions.question(str(number))
        for level, right in ((9, True), (0, False)):
            said = conclusion(asking, Skill(level), Random(number))
            assert questions.right(asking, f"of words{said}") is right
    assert not questions.right("What is 1 + 1", "")
    assert not questions.right("no question", "#### 2")


def test_a_judge_with_the_skill_says_which_answer_is_right_in_either_order() -> None:
    asking = "system: 5 + 5\n\nuser: What is 3 + 4 * 2"
    right, wrong, sure = "so #### 11", "so #### 12", Skill(9)

    def said(first: str, second: str, skill: Skill = sure) -> Verdict | None:
        chat = judge_messages(asking, first, second)
        found = judgement("".join(chat_tokens(chat)), skill, Random(1))
        assert found is not None
        return read_verdict(f"many words{found}", swapped=False)

    assert said(right, wrong) is Verdict.WIN
    assert said(wrong, right) is Verdict.LOSS
    assert said(wrong, wrong) is said(right, right) is Verdict.TIE
    assert said(right, wrong, Skill(1)) is Verdict.TIE, "it cannot reckon so far"
    assert judgement("What is 3 + 4", sure, Random(1)) is None
    assert judgement("[REQUEST]\nWhat is 3 + 4\n[END OF REQUEST]", sure, Random(1)) is None


def test_labels_are_what_training_reads(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    questions.write_labels(path, 200, "chat", ("small", "large"))
    found = parse(path.read_text())
    assert len(found) == 200
    assert all(label.known and label.route == "chat" and label.reference_tier == "large" for label in found)
    right = sum(bool(label.small.right) for label in found) / 200
    easy = (1 - questions.HARD_SHARE) * (1 - questions.SMALL.slip)
    assert right == pytest.approx(easy + questions.HARD_SHARE * questions.SMALL.luck, abs=0.08)
