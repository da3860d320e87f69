"""Checks that the results of the last mutation run are of the current code, and that every survivor is explained."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants.functions import same
from tests.mutants.page import complaints, words
from tests.mutants.results import Results, Survivor, code, load, merged, read, stale
from tests.mutants.stage import remember
from tests.mutants.targets import DECIDE, REPO, TARGETS, Target


def _answer(status: str, diff: str = "") -> dict[str, object]:
    return {"file": "stabilization.py", "status": status, "diff": diff}


def _read(**mutants: dict[str, object]) -> Results:
    return read(
        DECIDE, {"": "mutmut 3", **{f"tierwise.decide.stabilization.{key}": each for key, each in mutants.items()}}
    )


DIFF = "--- a\n+++ b\n@@ -1 +1 @@\n def floor():\n-    return 1\n+    return 2\n"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_enough_is_noticed_and_every_survivor_has_its_word(target: Target) -> None:
    results = load(target)
    assert results.noticed >= target.least
    assert complaints(target, results, words(target)) == []


def test_a_survivor_is_known_by_its_function_and_its_change() -> None:
    results = _read(
        x_floor__mutmut_1=_answer("killed"),
        x_floor__mutmut_2=_answer("survived", DIFF),
        x_floor__mutmut_3=_answer("survived", DIFF),
        xǁTrailǁstep__mutmut_9=_answer("timeout", DIFF),
    )
    assert [each.key for each in results.survivors] == [
        "stabilization.py Trail.step: return 1 -> return 2",
        "stabilization.py floor: return 1 -> return 2",
        "stabilization.py floor: return 1 -> return 2 #2",
    ]
    (file,) = (each for each in results.files if each.mutants)
    assert (file.mutants, file.killed, file.timeout, file.survived) == (4, 1, 1, 2)
    assert results.noticed == 0.5


def test_a_run_that_was_broken_off_is_no_result() -> None:
    with pytest.raises(ValueError, match="has not been tried"):
        _read(x_floor__mutmut_1=_answer("not checked"))


def test_a_new_survivor_an_old_word_and_an_unclear_one_are_complained_about() -> None:
    survivor = Survivor("a.py", "f", "1", "2", "survived")
    results = replace(_read(x_floor__mutmut_1=_answer("killed")), survivors=(survivor,))
    assert complaints(DECIDE, results, {survivor.key: "equivalent: same"}) == []
    assert len(complaints(DECIDE, results, {})) == 1
    assert len(complaints(DECIDE, results, {survivor.key: "why not"})) == 1
    assert len(complaints(DECIDE, results, {survivor.key: "accepted: x", "gone": "accepted: x"})) == 1
    assert complaints(DECIDE, replace(results, survivors=(replace(survivor, status="timeout"),)), {}) == []


def test_results_of_other_code_than_todays_are_complained_about() -> None:
    fresh = _read(x_floor__mutmut_1=_answer("killed"))
    assert stale(DECIDE, fresh) == []
    changed = [replace(each, sha256="0" * 64) if each.name == "plan.py" else each for each in fresh.files]
    assert stale(DECIDE, replace(fresh, files=tuple(changed))) == ["plan.py"]
    new = tuple(each for each in fresh.files if each.name != "demand.py")
    assert stale(DECIDE, replace(fresh, files=new)) == ["demand.py"]
    gone = (*fresh.files, replace(fresh.files[0], name="gone.py"))
    assert stale(DECIDE, replace(fresh, files=gone)) == ["gone.py"]
    assert "gone.py" in complaints(DECIDE, replace(fresh, files=gone), {})[0]


def test_a_run_of_some_files_leaves_what_is_known_of_the_others() -> None:
    known = load(DECIDE)
    answer = {
        "": "mutmut 4",
        "tierwise.decide.stabilization.x_floor__mutmut_1": _answer("survived", DIFF),
        "tierwise.decide.plan.x_plan__mutmut_1": {"file": "plan.py", "status": "not checked", "diff": ""},
    }
    now = read(DECIDE, answer, ["stabilization.py"])
    assert [(each.name, each.mutants) for each in now.files] == [("stabilization.py", 1)]
    both = merged(known, now, ["stabilization.py"])
    assert [each for each in both.files if each.name != "stabilization.py"] == [
        each for each in known.files if each.name != "stabilization.py"
    ]
    assert [each.key for each in both.survivors if each.file == "stabilization.py"] == [
        "stabilization.py floor: return 1 -> return 2"
    ]
    assert [each.name for each in merged(known, now, ["stabilization.py", "plan.py"]).files].count("plan.py") == 0


def test_what_was_killed_is_taken_over_and_survivors_and_changed_files_are_left(tmp_path: Path) -> None:
    target = replace(DECIDE, root=tmp_path)
    metas = target.folder / "mutants" / target.mutated
    metas.mkdir(parents=True)
    made = {
        "": {},
        "tierwise.decide.plan.x_plan__mutmut_1": {"file": "plan.py", "diff": DIFF},
        "tierwise.decide.plan.x_plan__mutmut_2": {"file": "plan.py", "diff": DIFF.replace("2", "3")},
        "tierwise.decide.demand.x_demand__mutmut_1": {"file": "demand.py", "diff": DIFF},
    }
    for name in ("plan", "demand"):
        keys = [key for key in made if f".{name}." in key]
        (metas / f"{name}.py.meta").write_text(json.dumps({"exit_code_by_key": dict.fromkeys(keys), "other": 1}))
    survivor = Survivor("plan.py", "plan", "return 1", "return 2", "survived")
    results = Results("", (), (survivor,))
    assert remember(target, made, results, {"demand.py": ()}, [survivor.key]) == 1
    assert json.loads((metas / "plan.py.meta").read_text())["exit_code_by_key"] == dict(
        zip(list(made)[1:3], (0, 1), strict=True)
    )
    (metas / "plan.py.meta").write_text(json.dumps({"exit_code_by_key": dict.fromkeys(list(made)[1:3]), "other": 1}))
    assert remember(target, made, results, {"demand.py": ()}, []) == 2
    plan, demand = (json.loads((metas / f"{name}.py.meta").read_text()) for name in ("plan", "demand"))
    assert plan == {"exit_code_by_key": dict(zip(list(made)[1:3], (None, 1), strict=True)), "other": 1}
    assert list(demand["exit_code_by_key"].values()) == [None]
    assert remember(target, made, results, {"demand.py": ["demand"]}, []) == 1, "of a function that has not changed"


SOURCE = '''"""A module."""
import math  # for pi


def floor(x: float) -> str:
    """One line."""
    # why
    return f"#{x:.1f}"  # of x


class A:
    """Two
    lines."""

    b = """not a docstring # 1"""
'''
PLAIN = '''import math
def floor(x: float) -> str:
    return f"#{x:.1f}"
class A:
    b = """not a docstring # 1"""'''


def test_comments_and_docstrings_are_no_code() -> None:
    assert code(SOURCE) == code(PLAIN) == PLAIN
    assert code(SOURCE.replace("One line.", "Another sentence.").replace("# why", "")) == PLAIN
    assert code(SOURCE.replace(".1f", ".2f")) != PLAIN
    assert code(SOURCE.replace("docstring # 1", "docstring # 2")) != PLAIN


def _imported(path: Path) -> set[Path]:
    """The modules of tests/ that a module of it imports, as files."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests."):
            names |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    files = {REPO / f"{name.replace('.', '/')}.py" for name in names}
    return {each for each in files if each.exists()}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_copy_holds_whatever_the_tests_of_mutants_import(target: Target) -> None:
    waiting = {
        each
        for chosen in target.tests
        for each in ([REPO / chosen] if chosen.endswith(".py") else (REPO / chosen).rglob("*.py"))
    }
    reached: set[Path] = set()
    while waiting:
        path = waiting.pop()
        reached.add(path)
        waiting |= _imported(path) - reached
    copied = [REPO / each for each in target.copied]
    missing = [path for path in reached if not any(path.is_relative_to(folder) for folder in copied)]
    assert sorted(str(path.relative_to(REPO)) for path in missing) == []
    assert all(folder.exists() for folder in copied)


BEFORE = '''
LIMIT = 4


def bounded(value):
    return min(value, LIMIT)


def doubled(value):
    """Twice."""
    return 2 * value


def of_both(value):
    return bounded(doubled(value))


class Box:
    def size(self):
        return doubled(1)
'''


@pytest.mark.parametrize(
    ("edit", "same_still"),
    [
        (('"""Twice."""', '"""Two times."""'), {"bounded", "doubled", "of_both", "Box", "Box.size"}),
        (("LIMIT = 4", "LIMIT = 5"), {"doubled", "of_both", "Box", "Box.size"}),
        (("2 * value", "3 * value"), {"LIMIT", "bounded"}),
        (
            ("return bounded(doubled(value))", "return doubled(value)"),
            {"LIMIT", "bounded", "doubled", "Box", "Box.size"},
        ),
        (("doubled(1)", "doubled(2)"), {"LIMIT", "bounded", "doubled", "of_both"}),
    ],
)
def test_a_function_is_known_while_it_and_what_it_names_are_the_same(
    edit: tuple[str, str], same_still: set[str]
) -> None:
    assert same(BEFORE, BEFORE.replace(*edit)) - {"LIMIT"} == same_still - {"LIMIT"}
