"""Checks that labels are read as they were written, and that a broken line is named and never quoted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training.made import label
from tierwise.errors import Invalid
from tierwise_training import labels
from tierwise_training.labels import JudgeRecord, Label, Pair, Verdict

VERDICTS: st.SearchStrategy[Verdict | None] = st.sampled_from(["win", "tie", "loss", None])
RECORDS = st.builds(
    JudgeRecord,
    verdict=VERDICTS,
    orders=st.tuples(VERDICTS, VERDICTS) | st.just(()),
    kind=st.just("tier:judge"),
    ceiling=st.none() | st.builds(Pair, verdict=VERDICTS),
    audit=VERDICTS,
    cost_usd=st.none() | st.just("0.0001"),
)
TEXTS = st.text(max_size=20)
LABELS = st.builds(
    label,
    st.sampled_from([True, False, None]),
    st.sampled_from([True, False, None]),
    st.none() | RECORDS,
    id=TEXTS,
    group=st.none() | TEXTS,
    prompt=st.none() | TEXTS | st.lists(st.fixed_dictionaries({"role": TEXTS, "content": TEXTS}), max_size=2),
)


@given(st.lists(LABELS, max_size=4))
def test_what_is_written_is_read_again(made: list[Label]) -> None:
    assert labels.parse("\n".join(map(labels.to_line, made))) == made


def test_a_right_that_is_not_known_stands_as_null() -> None:
    said = json.loads(labels.to_line(label(None, True)))
    assert said["small"]["right"] is None
    assert (said["from"], said["referenceTier"], said["version"]) == ("small", "large", 1)
    assert "prompt" not in said


def test_only_labels_with_both_answers_known_are_usable() -> None:
    assert labels.usable([label(None, True), label(True, None), label(False, True)]) == [label(False, True)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{secret", "line 1 of f is not JSON"),
        ('{"id": "secret"}', "line 1 of f is no label: promptHash"),
        ('{"version": 2, "id": "secret"}', "version 2; this release reads version 1"),
        ('"secret"', "line 1 of f is no label"),
    ],
)
def test_a_broken_line_is_named_and_not_quoted(line: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        labels.parse(line, "f")
    assert words in caught.value.message
    assert "secret" not in caught.value.message


def test_the_file_is_for_its_owner_and_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    for made in ([label(), label(False)], [label(None)]):
        labels.write(path, made)
        assert labels.read(path) == made
    assert path.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(Invalid, match="cannot be read"):
        labels.read(tmp_path / "none")
