"""Gets the trace of `tierwise simulate`: from a file, a generator, or what a Prometheus remembers of vLLM.

What was asked of a Prometheus can be kept as a file (`--save-trace`), so that the next simulation is of the same
requests, and asks nobody.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from dataclasses import replace
from pathlib import Path

from tierwise.errors import Invalid
from tierwise.prom.client import Access, PrometheusMetrics, SettingNames
from tierwise_sim.replay.manifests import Manifests
from tierwise_sim.traces import formats, generator_text, prometheus_history, trace_file, transform
from tierwise_sim.traces.arrival import Trace
from tierwise_sim.traces.formats import Reading
from tierwise_sim.traces.gathering import Window
from tierwise_sim.traces.spread import Spreading

QUERY_SECONDS = 60.0
_UNITS = {"m": 60, "h": 3600, "d": 86400}
_NAMES = SettingNames("--from-prometheus", "--bearer-file", "--ca-file")


def get(given: argparse.Namespace) -> Trace:
    """The requests. Raises Invalid with place and reason, Transient where Prometheus does not answer."""
    if (given.trace is None) == (given.from_prometheus is None):
        raise Invalid("say what comes: either --trace with a file or a generator, or --from-prometheus with an address")
    trace = _remembered(given) if given.from_prometheus is not None else _read(given)
    if given.scale != 1:
        trace = transform.scale(trace, given.scale, given.seed)
    if given.save_trace is not None:
        given.save_trace.write_text("".join(trace_file.write(trace)), encoding="utf-8")
    return trace


def for_route(trace: Trace, found: Manifests) -> tuple[Trace, tuple[str, ...]]:
    """The trace with models that the route knows, and a note: whatever else a client named is asked of the route."""
    known = {"", *found.route.model_names, *([] if found.route.model_names else [found.route_name])}
    if found.route.direct_access:
        known |= {tier.name for tier in found.tiers}
    strangers = sorted({arrival.model for arrival in trace.arrivals} - known)
    if not strangers:
        return trace, ()
    arrivals = tuple(arrival if arrival.model in known else replace(arrival, model="") for arrival in trace.arrivals)
    named = ", ".join(strangers[:4])
    said = f"the trace names models that the route does not have ({named}): its policy chooses for them"
    return replace(trace, arrivals=arrivals), (said,)


def _read(given: argparse.Namespace) -> Trace:
    window = Window(given.begin, float("inf") if given.until is None else given.until)
    if not generator_text.is_generator(given.trace) or Path(given.trace).exists():
        reading = Reading(window, _spreading(given), given.mean_prompt_tokens)
        return formats.read(Path(given.trace), given.format, reading)
    trace = generator_text.generated(given.trace)
    return trace if window == Window() else transform.cut(trace, window)


def _remembered(given: argparse.Namespace) -> Trace:
    end = time.time() // given.step * given.step
    asked = prometheus_history.Asked(
        start=end - seconds_of(given.last),
        end=end,
        step=given.step,
        matchers=dict(_matcher(text) for text in given.match),
    )
    access = Access(
        given.from_prometheus, given.bearer_file, given.ca_file, timeout_seconds=QUERY_SECONDS, settings=_NAMES
    )
    return asyncio.run(_asked(access, asked, _spreading(given)))


async def _asked(access: Access, asked: prometheus_history.Asked, spreading: Spreading) -> Trace:
    source = PrometheusMetrics(access)
    try:
        return await prometheus_history.read(source, asked, spreading, access.shown)
    finally:
        source.close()


def _spreading(given: argparse.Namespace) -> Spreading:
    return Spreading(burstiness=given.burstiness, seed=given.seed)


def _matcher(text: str) -> tuple[str, str]:
    label, equals, value = text.partition("=")
    if not (equals and label):
        raise Invalid(f"--match {text!r} is not understood; expected LABEL=VALUE, such as namespace=models")
    return label, value


def seconds_of(text: str) -> float:
    """A time such as 90m, 12h or 7d in seconds. Raises Invalid."""
    match = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if match is None or int(match[1]) == 0:
        raise Invalid(f"--last {text!r} is not understood; expected minutes, hours or days, such as 90m, 12h or 7d")
    return float(int(match[1]) * _UNITS[match[2]])
