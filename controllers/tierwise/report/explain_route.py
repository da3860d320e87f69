"""Explains what a route does with requests, and why a tier of it is not used.

`tierwise explain route` prints what the operator wrote into the statuses of the route and of its tiers, and the spec in
words. As for tiers there is one value (`explain_route`, what `-o json` prints), and its picture (`route_as_text`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tierwise import reasons
from tierwise.api.modelroute_status import LadderTier
from tierwise.report.explain_parts import (
    conditions_said,
    conditions_table,
    new_table,
    outdated_text,
    pairs_table,
    sections,
    state_text,
)
from tierwise.report.messages import remedy
from tierwise.report.route_use import takes
from tierwise.types import RouteObject, TierObject

_NOW = frozenset(
    {
        "requests_per_second",
        "share",
        "cost_per_hour",
        "saved",
        "spent",
        "waiting",
        "spilled",
        "fallbacks",
        "ttft_p95_seconds",
    }
)
# In this order a tier comes to answer: what is not met first keeps the rest from being met.
_WHY = (reasons.ACCEPTED, reasons.PROVISIONED, reasons.READY)


def explain_route(route: RouteObject, tiers: Mapping[str, TierObject], now: float) -> dict[str, Any]:
    """Everything there is to say about one route, as plain data. `tiers`: those of its ladder that exist, by name;
    `now`: seconds since the epoch."""
    status = route.status
    return {
        "route": str(route.key),
        "url": status.url,
        "modelNames": list(route.model_names),
        "state": status.state,
        "reason": status.reason,
        "outdated": status.observed_generation != route.generation,
        "routers": status.ready,
        "tiersReady": status.tiers,
        "tiers": [_tier(route, rung, tiers.get(rung.name)) for rung in status.ladder],
        "now": status.model_dump(by_alias=True, include=set(_NOW), exclude_defaults=True),
        "classifier": _classifier(route),
        "limits": _limits(route),
        "conditions": conditions_said(status.conditions, now),
    }


def ladder_names(route: RouteObject) -> tuple[str, ...]:
    """The tiers that `explain_route` wants to know of."""
    return tuple(rung.name for rung in route.status.ladder)


def route_as_text(said: Mapping[str, Any]) -> RenderableType:
    """What `explain_route` said, as tables for a terminal."""
    headline: list[RenderableType] = [_headline(said)]
    if said["outdated"]:
        headline.append(outdated_text(seen=bool(said["state"])))
    return sections(
        headline,
        (
            ("Conditions", conditions_table(said["conditions"])),
            ("Tiers, cheapest first", _ladder(said["tiers"])),
            ("What they answer", _answers(said["tiers"])),
            ("Not used now", _unused(said["tiers"])),
            ("Measured", pairs_table(said["now"])),
            ("Classifier", pairs_table(said["classifier"])),
            ("Limits", pairs_table(dict(_flat(said["limits"])))),
        ),
    )


def _tier(route: RouteObject, rung: LadderTier, tier: TierObject | None) -> dict[str, Any]:
    external = rung.provider is not None
    ready = tier.status.ready_replicas if tier is not None else 0
    return {
        "name": rung.name,
        "use": rung.use,
        "state": tier.status.state if tier is not None else "Missing",
        "model": rung.model if external or tier is None else tier.status.model,
        "at": rung.provider.base_url if rung.provider is not None else _services(rung),
        "replicas": None
        if external or tier is None
        else {"ready": ready, "desired": tier.status.desired_replicas, "limitedBy": tier.status.limited_by},
        "requestsPerReplica": rung.concurrency,
        "capacity": rung.concurrency if external else rung.concurrency * ready,
        "contextLength": rung.context_length,
        "price": _price(rung),
        "costPerHour": tier.status.cost_per_hour if tier is not None else "",
        "answers": list(takes(route.spec, rung.name)) if route.spec is not None else [],
        "unused": _why_unused(route, rung, tier),
    }


def _services(rung: LadderTier) -> str:
    if rung.service is None:
        return "no Service: its name is another tier's"
    return f"Service{'s' if rung.more_services else ''} {', '.join([rung.service, *rung.more_services])}"


def _price(rung: LadderTier) -> dict[str, Any]:
    """US dollars per million tokens of each kind, or for a replica for an hour; empty when nobody has said it."""
    if rung.prices is not None:
        return rung.prices.model_dump(by_alias=True, exclude_none=True)
    return {} if rung.replica_hour is None else {"replicaHour": rung.replica_hour}


def _why_unused(route: RouteObject, rung: LadderTier, tier: TierObject | None) -> dict[str, str] | None:
    """Why nothing is sent to this tier now: a reason, what happened, what would change it. None when it answers."""
    if tier is None:
        said = f"there is no ModelTier {rung.name} in namespace {route.key.namespace}"
        return _reason(reasons.TIER_NOT_FOUND, said)
    if tier.deleting:
        return _reason(reasons.DELETING, "it is being deleted")
    if rung.provider is None and tier.status.ready_replicas > 0:
        return None
    by_type = {condition.type: condition for condition in tier.status.conditions}
    for kind in _WHY:
        condition = by_type.get(kind)
        if condition is not None and condition.status != "True":
            return _reason(condition.reason, condition.message)
    if rung.provider is not None:
        return None
    return _reason("", "none of its replicas is ready, and the operator has not said why yet")


def _reason(word: str, message: str) -> dict[str, str]:
    return {"reason": word, "message": message, "remedy": remedy(word)}


def _classifier(route: RouteObject) -> dict[str, Any]:
    """What the routers say of the classifier; empty without one. Whether it is used, a condition says."""
    found = route.status.classifier
    return {} if found is None else found.model_dump(by_alias=True, exclude_defaults=True)


def _limits(route: RouteObject) -> dict[str, Any]:
    spec = route.spec
    if spec is None:
        return {}
    parts = {"overflow": spec.overflow, "queue": spec.queue, "deadlines": spec.deadlines, "budget": spec.budget}
    return {name: part.model_dump(by_alias=True, exclude_none=True) for name, part in parts.items() if part is not None}


def _flat(limits: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for part, fields in limits.items():
        for name, value in fields.items():
            yield f"{part}.{name}", value


def _headline(said: Mapping[str, Any]) -> Text:
    line = Text.assemble((said["route"], "bold"), f" serves {', '.join(said['modelNames'])}")
    line.append(f" at {said['url']}\n" if said["url"] else "\n")
    line.append_text(state_text(said["state"]) if said["state"] else Text("Not looked at yet", style="yellow"))
    line.append(f" ({said['reason']})" if said["reason"] else "")
    if said["routers"]:
        line.append(f": {said['routers']} routers, {said['tiersReady']} tiers")
    return line


def _ladder(tiers: Iterable[Mapping[str, Any]]) -> Table:
    table = new_table("TIER", "USE", "STATE", "READY", "AT A TIME", "CONTEXT", "PRICE", "$/H", "MODEL", "WHERE")
    for each in tiers:
        replicas = each["replicas"]
        table.add_row(
            each["name"],
            each["use"],
            state_text(each["state"]),
            f"{replicas['ready']}/{replicas['desired']}" if replicas is not None else "",
            str(each["capacity"]),
            "" if each["contextLength"] is None else str(each["contextLength"]),
            _price_text(each["price"]),
            Text(each["costPerHour"]),
            Text(each["model"]),
            Text(each["at"]),
        )
    return table


def _price_text(price: Mapping[str, Any]) -> str:
    if "replicaHour" in price:
        return f"{price['replicaHour']} per replica and hour"
    return f"{price['input']} in, {price['output']} out per million tokens" if price else ""


def _answers(tiers: Iterable[Mapping[str, Any]]) -> Table:
    table = new_table("TIER", "ANSWERS")
    for each in tiers:
        if each["answers"]:
            table.add_row(each["name"], Text("; ".join(each["answers"])))
    return table


def _unused(tiers: Iterable[Mapping[str, Any]]) -> Table:
    table = new_table("TIER", "REASON", "WHY, AND WHAT WOULD CHANGE IT")
    for each in tiers:
        why = each["unused"]
        if why is not None:
            stands = not why["remedy"] or why["remedy"].rstrip(".") in why["message"]
            table.add_row(
                each["name"],
                Text(why["reason"], style="red"),
                Text(why["message"] if stands else f"{why['message'].rstrip('.')}. {why['remedy']}"),
            )
    return table
