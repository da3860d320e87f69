"""Checks that the fault results keep one row per test, in order, with its wrong writes, and what the table shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.ledger import BLIND, Wrong
from tests.faults.results import Row, Sheet, load, promote, record
from tests.faults.table import summary, table

DOWN = Row("1", "the API server is down for 60 s", "tests/faults/test_a.py::test_down", 2.04, 3.06, 0)
NAN = Row("9", "NaN | Inf", "tests/faults/test_b.py::test_nan", None, None, 1, "note")


def test_a_second_run_renews_its_row_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "results" / "faults.json"
    record(NAN, path)
    record(DOWN, path)
    record(replace(NAN, wrong_writes=0), path)
    assert load(path) == [replace(DOWN, detect_seconds=2.0, recover_seconds=3.1), replace(NAN, wrong_writes=0)]


def test_rows_are_in_the_order_of_the_fault_model(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    for number in ("D", "16", "5", "13b", "13a"):
        record(replace(DOWN, row=number, test=number), path)
    assert [row.row for row in load(path)] == ["5", "13a", "13b", "16", "D"]


def test_nothing_recorded_is_no_row(tmp_path: Path) -> None:
    assert load(tmp_path / "faults.json") == []


def test_a_wrong_write_is_counted_in_the_row_of_the_test_that_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    sheet = Sheet("tests/faults/test_a.py::test_down", path)
    wrong = [Wrong(BLIND, "scale of chat", "one", 0.0, "3 to 1 replicas"), Wrong(BLIND, "x", "one", 1.0, "2 to 1")]
    with pytest.raises(AssertionError, match="blind: scale of chat by one at 00:00:00: 3 to 1 replicas"):
        sheet.record(row="1", fault="down", detect_seconds=1, recover_seconds=2, wrong=wrong)
    assert [(row.test, row.wrong_writes) for row in load(path)] == [(sheet.test, 2)]
    sheet.record(row="1", fault="down", detect_seconds=1, recover_seconds=2, wrong=[])
    assert [row.wrong_writes for row in load(path)] == [0]


def test_the_last_runs_become_the_repositorys_results(tmp_path: Path) -> None:
    """A row that was not measured again stays and is named; one whose test is gone goes."""
    latest, kept = tmp_path / "build.json", tmp_path / "kept.json"
    tests = tmp_path / "tests" / "faults"
    tests.mkdir(parents=True)
    (tests / "test_a.py").write_text("def test_down():\n    pass\n\n\ndef test_other(mode):\n    pass\n")
    other = replace(DOWN, row="2", test="tests/faults/test_a.py::test_other[503]")
    for row in (DOWN, other, replace(DOWN, test="tests/faults/test_a.py::test_gone"), NAN):
        record(row, kept)
    again = replace(DOWN, recover_seconds=9.0, detect_seconds=2.0)
    record(again, latest)
    assert promote(latest, kept, tmp_path) == [other.test]
    assert [(row.test, row.recover_seconds) for row in load(kept)] == [(DOWN.test, 9.0), (other.test, 3.1)]


def test_the_table_shows_seconds_dashes_notes_and_wrong_writes() -> None:
    assert table([DOWN, NAN]).splitlines()[2:] == [
        "| the API server is down for 60 s | 2.0 s | 3.1 s | 0 |",
        "| NaN \\| Inf (note) | – | – | 1 |",
    ]


def test_the_summary_counts_faults_drains_and_wrong_writes() -> None:
    drain = replace(DOWN, row="drain a", test="a")
    assert summary([DOWN, NAN, drain]) == "2 faults, 1 drains, 1 wrong writes"
    control = replace(drain, row="drain b", recover_seconds=None, test="b")
    told = "2 faults, 2 drains (1 of them a control, in which streams are cut), 1 wrong writes"
    assert summary([DOWN, NAN, drain, control]) == told
