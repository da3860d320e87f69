"""Shows a report of labels in the terminal, and as JSON."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tierwise_training.intervals import Interval
from tierwise_training.report import LENGTHS, Report, warnings


def as_text(found: Report, small: str, reference: str) -> RenderableType:
    """A table, the verdicts by length, and what to know before training."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    table.add_row(
        "labels", f"{found.usable} usable of {found.labels}, judged by {', '.join(found.kinds) or 'other means'}"
    )
    table.add_row("right", f"{small} {share(found.small_right)}, {reference} {share(found.reference_right)}")
    table.add_row(
        "", f"both {found.both}, only {small} {found.only_small}, only {reference} {found.only_reference}, "
        f"neither {found.neither}",
    )  # fmt: skip
    table.add_row("as good or better", share(found.as_good))
    if found.ceiling.n:
        table.add_row("ceiling (A/A)", f"{share(found.ceiling)} of {reference}'s second answers")
    if found.stable.n:
        table.add_row("same verdict again", f"{share(found.stable)} of {small}'s second answers")
    table.add_row(
        "not known",
        f"{small} {found.unknown_small}, {reference} {found.unknown_reference}; verdicts that cannot be read "
        f"{found.unreadable_verdicts}; answers cut at their limit {found.cut}",
    )
    if found.flips.n:
        table.add_row("flips with the order", share(found.flips))
        table.add_row("first shown preferred", share(found.first_shown))
    if found.audited:
        table.add_row("judge against people", f"{found.audited} pairs")
        table.add_row("  sensitivity", share(found.sensitivity))
        table.add_row("  specificity", share(found.specificity))
        table.add_row("  as good, corrected", share(found.level))
    each = found.cost_per_label
    table.add_row("cost", "no prices known" if found.cost is None else f"${found.cost:.4f}")
    if each is not None:
        table.add_row("  per label", f"${each:.6f}")
    lengths = Table(title="verdicts by length", title_justify="left", box=None, padding=(0, 2))
    for name in (f"{small}'s answer is", "better", "tie", "worse", "as good or better"):
        lengths.add_column(name, justify="left" if name.endswith("is") else "right")
    for name in LENGTHS:
        row = found.by_length[name]
        good = f"{(row.wins + row.ties) / row.n * 100:.0f} %" if row.n else ""
        lengths.add_row(name, str(row.wins), str(row.ties), str(row.losses), good)
    said = [Text(f"! {sentence}", style="yellow") for sentence in warnings(found)]
    return Group(table, Text(), lengths, Text(), *said)


def share(found: Interval) -> str:
    """A share in percent with its 95 % interval and what it was counted over."""
    if not found.n:
        return "not known"
    return f"{found.value * 100:.1f} % ({found.low * 100:.1f}-{found.high * 100:.1f}, n {found.n})"


def as_json(found: Report) -> dict[str, Any]:
    """For programs: shares as numbers from 0 to 1, null where nothing was counted."""
    intervals = {
        _camel(name): _interval(value)
        for name in found.__slots__
        if isinstance(value := getattr(found, name), Interval)
    }
    counts = {
        _camel(name): value
        for name in found.__slots__
        if isinstance(value := getattr(found, name), int) and not isinstance(value, bool)
    }
    lengths = {
        name: {"wins": row.wins, "ties": row.ties, "losses": row.losses} for name, row in found.by_length.items()
    }
    each = found.cost_per_label
    return {
        **counts,
        "kinds": list(found.kinds),
        **intervals,
        "byLength": lengths,
        "costUSD": None if found.cost is None else f"{found.cost:f}",
        "costPerLabelUSD": None if each is None else f"{each:f}",
        "warnings": warnings(found),
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _interval(found: Interval) -> dict[str, Any]:
    value = None if math.isnan(found.value) else found.value
    return {"value": value, "low": found.low, "high": found.high, "n": found.n}
