"""Keeps the comparison as JSON, and makes docs/scaling.md and its picture of it: no figure is written by hand.

`python -m tools.bench_scaling.results` writes both from docs/results/scaling.json; `make verify` does it too and fails
when one was different.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tools.bench_scaling import judge, page, picture
from tools.bench_scaling.cases import Case
from tools.bench_scaling.journal import figures
from tools.bench_scaling.judge import Found
from tools.generated import write

REPO = Path(__file__).resolve().parents[2]
RESULTS = Path("docs/results/scaling.json")
PAGE, PICTURE = Path("docs/scaling.md"), Path("docs/scaling.svg")
FORMAT = 1


def made(found: Found, name: str, of: int, commit: str) -> dict[str, Any]:
    """The comparison, as it is written. `name`: of the set of cases; `of`: how many it has; `commit`: of the code."""
    return {
        "format": FORMAT,
        "about": {
            "command": "make bench-scaling" + ("" if name == "short" else f" SET={name}"),
            "tierwise": version("tierwise"),
            "commit": commit,
            "python": platform.python_version(),
            "set": name,
            "cases": of,
        },
        "cases": [{**_short(case), "figures": asdict(each)} for case, each in found.items()],
        "missed": judge.missed(found),
    }


def _short(case: Case) -> dict[str, Any]:
    """Fields at their default are left out."""
    defaults = {field.name: field.default for field in fields(Case)}
    return {name: value for name, value in asdict(case).items() if value != defaults[name]}


def found(kept: Mapping[str, Any]) -> Found:
    """The figures of what was written."""
    return {
        Case(**{name: value for name, value in each.items() if name != "figures"}): figures(each["figures"])
        for each in kept["cases"]
    }


def load(root: Path = REPO) -> Mapping[str, Any] | None:
    """The last comparison; None before there is one."""
    path = root / RESULTS
    if not path.is_file():
        return None
    kept: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def files(root: Path = REPO) -> dict[Path, str]:
    """The page and the picture of the last comparison; before there is one, the page says so."""
    kept = load(root)
    if kept is None:
        return {PAGE: f"# Scaling\n\n{page.NOT_YET}\n"}
    all_found = found(kept)
    return {PAGE: page.page(kept["about"], all_found), PICTURE: picture.svg(all_found)}


def written(root: Path = REPO) -> Sequence[Path]:
    """Write what is stale."""
    return write(files(root), root)


if __name__ == "__main__":
    for each in written():
        print(f"{each} is written")
