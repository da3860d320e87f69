"""Runs the part of a cycle that tells of GPUPools: their statuses and Events.

It comes after the tiers, with a share of the cycle's time of its own: what is not told in that is told in the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tierwise.api.gpupool import GPUPoolStatus
from tierwise.api.kinds import GPU_POOL
from tierwise.decide.fleet import Allocation
from tierwise.outbox import Outbox
from tierwise.ports import Clock, Cluster
from tierwise.publisher import write_events
from tierwise.report import PoolReport, report_pool, should_write_pool
from tierwise.status_writer import StatusWriter
from tierwise.types import PoolUse, PoolView, Snapshot, TierKey

logger = logging.getLogger(__name__)

PARALLEL = 4
# Of a cycle's time.
TELL_SHARE = 0.08


@dataclass(slots=True)
class PoolState:
    """What one process carries from cycle to cycle for its pools."""

    statuses: StatusWriter[GPUPoolStatus] = field(default_factory=lambda: StatusWriter(GPU_POOL))
    outbox: Outbox = field(default_factory=Outbox)


async def run(
    snapshot: Snapshot,
    allocation: Allocation,
    cluster: Cluster,
    clock: Clock,
    state: PoolState,
    *,
    limit_seconds: float,
) -> tuple[PoolReport, ...]:
    """Tell of the pools of the snapshot. `allocation`: as their GPUs were shared out; `limit_seconds`: of the whole
    cycle."""
    views = {view.name: _with_own_write(view, state) for view in snapshot.pools.views}
    uids = {view.pool.uid for view in views.values()}
    state.statuses.forget(uids)
    state.outbox.forget(uids, clock.now())
    if not views:
        return ()
    try:
        reports = _reports(views.values(), allocation, snapshot)
        state.outbox.take_events(reports, clock.now(), uids)
        async with asyncio.timeout(limit_seconds * TELL_SHARE):
            await _tell(reports, views, cluster, clock, state)
    except TimeoutError:
        logger.warning("not every pool was told of in this cycle: the API server does not answer")
    except Exception:
        # A defect that a pool meets must not take the tiers' cycle with it.
        logger.exception("the pools are not told of in this cycle: a defect")
        return ()
    return reports


def _reports(views: Iterable[PoolView], allocation: Allocation, snapshot: Snapshot) -> tuple[PoolReport, ...]:
    use = {each.name: each for each in allocation.pools}
    specs = (view.tier.spec for view in snapshot.tiers)
    named = Counter(pool.name for spec in specs if spec is not None for pool in spec.pools)
    return tuple(
        report_pool(view, use.get(view.name, PoolUse(view.name, 0, 0, 0, None, None)), named[view.name], snapshot.at)
        for view in views
    )


async def _tell(
    reports: Iterable[PoolReport], views: Mapping[str, PoolView], cluster: Cluster, clock: Clock, state: PoolState
) -> None:
    """Write the statuses that changed, and the Events."""
    gate = asyncio.Semaphore(PARALLEL)

    async def one(report: PoolReport) -> None:
        pool = views[report.name].pool
        key = TierKey("", report.name)
        async with gate:
            if should_write_pool(pool.status, report.status, state.statuses.age(pool.uid, clock)):
                await state.statuses.write(key, pool.uid, pool.resource_version, report.status, cluster, clock)
            if pool.uid in state.outbox.events:
                await write_events(state.outbox, pool.uid, key, cluster)

    await asyncio.gather(*(one(each) for each in reports))


def _with_own_write(view: PoolView, state: PoolState) -> PoolView:
    """With our own last status where the informer still shows the version that we wrote it onto."""
    write = state.statuses.own(view.pool.uid, view.pool.resource_version)
    if write is None:
        return view
    return replace(view, pool=replace(view.pool, resource_version=write.version, status=write.status))
