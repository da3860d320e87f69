"""Makes another trace of a trace: a part of it, more of it, the same at another rate.

A copy of a request is another user's: copies are moved in time and their prefixes are others, or ten times the traffic
would be ten times the same question, and a prefix cache would look better than it is. The rate is scaled by copies and
by leaving out, never by squeezing time: start-up times do not shrink, so a squeezed hour is harder to follow than the
real one with more users.
"""

from __future__ import annotations

import math
from dataclasses import replace
from operator import attrgetter
from random import Random

from tierwise_sim.traces.arrival import Arrival, Trace, within
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.gathering import MOST_ARRIVALS, WHOLE, Window

SHIFT_SECONDS = 30.0
"""A copy comes at most so much before or after its original: less than the load of any trace changes in, more than a
burst lasts."""
_OTHER = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio: multiples of it spread over all numbers of 64 bits
_MASK = (1 << 64) - 1


def cut(trace: Trace, window: Window) -> Trace:
    """The part of a trace in this window, moved to time 0. Raises TraceError when no request is in it."""
    if window == WHOLE:
        return trace
    end = min(window.end, trace.duration)
    inside = tuple(
        replace(arrival, at=within(arrival.at - window.start, end - window.start))
        for arrival in trace.arrivals
        if window.start <= arrival.at < end
    )
    if not inside:
        raise TraceError(
            f"{trace.source}: no request from {window.start:g} s to {window.end:g} s; the trace has "
            f"{len(trace.arrivals):,} in {trace.duration:g} s"
        )
    return replace(trace, arrivals=inside, duration=end - window.start)


def first_half(trace: Trace) -> Trace:
    """What comes in the first half of its time: what defaults may be chosen on."""
    return cut(trace, Window(0.0, trace.duration / 2))


def second_half(trace: Trace) -> Trace:
    """What comes in the second half of its time: what they are judged on."""
    return cut(trace, Window(trace.duration / 2))


def repeat(trace: Trace, times: int) -> Trace:
    """The trace, so many times after itself, each time by other users."""
    if times < 1:
        raise TraceError(f"{times} repetitions; expected at least 1")
    _refuse_more(len(trace.arrivals) * times)
    duration = trace.duration * times
    arrivals = tuple(
        replace(_of_other(arrival, copy), at=within(arrival.at + copy * trace.duration, duration))
        for copy in range(times)
        for arrival in trace.arrivals
    )
    return replace(trace, arrivals=arrivals, duration=duration, notes=_noted(trace, times, "repeated"))


def scale(trace: Trace, factor: float, seed: int = 0) -> Trace:
    """The trace at `factor` times its rate, over the same time.

    A part of a copy is a random choice of its requests. Raises TraceError for a factor that leaves no request, or too
    many.
    """
    if not (math.isfinite(factor) and factor > 0):
        raise TraceError(f"the rate is to be scaled by {factor}; expected a number above 0")
    if factor == 1:
        return trace
    _refuse_more(len(trace.arrivals) * factor)
    rng = Random(seed)  # noqa: S311 - a repeatable workload, no secret
    whole = math.floor(factor)
    part = factor - whole
    chosen: list[Arrival] = []
    for copy in range(math.ceil(factor)):
        shift = rng.uniform(-SHIFT_SECONDS, SHIFT_SECONDS) if copy else 0.0
        chosen += [
            _moved(_of_other(arrival, copy), shift, trace.duration)
            for arrival in trace.arrivals
            if copy < whole or rng.random() < part
        ]
    if not chosen:
        raise TraceError(f"{trace.source}: no request is left at {factor:g} times the rate; expected at least one")
    arrivals = tuple(sorted(chosen, key=attrgetter("at")))
    return replace(trace, arrivals=arrivals, notes=_noted(trace, factor, "scaled in rate"))


def _moved(arrival: Arrival, shift: float, duration: float) -> Arrival:
    """What leaves the trace at one end comes back at the other, so that none is lost."""
    return replace(arrival, at=within((arrival.at + shift) % duration, duration))


def _of_other(arrival: Arrival, copy: int) -> Arrival:
    if not copy or not arrival.prefix:
        return arrival
    return replace(arrival, prefix=tuple((block + copy * _OTHER) & _MASK for block in arrival.prefix))


def _refuse_more(requests: float) -> None:
    if requests > MOST_ARRIVALS:
        raise TraceError(f"{requests:,.0f} requests; expected at most {MOST_ARRIVALS:,}: cut the trace first")


def _noted(trace: Trace, factor: float, what: str) -> tuple[str, ...]:
    return trace.notes if factor == 1 else (*trace.notes, f"{what} by {factor:g}")
