"""Writes what a command found: tables, JSON, YAML; for a terminal in its width and in colour, for a program as it is.

A program that reads a table wants one line per object and no cell cut in two, so nothing is folded in a pipe. Colour is
for a terminal alone, and for nobody who has set NO_COLOR.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

import yaml

from tierwise_cli.states import Class, class_of

if TYPE_CHECKING:
    from rich.console import RenderableType

GREEN, RED, YELLOW, DIM = "32", "31", "33", "2"
_UNFOLDED = 10_000  # columns, more than any line of ours has
_COLOURS: dict[Class, str] = {"good": GREEN, "moving": YELLOW, "doubtful": YELLOW, "bad": RED}
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def coloured(stream: TextIO | None = None) -> bool:
    """Whether what is written there may have colours."""
    return (stream or sys.stdout).isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, code: str) -> str:
    """`text` in a colour, if colours are wanted at all."""
    return f"\x1b[{code}m{text}\x1b[0m" if code and text.strip() and coloured() else text


def state_colour(header: str, cell: str) -> str:
    """The colour of a cell; empty for none."""
    if header.upper() != "STATUS" or cell in ("", "-"):
        return ""
    return _COLOURS[class_of(cell)]


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The lines of a table as kubectl prints them: three spaces between columns, never folded."""
    cells = [[header.upper() for header in headers], *[[_cell(cell) for cell in row] for row in rows]]
    widths = [max(len(row[place]) for row in cells) for place in range(len(headers))]
    lines = []
    for number, row in enumerate(cells):
        padded = [cell.ljust(width) for cell, width in zip(row, [*widths[:-1], 0], strict=True)]
        if number:
            padded = [paint(cell, state_colour(headers[at], row[at])) for at, cell in enumerate(padded)]
        lines.append("   ".join(padded).rstrip())
    return "\n".join(lines)


def _cell(text: str) -> str:
    """One line, and never empty: whoever splits at spaces counts columns."""
    return " ".join(str(text).split()) or "-"


def write_data(form: str, data: Any) -> None:
    """`data` as "json" or "yaml"."""
    if form == "json":
        print(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        print(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True), end="")


def write_picture(picture: RenderableType, *, wide: bool = False) -> None:
    """A picture of `rich`; folded at the width of the terminal unless `wide`, and never in a pipe."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    if terminal and not wide:
        Console().print(picture)
        return
    held = io.StringIO()
    console = Console(file=held, width=_UNFOLDED, force_terminal=terminal, no_color=not coloured(), highlight=terminal)
    console.print(picture, soft_wrap=False)
    print("\n".join(line.rstrip() for line in held.getvalue().splitlines()))
