"""Runs the cases that are missing, several at a time, and tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from tools.bench_scaling.cases import Case
from tools.bench_scaling.journal import Journal
from tools.bench_scaling.run import Figures, measure

Told = Callable[[int, int, str], None]


def run(cases: Sequence[Case], journal: Journal, jobs: int, told: Told) -> None:
    """Simulate what the journal does not have. `told`: how many are done, of how many, and which was the last."""
    missing = [case for case in cases if journal.found(case) is None]
    told(0, len(missing), "")
    if jobs <= 1:
        for done, case in enumerate(missing, start=1):
            journal.keep(case, measure(case))
            told(done, len(missing), case.name)
        return
    with ProcessPoolExecutor(jobs) as pool:
        running = {pool.submit(measure, case): case for case in missing}
        for done, ended in enumerate(as_completed(running), start=1):
            case = running[ended]
            journal.keep(case, ended.result())
            told(done, len(missing), case.name)


def collected(cases: Sequence[Case], journal: Journal) -> Mapping[Case, Figures]:
    """Those that have run, in the order of the set."""
    found = ((case, journal.found(case)) for case in cases)
    return {case: figures for case, figures in found if figures is not None}
