"""Makes the mutants in a copy, so that the working tree is never touched.

mutmut wants the packages under `src` and finds a mutant by the module's own name; here they lie in controllers/ and
simulator/. The copy has the layout that mutmut wants, the tests of one package and nothing else of the suite, and a
conftest that makes Hypothesis quick and repeatable: the same examples for every mutant, few of them, no shrinking (a
killed mutant needs no smallest example), and puts the quick tests first. What the last run killed in files that have
not changed since can be taken over, on any machine: its results say which mutants survived.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.mutants.results import Results, change
from tests.mutants.targets import REPO, Target

_SURVIVED, _KILLED = 0, 1  # pytest's exit statuses, which mutmut keeps
_SETTINGS = """\
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["%(mutated)s/*"]
pytest_add_cli_args_test_selection = %(tests)s
pytest_add_cli_args = ["-p", "no:cacheprovider"]
timeout_constant = 5.0
use_git_change_detection = false

[tool.pytest.ini_options]
addopts = ["-q", "--import-mode=importlib"]
pythonpath = ["."]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
filterwarnings = ["error"]
"""
_CONFTEST = '''\
"""Hypothesis for mutants: the same few examples every time; what is quick is tried first."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

MOST = 8
STATS = Path("mutmut-stats.json")
_as_written = settings.__init__


def _fewer(self: settings, *positional: Any, **named: Any) -> None:
    if "max_examples" in named:
        named["max_examples"] = min(MOST, max(2, named["max_examples"] // 3))
    _as_written(self, *positional, **named)


settings.__init__ = _fewer
settings.register_profile(
    "mutants",
    max_examples=MOST,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile("mutants")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A mutant is killed by the first test that fails: mutmut gives the tests in no order, a property may be first."""
    if STATS.exists():
        took = json.loads(STATS.read_text(encoding="utf-8"))["duration_by_test"]
        items.sort(key=lambda item: took.get(item.nodeid, 0.0))
'''


def lay_out(target: Target) -> None:
    """Make its folder the copy of today's sources and tests."""
    shutil.rmtree(target.folder, ignore_errors=True)
    for relative, text in _files(target):
        path = target.folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _files(target: Target) -> Iterator[tuple[Path, str]]:
    yield Path("pyproject.toml"), _SETTINGS % {"mutated": target.mutated, "tests": json.dumps(target.tests)}
    yield Path("tests/conftest.py"), _CONFTEST
    for origin, goal in target.copied.items():
        found = [*(REPO / origin).rglob("*.py"), *(REPO / origin).rglob("*.json")]
        for path in sorted(found):
            yield Path(goal) / path.relative_to(REPO / origin), path.read_text(encoding="utf-8")


def remember(
    target: Target,
    answer: Mapping[str, Any],
    results: Results,
    changed: Mapping[str, Collection[str]],
    said: Collection[str],
) -> int:
    """Take over what the last run found in what has not changed since; how many are left to try: what survived and is
    not among the words that are `said`, by key.

    `answer`: mutmut's, of mutants that were made and not tried. `changed`: the files that have changed, and the
    functions of each that have not. Equal changes in one function are tried all when one of them survived."""
    survived = {(each.file, each.function, each.before, each.after) for each in results.survivors}
    explained = {
        (each.file, each.function, each.before, each.after)
        for each in results.survivors
        if each.key in said and each.status == "survived"
    }
    known_results: defaultdict[str, dict[str, int]] = defaultdict(dict)
    left = 0
    for key, each in answer.items():
        if not key:
            continue
        mutant = (each["file"], *change(key, each["diff"]))
        measured = each["file"] not in changed or mutant[1] in changed[each["file"]]
        if measured and mutant in explained:
            known_results[each["file"]][key] = _SURVIVED
        elif not measured or mutant in survived:
            left += 1
        else:
            known_results[each["file"]][key] = _KILLED
    for name, keys in known_results.items():
        path = target.folder / "mutants" / target.mutated / f"{name}.meta"
        known = json.loads(path.read_text(encoding="utf-8"))
        known["exit_code_by_key"] |= keys
        path.write_text(json.dumps(known), encoding="utf-8")
    return left
