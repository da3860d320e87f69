"""What every fault test shares: one playground, and the sheet on which it writes what the fault cost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from playground.handle import Playground, start
from tests.cluster.conftest import ENGINE, SCRAPE_SECONDS
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


@pytest.fixture(scope="session")
def playground() -> Iterator[Playground]:
    """A running control plane, shared; what a test stops it must start again."""
    with start(
        scrape_interval=SCRAPE_SECONDS,
        engine=ENGINE,
        progress=lambda text: print(f"playground: {text}", file=sys.__stderr__, flush=True),
    ) as running:
        yield running
