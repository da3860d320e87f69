"""Checks that answers outlive their run, that a line cut by its death is taken away, and that two runs do not mix."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.training.made import answer
from tierwise.errors import Invalid
from tierwise_training.journal import Journal
from tierwise_training.questions import Answer

GIVEN = {
    "a": answer("four", reasoning_tokens=3, cost="0.01"),
    "b": Answer("", refused="400"),
    "c": answer("\u2028 ünï\n", model="m"),
}


def filled(path: Path) -> None:
    with Journal(path) as journal:
        for key, one in GIVEN.items():
            journal.add(key, one)
        journal.add_audit("p", "win")


def test_answers_are_read_again(tmp_path: Path) -> None:
    filled(tmp_path / "j")
    with Journal(tmp_path / "j") as journal:
        assert journal.answers == GIVEN
        assert journal.audits == {"p": "win"}
    assert (tmp_path / "j").stat().st_mode & 0o077 == 0


def test_wherever_a_run_is_killed_the_whole_lines_are_kept_and_the_next_one_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j"
    filled(path)
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        with Journal(path) as journal:
            assert len(journal.answers) + len(journal.audits) == sum(end <= cut for end in ends)
            journal.add("next", answer("5"))
        with Journal(path) as journal:
            assert journal.answers["next"].text == "5"


def test_an_answer_is_in_the_file_before_the_run_ends(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.add("a", GIVEN["a"])
    assert (tmp_path / "j").read_bytes().endswith(b"\n")
    journal.close()


def test_a_second_run_is_kept_out(tmp_path: Path) -> None:
    with Journal(tmp_path / "j"), pytest.raises(Invalid, match="another run is writing"):
        Journal(tmp_path / "j")
    Journal(tmp_path / "j").close()


@pytest.mark.parametrize(
    "line", ["secret", '{"key": "a"}', '{"audit": "secret", "prompt": "p"}', '{"key": 1, "answer": {"x": 1}}']
)
def test_a_broken_line_is_named_and_not_quoted(tmp_path: Path, line: str) -> None:
    (tmp_path / "j").write_text(line + "\n")
    with pytest.raises(Invalid, match="line 1 of") as caught:
        Journal(tmp_path / "j")
    assert "secret" not in caught.value.message
