"""Makes mutants of decide/ and routing/, runs the tests against each, and writes down what survived.

`python -m tests.mutants` from the beginning; with `--only routing` those of one package; with `--again` only what
survived the last run, and what changed since; with `--changed` only the files whose code is not what was measured, on
any machine: what is known of the others is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.isolated import environment
from tests.mutants.page import complaints, words
from tests.mutants.results import Results, load, merged, read, save, stale
from tests.mutants.stage import forget_survivors, lay_out
from tests.mutants.targets import REPO, TARGETS, Target

ANSWERS = Path(__file__).with_name("mutmut_results.py")
PROGRESS_SECONDS = 15.0


def measure(target: Target, files: list[str] | None, *, again: bool, children: int) -> Results:
    """One run; `files`: of these only. Raises subprocess.CalledProcessError when mutmut gives up; its words are
    printed."""
    python = environment("mutants", "mutmut", REPO / "requirements/mutants.txt")
    if not again:
        shutil.rmtree(target.folder, ignore_errors=True)
    lay_out(target)
    if again:
        print(f"mutants: {forget_survivors(target)} survivors of the last run are tried again", flush=True)
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONHASHSEED": "0"}
    chosen = [f"{target.module(name)}.*" for name in files or ()]
    _run([str(python.with_name("mutmut")), "run", f"--max-children={children}", *chosen], clean, target.folder)
    told = subprocess.run(
        [str(python), str(ANSWERS), str(target.mutated)],
        cwd=target.folder,
        env=clean,
        check=True,
        capture_output=True,
        text=True,
    )
    return read(target, json.loads(told.stdout), files)


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
    parser.add_argument("--again", action="store_true", help="only survivors of the last run, and what changed since")
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
        results = measure(target, files, again=asked.again, children=asked.children)
        if files is not None:
            results = merged(load(target), results, files)
        save(target, results)
        print(f"mutants: {results.mutants} of {target.name}/ made, {results.noticed:.1%} noticed")
        print(f"mutants: {target.results.relative_to(REPO)} is written", flush=True)
        wrong += complaints(load(target), words(target))
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
