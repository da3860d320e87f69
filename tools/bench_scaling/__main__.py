"""Compares autoscalers: `python -m tools.bench_scaling` (or `make bench-scaling`). Minutes on one core, without a GPU.

TIERWISE_DATA names the folder with the published traces. What has run is kept, so an interrupted comparison goes on
where it was; `--only` runs a part, and the page says how much of the set there is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tierwise.errors import Invalid
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.workloads import data_folder
from tools.bench_scaling import cases, judge, results, work
from tools.bench_scaling.journal import Journal
from tools.generated import write

JOURNAL = Path(".cache/bench_scaling")
COMMAND = "python -m tools.bench_scaling"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, write the result and what is made of it. The exit code is 1 when a promise was not kept."""
    given = _parser().parse_args(arguments)
    every = cases.SETS[given.set]()
    wanted = cases.chosen(every, given.only)
    if not wanted:
        print(
            f"--only {' '.join(given.only)}: no simulation of the set {given.set} has that in its name", file=sys.stderr
        )
        return 2
    if given.list:
        print("\n".join(case.name for case in wanted))
        return 0
    try:
        journal = Journal.of(results.REPO, results.REPO / JOURNAL, data_folder(os.environ))
        _run(wanted, journal, given.jobs, Console(stderr=True))
    except (TraceError, Invalid) as error:
        print(f"{error}", file=sys.stderr)
        return 2
    found = work.collected(every, journal)
    made = results.made(found, given.set, len(every), _commit())
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for path in write(results.files(), results.REPO):
        print(f"{path} is written")
    for bar, kept, lost, unknown in judge.counted(found):
        print(f"{bar}: kept in {kept}, missed in {lost}, not compared in {unknown}")
    for line in made["missed"]:
        print(f"missed: {line}")
    return 1 if made["missed"] else 0


def _commit() -> str:
    said = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=results.REPO, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="The operator beside other autoscalers.")
    parser.add_argument("--set", choices=sorted(cases.SETS), default="short", help="short: what tells most; full: all")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="a part of a name, or a pattern")
    parser.add_argument("--list", action="store_true", help="print the names of the simulations, and run none")
    parser.add_argument("--jobs", type=int, default=1, help="simulations at a time")
    parser.add_argument("--out", type=Path, default=results.REPO / results.RESULTS, help="where the JSON goes")
    return parser


def _run(wanted: Sequence[cases.Case], journal: Journal, jobs: int, console: Console) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        whole = bar.add_task("beginning", total=None)

        def told(done: int, of: int, name: str) -> None:
            bar.update(whole, description=name or "beginning", completed=done, total=of)
            if not console.is_terminal and name:
                console.print(f"{done}/{of} {name}", soft_wrap=True)

        work.run(wanted, journal, jobs, told)


if __name__ == "__main__":
    sys.exit(main())
