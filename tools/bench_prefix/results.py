"""Keeps what the prefix benchmark measured, says where ours falls short, and makes the README's table of it.

The bars: the hit rate of one router at least 0.9 of that of the oracle with the longest prefix, that of four routers
too, and within a twentieth of one router's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
RESULTS = REPO / "docs/results/prefix.json"
README = Path("README.md")
BEGIN, END = "<!-- prefix: generated from docs/results/prefix.json by `make verify` -->", "<!-- prefix: end -->"
ONE, FOUR, MOST_HITS = "ours, 1 router", "ours, 4 routers", "oracle, longest prefix"
OF_THE_ORACLE, OF_ONE = 0.9, 0.95


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is replayed over what: `load` in percent of the capacity, `cache_tokens` of one replica."""

    workload: str
    replicas: int
    load: int
    cache: str
    cache_tokens: int

    def __str__(self) -> str:
        cache = f"{self.cache} cache ({self.cache_tokens:,} tokens)"
        return f"{self.workload}, {self.replicas} replicas, load {self.load} %, {cache}"

    @classmethod
    def all_of(cls, rows: Sequence[Row]) -> list[Scenario]:
        """Those of the rows, in their order."""
        return list(dict.fromkeys(row.scenario for row in rows))


@dataclass(frozen=True, slots=True)
class Row:
    """One contender in one scenario: the share of prompt tokens that were cached, times to first token in seconds, and
    how many requests each replica was given."""

    scenario: Scenario
    contender: str
    hit_rate: float
    p50: float
    p95: float
    p99: float
    given: list[int]


def short(rows: Sequence[Row], scenario: Scenario) -> list[str]:
    """The bars that are missed in a scenario, as sentences."""
    hits = {row.contender: row.hit_rate for row in rows if row.scenario == scenario}
    bars = (
        (ONE, OF_THE_ORACLE, MOST_HITS),
        (FOUR, OF_THE_ORACLE, MOST_HITS),
        (FOUR, OF_ONE, ONE),
    )
    return [
        f"{scenario}: the hit rate of {ours} is {hits[ours] / hits[other]:.3f} of that of {other}, below {bar}"
        for ours, bar, other in bars
        if hits[ours] < bar * hits[other]
    ]


def load(path: Path = RESULTS) -> list[Row]:
    """The rows of the last run."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    return [Row(**each | {"scenario": Scenario(**each["scenario"])}) for each in kept["rows"]]


def files() -> dict[Path, str]:
    """The README with the table of the repository's results."""
    text = (REPO / README).read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    table = "\n".join(_lines(load()))
    return {README: f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"}


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    names = list(dict.fromkeys(row.contender for row in rows))
    yield f"| workload | replicas | load | cache | {' | '.join(names)} |"
    yield f"|---|--:|--:|---|{'--:|' * len(names)}"
    for scenario in Scenario.all_of(rows):
        found = {row.contender: row for row in rows if row.scenario == scenario}
        cells = [f"{found[name].hit_rate:.3f}, {found[name].p95:.1f} s" for name in names]
        where = f"{scenario.workload} | {scenario.replicas} | {scenario.load} % | {scenario.cache}"
        yield f"| {where} | {' | '.join(cells)} |"
    missed = [line for scenario in Scenario.all_of(rows) for line in short(rows, scenario)]
    yield ""
    yield f"Wanted of ours: {OF_THE_ORACLE} of the hit rate of the oracle with the longest prefix; of four routers"
    yield f"{OF_ONE} of that of one." + (" Missed:" if missed else " Every row has it.")
    yield from ([""] + [f"- {line}" for line in missed] if missed else [])
