"""Looks ahead over the start-up time: what may come until a replica that is asked for now answers.

A replica takes minutes to start. Who asks for it when the load is there has been too late all that time. So what comes
is remembered for the scale-down window, and a bound is put on what will come while a replica starts:

    bound = level + trend x (start-up + a minute) + spread

The level and the trend are those of a straight line through the memory; the trend counts by as much as it exceeds its
standard error, and only upwards. The spread is that of what came around the line. The minute is the age of a rate that
is measured over one. The bound may raise a target, never lower one; while anything in it is not known it does nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tierwise.decide.request_rate import WINDOW_SECONDS
from tierwise.decide.router_demand import turned_away
from tierwise.types import Flow, PodFacts, TierState, TierView

SPACING_SECONDS = 20.0
STARTUP_SECONDS = 120.0
"""Until one start was measured: 98 to 135 s were seen for a model of 32 billion parameters with weights at hand."""
_SPREAD = 1.5  # standard deviations
_DOUBT = 3.0  # standard errors of the trend; rates over a minute, taken every 20 s, are no independent samples
_FEWEST = 3
_SEEN_SECONDS = 180.0  # of memory, before which a trend is no trend
_SLOWER = 0.3
_LEVEL = 1.5  # the largest rate of a minute by the smallest, of what counts as one level


@dataclass(frozen=True, slots=True)
class Bound:
    """Requests per second: what came last, on average, and what may come. `seconds`: until when."""

    level: float
    most: float
    seconds: float


def arrivals(view: TierView, state: TierState, waiting: float, now: float) -> float | None:
    """Requests per second that came to a tier in the last minute: those that began, those that wait longer than a
    minute ago, and those that were turned away (at most as many as began, since clients ask again). None: not known."""
    begun = view.signals.begun_lately
    if not begun.has_value:
        return None
    before = next((flow.rate for flow in state.backlog if now - flow.at <= WINDOW_SECONDS), waiting)
    more = max(0.0, waiting - before) + min(begun.value, turned_away(view))
    return (begun.value + more) / WINDOW_SECONDS


def kept(flows: Sequence[Flow], new: Flow, seconds: float) -> tuple[Flow, ...]:
    """The memory with one more value. What comes within the spacing of the last value but one is joined to the last, as
    the larger of both: the newest value stands in the memory at once, and it holds two per spacing at most."""
    inside = [flow for flow in flows if new.at - seconds <= flow.at <= new.at]
    if len(inside) > 1 and new.at - inside[-2].at < SPACING_SECONDS:
        inside[-1] = Flow(inside[-1].at, max(inside[-1].rate, new.rate))
        return tuple(inside)
    return (*inside, new)


def steady(flows: Sequence[Flow], new: Flow) -> bool:
    """Whether as much came for a minute as comes now. While a load begins, the rate counts the time before it, and the
    replicas that fill up seem to take a fraction of what they can (0.27 requests per second where 1.0 was true)."""
    lately = [flow.rate for flow in flows if new.at - flow.at <= WINDOW_SECONDS]
    return len(lately) >= _FEWEST and max(*lately, new.rate) <= _LEVEL * min(*lately, new.rate)


def startup(view: TierView, state: TierState, limit: float) -> float | None:
    """How long a replica takes to start, in seconds, with what the pods show that were not measured before. Rises at
    once, falls slowly. `limit`: what takes longer is no start."""
    if state.measured is None:
        return state.startup_seconds
    old = {name for name, _ in state.measured}
    found = [_took(pod) for pod in view.pods if pod.name not in old and pod.name in view.ready_endpoints]
    took = max((seconds for seconds in found if 0 < seconds <= limit), default=None)
    known = state.startup_seconds
    if took is None:
        return known
    slower = took if known is None or took >= known else known + _SLOWER * (took - known)
    return float(math.ceil(slower))


def _took(pod: PodFacts) -> float:
    return 0.0 if pod.ready_at is None or pod.restarts else pod.ready_at - pod.created_at


def bound(flows: Sequence[Flow], seconds: float) -> Bound | None:
    """What may come in so many seconds; None while too little is remembered."""
    if len(flows) < _FEWEST:
        return None
    end = flows[-1].at
    times = [flow.at - end for flow in flows]
    rates = [flow.rate for flow in flows]
    count = len(flows)
    middle, level = sum(times) / count, sum(rates) / count
    width = sum((at - middle) ** 2 for at in times)
    slope = sum((at - middle) * (rate - level) for at, rate in zip(times, rates, strict=True)) / width if width else 0.0
    line = [level + slope * (at - middle) for at in times]
    error = math.sqrt(sum((rate - on) ** 2 for rate, on in zip(rates, line, strict=True)) / max(1, count - 2))
    doubt = error / math.sqrt(width) if width else 0.0
    ahead = seconds + WINDOW_SECONDS
    rising = max(0.0, slope - _DOUBT * doubt) * ahead if -times[0] >= _SEEN_SECONDS else 0.0
    now = max(line[-1], level) if slope > 0 else line[-1]
    return Bound(level=rates[-1], most=max(rates[-1], now + rising + _SPREAD * error), seconds=seconds)
