"""Keeps what has happened and is not written to the API server yet.

A change of replicas is made in one request and reported in two others. Each of them may fail, or be given up together
with its cycle. So the change (for the status) and its Event are values that stay here from the moment when they are
known until the API server has accepted them. Nothing here waits for anything, so a missing answer cannot lose them.

Of some changes it is not known whether they were made, because the answer was lost (`tierwise.types.PendingScale`).
The Deployment shows it: from what it was when the change was requested, only the change can have led to those replicas.

Another process may have led meanwhile and reported changes of its own: ours are put between them by their time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from tierwise.api.modeltier_status import DecisionStatus
from tierwise.ports import EventRecord
from tierwise.report import DECISIONS, EventDeduplicator, TierReport, change, scaled
from tierwise.times import seconds
from tierwise.types import DeploymentFacts, PendingScale, TierObject, TierView

# So long the API server keeps an Event: what could not be written for that long would be gone by now.
EVENT_SECONDS = 3600.0
# The API server carries out no request later than a minute after it came, and a watch tells of it soon.
DOUBT_SECONDS = 300.0


@dataclass(slots=True)
class Outbox:
    """By UID of the tier: changes of replicas that no status tells yet, newest first; Events, in their order."""

    decisions: dict[str, tuple[DecisionStatus, ...]] = field(default_factory=dict)
    events: dict[str, tuple[EventRecord, ...]] = field(default_factory=dict)
    recorder: EventDeduplicator = field(default_factory=EventDeduplicator)

    @property
    def empty(self) -> bool:
        """Whether everything is told."""
        return not self.decisions and not self.events

    def forget(self, alive: Iterable[str], now: float) -> None:
        """Drop what belongs to tiers that are gone, and the Events that are too old."""
        uids = set(alive)
        self.decisions = {uid: mine for uid, mine in self.decisions.items() if uid in uids}
        for uid, events in list(self.events.items()):
            young = [event for event in events if event.at is None or now - event.at < EVENT_SECONDS]
            self._events(uid, young if uid in uids else ())

    def resolve(self, view: TierView, attempts: Sequence[PendingScale], now: float) -> tuple[PendingScale, ...]:
        """Take in what became of the changes of which it was not known; those of which it still is not. `now`: seconds
        since the epoch."""
        doubtful = []
        for attempt in attempts:
            state = _became(attempt, view.workload.deployment)
            if state is None and now - attempt.at < DOUBT_SECONDS:
                doubtful.append(attempt)
            elif state:
                self._made(view.tier, attempt)
        return tuple(doubtful)

    def _made(self, tier: TierObject, attempt: PendingScale) -> None:
        made = change(attempt.decision, attempt.to, attempt.at)
        known = [*self.decisions.get(tier.uid, ()), *tier.status.scaling.decisions]
        if any(_tells(each, made) for each in known):
            return
        self.decisions[tier.uid] = (made, *self.decisions.get(tier.uid, ()))
        self._events(tier.uid, (*self.events.get(tier.uid, ()), replace(scaled(tier, made), at=attempt.at)))

    def completed(self, view: TierView) -> TierView:
        """The tier as if its status told them: the next status then keeps them."""
        mine = self.decisions.get(view.tier.uid)
        if mine is None:
            return view
        told = view.tier.status.scaling.decisions
        mine = tuple(each for each in mine if each not in told)
        decisions = sorted([*mine, *told], key=lambda each: each.time, reverse=True)[:DECISIONS]
        self._decisions(view.tier.uid, [each for each in mine if each in decisions])
        scaling = view.tier.status.scaling.model_copy(update={"decisions": decisions})
        status = view.tier.status.model_copy(update={"scaling": scaling})
        return replace(view, tier=replace(view.tier, status=status))

    def take(self, report: TierReport, tier: TierObject) -> None:
        """Keep the changes that this report tells and that the API server does not have. `tier`: as that has it."""
        told = tier.status.scaling.decisions
        self._decisions(tier.uid, [each for each in report.status.scaling.decisions if each not in told])

    def take_events(self, reports: Iterable[TierReport], now: float, alive: Iterable[str]) -> None:
        """Keep the Events that are to be written. `now` in seconds since the epoch."""
        events = [event for report in reports for event in report.events]
        for event in self.recorder.admit(events, now, set(alive)):
            self.events[event.uid] = (*self.events.get(event.uid, ()), replace(event, at=now))

    def told(self, uid: str) -> None:
        """The status tells all changes of this tier."""
        self.decisions.pop(uid, None)

    def told_event(self, event: EventRecord) -> None:
        """This Event was written, or never will be."""
        self._events(event.uid, [each for each in self.events.get(event.uid, ()) if each is not event])

    def _decisions(self, uid: str, decisions: Sequence[DecisionStatus]) -> None:
        if decisions:
            self.decisions[uid] = tuple(decisions)
        else:
            self.decisions.pop(uid, None)

    def _events(self, uid: str, events: Sequence[EventRecord]) -> None:
        if events:
            self.events[uid] = tuple(events)
        else:
            self.events.pop(uid, None)


def _became(attempt: PendingScale, deployment: DeploymentFacts | None) -> bool | None:
    """Whether the change was made; None while that is not known."""
    if deployment is None or deployment.uid != attempt.uid:
        return False
    if deployment.spec_replicas == attempt.to:
        return True
    before = attempt.generation, attempt.decision.current
    return None if (deployment.generation, deployment.spec_replicas) == before else False


def _tells(told: DecisionStatus, made: DecisionStatus) -> bool:
    """Whether this is that change, told by whoever made it in our place."""
    if (told.from_replicas, told.to_replicas) != (made.from_replicas, made.to_replicas):
        return False
    return (seconds(told.time) or 0.0) >= (seconds(made.time) or 0.0)
