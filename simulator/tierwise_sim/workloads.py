"""Defines workloads: what benchmarks and the demo send, as lists of requests.

Real traces when `TIERWISE_DATA` names a folder that holds them (read by `traces`), and a synthetic one with the
published shape of one of them, so that everything works without that folder. The synthetic conversation
follows the Azure LLM inference trace 2023, conversation service (Patel et al., "Splitwise", ISCA 2024, arXiv
2311.18677): its length percentiles, lengths of prompt and answer nearly independent, one slow hill and valley
of the request rate per hour, minutes that differ, and arrivals a little burstier than Poisson.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from random import Random

from tierwise_sim.traces import azure, mooncake
from tierwise_sim.traces.arrival import Arrival
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.lengths import CONVERSATION

__all__ = [
    "AZURE_CONVERSATION", "MOONCAKE_CONVERSATION", "PREFIX_BLOCK_TOKENS", "Arrival", "Shape", "TraceError", "compress",
    "data_folder", "read_azure", "read_mooncake", "shape", "synthetic_conversation", "thin", "window",
]  # fmt: skip

AZURE_CONVERSATION = "azure-llm-2023-conv.csv"
MOONCAKE_CONVERSATION = "mooncake-conversation.jsonl"
PREFIX_BLOCK_TOKENS = mooncake.BLOCK_TOKENS


def data_folder(environment: Mapping[str, str]) -> Path | None:
    """The folder that TIERWISE_DATA names, or None; TraceError when it names none."""
    name = environment.get("TIERWISE_DATA")
    if not name:
        return None
    folder = Path(name)
    if not folder.is_dir():
        raise TraceError(f"TIERWISE_DATA={name}: no such folder; unset it to use the built-in workload")
    return folder


def read_azure(path: Path) -> tuple[Arrival, ...]:
    """The requests of an Azure LLM inference trace."""
    return azure.read(path).arrivals


def read_mooncake(path: Path) -> tuple[Arrival, ...]:
    """The requests of a Mooncake trace."""
    return mooncake.read(path).arrivals


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
        arrivals.append(Arrival(now, *CONVERSATION.draw(rng)))


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
        raise TraceError(f"a workload of {len(arrivals)} requests has no shape")
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
