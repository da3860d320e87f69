"""Keeps the results of the mutation tests.

One JSON file: for each file of decide/ its hash when it was measured and how many of its mutants were killed, and every
mutant that was not, by a key that names the function and the changed line. mutmut's own numbers would not do: they move
with every edit of the function.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
DECIDE = REPO / "controllers/tierwise/decide"
RESULTS = REPO / "docs/results/mutants.json"
KILLED, TIMEOUT = "killed", "timeout"


@dataclass(frozen=True, slots=True)
class File:
    """The mutants of one file. `sha256`: of the file they were made of."""

    name: str
    sha256: str
    mutants: int
    killed: int
    timeout: int

    @property
    def survived(self) -> int:
        """Those that no test noticed."""
        return self.mutants - self.killed - self.timeout


@dataclass(frozen=True, slots=True, order=True)
class Survivor:
    """A mutant that was not killed: `before` became `after`. `status` is mutmut's: survived, timeout, ..."""

    file: str
    function: str
    before: str
    after: str
    status: str
    number: int = 1  # of equal changes in one function

    @property
    def key(self) -> str:
        """By which its word is kept."""
        again = f" #{self.number}" if self.number > 1 else ""
        return f"{self.file} {self.function}: {self.before} -> {self.after}{again}"


@dataclass(frozen=True, slots=True)
class Results:
    """One run."""

    tool: str
    files: tuple[File, ...]
    survivors: tuple[Survivor, ...]

    @property
    def mutants(self) -> int:
        """How many were made."""
        return sum(each.mutants for each in self.files)

    @property
    def noticed(self) -> float:
        """The share that was killed or ran into the time limit, 0..1."""
        return sum(each.killed + each.timeout for each in self.files) / self.mutants


def read(answer: Mapping[str, Any]) -> Results:
    """What mutmut told. Raises ValueError when a mutant has not been tried."""
    counts: dict[str, Counter[str]] = {}
    survivors: list[Survivor] = []
    seen: Counter[Survivor] = Counter()
    for key, each in answer.items():
        if not key:
            continue
        if each["status"] in ("not checked", "check was interrupted by user"):
            raise ValueError(f"{key} has not been tried: let the run come to its end")
        counts.setdefault(each["file"], Counter())[each["status"]] += 1
        if each["status"] != KILLED:
            before, after = _change(each["diff"])
            plain = Survivor(each["file"], _function(key), before, after, each["status"])
            seen[plain] += 1
            survivors.append(Survivor(**{**asdict(plain), "number": seen[plain]}))
    return Results(
        tool=str(answer[""]),
        files=tuple(
            File(name, digest(name), sum(found.values()), found[KILLED], found[TIMEOUT])
            for name, found in sorted(counts.items())
        ),
        survivors=tuple(sorted(survivors)),
    )


def digest(name: str) -> str:
    """Of a file of decide/ as it is now."""
    return hashlib.sha256((DECIDE / name).read_bytes()).hexdigest()


def save(results: Results) -> None:
    """Keep them."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(asdict(results), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load() -> Results:
    """Those of the last run."""
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))
    return Results(
        kept["tool"],
        tuple(File(**each) for each in kept["files"]),
        tuple(Survivor(**each) for each in kept["survivors"]),
    )


def _function(key: str) -> str:
    """mutmut writes tierwise.decide.stabilization.x__higher__mutmut_14, and a method as xǁClassǁmethod."""
    mangled = key.rpartition(".")[2].rpartition("__mutmut_")[0]
    return mangled.removeprefix("xǁ").replace("ǁ", ".") if "ǁ" in mangled else mangled.removeprefix("x_")


def _change(diff: str) -> tuple[str, str]:
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++", "@@"))]
    before = " ".join(line[1:].strip() for line in lines if line.startswith("-"))
    after = " ".join(line[1:].strip() for line in lines if line.startswith("+"))
    return before, after
