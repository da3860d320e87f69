"""Defines a trace: requests in the order in which they come.

Readers and generators make it, replays consume it. What holds for every trace is checked once, here, so that no reader
can forget it and no replay needs to ask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tierwise_sim.traces.errors import FieldProblem, TraceError

MOST_TOKENS = 20_000_000
"""Twice the longest context that any model offers: more in one request is a wrong column or a wrong unit."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request.

    `at`: seconds from the trace's start. `prefix`: chained hashes of the prompt's leading blocks of `block_tokens`
    tokens each, first block first; two requests share exactly the leading blocks whose hashes are equal. A prefix may
    stop before the prompt does: what follows is shared with nobody. `model`: what the client named ("" = the route's
    own). `label`: the probability (or 0/1) that the small tier can answer; None = not known.
    """

    at: float
    prompt_tokens: int
    output_tokens: int
    prefix: tuple[int, ...] = ()
    block_tokens: int = 0
    tenant: str = ""
    model: str = ""
    label: float | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests sorted by time, all in [0, duration).

    `duration`: the seconds that the trace covers, the quiet ones at its end included; the mean rate is requests over
    duration. `source`: where it comes from, for a person. `notes`: what was assumed on the way (spread over an hour,
    failed requests left out, ...), for whoever reads a result that stands on it.

    Raises TraceError when it is empty, unsorted, outside of its duration, or holds an impossible request.
    """

    name: str
    arrivals: tuple[Arrival, ...]
    duration: float
    source: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check what every user of a trace relies on."""
        if not self.arrivals:
            raise TraceError(f"{self.source}: an empty trace; expected at least one request")
        if not (math.isfinite(self.duration) and self.duration > 0):
            raise TraceError(f"{self.source}: a trace of {self.duration} s; expected a positive number of seconds")
        before = 0.0
        for number, arrival in enumerate(self.arrivals, start=1):
            problem = problem_of(arrival)
            if not before <= arrival.at < self.duration:
                span = f"from {before} s (the one before it) to below {self.duration} s (the end)"
                problem = FieldProblem(f"it comes at {arrival.at} s", span)
            if problem is not None:
                raise TraceError(f"{self.source}: request {number} of {len(self.arrivals)}: {problem}")
            before = arrival.at

    @property
    def rate(self) -> float:
        """Requests per second, on average."""
        return len(self.arrivals) / self.duration


def within(at: float, duration: float) -> float:
    """`at`, or the nearest time in [0, duration): for times that rounding has moved past an end."""
    return min(max(0.0, at), math.nextafter(duration, 0.0))


def problem_of(arrival: Arrival) -> FieldProblem | None:
    """What is impossible about this request by itself; None when nothing is."""
    prompt, output, size = arrival.prompt_tokens, arrival.output_tokens, arrival.block_tokens
    if not (1 <= prompt <= MOST_TOKENS and 1 <= output <= MOST_TOKENS):
        return FieldProblem(f"{prompt} prompt and {output} output tokens", f"1 to {MOST_TOKENS:,} of each")
    if arrival.prefix and size < 1:
        return FieldProblem(f"a prefix of blocks of {size} tokens", "at least 1 token in a block")
    most = -(-prompt // size) if arrival.prefix else 0
    if len(arrival.prefix) > most:
        return FieldProblem(
            f"a prefix of {len(arrival.prefix)} blocks for {prompt} tokens", f"at most {most}, one per {size} tokens"
        )
    if arrival.label is not None and not 0 <= arrival.label <= 1:
        return FieldProblem(f"label is {arrival.label}", "the probability, 0 to 1, that the small tier can answer")
    return None
