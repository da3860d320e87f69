"""Draws the result of a simulation for a terminal: what it cost, whether it was good enough, and why."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tierwise_sim.replay.result import Distribution, SimulationResult, TierResult

_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 50


def as_text(result: SimulationResult) -> RenderableType:
    """One simulation."""
    parts: list[RenderableType] = [Text(_head(result)), _service(result)]
    if any(not tier.external for tier in result.tiers):
        parts.append(_replicas(result))
    parts.append(Text(_total(result), style="bold"))
    refused = result.total.requests.refused
    if refused:
        parts.append(Text("no answer: " + ", ".join(f"{count} {why}" for why, count in refused.items())))
    width = max(len(tier.name) for tier in result.tiers)
    parts += [Text(_timeline(tier, width), no_wrap=True) for tier in result.tiers if tier.timeline]
    parts.append(Text(_savings(result)))
    parts += [Text(f"note: {note}", style="dim") for note in result.notes]
    return Group(*parts)


def compared(results: Sequence[SimulationResult]) -> RenderableType:
    """Several simulations of one trace, one row each."""
    table = _new("what if", "met", "worst tier", "TTFT p95", "$", "GPU-hours")
    for result in results:
        total = result.total
        table.add_row(
            "\n".join(result.setup.what_if) or "as it is",
            _share(total.attainment),
            f"{total.worst_tier} {_share(total.worst_attainment)}",
            _seconds(total.ttft, "p95"),
            _money(total.dollars),
            f"{total.gpu_seconds.total / 3600:.1f}",
        )
    parts: list[RenderableType] = [Text(_head(results[0])), table]
    notes = dict.fromkeys(note for result in results for note in result.notes)
    parts += [Text(f"note: {note}", style="dim") for note in notes]
    return Group(*parts)


def _head(result: SimulationResult) -> str:
    setup = result.setup
    startup = "" if setup.startup_seconds is None else f", a replica starts in {setup.startup_seconds:g} s"
    said = (
        f"{setup.trace}: {setup.arrivals:,} requests in {_time(setup.seconds)}, replicas by {setup.autoscaler}{startup}"
        f", targets TTFT {setup.targets.ttft:g} s and inter-token {setup.targets.inter_token * 1000:g} ms"
    )
    return said + (f"; faults: {', '.join(setup.faults)}" if setup.faults else "")


def _service(result: SimulationResult) -> Table:
    table = _new("tier", "share", "met", "TTFT p50", "TTFT p95", "inter-token p95", "$")
    for tier in result.tiers:
        table.add_row(
            tier.name,
            _share(tier.share),
            _share(tier.requests.attainment),
            _seconds(tier.ttft, "p50"),
            _seconds(tier.ttft, "p95"),
            _seconds(tier.inter_token, "p95"),
            _money(tier.dollars) if tier.external or tier.gpu_hour is not None else "?",
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
            _share(idle),
            f"{tier.changes.per_hour:.1f}",
            f"{tier.changes.reversals_per_hour:.1f}",
            f"{longest[0]} {_time(longest[1])}" if longest[1] else "",
        )
    return table


def _total(result: SimulationResult) -> str:
    total = result.total
    said = f"{_share(total.attainment)} of the requests met both targets; {_money(total.dollars)} $"
    if total.dollars_per_million_tokens is not None:
        said += f", {_money(total.dollars_per_hour)} $/h, {_money(total.dollars_per_million_tokens)} $/Mtok"
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


def _savings(result: SimulationResult) -> str:
    if result.savings is None:
        return f"savings: {result.no_savings}"
    found = result.savings
    if found.saved_percent is None:
        return f"savings: nothing would have cost anything on {found.reference}"
    if found.paid_percent is not None:
        paid = _money(result.total.dollars)
        return (
            f"savings: {found.paid_percent} % of what the same would have cost on {found.reference}, uncached, at its "
            f"list price ({_money(found.baseline)} $ to {paid} $)"
        )
    return (
        f"savings of use: {found.saved_percent} % against all on {found.reference} at the same use "
        f"({_money(found.baseline)} $ to {_money(found.actual)} $)"
    )


def _new(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        if place == 0:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    return table


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _seconds(value: Distribution | None, name: str) -> str:
    if value is None:
        return ""
    seconds = float(getattr(value, name))
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _money(value: Decimal) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.4f}"


def _time(seconds: float) -> str:
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
