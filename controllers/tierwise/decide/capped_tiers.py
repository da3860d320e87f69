"""Says whether a tier has as many replicas as it can get, and how far its routers send it fewer requests for that.

The routers decide that by themselves, every second; here is only said what they may go by and what they say."""

from __future__ import annotations

from tierwise import reasons
from tierwise.api.modelroute_status import PressureStatus
from tierwise.types import RouteView, TierView

_LEAST_POINTS = 0.5
"""Percentage points of the share: less is rounding."""


def why_capped(view: TierView) -> str:
    """What keeps a tier from growing, as a reason of the table; empty where it can grow."""
    spec = view.tier.spec
    if spec is None or view.tier.deleting:
        return ""
    if spec.external is not None:
        return reasons.EXTERNAL
    if spec.replicas is not None:
        return reasons.PINNED
    if view.foreign_scalers:
        return reasons.FOREIGN_SCALER
    if spec.scaling.mode == "Advisory":
        return reasons.ADVISORY
    if view.deployments and view.replicas >= spec.scaling.max_replicas:
        return reasons.MAX_REPLICAS
    if view.tier.status.limited_by in (reasons.BUDGET, reasons.POOL):
        return view.tier.status.limited_by
    if any(pod.unschedulable_message and not pod.terminating for pod in view.pods):
        return reasons.UNSCHEDULABLE
    return ""


def pressure_status(view: RouteView, limited: str) -> PressureStatus | None:
    """How far the share is moved; None while it is not, or nobody says so. `limited`: why the tier cannot grow."""
    said, spec = view.signals.classifier, view.route.spec
    if spec is None or spec.pressure is None or said is None:
        return None
    if said.wanted_share is None or said.applied_share is None:
        return None
    if said.wanted_share - said.applied_share < _LEAST_POINTS:
        return None
    cost = ""
    if said.expected_quality is not None and said.unpressed_quality is not None:
        cost = f"{min(0.0, said.expected_quality - said.unpressed_quality):.1f}"
    return PressureStatus(
        wanted_percent=round(said.wanted_share),
        applied_percent=round(said.applied_share),
        quality_cost_points=cost,
        limited=limited,
    )
