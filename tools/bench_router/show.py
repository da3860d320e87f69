"""Prints what was measured as two tables, the same as the README's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from tools.bench_router.table import REQUESTS, STREAMS, request_cells, stream_cells


def show(result: Mapping[str, Any]) -> None:
    """Print both tables."""
    whole = Table(*REQUESTS)
    streams = Table(*STREAMS)
    for row in result["rows"]:
        if row["one"] and row["many"]:
            whole.add_row(*request_cells(row))
        for each in row["streams"]:
            streams.add_row(*stream_cells(row, each))
    console = Console()
    console.print(whole)
    console.print(streams)
