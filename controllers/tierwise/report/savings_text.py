"""Draws savings as a waterfall for a terminal.

It reads what the status says, so that a terminal, a page and a program are told the same. Bars are the levels between
the reference and what was paid; a tactic that cost money has its own sign and mark, not only a colour.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tierwise.api.savings_status import SavingsStatus
from tierwise.report.explain_parts import duration, new_table
from tierwise.report.waterfall import TITLES, Step, waterfall_steps
from tierwise.routing.length_ratio import FEWEST_PAIRS

BAR_WIDTH = 32


def steps(savings: SavingsStatus) -> tuple[Step, ...]:
    """The waterfall: the baseline, each tactic that did something, and what was paid."""
    parts = ((part.tactic, Decimal(part.amount)) for part in savings.parts)
    return waterfall_steps(savings.reference_tier, Decimal(savings.baseline), parts, Decimal(savings.actual))


def unused(savings: SavingsStatus) -> list[str]:
    """The tactics that neither saved nor cost anything."""
    return [TITLES.get(part.tactic, part.tactic) for part in savings.parts if not Decimal(part.amount)]


def verdict(savings: SavingsStatus) -> str:
    """The figure in one sentence."""
    saved = Decimal(savings.baseline) - Decimal(savings.actual)
    if savings.saved_percent is None:
        return "The reference tier would have cost nothing."
    word = "Saved" if saved >= 0 else "Lost"
    said = f"{word} {abs(saved):f} US dollars in {duration(savings.window_seconds)}: {_percent(savings.saved_percent)}"
    if savings.lower_bound_percent is None:
        return said + "."
    name = savings.reference_tier
    if savings.lower_bound_percent < 0 and saved < 0:
        return f"{said}; more if everything favours {name}, which would then have cost {savings.lower_baseline}."
    if savings.lower_bound_percent < 0:
        return f"{said}; nothing if everything favours {name}, which would then have cost {savings.lower_baseline}."
    return f"{said}; {_percent(savings.lower_bound_percent)} if everything favours {name}."


def _percent(value: int) -> str:
    return f"{value}\N{NO-BREAK SPACE}%".replace("-", "\N{MINUS SIGN}")


def assumptions(savings: SavingsStatus) -> Iterator[str]:
    """What stands behind the figures, a sentence each."""
    name = savings.reference_tier
    yield (
        f"In favour of {name}: {savings.cached_baseline} US dollars with every prompt read from its cache, and "
        f"{savings.lower_baseline} if its replicas, where it has some, were always full and its answers as short as "
        "they may be."
    )
    if savings.pairs >= FEWEST_PAIRS:
        yield (
            f"Answers of {name} are {savings.length_ratio} times as long as those of cheaper tiers (above "
            f"{savings.length_ratio_lower} with 95 % confidence, {savings.pairs} pairs)."
        )
    for note in savings.notes:
        yield f"{note[:1].upper()}{note[1:]}."


def savings_said(name: str, savings: SavingsStatus, source: str) -> dict[str, Any]:
    """Everything there is to say, as plain data: what `-o json` prints. `source`: where the figures come from."""
    return {"route": name, "source": source, **savings.model_dump(by_alias=True)}


def savings_as_text(name: str, savings: SavingsStatus, source: str) -> RenderableType:
    """The waterfall, the figure in a sentence, and what was assumed."""
    head = Text.assemble((name, "bold"), f": savings against {savings.reference_tier}, from {source}")
    if not savings.baseline:
        return Group(head, *(Text(f"Not known: {note}.", style="yellow") for note in savings.notes))
    rows = steps(savings)
    most = max(max(row.before, row.after) for row in rows)
    table: Table = new_table("")
    table.add_column("US DOLLARS", justify="right", no_wrap=True)
    table.add_column("")
    for row in rows:
        table.add_row(row.title, row.amount, _bar(row, most))
    less = unused(savings)
    tail = [Text(f"Nothing saved or cost: {', '.join(less)}.", style="dim")] if less else []
    notes = [Text(note, style="dim") for note in assumptions(savings)]
    return Group(head, Text(), table, Text(), Text(verdict(savings), style="bold"), *tail, *notes)


def _bar(row: Step, most: Decimal) -> Text:
    """A level from the left, a saving as a lighter bar where it was taken off, a cost as signs where it was added."""
    if not most:
        return Text()
    low, high = sorted((row.before, row.after))
    start, end = (round(BAR_WIDTH * float(each / most)) for each in (low, high))
    if row.whole:
        return Text("\N{FULL BLOCK}" * end)
    width = max(1, end - start)
    mark, style = ("\N{MEDIUM SHADE}", "green") if row.change < 0 else ("+", "red")
    return Text.assemble(" " * min(start, BAR_WIDTH - width), (mark * width, style))
