"""Draws the result of a simulation for a terminal: what it cost, whether it was good enough, and why."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tierwise_sim.replay.result import SimulationResult, TierResult
from tierwise_sim.simulate_words import latency, money, savings_sentence, setup_sentence, share, span

_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 50


def as_text(result: SimulationResult) -> RenderableType:
    """One simulation."""
    parts: list[RenderableType] = [Text(setup_sentence(result)), _service(result)]
    if any(not tier.external for tier in result.tiers):
        parts.append(_replicas(result))
    parts.append(Text(_total(result), style="bold"))
    refused = result.total.requests.refused
    if refused:
        parts.append(Text("no answer: " + ", ".join(f"{count} {why}" for why, count in refused.items())))
    width = max(len(tier.name) for tier in result.tiers)
    parts += [Text(_timeline(tier, width), no_wrap=True) for tier in result.tiers if tier.timeline]
    parts.append(Text(savings_sentence(result)))
    parts += [Text(f"note: {note}", style="dim") for note in result.notes]
    return Group(*parts)


def compared(results: Sequence[SimulationResult]) -> RenderableType:
    """Several simulations of one trace, one row each."""
    table = _new("what if", "met", "worst tier", "TTFT p95", "$", "GPU-hours")
    for result in results:
        total = result.total
        table.add_row(
            "\n".join(result.setup.what_if) or "as it is",
            share(total.attainment),
            f"{total.worst_tier} {share(total.worst_attainment)}",
            latency(total.ttft, "p95"),
            money(total.dollars),
            f"{total.gpu_seconds.total / 3600:.1f}",
        )
    parts: list[RenderableType] = [Text(setup_sentence(results[0])), table]
    notes = dict.fromkeys(note for result in results for note in result.notes)
    parts += [Text(f"note: {note}", style="dim") for note in notes]
    return Group(*parts)


def _service(result: SimulationResult) -> Table:
    table = _new("tier", "share", "met", "TTFT p50", "TTFT p95", "inter-token p95", "$")
    for tier in result.tiers:
        table.add_row(
            tier.name,
            share(tier.share),
            share(tier.requests.attainment),
            latency(tier.ttft, "p50"),
            latency(tier.ttft, "p95"),
            latency(tier.inter_token, "p95"),
            money(tier.dollars) if tier.external or tier.gpu_hour is not None else "?",
        )
    return table


def _replicas(result: SimulationResult) -> Table:
    table = _new("tier", "replicas", "peak", "GPU-hours", "start, drain", "changes/h", "reversals/h", "held by")
    for tier in result.tiers:
        if tier.external:
            continue
        used = tier.gpu_seconds
        idle = (used.starting + used.draining) / used.total if used.total else 0.0
        longest = max(tier.limited_seconds.items(), key=lambda each: (each[1], each[0]), default=("", 0.0))
        table.add_row(
            tier.name,
            f"{tier.replicas_mean:.2f}",
            f"{tier.replicas_peak}",
            f"{used.total / 3600:.2f}",
            share(idle),
            f"{tier.changes.per_hour:.1f}",
            f"{tier.changes.reversals_per_hour:.1f}",
            f"{longest[0]} {span(longest[1])}" if longest[1] else "",
        )
    return table


def _total(result: SimulationResult) -> str:
    total = result.total
    said = f"{share(total.attainment)} of the requests met both targets; {money(total.dollars)} $"
    if total.dollars_per_million_tokens is not None:
        said += f", {money(total.dollars_per_hour)} $/h, {money(total.dollars_per_million_tokens)} $/Mtok"
    if total.requests.open:
        said += f"; {total.requests.open} were still open at the end"
    return said


def _timeline(tier: TierResult, width: int) -> str:
    """Replicas over time in one line: the most that were paid for in each part of it."""
    end = tier.timeline[-1].at or 1.0
    most = max(1, tier.replicas_peak)
    columns = [0] * _WIDTH
    for before, after in pairwise([*tier.timeline, tier.timeline[-1]]):
        first, last = int(before.at / end * (_WIDTH - 1)), int(after.at / end * (_WIDTH - 1))
        for column in range(first, last + 1):
            columns[column] = max(columns[column], before.replicas)
    bars = "".join(_BARS[round(value / most * (len(_BARS) - 1))] for value in columns)
    return f"{tier.name:{width}} {bars} 0 to {most} replicas"


def _new(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        if place == 0:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    return table
