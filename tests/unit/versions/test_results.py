"""Checks that a run against other releases is recorded as it was, and that the README claims no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from playground.binaries import BINARIES, recipe_of
from playground.errors import PlaygroundError
from playground.versions import KSERVE, KUBERNETES, SETS, TOOLS, chosen, pinned, release
from tests.versions.__main__ import DEFAULT, TESTS, main, read
from tests.versions.results import REPO, Row, load, record
from tests.versions.table import files, table

NEW = Row("new", "1.37.1", "0.19.0", 30, (), 0, 100.5)
OLD = Row("old", "1.34.5", "0.17.0", 28, ("test_loop", "test_step"), 1, 90.0)
REPORT = """\
<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4" time="12.345">
<testcase classname="tests.a" name="test_good" time="1.0" />
<testcase classname="tests.a" name="test_bad" time="1.0"><failure message="no">no</failure></testcase>
<testcase classname="tests.a" name="test_broken" time="1.0"><error message="no">no</error></testcase>
<testcase classname="tests.a" name="test_left_out" time="0.0"><skipped message="no">no</skipped></testcase>
</testsuite></testsuites>
"""


def test_a_report_becomes_a_row_with_the_releases_that_ran() -> None:
    found = SETS["kserve-0.20"]
    row = read([REPORT, REPORT.replace("test_", "test_second_")], found.name, found)
    failed = ("test_bad", "test_broken", "test_second_bad", "test_second_broken")
    assert row == Row(found.name, release(KUBERNETES, TOOLS), "0.20.0", 2, failed, 2, 24.7)
    assert read([REPORT], DEFAULT, None).kserve == release(KSERVE, TOOLS)


def test_a_second_run_renews_its_row_and_rows_are_in_the_order_of_releases(tmp_path: Path) -> None:
    path = tmp_path / "results/versions.json"
    assert load(path) == []
    record(NEW, path)
    record(OLD, path)
    record(replace(NEW, passed=29), path)
    assert load(path) == [OLD, replace(NEW, passed=29)]


def test_the_table_shows_what_failed() -> None:
    assert table([OLD, NEW]).splitlines()[2:] == [
        "| 0.17.0 | 1.34.5 | 28 tests passed, 2 failed, 1 skipped: test_loop, test_step |",
        "| 0.19.0 | 1.37.1 | 30 tests passed |",
    ]


def test_the_readme_has_the_table_of_the_results() -> None:
    assert {path: (REPO / path).read_text(encoding="utf-8") for path in files()} == files()


def test_every_row_is_of_a_set_that_is_pinned_so_today() -> None:
    for row in load():
        versions = SETS.get(row.name)
        assert versions is not None or row.name == DEFAULT
        of = {
            module: versions.tools if versions and versions.module == module else TOOLS
            for module in (KUBERNETES, KSERVE)
        }
        assert (row.kubernetes, row.kserve) == (release(KUBERNETES, of[KUBERNETES]), release(KSERVE, of[KSERVE]))


def test_the_tests_that_are_run_are_there() -> None:
    assert all((REPO / path).is_file() for tests in TESTS for path in tests)


def test_a_set_takes_one_module_from_its_own_pins_and_the_rest_from_the_usual() -> None:
    for found in SETS.values():
        assert pinned(found.module, found.tools) != pinned(found.module, TOOLS)
        recipe = recipe_of(found)
        assert {binary.name for binary in recipe.binaries} == set(found.programs)
        assert recipe.base == recipe_of(None)
        assert recipe.key() != recipe.base.key()
        assert {binary.name for binary in BINARIES} <= recipe.names() | recipe.base.names()


def test_the_variable_chooses_and_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen({}) is None
    assert chosen({"TIERWISE_VERSIONS": "kubernetes-1.37"}) == SETS["kubernetes-1.37"]
    with pytest.raises(PlaygroundError, match=r"no set of versions: kserve-9\nThere are: kserve-0\.17, "):
        chosen({"TIERWISE_VERSIONS": "kserve-9"})
    monkeypatch.setenv("TIERWISE_VERSIONS", "kubernetes-1.37")
    assert pinned(KUBERNETES) == "v1.37.1"
    assert pinned(KSERVE) == pinned(KSERVE, TOOLS)
    assert main(["kserve-9"]) == 2
