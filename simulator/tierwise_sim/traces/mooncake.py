"""Reads and writes Mooncake traces: who asks when, for how many tokens, and which of them were asked before.

JSON lines with timestamp (ms since the trace's start), input_length, output_length and hash_ids, one id per block of
512 tokens (github.com/kvcache-ai/Mooncake, FAST25 traces; Qin et al., FAST 2025). Equal ids mean equal blocks after
equal beginnings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tierwise_sim.traces.arrival import Arrival, Trace
from tierwise_sim.traces.errors import FieldProblem
from tierwise_sim.traces.fields import count, number, shown, tokens
from tierwise_sim.traces.gathering import LONGEST_SECONDS, WHOLE, Gathering, Window
from tierwise_sim.traces.lines import objects

BLOCK_TOKENS = 512
TIME, PROMPT, OUTPUT, BLOCKS = FIELDS = ("timestamp", "input_length", "output_length", "hash_ids")
_ID_LIMIT = 2.0**64


def read(path: Path, window: Window = WHOLE) -> Trace:
    """The trace in this file. Raises TraceError with file, line and reason."""
    gathering = Gathering(path, window)
    gathering.read(objects(path), _arrival)
    return gathering.trace(path.name, f"{path.name} (Mooncake trace)")


def _arrival(row: Mapping[str, Any], gathering: Gathering) -> Arrival:
    for name in FIELDS:
        if name not in row:
            raise FieldProblem(f"no {name}", f"the fields {', '.join(FIELDS)}")
    milliseconds = number(row[TIME], TIME)
    if not 0 <= milliseconds <= LONGEST_SECONDS * 1000:
        raise FieldProblem(f"{TIME} is {shown(row[TIME])}", "milliseconds since the trace's start, at most a year")
    prompt = tokens(row[PROMPT], PROMPT)
    blocks = row[BLOCKS]
    if not isinstance(blocks, list):
        raise FieldProblem(f"{BLOCKS} is {shown(blocks)}", "a list of ids of blocks")
    prefix = tuple(count(each, BLOCKS, _ID_LIMIT) for each in blocks)
    return Arrival(
        milliseconds / 1000,
        prompt,
        tokens(row[OUTPUT], OUTPUT),
        prefix,
        BLOCK_TOKENS if prefix else 0,
    )


def write(trace: Trace) -> Iterator[str]:
    """The lines of such a file, each with its line break. Times are rounded to whole milliseconds; a trace whose blocks
    have another size has none of them here, and tenants, models and labels have no field."""
    for arrival in trace.arrivals:
        row = {
            TIME: round(arrival.at * 1000),
            PROMPT: arrival.prompt_tokens,
            OUTPUT: arrival.output_tokens,
            BLOCKS: list(arrival.prefix) if arrival.block_tokens == BLOCK_TOKENS else [],
        }
        yield json.dumps(row) + "\n"
