"""Keeps what the tests said of each set of versions.

`make test-versions` writes one row for each set into docs/results/versions.json; the README's table is made from that
file (`table`), so that no release is claimed that was not run. A run of one set renews one row.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
RESULTS = REPO / "docs" / "results" / "versions.json"


@dataclass(frozen=True, slots=True)
class Row:
    """One run. `name` is the set's; the releases are those that ran; `failed` are the tests that did not pass."""

    name: str
    kubernetes: str
    kserve: str
    passed: int
    failed: tuple[str, ...]
    skipped: int
    seconds: float

    @property
    def order(self) -> tuple[list[int], list[int]]:
        """Rows are shown from the oldest releases to the newest, by KServe first."""
        return _numbers(self.kserve), _numbers(self.kubernetes)


def load(path: Path = RESULTS) -> list[Row]:
    """Every recorded row, in order; none when nothing was recorded yet."""
    if not path.exists():
        return []
    rows = [Row(**(each | {"failed": tuple(each["failed"])})) for each in json.loads(path.read_text(encoding="utf-8"))]
    return sorted(rows, key=lambda row: row.order)


def record(row: Row, path: Path = RESULTS) -> None:
    """Put one row in the place of what its set recorded before."""
    rows = sorted([each for each in load(path) if each.name != row.name] + [row], key=lambda each: each.order)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(each) for each in rows], indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _numbers(release: str) -> list[int]:
    return [int(part) for part in release.split(".")]
