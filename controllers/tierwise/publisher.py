"""Writes statuses and Events, and knows what the API server has been told.

The informer may still show a tier as it was before our own last write, and a write may fail. So a tier is looked at
with our own last status laid over it, and with the changes of replicas that no status tells yet; what is compared with
a new status is the tier as the API server has it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tierwise.api.kinds import MODEL_TIER
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.errors import Conflict, Gone, TierwiseError, Transient
from tierwise.outbox import Outbox
from tierwise.ports import Clock, Cluster, ObjectRef
from tierwise.report import Report, TierReport, should_write
from tierwise.types import Outcome, Snapshot, TierKey, TierObject, TierView

logger = logging.getLogger(__name__)

PARALLEL = 8


@dataclass(frozen=True, slots=True)
class _StatusWrite:
    """A status that this process wrote: on which versions of the tier, one after the other and from the one that the
    informer showed last, which version that made, and when (monotonic)."""

    onto: tuple[str, ...]
    version: str
    status: ModelTierStatus
    at: float


@dataclass(slots=True)
class Publisher:
    """What this process wrote, and what it has still to tell. Tiers are known by UID: a namesake starts afresh."""

    outbox: Outbox = field(default_factory=Outbox)
    writes: dict[str, _StatusWrite] = field(default_factory=dict)

    def forget(self, alive: Iterable[str], now: float) -> None:
        """Drop what belongs to tiers that are gone."""
        uids = set(alive)
        self.writes = {uid: write for uid, write in self.writes.items() if uid in uids}
        self.outbox.forget(uids, now)

    def with_own_writes(self, snapshot: Snapshot) -> Snapshot:
        """With our own last status where the informer still shows the version that we wrote it onto."""
        return replace(snapshot, tiers=tuple(map(self._with_own_write, snapshot.tiers)))

    def _with_own_write(self, view: TierView) -> TierView:
        write, version = self.writes.get(view.tier.uid), view.tier.resource_version
        if write is None:
            return view
        if version == write.version and write.onto:
            self.writes[view.tier.uid] = replace(write, onto=())
        if version not in write.onto:
            return view
        passed = write.onto.index(version)
        self.writes[view.tier.uid] = replace(write, onto=write.onto[passed:])
        return replace(view, tier=replace(view.tier, resource_version=write.version, status=write.status))

    def with_untold(self, snapshot: Snapshot) -> Snapshot:
        """With the changes of replicas that no status tells yet, those included of which it is known only now."""
        for view in snapshot.tiers:
            if view.tier.uid in self.outbox.pending:
                self.outbox.resolve(view, snapshot.at)
        return replace(snapshot, tiers=tuple(map(self.outbox.completed, snapshot.tiers)))

    def collect(self, report: Report, outcome: Outcome, tiers: Mapping[TierKey, TierObject], now: float) -> None:
        """Take in what there is to tell, before anything is waited for. `tiers`: as the API server has them."""
        for done in outcome.tiers:
            for workload in done.workloads:
                if workload.scaled_to is not None:
                    self.outbox.did_scale(tiers[done.key].uid, workload.name)
        for each in report.tiers:
            self.outbox.take(each, tiers[each.key])
        self.outbox.take_events(report.tiers, now, (tier.uid for tier in tiers.values()))

    async def publish(
        self, report: Report, tiers: Mapping[TierKey, TierObject], cluster: Cluster, clock: Clock
    ) -> None:
        """Write the statuses that changed, then the Events. What is not written stands until the next cycle."""
        gate = asyncio.Semaphore(PARALLEL)

        async def status(tier_report: TierReport) -> None:
            async with gate:
                await self._write_status(tier_report, tiers[tier_report.key], cluster, clock)

        async def events(tier: TierObject) -> None:
            async with gate:
                await self._write_events(tier, cluster)

        await asyncio.gather(*(status(each) for each in report.tiers))
        await asyncio.gather(*(events(tier) for tier in tiers.values() if tier.uid in self.outbox.events))

    async def _write_events(self, tier: TierObject, cluster: Cluster) -> None:
        """Those of one tier, in their order. When nobody answers, they wait for the next cycle."""
        for event in self.outbox.events[tier.uid]:
            try:
                await cluster.record_event(event)
            except Conflict:  # it was written before, and we have not heard of it
                pass
            except TierwiseError as error:
                logger.warning("an Event was not written: %s", error.message, extra={"tier": str(tier.key)})
                if isinstance(error, Transient):
                    return
            self.outbox.told_event(event)

    async def _write_status(self, report: TierReport, tier: TierObject, cluster: Cluster, clock: Clock) -> None:
        before = self.writes.get(tier.uid)
        age = None if before is None else clock.monotonic() - before.at
        if not should_write(tier.status, report.status, age):
            return
        ref = ObjectRef.of(MODEL_TIER, tier.key.namespace, tier.key.name)
        body = report.status.model_dump(mode="json", by_alias=True, exclude_none=True)
        try:
            version = await cluster.patch_status(ref, body, resource_version=tier.resource_version)
        except (Conflict, Gone) as error:  # it changed or went while we thought about it: the next cycle sees that
            logger.debug("%s", error.message, extra={"tier": str(tier.key)})
        except TierwiseError as error:
            logger.warning("a status was not written: %s", error.message, extra={"tier": str(tier.key)})
        else:
            self.outbox.told(tier.uid)
            chain = before.onto if before is not None and before.version == tier.resource_version else ()
            onto = (*chain, tier.resource_version)
            self.writes[tier.uid] = _StatusWrite(onto, version, report.status, clock.monotonic())
