"""Shares the GPUs of a fleet out among its tiers: pools, budgets, floors, priorities, and what it costs.

It stands between the recommendations and the decisions (see `decide.allocate`), and needs nothing of either: what a
tier asks for comes in as a `TierClaim`, what there is as a `PoolState`.
"""

from __future__ import annotations

from tierwise.decide.fleet.allocation import allocate
from tierwise.decide.fleet.values import (
    NO_BUDGET,
    Allocation,
    Budget,
    Granted,
    LimitedBy,
    Place,
    PoolState,
    TierClaim,
    TierGrant,
)
from tierwise.types.pool import PoolUse

__all__ = [
    "NO_BUDGET",
    "Allocation",
    "Budget",
    "Granted",
    "LimitedBy",
    "Place",
    "PoolState",
    "PoolUse",
    "TierClaim",
    "TierGrant",
    "allocate",
]
