"""Reads a page back: its tables and plots as values, and what a browser would say of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from xml.etree import ElementTree

VOID = ("meta", "link", "br", "img", "input")


@dataclass
class Table:
    """Rows of texts, the head first; `caption` is what stands above."""

    caption: str = ""
    rows: list[list[str]] = field(default_factory=list)

    def row(self, name: str) -> dict[str, str]:
        """The row of that name, by the names of the columns."""
        found = next(row for row in self.rows if row[0] == name)
        return dict(zip(self.rows[0], found, strict=True))


class Page(HTMLParser):
    """Tags that were never closed, what the page would load, its tables and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.tables: list[Table] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append(Table())
        if tag == "tr":
            self.tables[-1].rows.append([])
        if tag in ("th", "td"):
            self.tables[-1].rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.open and self.open[-1] in ("th", "td"):
            self.tables[-1].rows[-1][-1] += data.replace("\N{NO-BREAK SPACE}", " ")
        if self.open and self.open[-1] == "caption":
            self.tables[-1].caption += data

    def table(self, caption: str) -> Table:
        """The first table whose caption begins so."""
        return next(each for each in self.tables if each.caption.startswith(caption))


def drawings(page: str) -> list[ElementTree.Element]:
    """Every SVG of the page. Raises ParseError for one that is not well-formed XML."""
    return [ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def levels(path: str) -> list[int]:
    """Every height at which a path of steps stands."""
    return [int(each) for each in re.findall(r"(?:M0 |V)(\d+)", path)]


def width(path: str) -> int:
    """How far a path of steps goes to the right."""
    return sum(int(each) for each in re.findall(r"h(\d+)", path))
