"""Derives Events from a cycle, and drops repeated ones.

Events describe changes: replicas written, children created or healed, conditions that changed. They are derived from
two statuses and an outcome. The same sentence about the same object passes once in ten minutes. A change of replicas is
an act, not a state: it always passes. What has passed is kept until it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from tierwise import reasons
from tierwise.api.conditions import Condition
from tierwise.api.kinds import MODEL_TIER
from tierwise.api.modeltier_status import AdviceStatus, DecisionStatus, ModelTierStatus
from tierwise.ports import EventRecord
from tierwise.report.conditions import find
from tierwise.report.messages import message_for
from tierwise.report.report_context import ReportContext
from tierwise.text_sanitize import truncate
from tierwise.types import RouteObject, TierObject

REPEAT_SECONDS = 600.0
SCALE, APPLY, OBSERVE = "Scale", "Apply", "Observe"
_NOTE = 1000  # events.k8s.io/v1 allows a note of 1 KiB
_PASSING = frozenset({reasons.CREATING, reasons.DELETING, reasons.EXTERNAL, reasons.PINNED, reasons.ADVISORY})
_WATCHED = (reasons.ACCEPTED, reasons.PROVISIONED, reasons.METRICS_AVAILABLE, reasons.SCALING_ACTIVE)


def events(case: ReportContext, new: ModelTierStatus) -> tuple[EventRecord, ...]:
    """The events of one cycle about one tier, in the order in which things happened."""
    return (*_written(case), *_scaled(case, new), *_turned(case, new.conditions), *_advised(case, new.advice))


def scaled(tier: TierObject, change: DecisionStatus) -> EventRecord:
    """The event of one change of replicas."""
    up = change.to_replicas > change.from_replicas
    said = f"{change.from_replicas} → {change.to_replicas}: {change.reason}: {change.message}"
    return record(tier, reasons.SCALED_UP if up else reasons.SCALED_DOWN, said, SCALE)


class EventDeduplicator:
    """Lets an event pass once in ten minutes per object, reason and message; remembers living objects only."""

    def __init__(self) -> None:
        self._passed: dict[tuple[str, str, str], float] = {}

    def admit(self, records: Iterable[EventRecord], now: float, alive: Set[str]) -> tuple[EventRecord, ...]:
        """Those of `records` that are to be written. `now` in seconds; `alive`: UIDs of all tiers there are."""
        self._passed = {key: at for key, at in self._passed.items() if key[0] in alive and now - at < REPEAT_SECONDS}
        admitted = []
        for record in records:
            key = (record.uid, record.reason, record.message)
            if record.uid not in alive or key in self._passed:
                continue
            admitted.append(record)
            if record.action != SCALE:
                self._passed[key] = now
        return tuple(admitted)

    def __len__(self) -> int:
        """How many sentences are remembered."""
        return len(self._passed)


def _written(case: ReportContext) -> Iterable[EventRecord]:
    for done in case.outcome.workloads:
        if done.event:
            why = f" ({done.detail})" if done.detail else ""
            said = f"InferenceService {done.name}: {done.event.lower()}{why}"
            yield record(case.view.tier, done.event, message_for(done.event, said), APPLY)
        if done.freed:
            said = f"Replicas of a former spec that never answered are ended: {done.freed}"
            yield record(case.view.tier, reasons.FORMER_REPLICAS_ENDED, said, SCALE)


def _scaled(case: ReportContext, new: ModelTierStatus) -> Iterable[EventRecord]:
    if new.scaling.decisions != case.old.scaling.decisions:
        yield scaled(case.view.tier, new.scaling.decisions[0])


def _turned(case: ReportContext, conditions: Iterable[Condition]) -> Iterable[EventRecord]:
    for kind in _WATCHED:
        before, after = find(case.old.conditions, kind), find(conditions, kind)
        if after is None or (before is not None and (before.status, before.reason) == (after.status, after.reason)):
            continue
        if after.status == "False" and after.reason not in _PASSING:
            yield record(case.view.tier, after.reason, after.message, OBSERVE, warning=True)
        elif after.status == "True" and before is not None and before.status == "False" and kind != reasons.PROVISIONED:
            yield record(case.view.tier, after.reason, after.message, OBSERVE)
    before, after = find(case.old.conditions, reasons.READY), find(conditions, reasons.READY)
    if after is not None and after.status == "True" and (before is None or before.status != "True"):
        yield record(case.view.tier, after.reason, after.message, OBSERVE)


def _advised(case: ReportContext, advice: Iterable[AdviceStatus]) -> Iterable[EventRecord]:
    """Advice that was not there before. It is served all the same, so it is no Warning."""
    known = {each.reason for each in case.old.advice}
    for each in advice:
        if each.reason not in known:
            yield record(case.view.tier, each.reason, each.message, OBSERVE)


def record(
    about: TierObject | RouteObject,
    reason: str,
    message: str,
    action: str,
    *,
    warning: bool = False,
    kind: str = MODEL_TIER.name,
) -> EventRecord:
    """An Event about a tier, or an object of another kind."""
    return EventRecord(
        namespace=about.key.namespace,
        name=about.key.name,
        uid=about.uid,
        reason=reason,
        message=truncate(message, _NOTE),
        action=action,
        warning=warning,
        kind=kind,
    )
