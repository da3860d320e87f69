"""Makes mutants of decide/ and routing/, runs the tests against each, and writes down what survived.

`python -m tests.mutants` from the beginning; with `--only routing` those of one package; with `--changed` only the
files whose code is not what was measured; with `--again` the functions that are not, and what survived the last run and
has no word yet, against the tests of today. On any machine: what is known of the others is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.isolated import environment
from tests.mutants.functions import known_functions
from tests.mutants.page import complaints, words
from tests.mutants.results import Results, load, merged, read, save, stale
from tests.mutants.stage import lay_out, remember
from tests.mutants.targets import REPO, TARGETS, Target

ANSWERS = Path(__file__).with_name("mutmut_results.py")
PROGRESS_SECONDS = 15.0


def measure(target: Target, *, again: bool, files: list[str] | None, children: int) -> Results:
    """One run; `files`: of these only. Raises subprocess.CalledProcessError when mutmut gives up; its words are
    printed."""
    python = environment("mutants", "mutmut", REPO / "requirements/mutants.txt")
    lay_out(target)
    if again:
        before = load(target)
        least = min((each for each in before.files if each.mutants), key=lambda each: each.mutants)
        _mutmut(target, python, children, [least.name])  # mutmut makes all mutants, whichever are to be tried
        left = remember(target, _answer(target, python), before, known_functions(target, before), words(target))
        print(f"mutants: {left} survived the last run without a word or are of files that have changed", flush=True)
    _mutmut(target, python, children, files or ())
    return read(target, _answer(target, python), files)


def _clean() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONHASHSEED": "0"}


def _mutmut(target: Target, python: Path, children: int, files: Sequence[str]) -> None:
    chosen = [f"{target.module(name)}.*" for name in files]
    _run([str(python.with_name("mutmut")), "run", f"--max-children={children}", *chosen], _clean(), target.folder)


def _answer(target: Target, python: Path) -> dict[str, Any]:
    command = [str(python), str(ANSWERS), str(target.mutated)]
    told = subprocess.run(command, cwd=target.folder, env=_clean(), check=True, capture_output=True, text=True)
    return dict(json.loads(told.stdout))


def _run(command: list[str], environment: dict[str, str], folder: Path) -> None:
    """mutmut draws one line over and over: the last state of it is printed now and then."""
    log, began = folder / "run.log", time.monotonic()
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT) as run,
    ):
        while run.poll() is None:
            try:
                run.wait(timeout=PROGRESS_SECONDS)
            except subprocess.TimeoutExpired:
                print(f"mutants: {time.monotonic() - began:.0f} s, {_last(log)}", flush=True)
    if run.returncode != 0:
        print(log.read_text(encoding="utf-8", errors="replace")[-4000:])
        raise subprocess.CalledProcessError(run.returncode, command)


def _last(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace")
    return text.replace("\n", "\r").rstrip("\r").rpartition("\r")[2].strip()[:100]


def main() -> int:
    """Exit code 1 when a survivor has no word yet, or a word no survivor."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    names = [each.name for each in TARGETS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="packages (default: all)")
    parser.add_argument("--again", action="store_true", help="only survivors without a word, and what changed since")
    parser.add_argument(
        "--changed", action="store_true", help="only the files whose code has changed since the last run"
    )
    parser.add_argument("--children", type=int, default=os.cpu_count() or 2, help="mutants tried side by side")
    asked = parser.parse_args()
    wrong: list[str] = []
    for target in TARGETS:
        if target.name not in asked.only:
            continue
        files = None
        if asked.changed:
            files = stale(target, load(target))
            if not files:
                print(f"mutants: the results of {target.name}/ are of today's code")
                continue
            print(f"mutants: {target.name}/: {', '.join(files)}", flush=True)
        results = measure(target, again=asked.again, files=files, children=asked.children)
        if files is not None:
            results = merged(load(target), results, files)
        save(target, results)
        print(f"mutants: {results.mutants} of {target.name}/ made, {results.noticed:.1%} noticed")
        print(f"mutants: {target.results.relative_to(REPO)} is written", flush=True)
        wrong += complaints(target, load(target), words(target))
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
