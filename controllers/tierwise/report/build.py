"""Builds the status and the Events of every tier after a cycle.

The input is a snapshot, the plan made from it, and the outcome of acting on it. Nothing is written here;
`throttle.should_write` and `events.EventDeduplicator` help whoever writes.
"""

from __future__ import annotations

from dataclasses import dataclass

from tierwise.api.modeltier_status import ModelTierStatus, ScalingMemory
from tierwise.ports import EventRecord
from tierwise.report.events import events
from tierwise.report.report_context import ReportContext
from tierwise.report.status import build
from tierwise.types import Snapshot, TierKey, TierOutcome, TierPlan, TierView


@dataclass(frozen=True, slots=True)
class TierReport:
    """What is to be told about one tier: its new status, and the events on the way there (not yet deduplicated)."""

    key: TierKey
    uid: str
    status: ModelTierStatus
    events: tuple[EventRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be told about all tiers, sorted by key."""

    tiers: tuple[TierReport, ...]


def report_tier(
    snapshot: Snapshot, view: TierView, plan: TierPlan, outcome: TierOutcome, now: float, remembered: ScalingMemory
) -> TierReport:
    """The report on one tier after one cycle. `now`: seconds since the epoch; `remembered`: the state of its last
    decision in the form in which it survives a restart. A tier that was not acted on has an empty outcome."""
    case = ReportContext(view, plan, outcome, snapshot.metrics, snapshot.kserve_present, now, snapshot.pools)
    status = build(case, remembered)
    return TierReport(view.tier.key, view.tier.uid, status, events(case, status))
