"""Draws each cell of the comparison: what it costs against how many requests are served in time.

Up and to the left is better. Ours is a filled diamond; whatever is right of it and below is worse in both. Shapes and
not colours tell policies apart, so it reads the same in grey.
"""

from __future__ import annotations

import math
from html import escape

from tierwise_sim.replay.autoscalers import OURS
from tools.bench_scaling.cases import KEDA, SCALING, Case, family
from tools.bench_scaling.judge import REFERENCES, Cell, Found, cells
from tools.bench_scaling.run import Figures

WIDE, HIGH, ACROSS = 230, 190, 4
LEFT, TOP, HEAD = 44, 40, 66
LEAST_MISSED, MOST_MISSED = 0.0005, 0.5
"""Ends of the axis, which is logarithmic in what was missed: from 97 to 99 % is as much better as from 91 to 97 %."""
GRID = (0.999, 0.99, 0.9)
STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#57606a}.title{fill:#24292f;font-weight:600}.head{font-size:14px}"
    ".frame{fill:none;stroke:#d0d7de}.ours{fill:#0969da}.keda,.wva{fill:none;stroke:#24292f;stroke-width:1.4}"
    ".other{fill:#8c959f}.known{stroke:#8c959f;stroke-width:1.4}"
    "@media(prefers-color-scheme:dark){text{fill:#9198a1}.title{fill:#e6edf3}.frame{stroke:#3d444d}.ours{fill:#58a6ff}"
    ".keda,.wva{stroke:#e6edf3}}"
)
LEGEND = (
    (OURS, "tierwise"), (KEDA, "KEDA+EPP"), ("wva-v2", "WVA"), ("kubeai", "other autoscalers"),
    ("static", "fixed fleets and an oracle, which know the load"),
)  # fmt: skip
TITLE = "US dollars against requests that met both targets, each load by itself"


def svg(found: Found) -> str:
    """The picture, one file that loads nothing."""
    panels = [cell for cell in cells(found, SCALING) if cell.others]
    rows = -(-len(panels) // ACROSS)
    width, height = ACROSS * WIDE, HEAD + rows * HIGH + 8
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{TITLE}">',
        f"<title>{TITLE}</title><style>{STYLE}</style>",
        f'<text class="title head" x="0" y="18">{TITLE}</text>',
    ]
    x = 8.0
    for name, said in LEGEND:
        drawn += [_mark(name, x, 40), f'<text x="{x + 10}" y="44">{escape(said)}</text>']
        x += 34 + 6.2 * len(said)
    for place, cell in enumerate(panels):
        drawn += _panel(cell, place % ACROSS * WIDE, HEAD + place // ACROSS * HIGH)
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _panel(cell: Cell, left: float, top: float) -> list[str]:
    points: dict[Case, Figures] = {**cell.others, cell.case: cell.ours}
    most = 1.1 * max(each.dollars for each in points.values())
    wide, high = WIDE - LEFT - 12, HIGH - TOP - 24

    def x(dollars: float) -> float:
        return round(left + LEFT + wide * dollars / most, 1)

    def y(share: float) -> float:
        missed = min(max(1 - share, LEAST_MISSED), MOST_MISSED)
        return round(top + TOP + high * math.log(missed / LEAST_MISSED) / math.log(MOST_MISSED / LEAST_MISSED), 1)

    case = cell.case
    drawn = [
        f'<text class="title" x="{left + 4}" y="{top + 16}">{escape(case.load.removesuffix("-llm-2023-conv"))}</text>',
        f'<text x="{left + 4}" y="{top + 30}">{escape(case.shape)}, start-up {case.startup:g} s</text>',
        f'<rect class="frame" x="{left + LEFT}" y="{top + TOP}" width="{wide}" height="{high}"/>',
        f'<text x="{left + LEFT}" y="{top + TOP + high + 14}">$0</text>',
        f'<text x="{left + LEFT + wide}" y="{top + TOP + high + 14}" text-anchor="end">${most:.2f}</text>',
    ]
    for share in GRID:
        drawn.append(f'<path class="frame" d="M{left + LEFT} {y(share)}h{wide}"/>')
        drawn.append(f'<text x="{left + LEFT - 4}" y="{y(share) + 4}" text-anchor="end">{100 * share:g} %</text>')
    for each, figures in points.items():
        drawn.append(_mark(family(each.scaler), x(figures.dollars), y(figures.attainment), each.decides))
    return drawn


def _mark(name: str, x: float, y: float, title: str = "") -> str:
    says = f"<title>{escape(title)}</title>" if title else ""
    if name == OURS:
        return f'<path class="ours" d="M{x} {y - 6}l6 6l-6 6l-6 -6z">{says}</path>'
    if name.startswith(KEDA):
        return f'<circle class="keda" cx="{x}" cy="{y}" r="4">{says}</circle>'
    if name.startswith("wva"):
        return f'<rect class="wva" x="{x - 3.5}" y="{y - 3.5}" width="7" height="7">{says}</rect>'
    if name in REFERENCES:
        return f'<path class="known" d="M{x - 4} {y - 4}l8 8m0 -8l-8 8">{says}</path>'
    return f'<circle class="other" cx="{x}" cy="{y}" r="2.5">{says}</circle>'
