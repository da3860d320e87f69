"""Makes the parts that explanations of tiers and routes have in common: conditions, tables, durations.

Plain data first, then its picture for people, so that a program reads what a person sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tierwise.api.conditions import Condition
from tierwise.report.messages import remedy
from tierwise.times import seconds

_COLOUR = {"True": "green", "False": "red", "Unknown": "yellow"}
_STATES = {"Ready": "green", "Failed": "red", "Rejected": "red", "Missing": "red"}
_GOOD_WHEN_FALSE = frozenset({"ScalingLimited"})


def conditions_said(conditions: Iterable[Condition], now: float) -> list[dict[str, Any]]:
    """The conditions as plain data, with what a person should do. `now`: seconds since the epoch."""
    return [
        {
            **condition.model_dump(by_alias=True),
            "sinceSeconds": age(condition.last_transition_time, now),
            "remedy": remedy(condition.reason),
        }
        for condition in conditions
    ]


def sections(headline: Iterable[RenderableType], tables: Iterable[tuple[str, Table]]) -> RenderableType:
    """The headline, then each table that has a row below its title."""
    found: list[RenderableType] = [*headline]
    for title, table in tables:
        if table.row_count:
            found += [Text(), Text(title, style="bold"), Padding(table, (0, 0, 0, 2))]
    return Group(*found)


def duration(seconds_: int | None) -> str:
    """Seconds as people say them: 45s, 12m, 3h20m, 5d; empty for None."""
    if seconds_ is None:
        return ""
    if seconds_ < 120:
        return f"{seconds_}s"
    minutes = seconds_ // 60
    if minutes < 120:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    return f"{hours // 24}d"


def age(time: str, now: float) -> int | None:
    """Whole seconds since a time in RFC 3339, never negative; None where there is none."""
    at = seconds(time)
    return None if at is None else max(0, round(now - at))


def state_text(word: str) -> Text:
    """The one word for a whole tier or route, in its colour."""
    return Text(word or "unknown", style=_STATES.get(word, "yellow"))


def conditions_table(conditions: Iterable[Mapping[str, Any]]) -> Table:
    """What `conditions_said` said."""
    table = new_table("CONDITION", "STATUS", "SINCE", "REASON", "WHAT HAPPENED, WHAT TO DO")
    for each in conditions:
        truth = each["status"]
        colour = _COLOUR[truth]
        if each["type"] in _GOOD_WHEN_FALSE and truth != "Unknown":
            colour = "yellow" if truth == "True" else "green"
        table.add_row(
            each["type"],
            Text(truth, style=colour),
            duration(each["sinceSeconds"]),
            each["reason"],
            Text(each["message"]),
        )
    return table


def pairs_table(pairs: Mapping[str, Any]) -> Table:
    """Fields and their values."""
    table = new_table("FIELD", "VALUE")
    for name, value in pairs.items():
        table.add_row(name, str(value))
    return table


def new_table(*columns: str) -> Table:
    """An empty table that folds what is too long."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def outdated_text(*, seen: bool) -> Text:
    """That what is shown is not about the present spec. `seen`: whether an operator has ever looked at the object."""
    if seen:
        said = (
            "The spec has changed since; the operator has not looked at it yet. What follows is about the spec before."
        )
        return Text(f"{said} If that lasts, no operator serves this namespace any more.", style="yellow")
    said = "The operator has not looked at it yet. If that lasts, none runs, or none serves this namespace"
    return Text(f"{said} (chart value watch.namespaces).", style="yellow")
