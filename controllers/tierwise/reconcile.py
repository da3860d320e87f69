"""Runs one reconcile cycle and owns the state carried between cycles.

    observe → decide → act → report

One cycle serves all tiers, because they share GPUs and budgets. `OperatorState` belongs to this process. It holds the
state of decisions, which a restarted operator restores from the statuses; what was written a moment ago, because the
informer may not have seen it yet; and what has happened and is not written yet (the outbox). Standbys run the full
cycle but write nothing, so that they know everything when they take over. A cycle may be given up at any moment while
it waits, so whatever must not be lost is stored before anything is waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from tierwise.act.apply import CYCLE_SECONDS, WriteState, act
from tierwise.api.kinds import MODEL_TIER
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.decide import decide, remember, restore
from tierwise.errors import Conflict, Gone, TierwiseError, Transient
from tierwise.observe import Samples, World, observe
from tierwise.outbox import Outbox
from tierwise.ports import Clock, Cluster, ObjectRef
from tierwise.report import Report, TierReport, report, should_write
from tierwise.types import Outcome, Plan, Snapshot, TierKey, TierObject, TierState

logger = logging.getLogger(__name__)

PARALLEL = 8
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _StatusWrite:
    """A status that this process wrote: on which versions of the tier, one after the other and from the one that the
    informer showed last, which version that made, and when (monotonic)."""

    onto: tuple[str, ...]
    version: str
    status: ModelTierStatus
    at: float


@dataclass(slots=True)
class OperatorState:
    """What one process keeps between its cycles. Tiers are known by UID: a namesake starts afresh."""

    memories: dict[str, TierState] = field(default_factory=dict)
    statuses: dict[str, _StatusWrite] = field(default_factory=dict)
    untold: Outbox = field(default_factory=Outbox)
    memo: WriteState = field(default_factory=WriteState)

    def forget(self, alive: Iterable[str], now: float) -> None:
        """Drop what belongs to tiers that are gone."""
        uids = set(alive)
        self.memories = {uid: memory for uid, memory in self.memories.items() if uid in uids}
        self.statuses = {uid: written for uid, written in self.statuses.items() if uid in uids}
        self.untold.forget(uids, now)


@dataclass(frozen=True, slots=True)
class CycleResult:
    """One meeting: what was seen, decided, done and told."""

    snapshot: Snapshot
    plan: Plan
    outcome: Outcome
    report: Report


async def run(
    world: World,
    samples: Samples,
    cluster: Cluster,
    clock: Clock,
    kept: OperatorState,
    *,
    writing: bool,
    limit_seconds: float = CYCLE_SECONDS,
) -> CycleResult:
    """One cycle. `writing`: whether this process may write; what fails is in the outcome or in the log.
    `limit_seconds`: when the caller gives the cycle up; the writes end so early that they can still be told."""
    now = clock.now()
    snapshot = _overlay_own_writes(observe(world, samples, now), kept)
    tiers = [view.tier for view in snapshot.tiers]
    kept.forget([tier.uid for tier in tiers], now)
    snapshot = _overlay_pending(snapshot, kept)
    memories = _memories(tiers, kept, now)
    plan = Plan(tuple(_isolate_failures(snapshot, lambda seen: decide(seen, memories).tiers)))
    uids = {tier.key: tier.uid for tier in tiers}
    kept.memories |= {uids[each.key]: each.memory for each in plan.tiers}
    outcome = await act(snapshot, plan, cluster, kept.memo, limit_seconds=limit_seconds) if writing else Outcome(())
    told = Report(tuple(_isolate_failures(snapshot, lambda seen: report(seen, plan, outcome, now, remember).tiers)))
    if writing:
        named = {tier.key: tier for tier in tiers}
        _collect(told, outcome, named, clock.now(), kept)
        await _publish(told, named, cluster, clock, kept)
    return CycleResult(snapshot, plan, outcome, told)


def _isolate_failures(snapshot: Snapshot, work: Callable[[Snapshot], Sequence[Result]]) -> Sequence[Result]:
    """What `work` makes of all tiers; when that fails, of each of them alone: a defect that one tier meets must not
    stop the others. That tier is left as it is."""
    try:
        return work(snapshot)
    except Exception:
        logger.exception("a cycle failed; each tier is tried alone")
    results: list[Result] = []
    for view in snapshot.tiers:
        try:
            results += work(replace(snapshot, tiers=(view,)))
        except Exception:
            logger.exception("this tier is left as it is: a defect", extra={"tier": str(view.tier.key)})
    return results


def _memories(tiers: Iterable[TierObject], kept: OperatorState, now: float) -> dict[TierKey, TierState]:
    return {tier.key: kept.memories.get(tier.uid) or restore(tier.status, now) for tier in tiers}


def _overlay_own_writes(snapshot: Snapshot, kept: OperatorState) -> Snapshot:
    """With our own last status where the informer still shows the version that we wrote it onto."""
    views = []
    for view in snapshot.tiers:
        written, version = kept.statuses.get(view.tier.uid), view.tier.resource_version
        if written is not None and version == written.version:
            kept.statuses[view.tier.uid] = replace(written, onto=())
        if written is not None and version in written.onto:
            passed = written.onto.index(version)
            kept.statuses[view.tier.uid] = replace(written, onto=written.onto[passed:])
            tier = replace(view.tier, resource_version=written.version, status=written.status)
            view = replace(view, tier=tier)
        views.append(view)
    return replace(snapshot, tiers=tuple(views))


def _overlay_pending(snapshot: Snapshot, kept: OperatorState) -> Snapshot:
    """With the changes of replicas that no status tells yet, those included of which it is known only now."""
    for view in snapshot.tiers:
        attempts = kept.memo.attempts.get(view.tier.key)
        if attempts is not None:
            kept.memo.scaled(view.tier.key, kept.untold.resolve(view, attempts, snapshot.at))
    return replace(snapshot, tiers=tuple(kept.untold.completed(view) for view in snapshot.tiers))


def _collect(told: Report, outcome: Outcome, tiers: dict[TierKey, TierObject], now: float, kept: OperatorState) -> None:
    """What there is to tell, before anything is waited for."""
    scaled = {each.key for each in outcome.tiers if each.scaled_to is not None}
    for each in told.tiers:
        kept.untold.take(each, tiers[each.key])
        if each.key in scaled:
            kept.memo.scaled(each.key)
    kept.untold.take_events(told.tiers, now, (tier.uid for tier in tiers.values()))


async def _publish(
    told: Report, tiers: dict[TierKey, TierObject], cluster: Cluster, clock: Clock, kept: OperatorState
) -> None:
    gate = asyncio.Semaphore(PARALLEL)

    async def one(tier_report: TierReport) -> None:
        async with gate:
            await _write_status(tier_report, tiers[tier_report.key], cluster, clock, kept)

    async def events(tier: TierObject) -> None:
        async with gate:
            await _write_events(tier, cluster, kept)

    await asyncio.gather(*(one(each) for each in told.tiers))
    await asyncio.gather(*(events(tier) for tier in tiers.values() if tier.uid in kept.untold.events))


async def _write_events(tier: TierObject, cluster: Cluster, kept: OperatorState) -> None:
    """Those of one tier, in their order. When nobody answers, they wait for the next cycle."""
    for event in kept.untold.events[tier.uid]:
        try:
            await cluster.record_event(event)
        except Conflict:  # it was written before, and we have not heard of it
            pass
        except TierwiseError as error:
            logger.warning("an Event was not written: %s", error.message, extra={"tier": str(tier.key)})
            if isinstance(error, Transient):
                return
        kept.untold.told_event(event)


async def _write_status(
    tier_report: TierReport, tier: TierObject, cluster: Cluster, clock: Clock, kept: OperatorState
) -> None:
    before = kept.statuses.get(tier.uid)
    age = None if before is None else clock.monotonic() - before.at
    if not should_write(tier.status, tier_report.status, age):
        return
    ref = ObjectRef.of(MODEL_TIER, tier.key.namespace, tier.key.name)
    body = tier_report.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    try:
        version = await cluster.patch_status(ref, body, resource_version=tier.resource_version)
    except (Conflict, Gone) as error:  # it changed or went while we thought about it: the next cycle sees that
        logger.debug("%s", error.message, extra={"tier": str(tier.key)})
    except TierwiseError as error:
        logger.warning("a status was not written: %s", error.message, extra={"tier": str(tier.key)})
    else:
        kept.untold.told(tier.uid)
        chain = before.onto if before is not None and before.version == tier.resource_version else ()
        kept.statuses[tier.uid] = _StatusWrite(
            (*chain, tier.resource_version), version, tier_report.status, clock.monotonic()
        )
