"""Builds the status and the Events of every tier after a cycle.

The input is a snapshot, the plan made from it, and the outcome of acting on it. Nothing is written here;
`throttle.should_write` and `events.EventDeduplicator` help whoever writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tierwise.api.modeltier_status import ModelTierStatus, ScalingMemory
from tierwise.ports import EventRecord
from tierwise.report.events import events
from tierwise.report.report_context import ReportContext
from tierwise.report.status import build
from tierwise.types import Outcome, Plan, Snapshot, TierKey, TierOutcome, TierState


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


def report(
    snapshot: Snapshot, plan: Plan, outcome: Outcome, now: float, remember: Callable[[TierState], ScalingMemory]
) -> Report:
    """The report on one cycle. `now`: seconds since the epoch; `remember` turns a decision's memory into the form in
    which it survives a restart (passed in, since the rooms do not know each other).

    A tier without a plan is left out; a tier without an outcome was not acted on."""
    plans = {each.key: each for each in plan.tiers}
    outcomes = {each.key: each for each in outcome.tiers}
    reports = []
    for view in sorted(snapshot.tiers, key=lambda view: view.tier.key):
        key = view.tier.key
        if key not in plans:
            continue
        case = ReportContext(
            view=view,
            plan=plans[key],
            outcome=outcomes.get(key, TierOutcome(key)),
            metrics=snapshot.metrics,
            kserve_present=snapshot.kserve_present,
            at=now,
        )
        status = build(case, remember(plans[key].memory))
        reports.append(TierReport(key, view.tier.uid, status, events(case, status)))
    return Report(tuple(reports))
