"""Explains why a tier has its replicas, and what to do about what is wrong.

`tierwise explain` prints what the operator wrote into the status, nothing else: the same steps, signals and conditions
that a program reads with `kubectl get -o json`, with the remedies of the reasons table beside them. First comes one
value (`explain`, what `-o json` prints), then its picture for people (`as_text`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tierwise.report.messages import remedy
from tierwise.times import seconds
from tierwise.types import TierObject

_COLOUR = {"True": "green", "False": "red", "Unknown": "yellow"}
_GOOD_WHEN_FALSE = frozenset({"ScalingLimited"})


def explain(tier: TierObject, now: float) -> dict[str, Any]:
    """Everything there is to say about one tier, as plain data. `now`: seconds since the epoch."""
    status = tier.status
    return {
        "tier": str(tier.key),
        "model": status.model,
        "state": status.state,
        "reason": status.reason,
        "outdated": status.observed_generation != tier.generation,
        "replicas": {
            "ready": status.ready_replicas,
            "existing": status.replicas,
            "desired": status.desired_replicas,
            "limitedBy": status.limited_by,
        },
        "limits": _limits(tier),
        "cost": {"perHour": status.cost_per_hour, "perMillionTokens": status.cost_per_million_tokens},
        "speculation": None if status.speculation is None else status.speculation.model_dump(by_alias=True),
        "advice": [{**each.model_dump(by_alias=True), "remedy": remedy(each.reason)} for each in status.advice],
        "steps": [step.model_dump(by_alias=True) for step in status.scaling.steps],
        "signals": [
            {**signal.model_dump(by_alias=True), "unchangedForSeconds": _age(signal.time, now)}
            for signal in status.scaling.signals
        ],
        "conditions": [
            {
                **condition.model_dump(by_alias=True),
                "sinceSeconds": _age(condition.last_transition_time, now),
                "remedy": remedy(condition.reason),
            }
            for condition in status.conditions
        ],
        "decisions": [
            {**decision.model_dump(by_alias=True), "agoSeconds": _age(decision.time, now)}
            for decision in status.scaling.decisions
        ],
    }


def as_text(said: Mapping[str, Any]) -> RenderableType:
    """What `explain` said, as tables for a terminal."""
    parts: list[RenderableType] = [_headline(said)]
    if said["outdated"]:
        parts.append(Text("The spec has changed since; the operator has not looked at it yet.", style="yellow"))
    for title, table in (
        ("Conditions", _conditions(said["conditions"])),
        ("What does not pay", _advice(said["advice"])),
        ("The last decision, step by step", _steps(said["steps"])),
        ("Made from", _signals(said["signals"])),
        ("Limits", _pairs(said["limits"])),
        ("Last changes", _decisions(said["decisions"])),
    ):
        if table.row_count:
            parts += [Text(), Text(title, style="bold"), Padding(table, (0, 0, 0, 2))]
    return Group(*parts)


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


def _limits(tier: TierObject) -> dict[str, Any]:
    spec = tier.spec
    if spec is None or spec.external is not None:
        return {}
    scaling = spec.scaling
    limits: dict[str, Any] = {} if spec.replicas is None else {"replicas": spec.replicas}
    return limits | {
        "mode": scaling.mode,
        "minReplicas": scaling.min_replicas,
        "maxReplicas": scaling.max_replicas,
        "waitingPerReplica": scaling.waiting_per_replica,
        "kvCachePercent": scaling.kv_cache_percent,
        "tolerancePercent": scaling.tolerance_percent,
        "scaleDownWindowSeconds": scaling.scale_down_window_seconds,
    }


def _age(time: str, now: float) -> int | None:
    at = seconds(time)
    return None if at is None else max(0, round(now - at))


def _headline(said: Mapping[str, Any]) -> Text:
    replicas, cost = said["replicas"], said["cost"]
    line = Text.assemble((said["tier"], "bold"), f" serves {said['model']}" if said["model"] else "")
    line.append(f"\n{said['state'] or 'Not looked at yet'}")
    line.append(f" ({said['reason']})" if said["reason"] else "")
    line.append(f": {replicas['ready']} ready of {replicas['desired']} desired")
    line.append(f", limited by {replicas['limitedBy']}" if replicas["limitedBy"] else "")
    for amount, unit in ((cost["perHour"], "$/h"), (cost["perMillionTokens"], "$ per million tokens")):
        line.append(f", {amount} {unit}" if amount else "")
    if said["speculation"] is not None:
        drafted = said["speculation"]["draftedPerSecond"]
        line.append(f"\nSpeculation: {said['speculation']['state']}")
        line.append(f", {drafted} tokens drafted per second" if drafted else "")
    return line


def _conditions(conditions: Iterable[Mapping[str, Any]]) -> Table:
    table = _table("CONDITION", "STATUS", "SINCE", "REASON", "WHAT HAPPENED, WHAT TO DO")
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


def _advice(advice: Iterable[Mapping[str, Any]]) -> Table:
    table = _table("ADVICE", "WHAT WAS FOUND, WHAT TO DO")
    for each in advice:
        table.add_row(Text(each["reason"], style="yellow"), Text(each["message"]))
    return table


def _steps(steps: Iterable[Mapping[str, Any]]) -> Table:
    table = _table("STEP", "REPLICAS", "REASON", "WHY")
    for each in steps:
        table.add_row(each["name"], str(each["replicas"]), each["reason"], Text(each["message"]))
    return table


def _signals(signals: Iterable[Mapping[str, Any]]) -> Table:
    table = _table("SIGNAL", "STATE", "VALUE", "UNCHANGED FOR")
    for each in signals:
        style = "" if each["state"] == "Value" else "yellow"
        table.add_row(
            each["name"], Text(each["state"], style=style), each["value"], duration(each["unchangedForSeconds"])
        )
    return table


def _decisions(decisions: Iterable[Mapping[str, Any]]) -> Table:
    table = _table("AGO", "CHANGE", "REASON", "WHY")
    for each in decisions:
        table.add_row(
            duration(each["agoSeconds"]), f"{each['from']} → {each['to']}", each["reason"], Text(each["message"])
        )
    return table


def _pairs(pairs: Mapping[str, Any]) -> Table:
    table = _table("FIELD", "VALUE")
    for name, value in pairs.items():
        table.add_row(name, str(value))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
