"""Makes the mutants in a copy, so that the working tree is never touched.

mutmut wants the packages under `src` and finds a mutant by the module's own name; here they lie in controllers/ and
simulator/. The copy has the layout that mutmut wants, the tests of one package and nothing else of the suite, and a
conftest that makes Hypothesis quick and repeatable: the same examples for every mutant, few of them, no shrinking (a
killed mutant needs no smallest example). Only what changed is copied, so that a second run can begin where the last
one ended.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.mutants.targets import REPO, Target

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
"""Hypothesis for mutants: the same few examples every time."""

from typing import Any

from hypothesis import Phase, settings

MOST = 8
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
'''


def lay_out(target: Target) -> None:
    """Make its folder the copy of today's sources and tests; what an earlier run found out there is kept."""
    folder, wanted = target.folder, dict(_files(target))
    for path in sorted(path for top in ("src", "tests") for path in (folder / top).rglob("*.py")):
        if path.relative_to(folder) not in wanted:
            path.unlink()
    shutil.rmtree(folder / "mutants/tests", ignore_errors=True)  # mutmut copies them anew, and would keep old ones
    for relative, text in wanted.items():
        path = folder / relative
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def _files(target: Target) -> Iterator[tuple[Path, str]]:
    yield Path("pyproject.toml"), _SETTINGS % {"mutated": target.mutated, "tests": json.dumps(target.tests)}
    yield Path("tests/conftest.py"), _CONFTEST
    for origin, goal in target.copied.items():
        for path in sorted((REPO / origin).rglob("*.py")):
            yield Path(goal) / path.relative_to(REPO / origin), path.read_text(encoding="utf-8")


def forget_survivors(target: Target) -> int:
    """Let the next run try again what survived the last one; how many these are."""
    forgotten = 0
    folder = target.folder
    (folder / "mutants/mutmut-stats.json").unlink(missing_ok=True)  # which test reaches which function: new ones too
    for path in sorted((folder / "mutants" / target.mutated).glob("*.meta")):
        known = json.loads(path.read_text(encoding="utf-8"))
        results = known["exit_code_by_key"]
        again = [key for key, code in results.items() if code not in (None, 1, 3)]
        known["exit_code_by_key"] = results | dict.fromkeys(again)
        path.write_text(json.dumps(known), encoding="utf-8")
        forgotten += len(again)
    return forgotten
