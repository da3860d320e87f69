"""Draws what one tier did: its replicas, and below them, at the same moments, what waited and how full its memory was.

Areas and lines differ in pattern and dashes, so that they can be told apart in grey. Words stand outside the drawing:
it stretches with the page, and they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from tierwise.html_page.chart import round_ticks
from tierwise.html_page.document import table
from tierwise_sim.replay.result import Point, TierResult
from tierwise_sim.report_page.steps import COLUMNS, HEIGHT, Column, area, columns, line

ROWS = 12
PATTERNS = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
    '<pattern id="starting" width="9" height="9" patternUnits="userSpaceOnUse">'
    '<rect class="paper" width="9" height="9"/><path class="stroke" d="M-2 11 11 -2M-2 2 2 -2M7 11 11 7"/></pattern>'
    '<pattern id="draining" width="9" height="9" patternUnits="userSpaceOnUse">'
    '<rect class="paper" width="9" height="9"/><circle class="spot" cx="4.5" cy="4.5" r="2"/></pattern></defs></svg>'
)
"""A page with timelines holds this once."""
_LEGEND = (
    ("ready", '<rect class="ready" x="1" y="1" width="22" height="12"/>'),
    ("starting", '<rect class="starting" x="1" y="1" width="22" height="12"/>'),
    ("draining", '<rect class="draining" x="1" y="1" width="22" height="12"/>'),
    ("asked for", '<path class="desired" d="M0 7H24"/>'),
)
Value = Callable[[Point], float]


def timeline(tier: TierResult, end: float) -> str:
    """The plots of a tier from 0 to `end` seconds, and a table of the same figures. Empty without a timeline."""
    points = tier.timeline
    if not points:
        return ""
    most = max(1, *(max(point.replicas, point.desired) for point in points))
    waiting = round_ticks(0, max(1, *(point.waiting for point in points)), 3)
    return (
        f"<figure>{_legend()}"
        f"{_pane('replicas', _replicas(points, end, most), _whole_ticks(most), _replica_title(tier, most))}"
        f"{_pane('waiting requests', _area(points, end, waiting[-1]), waiting, _waiting_title(tier))}"
        f"{_pane('KV cache in use', _line(points, end), [0, 0.5, 1], _kv_title(tier), percent=True)}"
        f"{_times(end)}</figure>{_table(tier, end)}"
    )


def _replicas(points: Sequence[Point], end: float, most: float) -> str:
    """Areas of what is paid for, one above the other, and a line of what was asked for."""

    def of(value: Value) -> list[Column]:
        return columns([(point.at, value(point)) for point in points], end)

    return (
        f'<path class="draining" d="{area(of(lambda point: point.replicas), most)}"/>'
        f'<path class="starting" d="{area(of(lambda point: point.ready + point.starting), most)}"/>'
        f'<path class="ready" d="{area(of(lambda point: point.ready), most)}"/>'
        f'<path class="desired" d="{line(of(lambda point: point.desired), most)}"/>'
    )


def _area(points: Sequence[Point], end: float, most: float) -> str:
    found = columns([(point.at, point.waiting) for point in points], end)
    return f'<path class="waits" d="{area(found, most)}"/>'


def _line(points: Sequence[Point], end: float) -> str:
    return f'<path class="kv" d="{line(columns([(point.at, point.kv) for point in points], end), 1.0)}"/>'


def _pane(name: str, drawn: str, ticks: Sequence[float], title: str, percent: bool = False) -> str:
    top = ticks[-1]
    marks = "".join(
        f'<span style="top:{100 * (1 - tick / top):.4g}%">{f"{tick:.0%}" if percent else f"{tick:,g}"}</span>'
        for tick in ticks
    )
    grid = "".join(f"M0 {HEIGHT * (1 - tick / top):.4g}H{COLUMNS}" for tick in ticks)
    kind = "pane tall" if name == "replicas" else "pane"
    return (
        f'<p class="axis-name">{escape(name)}</p><div class="{kind}"><div class="scale">{marks}</div>'
        f'<svg role="img" viewBox="0 0 {COLUMNS} {HEIGHT}" preserveAspectRatio="none"><title>{escape(title)}</title>'
        f'<path class="grid" d="{grid}"/>{drawn}</svg></div>'
    )


def _times(end: float) -> str:
    """Names of moments below all plots of a tier."""
    unit, seconds = ("h", 3600.0) if end >= 7200 else ("min", 60.0) if end >= 300 else ("s", 1.0)
    shown = [tick for tick in round_ticks(0, end / seconds, 6) if tick * seconds <= 0.96 * end]
    marks = "".join(
        f'<span style="left:{100 * tick * seconds / end:.4g}%">{f"{tick:g} {unit}" if tick else "0"}</span>'
        for tick in shown
    )
    return f'<div class="times">{marks}</div>'


def _whole_ticks(most: int) -> list[float]:
    """At most five whole numbers from 0 to the top, which is the last of them."""
    step = -(-most // 4)
    return [float(tick) for tick in range(0, most, step) if most - tick >= step / 2] + [float(most)]


def _legend() -> str:
    boxes = "".join(
        f'<span><svg viewBox="0 0 24 14" aria-hidden="true">{box}</svg>{escape(name)}</span>' for name, box in _LEGEND
    )
    return f'<p class="legend">{boxes}</p>'


def _replica_title(tier: TierResult, most: int) -> str:
    return (
        f"{tier.name}: replicas over time, {tier.replicas_mean:.2f} on average, {tier.replicas_peak} at most; "
        f"{tier.changes.ups} changes up and {tier.changes.downs} down. The scale ends at {most}."
    )


def _waiting_title(tier: TierResult) -> str:
    return f"{tier.name}: requests that wait, {max(point.waiting for point in tier.timeline):,} at most"


def _kv_title(tier: TierResult) -> str:
    return f"{tier.name}: mean KV-cache use of ready replicas, {max(point.kv for point in tier.timeline):.0%} at most"


def _table(tier: TierResult, end: float) -> str:
    values: tuple[tuple[str, Value, str], ...] = (
        ("asked for", lambda point: point.desired, ""),
        ("ready", lambda point: point.ready, ""),
        ("starting", lambda point: point.starting, ""),
        ("draining", lambda point: point.draining, ""),
        ("waiting", lambda point: point.waiting, ""),
        ("KV cache", lambda point: round(100 * point.kv), " %"),
    )
    shown = [
        [_range(each, unit) for each in columns([(point.at, value(point)) for point in tier.timeline], end, ROWS)]
        for _, value, unit in values
    ]
    times = [f"{_clock(end * each / ROWS)} to {_clock(end * (each + 1) / ROWS)}" for each in range(ROWS)]
    head = ("h:min:s", *(name for name, _, _ in values))
    rows = zip(times, *shown, strict=True)
    drawn = table(head, rows, f"{tier.name}: least and greatest value in each part of the time")
    return f"<details><summary>The same in numbers</summary>{drawn}</details>"


def _range(column: Column, unit: str) -> str:
    if column.low == column.high:
        return f"{column.low:,g}{unit}"
    return f"{column.low:,g}\N{EN DASH}{column.high:,g}{unit}"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
