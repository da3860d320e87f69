"""Draws line charts as SVG: axes, bands, lines, points, marks. Nothing is loaded from anywhere.

Colours are classes of the page's style sheet, so that a chart follows the reader's light or dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 66, 24, 12, 46

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: what it says, its ends, and where its ticks are."""

    name: str
    low: float
    high: float
    ticks: Sequence[float]
    unit: str = ""


@dataclass(slots=True)
class Chart:
    """A chart that is filled piece by piece; the first piece lies below. `title` is for readers who do not see it."""

    title: str
    across: Axis
    up: Axis
    places: Sequence[float] | None = None
    _pieces: list[str] = field(default_factory=list)

    def band(self, lower: Points, upper: Points) -> None:
        """The area between two lines."""
        corners = " ".join(self._at(point) for point in (*lower, *reversed(upper)))
        self._pieces.append(f'<polygon class="band" points="{corners}"/>')

    def line(self, points: Points, kind: str = "line") -> None:
        """A line of a class of the style sheet: line, other, faint."""
        self._pieces.append(f'<polyline class="{kind}" points="{" ".join(self._at(point) for point in points)}"/>')

    def dots(self, points: Sequence[tuple[float, float, str]], kind: str = "dot", size: float = 3) -> None:
        """Points of a class of the style sheet (dot, hollow), each with what is shown when one points at it."""
        for x, y, tip in points:
            cx, cy = self._at((x, y)).split(",")
            self._pieces.append(
                f'<circle class="{kind}" cx="{cx}" cy="{cy}" r="{size}"><title>{escape(tip)}</title></circle>'
            )

    def label(self, point: tuple[float, float], says: str) -> None:
        """Words beside a point, on the side where there is room."""
        x, y = self._x(point[0]), self._y(point[1])
        anchor, shift = ("end", -7) if x > WIDTH * 0.8 else ("start", 7)
        self._pieces.append(
            f'<text class="note" text-anchor="{anchor}" x="{x + shift:.1f}" y="{y + 4:.1f}">{escape(says)}</text>'
        )

    def across_at(self, y: float, says: str) -> None:
        """A dashed level with its words."""
        place = self._y(y)
        self._pieces.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place:.1f}" y2="{place:.1f}"/>')
        self._pieces.append(f'<text class="note" x="{LEFT + 8}" y="{place - 5:.1f}">{escape(says)}</text>')

    def up_at(self, x: float, says: str) -> None:
        """A dashed upright with its words beside it, on the side where there is room."""
        place = self._x(x)
        left = place > WIDTH * 0.6
        anchor, shift = ("end", -7) if left else ("start", 7)
        base = HEIGHT - BOTTOM
        self._pieces.append(f'<line class="mark" x1="{place:.1f}" x2="{place:.1f}" y1="{TOP}" y2="{base}"/>')
        self._pieces.append(
            f'<text class="note strong" text-anchor="{anchor}" x="{place + shift:.1f}" y="{base - 9}">'
            f"{escape(says)}</text>"
        )

    def draw(self) -> str:
        """The SVG element."""
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.title, quote=True)}">'
            f"{''.join(self._axes())}{''.join(self._pieces)}</svg>"
        )

    def _axes(self) -> list[str]:
        base, end = HEIGHT - BOTTOM, WIDTH - RIGHT
        made = []
        for tick in self.up.ticks:
            y = self._y(tick)
            made.append(f'<line class="grid" x1="{LEFT}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}"/>')
            made.append(
                f'<text class="tick" text-anchor="end" x="{LEFT - 8}" y="{y + 4:.1f}">{tick:g}{self.up.unit}</text>'
            )
        for tick in self.across.ticks:
            x = self._x(tick)
            says = f"{tick:,g}{self.across.unit}"
            made.append(f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{base + 17}">{says}</text>')
        made.append(f'<line class="axis" x1="{LEFT}" x2="{end}" y1="{base}" y2="{base}"/>')
        middle = (LEFT + end) / 2
        made.append(
            f'<text class="name" text-anchor="middle" x="{middle}" y="{HEIGHT - 6}">{escape(self.across.name)}</text>'
        )
        made.append(
            f'<text class="name" text-anchor="middle" transform="translate(12 {(TOP + base) / 2}) rotate(-90)">'
            f"{escape(self.up.name)}</text>"
        )
        return made

    def _at(self, point: tuple[float, float]) -> str:
        return f"{self._x(point[0]):.1f},{self._y(point[1]):.1f}"

    def _x(self, value: float) -> float:
        if self.places is not None:  # places of its own for a few values: every tick as far from the next
            value, low, high = _between(self.places, value), 0.0, len(self.places) - 1.0
        else:
            low, high = self.across.low, self.across.high
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / max(high - low, 1e-9)

    def _y(self, value: float) -> float:
        inside = min(max(value, self.up.low), self.up.high)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (inside - self.up.low) / (self.up.high - self.up.low)


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` (3 or more) round numbers, 1, 2 or 5 times a power of ten apart, around `low` and `high`."""
    span = max(high - low, abs(high) * 1e-9, 1e-9)
    size = 10.0 ** math.floor(math.log10(span / most))
    for factor in (1, 2, 5, 10, 20, 50):
        step = size * factor
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if max(last, first + 1) - first < most:
            break
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def _between(values: Sequence[float], value: float) -> float:
    """The place of one of the values."""
    return float(list(values).index(value))
