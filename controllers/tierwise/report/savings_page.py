"""Draws savings as one HTML page that needs nothing else: no script, no font, no picture from elsewhere.

The plot is the waterfall of the terminal. A saving, a cost and a level differ in shade and pattern, so that the page
can be read in grey and on paper, and each bar has its figure beside it. On a narrow screen the names stand above their
bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from html import escape

from tierwise.api.savings_status import SavingsStatus
from tierwise.report.savings_text import Step, assumptions, steps, unused, verdict

_STYLE = """\
:root { color-scheme: light dark; --ink: #1a1d21; --soft: #5b636d; --paper: #ffffff; --line: #d9dde2;
  --level: #333b45; --saved: #4f9d69; --cost: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a3abb5; --paper: #15181c; --line: #363c44;
  --level: #c3cad2; --saved: #6fbf8b; --cost: #f2867d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.4rem; line-height: 1.3; overflow-wrap: anywhere; }
.source { margin: .25rem 0 1.5rem; color: var(--soft); }
.figure { margin: 0 0 1.75rem; font-size: 1.15rem; font-weight: 600; }
.row { display: grid; grid-template-columns: 17rem 6.5rem 1fr; gap: 0 1rem; align-items: center; padding: .35rem 0;
  border-top: 1px solid var(--line); }
.row.whole { font-weight: 600; }
.row.head { border-top: 0; padding-top: 0; color: var(--soft); font-size: .9rem; }
.amount { text-align: right; font-variant-numeric: tabular-nums; }
.row svg { display: block; width: 100%; height: 1.5rem; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: 1rem 0 0; padding-top: .75rem;
  border-top: 1px solid var(--line); color: var(--soft); font-size: .9rem; }
.legend span { display: inline-flex; align-items: center; gap: .5rem; }
.legend svg { width: 1.5rem; height: .9rem; }
.level { fill: var(--level); }
.saved { fill: var(--saved); fill-opacity: .55; stroke: var(--saved); }
.cost { fill: url(#hatch); stroke: var(--cost); }
h2 { margin: 2rem 0 .5rem; font-size: 1.05rem; }
ul { margin: 0; padding-left: 1.2rem; color: var(--soft); }
@media (max-width: 40rem) { body { padding: 1.25rem 1rem; }
  .row { grid-template-columns: 1fr auto; gap: .15rem 1rem; padding: .5rem 0; } .row svg { grid-column: 1 / -1; } }
"""
_HATCH = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs><pattern id="hatch" width="6" '
    'height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="2.5" height="6" '
    'fill="var(--cost)"/></pattern></defs></svg>'
)
_LEGEND = (("level", "a level: what it would cost, what was paid"), ("saved", "saved"), ("cost", "cost more"))
_PER_MILLE = Decimal(1000)


def savings_as_page(name: str, savings: SavingsStatus, source: str) -> str:
    """The page. Everything that comes from elsewhere is escaped."""
    title = f"{name}: savings against {savings.reference_tier}"
    if savings.baseline:
        body = _body(savings)
    else:
        body = "".join(f'<p class="figure">Not known: {escape(note)}.</p>' for note in savings.notes)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
        f'{_HATCH}\n<h1>{escape(title)}</h1>\n<p class="source">From {escape(source)}.</p>\n{body}</body>\n</html>\n'
    )


def _body(savings: SavingsStatus) -> str:
    rows = steps(savings)
    most = max(max(row.before, row.after) for row in rows) or Decimal(1)
    less = unused(savings)
    notes = [*([f"Nothing saved or cost: {', '.join(less)}."] if less else []), *assumptions(savings)]
    return (
        f'<p class="figure">{escape(verdict(savings))}</p>\n'
        f'<div role="table" aria-label="Waterfall, US dollars">\n{_rows(rows, most)}</div>\n'
        f'<p class="legend">{"".join(_legend(kind, text) for kind, text in _LEGEND)}</p>\n'
        "<h2>What is behind the figures</h2>\n"
        f"<ul>\n{''.join(f'<li>{escape(note)}</li>{chr(10)}' for note in notes)}</ul>\n"
    )


def _rows(rows: Sequence[Step], most: Decimal) -> str:
    head = (
        '<div class="row head" role="row"><span role="columnheader"></span>'
        '<span class="amount" role="columnheader">US dollars</span></div>\n'
    )
    return head + "".join(
        f'<div class="row{" whole" if row.whole else ""}" role="row"><span role="cell">{escape(row.title)}</span>'
        f'<span class="amount" role="cell">{escape(row.amount)}</span>{_bar(row, most)}</div>\n'
        for row in rows
    )


def _bar(row: Step, most: Decimal) -> str:
    low, high = sorted((row.before, row.after))
    start, width = (round(float(each / most * _PER_MILLE), 1) for each in (low, high - low))
    width = max(width, 4.0)  # what costs little is seen, too
    kind = "level" if row.whole else "saved" if row.change < 0 else "cost"
    return (
        '<svg viewBox="0 0 1000 24" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="{kind}" x="{min(start, 1000 - width)}" y="3" width="{width}" height="18" '
        'vector-effect="non-scaling-stroke"/></svg>'
    )


def _legend(kind: str, text: str) -> str:
    box = f'<rect class="{kind}" x="1" y="1" width="22" height="12"/>'
    return f'<span><svg viewBox="0 0 24 14" aria-hidden="true">{box}</svg>{escape(text)}</span>'
