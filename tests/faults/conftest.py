"""What every fault test shares: the sheet on which it writes what the fault cost."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.faults.results import Row, record


@dataclass(frozen=True, slots=True)
class Sheet:
    """Where a test writes its row."""

    test: str

    def record(  # the columns of the table, by name
        self,
        *,
        row: str,
        fault: str,
        detect_seconds: float | None,
        recover_seconds: float | None,
        wrong_writes: int,
        note: str = "",
    ) -> None:
        """Write the row of this test into docs/results/faults.json; see `results.Row`."""
        record(Row(row, fault, self.test, detect_seconds, recover_seconds, wrong_writes, note))


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Sheet:
    """The sheet of this test."""
    return Sheet(request.node.nodeid)
