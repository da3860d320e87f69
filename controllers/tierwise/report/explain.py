"""Explains why a tier has its replicas, and what to do about what is wrong.

`tierwise explain` prints what the operator wrote into the status, nothing else: the same steps, signals and conditions
that a program reads with `kubectl get -o json`, with the remedies of the reasons table beside them. First comes one
value (`explain`, what `-o json` prints), then its picture for people (`as_text`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tierwise.api.gpupool import GPUPoolStatus
from tierwise.report.explain_parts import (
    age,
    conditions_said,
    conditions_table,
    duration,
    new_table,
    outdated_text,
    pairs_table,
    sections,
    state_text,
)
from tierwise.report.explain_pools import pools_said, pools_table
from tierwise.report.messages import remedy
from tierwise.report.route_use import takes
from tierwise.types import RouteObject, TierObject

_UNREAD: Mapping[str, GPUPoolStatus] = {}


def explain(
    tier: TierObject,
    now: float,
    routes: Iterable[RouteObject] | None = (),
    pools: Mapping[str, GPUPoolStatus] = _UNREAD,
) -> dict[str, Any]:
    """Everything there is to say about one tier, as plain data. `now`: seconds since the epoch; `routes`: those of its
    namespace, None where they could not be read; `pools`: statuses of its pools by name, as far as they could be."""
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
        "routes": None if routes is None else _served(tier, routes),
        "pools": pools_said(tier, pools),
        "limits": _limits(tier),
        "cost": {"perHour": status.cost_per_hour, "perMillionTokens": status.cost_per_million_tokens},
        "speculation": None if status.speculation is None else status.speculation.model_dump(by_alias=True),
        "advice": [{**each.model_dump(by_alias=True), "remedy": remedy(each.reason)} for each in status.advice],
        "steps": [step.model_dump(by_alias=True) for step in status.scaling.steps],
        "signals": [
            {**signal.model_dump(by_alias=True), "unchangedForSeconds": age(signal.time, now)}
            for signal in status.scaling.signals
        ],
        "conditions": conditions_said(status.conditions, now),
        "decisions": [
            {**decision.model_dump(by_alias=True), "agoSeconds": age(decision.time, now)}
            for decision in status.scaling.decisions
        ],
    }


def as_text(said: Mapping[str, Any]) -> RenderableType:
    """What `explain` said, as tables for a terminal."""
    parts: list[RenderableType] = [_headline(said)]
    if said["outdated"]:
        parts.append(outdated_text(seen=bool(said["state"])))
    return sections(
        parts,
        (
            ("Conditions", conditions_table(said["conditions"])),
            ("Where it runs", pools_table(said["pools"])),
            ("Routes that it serves", _routes(said["routes"] or ())),
            ("What does not pay", _advice(said["advice"])),
            ("The last decision, step by step", _steps(said["steps"])),
            ("Made from", _signals(said["signals"])),
            ("Limits", pairs_table(said["limits"])),
            ("Last changes", _decisions(said["decisions"])),
        ),
    )


def _served(tier: TierObject, routes: Iterable[RouteObject]) -> list[dict[str, Any]]:
    return [
        {
            "route": str(route.key),
            "modelNames": list(route.model_names),
            "state": route.status.state,
            "takes": list(takes(route.spec, tier.key.name)),
        }
        for route in sorted(routes, key=lambda route: route.key)
        if route.spec is not None and any(each.name == tier.key.name for each in route.spec.tiers)
    ]


def _limits(tier: TierObject) -> dict[str, Any]:
    spec = tier.spec
    if spec is None or spec.external is not None:
        return {}
    scaling = spec.scaling
    limits: dict[str, Any] = {} if spec.replicas is None else {"replicas": spec.replicas}
    if spec.pools:
        limits["priority"] = spec.priority
    return limits | {
        "mode": scaling.mode,
        "minReplicas": scaling.min_replicas,
        "maxReplicas": scaling.max_replicas,
        "waitingPerReplica": scaling.waiting_per_replica,
        "kvCachePercent": scaling.kv_cache_percent,
        "tolerancePercent": scaling.tolerance_percent,
        "scaleDownWindowSeconds": scaling.scale_down_window_seconds,
        **({} if scaling.min_replicas else {"idleSeconds": scaling.idle_seconds}),
    }


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


def _routes(routes: Iterable[Mapping[str, Any]]) -> Table:
    table = new_table("ROUTE", "MODEL NAMES", "STATE", "WHAT IT ANSWERS")
    for each in routes:
        answered = Text("; ".join(each["takes"]))
        table.add_row(each["route"], ", ".join(each["modelNames"]), state_text(each["state"]), answered)
    return table


def _advice(advice: Iterable[Mapping[str, Any]]) -> Table:
    table = new_table("ADVICE", "WHAT WAS FOUND, WHAT TO DO")
    for each in advice:
        table.add_row(Text(each["reason"], style="yellow"), Text(each["message"]))
    return table


def _steps(steps: Iterable[Mapping[str, Any]]) -> Table:
    table = new_table("STEP", "REPLICAS", "REASON", "WHY")
    for each in steps:
        table.add_row(each["name"], str(each["replicas"]), each["reason"], Text(each["message"]))
    return table


def _signals(signals: Iterable[Mapping[str, Any]]) -> Table:
    table = new_table("SIGNAL", "STATE", "VALUE", "UNCHANGED FOR")
    for each in signals:
        style = "" if each["state"] == "Value" else "yellow"
        table.add_row(
            each["name"], Text(each["state"], style=style), each["value"], duration(each["unchangedForSeconds"])
        )
    return table


def _decisions(decisions: Iterable[Mapping[str, Any]]) -> Table:
    table = new_table("AGO", "CHANGE", "REASON", "WHY")
    for each in decisions:
        table.add_row(
            duration(each["agoSeconds"]), f"{each['from']} → {each['to']}", each["reason"], Text(each["message"])
        )
    return table
