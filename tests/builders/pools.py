"""Pools as they are reported: one that serves well, and what to change to make it ill."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from tierwise import reasons
from tierwise.api.gpupool import GPUPoolSpec, GPUPoolStatus
from tierwise.types import GPU, PoolObject, PoolPrice, PoolUse, PoolView

NOW = 1_800_000_000.0
LIST = PoolPrice(Decimal("6.88"), "AWS us-east-1 p5, on demand, 2026-07-20")


def use(used: int = 0, pending: int = 0) -> PoolUse:
    """What tiers hold."""
    return PoolUse("h100", used, pending, 0, None, None)


def pool(spec: dict[str, Any] | None = None, **changes: Any) -> PoolView:
    """A pool of eight GPUs on two nodes; `spec` its spec, `changes` fields of the view."""
    made = PoolObject(
        "h100", "uid-h100", 3, "77", NOW - 900, GPUPoolSpec.model_validate(spec or {}), GPUPoolStatus(), ""
    )
    plain = PoolView(
        made,
        capacity=8,
        others=1,
        nodes=2,
        ready_nodes=2,
        gpu=GPU("NVIDIA-H100-80GB-HBM3", (9, 0), 81559, 580),
        price=PoolPrice(Decimal("2.5")),
    )
    return replace(plain, **changes)


def unreadable() -> PoolView:
    """A pool whose spec does not parse."""
    seen = pool(capacity=None, others=None, unknown=(reasons.INVALID_POOL, "spec.budget: wrong"), price=None)
    return replace(seen, pool=replace(seen.pool, spec=None, invalid="spec.budget: wrong"))


def _unknown(reason: str) -> PoolView:
    return pool(capacity=None, others=None, unknown=(reason, "why it is not known"))


# The pool, what tiers hold, and the column STATUS with REASON.
CASES: dict[str, tuple[PoolView, PoolUse, tuple[str, str]]] = {
    "free": (pool(), use(3), ("Ready", reasons.POOL_FREE)),
    "full": (pool(), use(7), ("Full", reasons.POOL_FULL)),
    "nothing left of the budget": (pool({"budget": {"gpus": 3}}), use(3), ("Full", reasons.POOL_FULL)),
    "nothing left of the dollars": (pool({"budget": {"usdPerHour": "9"}}), use(3), ("Full", reasons.POOL_FULL)),
    "over its GPUs": (pool({"budget": {"gpus": 2}}), use(3), ("OverBudget", reasons.OVER_BUDGET)),
    "over its dollars": (pool({"budget": {"usdPerHour": "7"}}), use(3), ("OverBudget", reasons.OVER_BUDGET)),
    "dollars without a price": (
        pool({"budget": {"usdPerHour": "7"}}, price=None),
        use(0),
        ("Full", reasons.POOL_FULL),
    ),
    "a list price": (pool(price=LIST), use(1), ("Ready", reasons.POOL_FREE)),
    "no node": (pool(capacity=0, others=0, nodes=0, ready_nodes=0), use(0), ("Empty", reasons.NO_NODES)),
    "no node is Ready": (pool(capacity=0, others=0, ready_nodes=0), use(2), ("Empty", reasons.NODES_NOT_READY)),
    "all nodes are cordoned": (pool(capacity=0, others=0), use(0), ("Empty", reasons.NODES_LEND_NOTHING)),
    "nodes not known": (_unknown(reasons.NODES_UNKNOWN), use(2), ("Unknown", reasons.NODES_UNKNOWN)),
    "pods not known": (_unknown(reasons.PODS_UNKNOWN), use(2), ("Unknown", reasons.PODS_UNKNOWN)),
    "not readable": (unreadable(), use(0), ("Rejected", reasons.INVALID_POOL)),
    "overlapping": (pool(overlaps=("old",)), use(0), ("Ready", reasons.POOL_FREE)),
    "being deleted": (
        replace(pool(), pool=replace(pool().pool, deleting=True)),
        use(0),
        ("Deleting", reasons.POOL_FREE),
    ),
}
