"""Reads and writes the Azure LLM inference traces of 2023 and 2024: who asks when, and for how many tokens.

CSV with TIMESTAMP, ContextTokens, GeneratedTokens (github.com/Azure/AzurePublicDataset; Patel et al., "Splitwise",
ISCA 2024; Stojkovic et al., "DynamoLLM", HPCA 2025). Times of 2023 have seven digits of fraction and no zone, those of
2024 six and one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tierwise_sim.traces.arrival import Arrival, Trace
from tierwise_sim.traces.errors import FieldProblem, at_line
from tierwise_sim.traces.fields import moment, tokens
from tierwise_sim.traces.gathering import WHOLE, Gathering, Window
from tierwise_sim.traces.lines import header, table

TIME, PROMPT, OUTPUT = COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_BEGINS = datetime(2024, 1, 1, tzinfo=UTC)


def read(path: Path, window: Window = WHOLE) -> Trace:
    """The trace in this file. Raises TraceError with file, line and reason."""
    present = header(path)
    for column in COLUMNS:
        if column not in present:
            raise at_line(path, 1, f"no column {column}", f"the columns {', '.join(COLUMNS)}")
    gathering = Gathering(path, window)
    gathering.read(table(path), _arrival)
    return gathering.trace(path.name, f"{path.name} (Azure LLM inference trace)")


def _arrival(row: Mapping[str, str], gathering: Gathering) -> Arrival:
    at = moment(row[TIME], TIME)
    if not row[PROMPT] or not row[OUTPUT]:
        raise FieldProblem("a number of tokens is missing", f"{PROMPT} and {OUTPUT}")
    return Arrival(at, tokens(row[PROMPT], PROMPT), tokens(row[OUTPUT], OUTPUT))


def write(trace: Trace) -> Iterator[str]:
    """The lines of such a file, each with its line break. Prefixes, tenants, models and labels have no column."""
    yield ",".join(COLUMNS) + "\n"
    for arrival in trace.arrivals:
        at = _BEGINS + timedelta(seconds=arrival.at)
        yield f"{at:%Y-%m-%d %H:%M:%S.%f},{arrival.prompt_tokens},{arrival.output_tokens}\n"
