"""Cuts the trace into the parts that the bill needs: what is chosen on, the busiest minutes, what is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tierwise_sim.traces import azure, transform
from tierwise_sim.traces.arrival import Arrival, Trace
from tierwise_sim.traces.gathering import Window
from tierwise_sim.workloads import AZURE_CONVERSATION, data_folder, synthetic_conversation

WARM_SECONDS = 300.0
"""Simulated before the part that is judged: one scale-down window."""
PEAK_SECONDS, PEAK_WARM_SECONDS, PEAK_STEP = 300.0, 60.0, 30.0
OUTPUT_WEIGHT = 4
"""Prompt tokens that one generated token counts for: as in the savings of a route."""
SYNTHETIC_SECONDS, SYNTHETIC_RATE, SYNTHETIC_SEED = 3500.0, 5.5, 7


@dataclass(frozen=True, slots=True)
class Part:
    """Requests, and the second from which on they count."""

    trace: Trace
    begin: float


def read(environment: Mapping[str, str]) -> tuple[Trace, Path | None]:
    """The published trace and the folder that it lies in; or a synthetic one of its shape, and None. Raises
    TraceError."""
    folder = data_folder(environment)
    if folder is not None and (folder / AZURE_CONVERSATION).is_file():
        return azure.read(folder / AZURE_CONVERSATION), folder
    arrivals = synthetic_conversation(SYNTHETIC_SECONDS, SYNTHETIC_RATE, SYNTHETIC_SEED)
    return Trace("synthetic conversation", arrivals, SYNTHETIC_SECONDS, "tierwise_sim.workloads"), None


def judged(trace: Trace) -> Part:
    """The second half of the time, after the minutes before it."""
    return _part(trace, trace.duration / 2, trace.duration, WARM_SECONDS)


def chosen_on(trace: Trace) -> Part:
    """The second quarter of the time: nothing of it is judged, and it holds the rise to the peak."""
    return _part(trace, trace.duration / 4, trace.duration / 2, WARM_SECONDS)


def peak(trace: Trace) -> Part:
    """The busiest minutes of all of it, by tokens: what a static fleet has to be made for."""
    starts, sums = [], []
    start = PEAK_WARM_SECONDS
    work = [(each.at, _work(each)) for each in trace.arrivals]
    while start + PEAK_SECONDS <= trace.duration:
        starts.append(start)
        sums.append(sum(tokens for at, tokens in work if start <= at < start + PEAK_SECONDS))
        start += PEAK_STEP
    if not starts:
        return Part(trace, 0.0)
    busiest = starts[max(range(len(sums)), key=lambda index: sums[index])]
    return _part(trace, busiest, busiest + PEAK_SECONDS, PEAK_WARM_SECONDS)


def scaled(part: Part, factor: float, seed: int) -> Part:
    """The same part at so many times its rate."""
    return Part(transform.scale(part.trace, factor, seed), part.begin)


def _work(arrival: Arrival) -> int:
    return arrival.prompt_tokens + OUTPUT_WEIGHT * arrival.output_tokens


def _part(trace: Trace, begin: float, end: float, warm: float) -> Part:
    start = max(0.0, begin - warm)
    return Part(transform.cut(trace, Window(start, end)), begin - start)
