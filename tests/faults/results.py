"""Records the cost of each fault: seconds, and wrong writes.

Every fault test writes one row into build/results/faults.json, the results of the runs in this working tree. They
become those of the repository (docs/results/faults.json, and the README's table, so that no figure in it was typed by
hand) only when somebody says so: `make faults-results`. A test that is run leaves no tracked file changed. Rows are
keyed by their test: a run of one test renews one row. Two runs side by side share the file through a lock.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.ledger import Wrong

REPO = Path(__file__).resolve().parents[2]
RESULTS = REPO / "docs" / "results" / "faults.json"
LATEST = REPO / "build" / "results" / "faults.json"


@dataclass(frozen=True, slots=True)
class Row:
    """One fault. `row` is its number in the fault model, `test` the test that makes it (path::name).

    `detect_seconds`: from the fault until something outside shows that the operator reacts: a condition, an Event, a
    line of its log, a write; None when there is nothing to detect. `recover_seconds`: from the end of the fault until
    the state is correct again, for a drain until the last stream has ended; None when it never was wrong, or streams
    were cut. `wrong_writes`: see `ledger`. `note`: a figure that this fault has beside these, e.g. streams cut."""

    row: str
    fault: str
    test: str
    detect_seconds: float | None
    recover_seconds: float | None
    wrong_writes: int
    note: str = ""

    @property
    def drain(self) -> bool:
        """Whether nothing broke: replicas that have open streams were asked to leave."""
        return self.row.startswith("drain")

    @property
    def order(self) -> tuple[int, str, str]:
        """Rows are shown in the order of the fault model, letters for what has no number of its own."""
        number = "".join(character for character in self.row if character.isdigit())
        return (int(number) if number else 1000, self.row, self.fault)


@dataclass(frozen=True, slots=True)
class Sheet:
    """Where a test writes its row. `test`: its path::name."""

    test: str
    path: Path = LATEST

    def record(  # the columns of the table, by name
        self,
        *,
        row: str,
        fault: str,
        detect_seconds: float | None,
        recover_seconds: float | None,
        wrong: Sequence[Wrong],
        note: str = "",
    ) -> None:
        """Write the row of this test, see `Row`. Then fails when a write was wrong: the row counts it all the same."""
        record(Row(row, fault, self.test, detect_seconds, recover_seconds, len(wrong), note), self.path)
        assert not wrong, "\n".join(map(str, wrong))


def load(path: Path) -> list[Row]:
    """Every recorded row, in order; none when nothing was recorded yet."""
    if not path.exists():
        return []
    rows = [Row(**each) for each in json.loads(path.read_text(encoding="utf-8"))]
    return sorted(rows, key=lambda row: row.order)


def record(row: Row, path: Path) -> None:
    """Put one row in the place of what its test recorded before. Seconds are kept to a tenth."""
    rounded = Row(
        **{
            **asdict(row),
            "detect_seconds": _tenth(row.detect_seconds),
            "recover_seconds": _tenth(row.recover_seconds),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        _write([each for each in load(path) if each.test != row.test] + [rounded], path)


def promote(latest: Path = LATEST, kept: Path = RESULTS, repo: Path = REPO) -> list[str]:
    """Make the results of the last runs those of the repository; the tests whose row stays from an earlier one.

    Rows of tests that do not exist any more are dropped."""
    rows = {row.test: row for row in load(kept) if _exists(row.test, repo)}
    new = {row.test: row for row in load(latest)}
    _write(list({**rows, **new}.values()), kept)
    return sorted(rows.keys() - new.keys())


def _exists(test: str, repo: Path) -> bool:
    file, _, name = test.partition("::")
    path = repo / file
    return path.exists() and f"def {name.partition('[')[0]}(" in path.read_text(encoding="utf-8")


def _write(rows: list[Row], path: Path) -> None:
    rows.sort(key=lambda each: each.order)
    text = json.dumps([asdict(each) for each in rows], indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _tenth(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
