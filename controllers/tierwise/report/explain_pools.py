"""Explains where a tier runs: its pools, what it asked for there, what it was granted, and what stood in the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from tierwise import reasons
from tierwise.api.gpupool import GPUPoolStatus
from tierwise.report.explain_parts import new_table
from tierwise.types import TierObject

_LIMITS = (reasons.BUDGET, reasons.POOL, reasons.RECLAIMED)


def pools_said(tier: TierObject, pools: Mapping[str, GPUPoolStatus]) -> list[dict[str, Any]]:
    """The pools of a tier as plain data. `pools`: their statuses by name, as far as they could be read."""
    steps = (step for step in tier.status.scaling.steps if step.reason in _LIMITS)
    why = next((f"{step.reason}: {step.message}" for step in reversed([*steps])), "")
    return [
        {
            **each.model_dump(by_alias=True),
            "service": _service(tier, each.name),
            "why": why,
            "pool": None if each.name not in pools else _figures(pools[each.name]),
        }
        for each in tier.status.pools
    ]


def _service(tier: TierObject, pool: str) -> str:
    return next((each.name for each in tier.status.inference_services if each.pool == pool), "")


def _figures(status: GPUPoolStatus) -> dict[str, Any]:
    shown = {"state", "capacity", "used", "others", "free", "budget", "cost_per_hour", "price_source"}
    return status.model_dump(by_alias=True, include=shown)


def pools_table(pools: Iterable[Mapping[str, Any]]) -> Table:
    """What `pools_said` said."""
    table = new_table(
        "POOL", "WANTED", "GRANTED", "READY", "GPUS", "$/H", "$/MTOK BUSY", "THE POOL", "WHY, WHOSE PRICE"
    )
    for each in pools:
        table.add_row(
            each["name"],
            str(each["wanted"]),
            str(each["replicas"]),
            str(each["ready"]),
            str(each["gpus"]),
            each["costPerHour"],
            each["costPerMillionTokens"],
            Text(_pool(each["pool"])),
            Text("; ".join(part for part in (each["why"], _price(each["priceSource"])) if part)),
        )
    return table


def _price(source: str) -> str:
    return f"the price is assumed: {source}" if source else ""


def _pool(pool: Mapping[str, Any] | None) -> str:
    if pool is None:
        return "could not be read"
    if pool["capacity"] is None:
        return f"{pool['state']}: what it has is not known"
    said = f"{pool['state']}: {pool['free']} of {pool['capacity']} GPUs free, {pool['others']} held by others"
    return said + (f", budget {pool['budget']}" if pool["budget"] else "")
