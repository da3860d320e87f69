"""Tiers with one workload: what is planned for it, and what became of it."""

from __future__ import annotations

from typing import Any

from tierwise.types import TierKey, TierOutcome, TierPlan, WorkloadOutcome


def scale_to(plan: TierPlan) -> int | None:
    """The replicas that are to be written; None when none are."""
    if not plan.workloads:
        return None
    (workload,) = plan.workloads
    return workload.scale_to


def deletion_costs(plan: TierPlan) -> tuple[tuple[str, int], ...]:
    """The deletion costs that are to be written."""
    if not plan.workloads:
        return ()
    (workload,) = plan.workloads
    return workload.deletion_costs


def only(outcome: TierOutcome) -> WorkloadOutcome:
    """What became of the only workload; nothing, when nothing was tried."""
    if not outcome.workloads:
        return WorkloadOutcome(outcome.key.name)
    (workload,) = outcome.workloads
    return workload


def outcome_of(key: TierKey, *, scaled: tuple[int, int] | None = None, **fields: Any) -> TierOutcome:
    """The outcome of a tier with one workload of its own name; `fields` as in WorkloadOutcome, `scaled` from and to."""
    if scaled is not None:
        fields |= {"scaled_from": scaled[0], "scaled_to": scaled[1]}
    return TierOutcome(key, (WorkloadOutcome(key.name, **fields),))
