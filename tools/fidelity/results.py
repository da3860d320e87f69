"""Keeps what `make fidelity` found, says which bars are missed, and makes the tables of docs/fidelity.md of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

REPO = Path(__file__).resolve().parents[2]
RESULTS = REPO / "docs/results/fidelity.json"
PAGE = Path("docs/fidelity.md")
BEGIN, END = "<!-- fidelity: generated from docs/results/fidelity.json by `make verify` -->", "<!-- fidelity: end -->"
BARS = {"inter_token": 10, "tokens": 10, "ttft": 25}
"""Percent, mean of absolute errors; of the time to the first token where the protocol is known."""


@dataclass(frozen=True, slots=True)
class Row:
    """One point under one contender: relative errors (simulated / measured - 1).

    `source` made the step times; `possible`: whether GPUs can have done the work that the point names (`plausible`).
    """

    contender: str
    left_out: str
    model: str
    gpu: str
    precision: str
    tensor_parallel: int
    prompt_tokens: int
    output_tokens: int
    users: int
    protocol: str
    source: str
    possible: bool
    inter_token: float
    tokens: float
    ttft: float


@dataclass(frozen=True, slots=True)
class Error:
    """Relative errors of a group: the mean of their absolute values, their mean (bias), their median absolute value."""

    points: int
    absolute: float
    bias: float
    middle: float

    @classmethod
    def of(cls, errors: Sequence[float]) -> Error:
        """Of at least one error."""
        sizes = [abs(each) for each in errors]
        return cls(len(errors), fmean(sizes), fmean(errors), median(sizes))

    def __str__(self) -> str:
        return f"{self.absolute * 100:.1f} ({self.bias * 100:+.0f})"


@dataclass(frozen=True, slots=True)
class Results:
    """A run: its rows, the fits that are shipped, ratios between engines, and where they come from."""

    command: str
    versions: dict[str, str]
    rows: list[Row]
    engines: list[dict[str, Any]]
    told: list[dict[str, Any]]


def contenders(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """(name, left out), in the order of the rows."""
    return list(dict.fromkeys((row.contender, row.left_out) for row in rows))


def of(rows: Sequence[Row], contender: tuple[str, str]) -> list[Row]:
    """The rows of one contender."""
    return [row for row in rows if (row.contender, row.left_out) == contender]


def missed(rows: Sequence[Row]) -> list[str]:
    """The bars that a fitted contender misses over all points, as sentences."""
    found = []
    for name, out in contenders(rows):
        if out == "nothing":
            continue
        mine = of(rows, (name, out))
        for what, bar in BARS.items():
            judged = [row for row in mine if what != "ttft" or row.protocol == "InferenceMAX"]
            error = Error.of([getattr(row, what) for row in judged]).absolute * 100
            if error > bar:
                found.append(
                    f"{name}, {out} left out: {_WORDS[what]} {error:.1f} % off over {len(judged)} points, bar {bar} %"
                )
    return found


_WORDS = {"inter_token": "time between tokens", "tokens": "throughput", "ttft": "time to first token"}


def save(results: Results, path: Path) -> None:
    """Write a run, one row a line, so that a difference is readable."""
    head = {"command": results.command, "versions": results.versions}
    lines = [f' "{key}": {json.dumps(value)}' for key, value in head.items()]
    for key in ("told", "engines", "rows"):
        each = [asdict(row) if isinstance(row, Row) else row for row in getattr(results, key)]
        inner = ",\n".join("  " + json.dumps(row, separators=(",", ":")) for row in each)
        lines.append(f' "{key}": [\n{inner}\n ]')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def load(path: Path = RESULTS) -> Results:
    """The last run that was kept."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    return Results(**kept | {"rows": [Row(**row) for row in kept["rows"]]})


def files() -> dict[Path, str]:
    """The page with the tables of the repository's results."""
    text = (REPO / PAGE).read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    table = "\n".join(tables(load()))
    return {PAGE: f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"}


def tables(results: Results) -> Iterator[str]:
    """All tables as Markdown."""
    rows = results.rows
    yield from _overall(rows)
    yield ""
    yield "The same without the points whose own figures are more than their GPUs can do (see below):"
    yield ""
    yield from _overall([row for row in rows if row.possible])
    yield ""
    for title, group in _GROUPS:
        yield f"By {title}, time between tokens:"
        yield ""
        yield from _by(rows, title, group, "inter_token")
        yield ""
    yield "By model and GPU, time to the first token (percent, bias in brackets):"
    yield ""
    yield from _by(rows, "model and GPU", lambda row: f"{row.model}, {_short(row.gpu)}", "ttft")
    yield ""
    yield f"Bars: {BARS['inter_token']} % between tokens, {BARS['tokens']} % throughput, {BARS['ttft']} % to the first"
    yield "token where the protocol is known. Missed over all points:"
    yield ""
    yield from _missed(rows)
    yield ""
    yield "Missed over the points that their GPUs can have done:"
    yield ""
    yield from _missed([row for row in rows if row.possible])
    yield ""
    yield "What the points' own figures ask of their GPUs: arithmetic per second as a share of the data sheet's, and"
    yield "points in which all users are answered before measured kernels alone are through their prompts:"
    yield ""
    yield "| model | GPU | points | of the peak, at most | answered before their prompts are computed |"
    yield "|---|---|--:|--:|--:|"
    for each in results.told:
        yield (
            f"| {each['model']} | {_short(each['gpu'])} | {each['points']} | {each['peak_percent']} % |"
            f" {each['faster_than_kernels']} |"
        )
    yield ""
    yield "Other engines on the same work, as ratios to vLLM (median, range):"
    yield ""
    yield "| engine | model | GPU | precision | points | time between tokens | time to first token |"
    yield "|---|---|---|---|--:|--:|--:|"
    for each in results.engines:
        ratios = [
            f"{each[what][1]:.2f} ({each[what][0]:.2f} to {each[what][2]:.2f})" for what in ("inter_token", "ttft")
        ]
        yield (
            f"| {each['engine']} {each['versions']} | {each['model']} | {_short(each['gpu'])} | {each['precision']} |"
            f" {each['points']} | {ratios[0]} | {ratios[1]} |"
        )


def _missed(rows: Sequence[Row]) -> Iterator[str]:
    yield from (f"- {line}" for line in missed(rows) or ["none"])


def _overall(rows: Sequence[Row]) -> Iterator[str]:
    yield "| step times from | left out of the fit | points | between tokens | throughput | to first token, if told |"
    yield "|---|---|--:|--:|--:|--:|"
    for name, out in contenders(rows):
        mine = of(rows, (name, out))
        told = [row for row in mine if row.protocol == "InferenceMAX"]
        cells = [Error.of([row.inter_token for row in mine]), Error.of([row.tokens for row in mine])]
        first = Error.of([row.ttft for row in told])
        yield f"| {name} | {out} | {len(mine)} | {cells[0]} | {cells[1]} | {first}, {first.points} points |"


_GROUPS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("model, GPU and precision", lambda row: f"{row.model}, {_short(row.gpu)}, {row.precision}"),
    ("GPUs that share the model", lambda row: f"{row.tensor_parallel}"),
)


def _by(rows: Sequence[Row], title: str, group: Callable[[Row], str], what: str) -> Iterator[str]:
    names = contenders(rows)
    yield f"| {title} | points | {' | '.join(_header(*name) for name in names)} |"
    yield f"|---|--:|{'--:|' * len(names)}"
    for key in sorted({group(row) for row in rows}):
        mine = [[row for row in of(rows, name) if group(row) == key] for name in names]
        cells = [str(Error.of([getattr(row, what) for row in each])) for each in mine]
        yield f"| {key} | {len(mine[0])} | {' | '.join(cells)} |"


def _header(name: str, out: str) -> str:
    return name if out == "nothing" else f"{name}, {out} left out"


def _short(gpu: str) -> str:
    return gpu.removeprefix("NVIDIA-").split("-")[0]
