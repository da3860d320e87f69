"""Keeps what the routing benchmark measured, says which bars are missed, and makes README's tables of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
RESULTS = REPO / "docs/results/routing.json"
README = Path("README.md")
BEGIN, END = "<!-- routing: generated from docs/results/routing.json by `make verify` -->", "<!-- routing: end -->"

OURS, WITH_ANSWER = "tierwise", "tierwise, small answer in hand"
WITH_ANSWER_LOOSE = f"{WITH_ANSWER}, C = 1"
NO_GROUP = "tierwise, subject not told"
RANDOM_SPLIT, UNSEEN = "random", "unseen subjects"
MMLU, GSM8K, PUBLISHED_GSM8K = "MMLU", "GSM8K, labels repaired", "GSM8K, labels as published"
LEAST_KEPT = 88.0
BARS = (
    (MMLU, RANDOM_SPLIT, OURS, 0.60),
    (MMLU, UNSEEN, OURS, 0.53),
    (GSM8K, RANDOM_SPLIT, OURS, 0.59),
    (GSM8K, RANDOM_SPLIT, WITH_ANSWER, 0.65),
)
"""Benchmark (the beginning of its name), split, contender, the least APGR."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way to order questions on one benchmark. `apgr`, `cpt50`, `cpt80` and `large_share` (percent of calls to the
    large model at 95 % of its right answers) as RouteLLM defines them; intervals hold 95 % of bootstrap samples; `cost`
    is percent of what the large model alone costs. What a publication does not say is None."""

    benchmark: str
    split: str
    contender: str
    apgr: float
    cpt50: float | None = None
    cpt80: float | None = None
    large_share: float | None = None
    cost: float | None = None
    apgr_interval: tuple[float, float] | None = None
    large_share_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """The mean APGR on questions that were not learned from, by the number of labels, and its deviation."""

    benchmark: str
    split: str
    labels: int
    apgr: float
    deviation: float
    repeats: int


@dataclass(frozen=True, slots=True)
class Kept:
    """How often a promise of 95 % was kept on questions without labels, in percent of the draws, and what it cost:
    the mean percent of calls to the large model, beside the least that would have done."""

    split: str
    labels: int
    method: str
    draws: int
    kept: float
    share: float
    needed: float


@dataclass(frozen=True, slots=True)
class Results:
    """One run."""

    about: dict[str, Any]
    rows: list[Row]
    learned: list[Learned] = field(default_factory=list)
    promise: list[Kept] = field(default_factory=list)


def missed(results: Results) -> list[str]:
    """The bars that are missed, as sentences."""
    found = []
    for benchmark, split, contender, least in BARS:
        row = next((each for each in _of(results.rows, benchmark, split) if each.contender == contender), None)
        if row is None:
            found.append(f"{benchmark}, {split}, {contender}: not measured")
        elif row.apgr < least:
            found.append(f"{benchmark}, {split}, {contender}: APGR {row.apgr:.3f}, below {least:.2f}")
    if not results.promise:
        found.append("whether the promise is kept: not measured")
    for kept in results.promise:
        if kept.method == "promised" and kept.split == RANDOM_SPLIT and kept.kept < LEAST_KEPT:
            found.append(
                f"the promise is kept in {kept.kept:.0f} % of draws at {kept.labels} labels, below {LEAST_KEPT}"
            )
    return found


def load(path: Path = RESULTS) -> Results:
    """The last run."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        Row(**each | {name: each[name] and tuple(each[name]) for name in ("apgr_interval", "large_share_interval")})
        for each in kept["rows"]
    ]
    learned = [Learned(**each) for each in kept["learned"]]
    return Results(kept["about"], rows, learned, [Kept(**each) for each in kept["promise"]])


def files() -> dict[Path, str]:
    """The README with the tables of the repository's results."""
    text = (REPO / README).read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    table = "\n".join(lines(load()))
    return {README: f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"}


def lines(results: Results) -> Iterator[str]:
    """The tables, in Markdown."""
    yield "| questions | split | order | APGR | CPT50 | CPT80 | large calls at 95 % | cost |"
    yield "|---|---|---|--:|--:|--:|--:|--:|"
    for row in results.rows:
        bold = "**" if row.contender.startswith(OURS) else ""
        apgr = f"{row.apgr:.3f}{_between(row.apgr_interval, 3)}"
        share = f"{_number(row.large_share)}{_between(row.large_share_interval, 0)}"
        figures = " | ".join((apgr, _number(row.cpt50), _number(row.cpt80), share, _number(row.cost)))
        yield f"| {row.benchmark} | {row.split} | {bold}{row.contender}{bold} | {figures} |"
    yield ""
    counts = sorted({each.labels for each in results.learned})
    yield f"| mean APGR after so many labels | {' | '.join(f'{count:,}' for count in counts)} |"
    yield f"|---|{'--:|' * len(counts)}"
    for name in dict.fromkeys((each.benchmark, each.split) for each in results.learned):
        by_count = {each.labels: each for each in results.learned if (each.benchmark, each.split) == name}
        cells = [f"{by_count[count].apgr:.3f}" if count in by_count else "" for count in counts]
        yield f"| {', '.join(name)} | {' | '.join(cells)} |"
    yield ""
    yield "| 95 % promised, MMLU | labels | draws | kept | large calls | needed |"
    yield "|---|--:|--:|--:|--:|--:|"
    for kept in results.promise:
        which = f"{kept.method}, {kept.split}"
        percents = " | ".join(f"{value:.1f} %" for value in (kept.kept, kept.share, kept.needed))
        yield f"| {which} | {kept.labels:,} | {kept.draws} | {percents} |"
    short = missed(results)
    yield ""
    yield "Every bar is met." if not short else "Missed:"
    yield from ([""] + [f"- {line}" for line in short] if short else [])


def _of(rows: Sequence[Row], benchmark: str, split: str) -> list[Row]:
    return [row for row in rows if row.benchmark.startswith(benchmark) and row.split == split]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _between(interval: tuple[float, float] | None, digits: int) -> str:
    return "" if interval is None else f" [{interval[0]:.{digits}f}–{interval[1]:.{digits}f}]"
