"""Keeps the results of the mutation tests.

One JSON file: for each file of the package the hash of its code when it was measured and how many of its mutants were
killed, and every mutant that was not, by a key that names the function and the changed line. mutmut's own numbers would
not do: they move with every edit of the function.

The hash says whether the results are of today's code (`stale`). It leaves out comments, docstrings and blank lines, of
which no mutant is made: a better sentence asks for no new run. Tests are not hashed, so a test that is made weaker
shows in the next run only.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import tokenize
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tests.mutants.targets import Target

KILLED, TIMEOUT = "killed", "timeout"


@dataclass(frozen=True, slots=True)
class File:
    """The mutants of one file, none for a file without functions. `sha256`: of the code they were made of."""

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


def read(target: Target, answer: Mapping[str, Any], files: Collection[str] | None = None) -> Results:
    """What mutmut told; `files`: of these. Raises ValueError when a mutant has not been tried."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    survivors: list[Survivor] = []
    seen: Counter[Survivor] = Counter()
    for key, each in answer.items():
        if not key or (files is not None and each["file"] not in files):
            continue
        if each["status"] in ("not checked", "check was interrupted by user"):
            raise ValueError(f"{key} has not been tried: let the run come to its end")
        counts[each["file"]][each["status"]] += 1
        if each["status"] != KILLED:
            plain = Survivor(each["file"], *change(key, each["diff"]), each["status"])
            seen[plain] += 1
            survivors.append(Survivor(**{**asdict(plain), "number": seen[plain]}))
    return Results(
        tool=str(answer[""]),
        files=tuple(
            File(name, digest(target, name), counts[name].total(), counts[name][KILLED], counts[name][TIMEOUT])
            for name in sorted({*counts, *_sources(target)})
            if files is None or name in files
        ),
        survivors=tuple(sorted(survivors)),
    )


def merged(before: Results, now: Results, files: Collection[str]) -> Results:
    """What is known of all files: `now` of these, which may be gone, `before` of the others."""
    kept = (each for each in before.files if each.name not in files)
    survived = (each for each in before.survivors if each.file not in files)
    return Results(now.tool, tuple(sorted((*kept, *now.files), key=_name)), tuple(sorted((*survived, *now.survivors))))


def _name(file: File) -> str:
    return file.name


def stale(target: Target, results: Results) -> list[str]:
    """Its files whose code is not what was measured: changed, new or gone."""
    measured = {each.name: each.sha256 for each in results.files}
    today = {name: digest(target, name) for name in _sources(target)}
    return sorted(name for name in {*measured, *today} if measured.get(name) != today.get(name))


def digest(target: Target, name: str) -> str:
    """Of the code of one of its files as it is now."""
    return digest_of((target.sources / name).read_text(encoding="utf-8"))


def digest_of(text: str) -> str:
    """Of the code of a text."""
    return hashlib.sha256(code(text).encode()).hexdigest()


def code(text: str) -> str:
    """Python without comments, docstrings and blank lines, otherwise as it was written.

    Cut out of the text: a syntax tree prints differently from one Python release to the next."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            for row in range(first.lineno, (first.end_lineno or first.lineno) + 1):
                lines[row - 1] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _sources(target: Target) -> list[str]:
    return [path.relative_to(target.sources).as_posix() for path in target.sources.rglob("*.py")]


def save(target: Target, results: Results) -> None:
    """Keep them."""
    target.results.parent.mkdir(parents=True, exist_ok=True)
    target.results.write_text(json.dumps(asdict(results), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load(target: Target) -> Results:
    """Those of the last run."""
    kept = json.loads(target.results.read_text(encoding="utf-8"))
    return Results(
        kept["tool"],
        tuple(File(**each) for each in kept["files"]),
        tuple(Survivor(**each) for each in kept["survivors"]),
    )


def change(key: str, diff: str) -> tuple[str, str, str]:
    """The function of a mutant, the line before and the line after."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++", "@@"))]
    before = " ".join(line[1:].strip() for line in lines if line.startswith("-"))
    after = " ".join(line[1:].strip() for line in lines if line.startswith("+"))
    return _function(key), before, after


def _function(key: str) -> str:
    """mutmut writes tierwise.decide.stabilization.x__higher__mutmut_14, and a method as xǁClassǁmethod."""
    mangled = key.rpartition(".")[2].rpartition("__mutmut_")[0]
    return mangled.removeprefix("xǁ").replace("ǁ", ".") if "ǁ" in mangled else mangled.removeprefix("x_")
