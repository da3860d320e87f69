"""Summarises a trace: how much, how fast, how long, and how much of it a prefix cache could save.

A value with a table for people and a dictionary for programs: whoever reads a simulated bill should see first what it
is the bill of.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from tierwise_sim.traces.arrival import Arrival, Trace

MINUTE = 60.0
SHOWN = 5
"""So many tenants or models are named in the table; the others are counted."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and percentiles of one quantity: each percentile is a value that occurs (nearest rank)."""

    mean: float
    p50: float
    p90: float
    p99: float
    largest: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What a trace holds.

    `rate`: requests per second over the whole trace; `minutes`: the same in each of its minutes (a shorter last one
    counts by its own length, unless it is the only one or below a second). `gap_variation`: the coefficient of
    variation of the gaps (1 = Poisson; 0 when there are fewer than two gaps). `cacheable`: the part (0..1) of all
    prompt tokens that an unbounded prefix cache would find; None where no request has a prefix. `labelled`: the part
    of requests with a label. `models` and `tenants`: requests by name.
    """

    name: str
    source: str
    requests: int
    seconds: float
    rate: float
    minutes: Spread
    gap_variation: float
    prompt_tokens: int
    output_tokens: int
    prompt: Spread
    output: Spread
    cacheable: float | None
    labelled: float
    models: Mapping[str, int]
    tenants: Mapping[str, int]
    notes: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """For a program: only what JSON knows."""
        return {**asdict(self), "notes": list(self.notes)}

    def table(self) -> str:
        """For a person, without colour; each line ends with a line break."""
        cacheable = "no prefixes in this trace" if self.cacheable is None else f"{self.cacheable:.1%} of prompt tokens"
        rows = [
            ("trace", self.name),
            ("source", self.source),
            ("requests", f"{self.requests:,} in {_time(self.seconds)}"),
            ("requests/s", f"{self.rate:.3g} mean; by minute {_percentiles(self.minutes, '.3g')}"),
            ("gap variation", f"{self.gap_variation:.2f} (1 = Poisson)"),
            (
                "prompt tokens",
                f"{self.prompt_tokens:,}; each {self.prompt.mean:,.0f} mean, {_percentiles(self.prompt)}",
            ),
            (
                "output tokens",
                f"{self.output_tokens:,}; each {self.output.mean:,.0f} mean, {_percentiles(self.output)}",
            ),
            ("prefix cache", cacheable),
        ]
        rows += [
            (name, _largest(counts)) for name, counts in (("models", self.models), ("tenants", self.tenants)) if counts
        ]
        if self.labelled:
            rows.append(("labelled", f"{self.labelled:.1%} of requests"))
        rows += [("note", note) for note in self.notes]
        width = max(len(name) for name, _ in rows)
        return "".join(f"{name:<{width}}  {value}\n" for name, value in rows)


def summarise(trace: Trace) -> Summary:
    """What this trace holds."""
    arrivals = trace.arrivals
    prompts = [arrival.prompt_tokens for arrival in arrivals]
    outputs = [arrival.output_tokens for arrival in arrivals]
    return Summary(
        name=trace.name,
        source=trace.source,
        requests=len(arrivals),
        seconds=trace.duration,
        rate=trace.rate,
        minutes=spread_of(by_minute(trace)),
        gap_variation=_variation([after.at - before.at for before, after in pairwise(arrivals)]),
        prompt_tokens=sum(prompts),
        output_tokens=sum(outputs),
        prompt=spread_of(prompts),
        output=spread_of(outputs),
        cacheable=cacheable(arrivals),
        labelled=sum(arrival.label is not None for arrival in arrivals) / len(arrivals),
        models=_counts(arrivals, lambda arrival: arrival.model),
        tenants=_counts(arrivals, lambda arrival: arrival.tenant),
        notes=trace.notes,
    )


def by_minute(trace: Trace) -> list[float]:
    """Requests per second in each minute of the trace."""
    many = max(1, math.ceil(trace.duration / MINUTE))
    if many > 1 and trace.duration - (many - 1) * MINUTE < 1.0:
        many -= 1  # of less than a second no rate is known
    counts = Counter(min(int(arrival.at // MINUTE), many - 1) for arrival in trace.arrivals)
    lengths = [min(MINUTE, trace.duration - minute * MINUTE) for minute in range(many)]
    return [counts[minute] / length for minute, length in enumerate(lengths)]


def cacheable(arrivals: Iterable[Arrival]) -> float | None:
    """The part of all prompt tokens that stand in leading blocks which came before: what an unbounded cache would find.

    The last token of a prompt is always computed, as engines do, so a prompt that is whole in the cache finds one less.
    """
    seen: set[tuple[int, int]] = set()
    found = total = 0
    for arrival in arrivals:
        total += arrival.prompt_tokens
        size, known = arrival.block_tokens, 0
        for block in arrival.prefix:
            if (size, block) not in seen:
                break
            known += size
        found += min(known, arrival.prompt_tokens - 1)
        seen.update((size, block) for block in arrival.prefix)
    return found / total if seen else None


def spread_of(values: Sequence[float]) -> Spread:
    """Mean and percentiles of at least one value."""
    ordered = sorted(values)

    def rank(share: float) -> float:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return Spread(sum(ordered) / len(ordered), rank(0.5), rank(0.9), rank(0.99), ordered[-1])


def _variation(gaps: Sequence[float]) -> float:
    if len(gaps) < 2:
        return 0.0
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    return deviation / mean if mean else 0.0


def _counts(arrivals: Iterable[Arrival], name: Callable[[Arrival], str]) -> dict[str, int]:
    """Requests by name, the most frequent first; empty when nobody has a name."""
    counts = Counter(map(name, arrivals))
    if set(counts) == {""}:
        return {}
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def _percentiles(of: Spread, form: str = ",.0f") -> str:
    named = (("p50", of.p50), ("p90", of.p90), ("p99", of.p99), ("largest", of.largest))
    return ", ".join(f"{name} {value:{form}}" for name, value in named)


def _largest(counts: Mapping[str, int]) -> str:
    shown = [f"{name or '(not named)'} {count:,}" for name, count in list(counts.items())[:SHOWN]]
    rest = len(counts) - SHOWN
    return ", ".join([*shown, f"{rest:,} more"] if rest > 0 else shown)


def _time(seconds: float) -> str:
    for unit, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.4g} {name}"
    return f"{seconds:.4g} s"
