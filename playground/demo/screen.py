"""Shows `kubectl get mt` and `kubectl get mr` again and again while the load runs.

On a terminal the table is redrawn in place; otherwise (a file, a pipe) it is printed now and then, one after another.
What is drawn comes in as values, so that both ways show the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

PLAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Frame:
    """One look: seconds since the load began, its length, the table, requests asked and answered, the last events."""

    at: float
    total: float
    table: str
    sent: int
    answered: int
    failed: int
    events: tuple[str, ...]


def headline(frame: Frame) -> str:
    """The line above the table."""
    failed = f", {frame.failed} failed" if frame.failed else ""
    load = f"{frame.total:.0f} s of load" if frame.at <= frame.total else "the load is over"
    return f"[{frame.at:4.0f} s, {load}] {frame.sent} requests sent, {frame.answered} answered{failed}"


def _drawn(frame: Frame) -> Group:
    return Group(
        Text("\n$ kubectl get mt; kubectl get mr", style="dim"),
        *(Text(row, style="bold" if row.startswith("NAME ") else "") for row in frame.table.split("\n")),
        Text(f"\n{headline(frame)}", style="cyan"),
        *(Text(event, style="green") for event in frame.events),
    )


def _plain(frame: Frame) -> str:
    return "\n".join([headline(frame), frame.table, *frame.events, ""])


@contextmanager
def screen(out: TextIO = sys.stdout, *, plain: bool = False) -> Iterator[Callable[[Frame], None]]:
    """A function that shows frames: in place on a terminal, every ten seconds as lines otherwise."""
    if out.isatty() and not plain:
        with Live(console=Console(file=out), auto_refresh=False) as live:
            yield lambda frame: live.update(_drawn(frame), refresh=True)
        return
    shown_at = -PLAIN_SECONDS

    def show(frame: Frame) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= PLAIN_SECONDS:
            shown_at = time.monotonic()
            print(_plain(frame), file=out, flush=True)

    yield show
