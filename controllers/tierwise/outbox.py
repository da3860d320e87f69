"""Keeps what has happened and is not told yet, until the API server has taken it.

A change of replicas is made in one request and told in two others, and each of them may fail, or be given up together
with its cycle. So a change stands here from before it is asked for (`pending`) until the status tells it (`decisions`)
and its Event is written (`events`). Nothing here waits for anything: what stands here cannot be lost by an answer that
does not come. Two things can: what this process has not told when it ends, and a change whose answer was lost and that
somebody else changed again before the Deployment was seen.

Of some changes it is not known whether they were made, as the answer was lost. The Deployment tells: from what it was
when it was asked for, it can only have come to those replicas by being changed.

Another process may have led meanwhile and reported changes of its own: ours are put between them by their time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from tierwise.api.modeltier_status import DecisionStatus
from tierwise.ports import EventRecord
from tierwise.report import DECISIONS, EventDeduplicator, PoolReport, RouteReport, TierReport, change, scaled
from tierwise.times import seconds
from tierwise.types import DeploymentFacts, PendingScale, TierObject, TierView

# So long the API server keeps an Event: what could not be written for that long would be gone by now.
EVENT_SECONDS = 3600.0
# The API server carries out no request later than a minute after it came, and a watch tells of it soon.
DOUBT_SECONDS = 300.0


@dataclass(slots=True)
class Outbox:
    """By UID of the tier: changes of replicas that were asked for and may have been made, oldest first; changes that no
    status tells yet, newest first; Events, in their order."""

    pending: dict[str, tuple[PendingScale, ...]] = field(default_factory=dict)
    decisions: dict[str, tuple[DecisionStatus, ...]] = field(default_factory=dict)
    events: dict[str, tuple[EventRecord, ...]] = field(default_factory=dict)
    deduplicator: EventDeduplicator = field(default_factory=EventDeduplicator)

    @property
    def empty(self) -> bool:
        """Whether everything is told."""
        return not self.decisions and not self.events

    def forget(self, alive: Iterable[str], now: float) -> None:
        """Drop what belongs to tiers that are gone, and the Events that are too old."""
        uids = set(alive)
        self.pending = {uid: mine for uid, mine in self.pending.items() if uid in uids}
        self.decisions = {uid: mine for uid, mine in self.decisions.items() if uid in uids}
        for uid, events in list(self.events.items()):
            young = [event for event in events if event.at is None or now - event.at < EVENT_SECONDS]
            self._events(uid, young if uid in uids else ())

    # --- a change that is asked for ----------------------------------------------------------------------------------

    def will_scale(self, uid: str, pending: PendingScale) -> None:
        """Note a change of replicas, before it is asked for. Of equal ones the first is kept: it may be the one that
        was made, and each later one is then refused."""
        version = pending.workload, pending.uid, pending.generation
        others = [each for each in self.pending.get(uid, ()) if each.workload != pending.workload]
        same = [each for each in self.pending.get(uid, ()) if (each.workload, each.uid, each.generation) == version]
        if all(each.to != pending.to for each in same):
            same.append(pending)
        self.pending[uid] = (*others, *same)

    def did_not_scale(self, uid: str, pending: PendingScale) -> None:
        """That change was refused. An equal one before it may have been made all the same."""
        self._pending(uid, [each for each in self.pending.get(uid, ()) if each is not pending])

    def did_scale(self, uid: str, workload: str) -> None:
        """The change of this workload was made and is reported: nothing about it is in doubt."""
        self._pending(uid, [each for each in self.pending.get(uid, ()) if each.workload != workload])

    def resolve(self, view: TierView, now: float) -> None:
        """Take in what became of the changes of which it was not known. `now`: seconds since the epoch."""
        deployments = {workload.name: workload.deployment for workload in view.workloads}
        doubtful = []
        for pending in self.pending.get(view.tier.uid, ()):
            made = _was_made(pending, deployments.get(pending.workload))
            if made is None and now - pending.at < DOUBT_SECONDS:
                doubtful.append(pending)
            elif made and not pending.moving:
                self._made(view.tier, pending)
        self._pending(view.tier.uid, doubtful)

    def _made(self, tier: TierObject, pending: PendingScale) -> None:
        made = change(pending.decision, pending.tier_replicas, pending.at)
        known = [*self.decisions.get(tier.uid, ()), *tier.status.scaling.decisions]
        if any(_tells(each, made) for each in known):
            return
        self.decisions[tier.uid] = (made, *self.decisions.get(tier.uid, ()))
        self._events(tier.uid, (*self.events.get(tier.uid, ()), replace(scaled(tier, made), at=pending.at)))

    # --- what is told ------------------------------------------------------------------------------------------------

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

    def take_events(
        self, reports: Iterable[TierReport | RouteReport | PoolReport], now: float, alive: Iterable[str]
    ) -> None:
        """Keep the Events that are to be written. `now` in seconds since the epoch."""
        events = [event for report in reports for event in report.events]
        for event in self.deduplicator.admit(events, now, set(alive)):
            self.events[event.uid] = (*self.events.get(event.uid, ()), replace(event, at=now))

    def told(self, uid: str) -> None:
        """The status tells all changes of this tier."""
        self.decisions.pop(uid, None)

    def told_event(self, event: EventRecord) -> None:
        """This Event was written, or never will be."""
        self._events(event.uid, [each for each in self.events.get(event.uid, ()) if each is not event])

    def _pending(self, uid: str, pending: Sequence[PendingScale]) -> None:
        if pending:
            self.pending[uid] = tuple(pending)
        else:
            self.pending.pop(uid, None)

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


def _was_made(pending: PendingScale, deployment: DeploymentFacts | None) -> bool | None:
    """Whether the change was made; None while that is not known."""
    if deployment is None or deployment.uid != pending.uid:
        return False
    if deployment.spec_replicas == pending.to:
        return True
    before = pending.generation, pending.current
    return None if (deployment.generation, deployment.spec_replicas) == before else False


def _tells(told: DecisionStatus, made: DecisionStatus) -> bool:
    """Whether this is that change, told by whoever made it in our place."""
    if (told.from_replicas, told.to_replicas) != (made.from_replicas, made.to_replicas):
        return False
    return (seconds(told.time) or 0.0) >= (seconds(made.time) or 0.0)
