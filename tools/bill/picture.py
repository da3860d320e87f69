"""Draws the bill: US dollars an hour, one bar per row, with what it is below both references. No colour carries a
meaning that its place and its words do not, so it reads the same in grey."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from tools.bill.page import KEDA, STATIC, TOGETHER, signed
from tools.bill.rows import row_of, saved

WIDTH, LEFT, RIGHT, TOP, BAR, GAP = 920, 390, 190, 64, 22, 10
STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#24292f}.head{font-weight:600}.note{fill:#57606a;font-size:12px}"
    ".bar{fill:#8c959f}.ours{fill:#0969da}.together{fill:#0a3069}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#9198a1}.together{fill:#79c0ff}.ours{fill:#388bfd}}"
)


def svg(bill: Mapping[str, Any]) -> str:
    """The picture, one file that loads nothing."""
    rows = [row_of(each) for each in bill["rows"]]
    by_key = {row.key: row for row in rows}
    most = max(row.dollars_per_hour for row in rows)
    height = TOP + len(rows) * (BAR + GAP) + 12
    title = "US dollars an hour, one tactic after another"
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">',
        f"<title>{title}</title><style>{STYLE}</style>",
        f'<text class="head" x="0" y="20">{title}</text>',
        f'<text class="note" x="{WIDTH - RIGHT + 8}" y="48">below static / autoscaled</text>',
    ]
    for place, row in enumerate(rows):
        y = TOP + place * (BAR + GAP)
        long = max(1.0, (WIDTH - LEFT - RIGHT - 70) * row.dollars_per_hour / most)
        kind = {STATIC: "bar", KEDA: "bar", TOGETHER: "together"}.get(row.key, "ours")
        drawn.append(f'<text x="{LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(row.title)}</text>')
        drawn.append(f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{long:.1f}" height="{BAR}"/>')
        drawn.append(f'<text x="{LEFT + long + 6:.1f}" y="{y + 16}">{row.dollars_per_hour:,.2f}</text>')
        if row.key not in (STATIC, KEDA):
            below = f"{signed(saved(row, by_key[STATIC]))} / {signed(saved(row, by_key[KEDA]))}"
            drawn.append(f'<text class="note" x="{WIDTH - RIGHT + 8}" y="{y + 16}">{below}</text>')
    return "\n".join([*drawn, "</svg>"]) + "\n"
