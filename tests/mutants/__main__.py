"""Makes the mutants of decide/, runs the tests against each, and writes down what survived.

`python -m tests.mutants` from the beginning; with `--again` only what survived the last run, and what changed since.
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
from tests.mutants.results import RESULTS, Results, load, read, save
from tests.mutants.stage import REPO, forget_survivors, lay_out

FOLDER = REPO / ".cache/mutants"
ANSWERS = Path(__file__).with_name("mutmut_results.py")
PROGRESS_SECONDS = 15.0


def measure(*, again: bool, children: int) -> Results:
    """One run. Raises subprocess.CalledProcessError when mutmut gives up; its words are printed."""
    python = environment("mutants", "mutmut", REPO / "requirements/mutants.txt")
    if not again:
        shutil.rmtree(FOLDER, ignore_errors=True)
    lay_out(FOLDER)
    if again:
        print(f"mutants: {forget_survivors(FOLDER)} survivors of the last run are tried again", flush=True)
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONHASHSEED": "0"}
    _run([str(python.with_name("mutmut")), "run", f"--max-children={children}"], clean)
    told = subprocess.run(
        [str(python), str(ANSWERS)], cwd=FOLDER, env=clean, check=True, capture_output=True, text=True
    )
    return read(json.loads(told.stdout))


def _run(command: list[str], environment: dict[str, str]) -> None:
    """mutmut draws one line over and over: the last state of it is printed now and then."""
    log, began = FOLDER / "run.log", time.monotonic()
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=FOLDER, env=environment, stdout=output, stderr=subprocess.STDOUT) as run,
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
    parser.add_argument("--again", action="store_true", help="only survivors of the last run, and what changed since")
    parser.add_argument("--children", type=int, default=os.cpu_count() or 2, help="mutants tried side by side")
    asked = parser.parse_args()
    results = measure(again=asked.again, children=asked.children)
    save(results)
    print(f"mutants: {results.mutants} made, {results.noticed:.1%} noticed; {RESULTS.relative_to(REPO)} is written")
    wrong = complaints(load(), words())
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
