"""Defines workloads: who asks when, and for how many tokens.

Traces as values: real ones when `TIERWISE_DATA` names a folder that holds them, and a synthetic one with the
published shape of one of them, so that everything works without that folder. The synthetic conversation
follows the Azure LLM inference trace 2023, conversation service (Patel et al., "Splitwise", ISCA 2024, arXiv
2311.18677): its length percentiles, lengths of prompt and answer nearly independent, one slow hill and valley
of the request rate per hour, minutes that differ, and arrivals a little burstier than Poisson.
"""

from __future__ import annotations

import csv
import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from random import Random

AZURE_CONVERSATION = "azure-llm-2023-conv.csv"
MOONCAKE_CONVERSATION = "mooncake-conversation.jsonl"
PREFIX_BLOCK_TOKENS = 512


class WorkloadError(ValueError):
    """A trace that cannot be read, with its file and line."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request of a trace: seconds since its start, tokens, and the ids of its leading 512-token blocks.

    Two requests share exactly the prompt blocks whose ids are equal.
    """

    at: float
    prompt_tokens: int
    output_tokens: int
    prefix: tuple[int, ...] = ()


def data_folder(environment: Mapping[str, str]) -> Path | None:
    """The folder that TIERWISE_DATA names, or None; WorkloadError when it names none."""
    name = environment.get("TIERWISE_DATA")
    if not name:
        return None
    folder = Path(name)
    if not folder.is_dir():
        raise WorkloadError(f"TIERWISE_DATA={name}: no such folder; unset it to use the built-in workload")
    return folder


def read_azure(path: Path) -> tuple[Arrival, ...]:
    """An Azure LLM inference trace (CSV: TIMESTAMP, ContextTokens, GeneratedTokens)."""
    arrivals: list[Arrival] = []
    start: datetime | None = None
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                # Seven digits of fraction are one more than datetime keeps; time zones stay as written.
                moment = datetime.fromisoformat(row["TIMESTAMP"][:26])
                start = start or moment
                at = (moment - start).total_seconds()
                arrivals.append(Arrival(at, max(1, int(row["ContextTokens"])), max(1, int(row["GeneratedTokens"]))))
            except (KeyError, TypeError, ValueError) as error:
                raise WorkloadError(f"{path}:{number}: not a row of an Azure LLM trace ({error})") from error
    return tuple(sorted(arrivals, key=lambda arrival: arrival.at))


def read_mooncake(path: Path) -> tuple[Arrival, ...]:
    """A Mooncake trace (JSON lines: timestamp in ms, input_length, output_length, hash_ids)."""
    arrivals: list[Arrival] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                arrivals.append(
                    Arrival(
                        row["timestamp"] / 1000,
                        max(1, int(row["input_length"])),
                        max(1, int(row["output_length"])),
                        tuple(int(block) for block in row["hash_ids"]),
                    )
                )
            except (KeyError, TypeError, ValueError) as error:
                raise WorkloadError(f"{path}:{number}: not a line of a Mooncake trace ({error})") from error
    return tuple(sorted(arrivals, key=lambda arrival: arrival.at))


# (share of requests, tokens) of the Azure 2023 conversation trace.
_PROMPT_QUANTILES = (
    (0.0, 10), (0.01, 29), (0.05, 181), (0.1, 207), (0.25, 396), (0.5, 1020), (0.75, 1189), (0.9, 2735),
    (0.95, 4083), (0.99, 4142), (1.0, 8000),
)  # fmt: skip
_OUTPUT_QUANTILES = (
    (0.0, 7), (0.01, 16), (0.05, 41), (0.1, 54), (0.25, 85), (0.5, 129), (0.75, 395), (0.9, 424), (0.95, 451),
    (0.99, 601), (1.0, 1000),
)  # fmt: skip


def _draw(quantiles: Sequence[tuple[float, int]], rng: Random) -> int:
    """Inverse transform sampling, log-linear between the given quantiles."""
    share = rng.random()
    index = min(bisect_right([q for q, _ in quantiles], share), len(quantiles) - 1)
    (low, few), (high, many) = quantiles[index - 1], quantiles[index]
    part = (share - low) / (high - low)
    return round(math.exp(math.log(few) + part * (math.log(many) - math.log(few))))


def synthetic_conversation(seconds: float, rate: float, seed: int) -> tuple[Arrival, ...]:
    """Requests for `seconds` at `rate` per second on average, with the Azure conversation trace's shape.

    The rate swings by a third around its mean once per hour (or once, in a shorter run) and each minute differs
    by about a tenth; that makes gaps a little more varied than Poisson's, as in the trace.
    """
    rng = Random(seed)  # noqa: S311 - a repeatable workload, no secret
    period = min(3600.0, seconds)
    arrivals: list[Arrival] = []
    now, minute, factor = 0.0, -1, 1.0
    while True:
        if int(now // 60) != minute:
            minute, factor = int(now // 60), rng.gammavariate(100, 0.01)
        wave = 1 - math.cos(2 * math.pi * now / period) / 3
        now += rng.expovariate(rate * wave * factor)
        if now >= seconds:
            return tuple(arrivals)
        arrivals.append(Arrival(now, _draw(_PROMPT_QUANTILES, rng), _draw(_OUTPUT_QUANTILES, rng)))


def window(arrivals: Sequence[Arrival], start: float, seconds: float) -> tuple[Arrival, ...]:
    """The part of a trace from `start` on, at most `seconds` long, moved to time 0."""
    inside = (arrival for arrival in arrivals if start <= arrival.at < start + seconds)
    return tuple(replace(arrival, at=arrival.at - start) for arrival in inside)


def thin(arrivals: Sequence[Arrival], share: float, seed: int) -> tuple[Arrival, ...]:
    """A random `share` (0 to 1) of the requests: the same shape at a lower rate."""
    rng = Random(seed)  # noqa: S311 - a repeatable workload, no secret
    return tuple(arrival for arrival in arrivals if rng.random() < share)


def compress(arrivals: Sequence[Arrival], factor: float) -> tuple[Arrival, ...]:
    """The same requests `factor` times faster after one another."""
    return tuple(replace(arrival, at=arrival.at / factor) for arrival in arrivals)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a workload looks like, for a reader: counts, means, medians, and the gaps' variation."""

    requests: int
    seconds: float
    prompt_mean: float
    prompt_median: float
    output_mean: float
    output_median: float
    gap_variation: float


def shape(arrivals: Sequence[Arrival]) -> Shape:
    """Summarise a workload of at least three requests."""
    if len(arrivals) < 3:
        raise WorkloadError(f"a workload of {len(arrivals)} requests has no shape")
    prompts = sorted(arrival.prompt_tokens for arrival in arrivals)
    outputs = sorted(arrival.output_tokens for arrival in arrivals)
    gaps = [after.at - before.at for before, after in pairwise(arrivals)]
    mean_gap = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean_gap) ** 2 for gap in gaps) / len(gaps))
    return Shape(
        requests=len(arrivals),
        seconds=arrivals[-1].at,
        prompt_mean=sum(prompts) / len(prompts),
        prompt_median=prompts[len(prompts) // 2],
        output_mean=sum(outputs) / len(outputs),
        output_median=outputs[len(outputs) // 2],
        gap_variation=deviation / mean_gap if mean_gap else 0.0,
    )
