"""Draws both sides over each other: replicas asked for, and ready. A solid line and a dashed one, so that it reads in
grey."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from tools.agreement.compare import Steps

WIDTH, LEFT, HIGH, TOP, GAP = 860, 40, 150, 58, 46
RIGHT = 24  # the last label stands in the middle below the end
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}.title{fill:#24292f;font-weight:600}.head{font-size:14px}"
    ".grid{stroke:#d0d7de;stroke-width:1}.real{fill:none;stroke:#24292f;stroke-width:2}"
    ".made{fill:none;stroke:#0969da;stroke-width:2;stroke-dasharray:6 4}"
    "@media(prefers-color-scheme:dark){text{fill:#9198a1}.title{fill:#e6edf3}.grid{stroke:#3d444d}"
    ".real{stroke:#e6edf3}.made{stroke:#58a6ff}}"
)
TITLE = "Replicas in the playground and in the simulation, same manifests and requests"
KINDS = (("asked", "asked for"), ("ready", "ready"))


def svg(result: Mapping[str, Any]) -> str:
    """The picture, one file that loads nothing."""
    seconds = result["seconds"]
    most = max(value for side in ("playground", "simulation") for kind, _ in KINDS for _, value in result[side][kind])
    height = TOP + len(KINDS) * (HIGH + GAP)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + RIGHT} {height}"',
        f' role="img" aria-label="{TITLE}">',
        f"<title>{TITLE}</title><style>{STYLE}</style>",
        f'<text class="title head" x="0" y="18">{TITLE}</text>',
        '<path class="real" d="M0 36h30"/><text x="36" y="40">playground: a real control plane</text>',
        '<path class="made" d="M260 36h30"/><text x="296" y="40">simulation</text>',
    ]
    for place, (kind, title) in enumerate(KINDS):
        top = TOP + place * (HIGH + GAP)
        share = f"within one replica for {100 * result['near'][kind]:.1f} % of the time"
        drawn.append(f'<text class="title" x="{LEFT}" y="{top + 8}">{title}</text>')
        drawn.append(f'<text x="{WIDTH}" y="{top + 8}" text-anchor="end">{escape(share)}</text>')
        drawn += _grid(top + 16, most, seconds)
        for side, style in (("playground", "real"), ("simulation", "made")):
            drawn.append(f'<path class="{style}" d="{_path(result[side][kind], top + 16, most, seconds)}"/>')
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _x(at: float, seconds: float) -> float:
    return round(LEFT + (WIDTH - LEFT) * min(at, seconds) / seconds, 1)


def _y(value: int, top: float, most: int) -> float:
    return round(top + (HIGH - 16) * (1 - value / most), 1)


def _path(steps: Steps, top: float, most: int, seconds: float) -> str:
    (_, first), *rest = steps
    path = f"M{LEFT} {_y(first, top, most)}"
    for at, value in rest:
        if at < seconds:
            path += f"H{_x(at, seconds)}V{_y(value, top, most)}"
    return f"{path}H{WIDTH}"


def _grid(top: float, most: int, seconds: float) -> list[str]:
    drawn = []
    for value in range(most + 1):
        y = _y(value, top, most)
        drawn.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH}"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{value}</text>')
    for minute in range(0, int(seconds // 60) + 1, 2):
        x = _x(60.0 * minute, seconds)
        drawn.append(f'<text x="{x}" y="{top + HIGH}" text-anchor="middle">{minute} min</text>')
    return drawn
