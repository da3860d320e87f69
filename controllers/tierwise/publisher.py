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
from tierwise.errors import Conflict, TierwiseError, Transient
from tierwise.outbox import Outbox
from tierwise.ports import Clock, Cluster
from tierwise.report import Report, TierReport, should_write
from tierwise.status_writer import StatusWriter
from tierwise.types import Outcome, Snapshot, TierKey, TierObject, TierView

logger = logging.getLogger(__name__)

PARALLEL = 8


@dataclass(slots=True)
class Publisher:
    """What this process wrote, and what it has still to tell. Tiers are known by UID: a namesake starts afresh."""

    outbox: Outbox = field(default_factory=Outbox)
    statuses: StatusWriter[ModelTierStatus] = field(default_factory=lambda: StatusWriter(MODEL_TIER))

    def forget(self, alive: Iterable[str], now: float) -> None:
        """Drop what belongs to tiers that are gone."""
        uids = set(alive)
        self.statuses.forget(uids)
        self.outbox.forget(uids, now)

    def with_own_writes(self, snapshot: Snapshot) -> Snapshot:
        """With our own last status where the informer still shows the version that we wrote it onto."""
        return replace(snapshot, tiers=tuple(map(self._with_own_write, snapshot.tiers)))

    def _with_own_write(self, view: TierView) -> TierView:
        write = self.statuses.own(view.tier.uid, view.tier.resource_version)
        if write is None:
            return view
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
                await write_events(self.outbox, tier.uid, tier.key, cluster)

        await asyncio.gather(*(status(each) for each in report.tiers))
        await asyncio.gather(*(events(tier) for tier in tiers.values() if tier.uid in self.outbox.events))

    async def _write_status(self, report: TierReport, tier: TierObject, cluster: Cluster, clock: Clock) -> None:
        if not should_write(tier.status, report.status, self.statuses.age(tier.uid, clock)):
            return
        if await self.statuses.write(tier.key, tier.uid, tier.resource_version, report.status, cluster, clock):
            self.outbox.told(tier.uid)


async def write_events(outbox: Outbox, uid: str, key: TierKey, cluster: Cluster) -> None:
    """Those of one object, in their order. When nobody answers, they wait for the next cycle."""
    for event in outbox.events[uid]:
        try:
            await cluster.record_event(event)
        except Conflict:  # it was written before, and we have not heard of it
            pass
        except TierwiseError as error:
            logger.warning("an Event was not written: %s", error.message, extra={"about": str(key)})
            if isinstance(error, Transient):
                return
        outbox.told_event(event)
