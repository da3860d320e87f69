"""Draws bars, a row each: name, figure, bar. On a narrow screen the bar stands below its name.

Kinds of bars differ in shade and pattern, so that they can be told apart in grey and on paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

HATCH = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="2.5" height="6" fill="var(--no)"/></pattern></defs></svg>'
)
"""The pattern of a cost. A page that shows one holds this once."""
LEVEL, SAVED, COST = "level", "saved", "cost"
_WIDTH = 1000
_LEAST = 4.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A row: from `low` to `high` on the common scale. `whole`: a level that the others lead to."""

    name: str
    amount: str
    low: float
    high: float
    kind: str = LEVEL
    whole: bool = False


def bars(label: str, head: str, rows: Sequence[Bar], most: float) -> str:
    """The rows as a table. `head` says what the figures are, `most` is where the scale ends."""
    top = (
        '<div class="row head" role="row"><span role="columnheader"></span>'
        f'<span class="amount" role="columnheader">{escape(head)}</span></div>\n'
    )
    drawn = "".join(
        f'<div class="row{" whole" if row.whole else ""}" role="row"><span role="cell">{escape(row.name)}</span>'
        f'<span class="amount" role="cell">{escape(row.amount)}</span>{_bar(row, most or 1.0)}</div>\n'
        for row in rows
    )
    return f'<div role="table" aria-label="{escape(label, quote=True)}">\n{top}{drawn}</div>\n'


def legend(*kinds: tuple[str, str]) -> str:
    """What each kind of bar means."""
    return f'<p class="legend">{"".join(_legend(kind, text) for kind, text in kinds)}</p>\n'


def _bar(row: Bar, most: float) -> str:
    start, end = (round(_WIDTH * each / most, 1) for each in (row.low, row.high))
    width = max(round(end - start, 1), _LEAST) if end > start else 0.0  # what costs little is seen, too
    return (
        f'<svg viewBox="0 0 {_WIDTH} 24" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="{row.kind}" x="{min(start, _WIDTH - width)}" y="3" width="{width}" height="18" '
        f'vector-effect="non-scaling-stroke"{_fill(row.kind)}/></svg>'
    )


def _fill(kind: str) -> str:
    return ' fill="url(#hatch)"' if kind == COST else ""


def _legend(kind: str, text: str) -> str:
    box = f'<rect class="{kind}" x="1" y="1" width="22" height="12"{_fill(kind)}/>'
    return f'<span><svg viewBox="0 0 24 14" aria-hidden="true">{box}</svg>{escape(text)}</span>'
