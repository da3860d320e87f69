"""Runs the part of a cycle that serves routes: decide, act, report, publish.

It comes after the tiers, whose replicas and statuses matter more, and has a share of the cycle's time of its own: what
is not done in that is done in the next one.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace

from tierwise.act.routes import act_routes
from tierwise.act.write_state import WriteState
from tierwise.api.kinds import MODEL_ROUTE
from tierwise.api.modelroute_status import ModelRouteStatus
from tierwise.decide import plan_routes
from tierwise.outbox import Outbox
from tierwise.ports import Clock, Cluster
from tierwise.publisher import write_events
from tierwise.report import RouteReport, report_route, should_write_route
from tierwise.status_writer import StatusWriter
from tierwise.types import RouteObject, RouterPod, RouteView, Snapshot

logger = logging.getLogger(__name__)

# Of a cycle's time.
WRITE_SHARE, TOTAL_SHARE = 0.1, 0.2


@dataclass(slots=True)
class RouteState:
    """What one process carries from cycle to cycle for its routes. `pod`: how routers run here; None when nobody has
    said which image they run."""

    pod: RouterPod | None = None
    statuses: StatusWriter[ModelRouteStatus] = field(default_factory=lambda: StatusWriter(MODEL_ROUTE))
    outbox: Outbox = field(default_factory=Outbox)
    write_state: WriteState = field(default_factory=WriteState)


async def run(
    snapshot: Snapshot,
    cluster: Cluster,
    clock: Clock,
    state: RouteState,
    *,
    limit_seconds: float,
) -> tuple[RouteReport, ...]:
    """Serve the routes of the snapshot. `limit_seconds`: of the whole cycle."""
    uids = {view.route.uid for view in snapshot.routes}
    state.statuses.forget(uids)
    state.outbox.forget(uids, clock.now())
    if not snapshot.routes:
        return ()
    try:
        async with asyncio.timeout(limit_seconds * TOTAL_SHARE):
            return await _run(snapshot, cluster, clock, state, limit_seconds * WRITE_SHARE)
    except TimeoutError:
        logger.warning("not everything about the routes was written in this cycle: the API server does not answer")
    except Exception:
        # A defect that a route meets must not take the tiers' cycle with it: the process would be restarted for it.
        logger.exception("the routes are left as they are in this cycle: a defect")
    return ()


async def _run(
    snapshot: Snapshot, cluster: Cluster, clock: Clock, state: RouteState, seconds: float
) -> tuple[RouteReport, ...]:
    snapshot = replace(snapshot, routes=tuple(_with_own_write(view, state) for view in snapshot.routes))
    views = {view.route.key: view for view in snapshot.routes}
    plans = plan_routes(snapshot)
    outcomes = await act_routes(snapshot, plans, cluster, state.write_state, state.pod, limit_seconds=seconds)
    done = {each.key: each for each in outcomes}
    reports = tuple(report_route(views[plan.key], plan, done[plan.key], snapshot.at) for plan in plans)
    state.outbox.take_events(reports, clock.now(), {view.route.uid for view in snapshot.routes})
    for report in reports:
        route = views[report.key].route
        if should_write_route(route.status, report.status, state.statuses.age(route.uid, clock)):
            await state.statuses.write(route.key, route.uid, route.resource_version, report.status, cluster, clock)
        if route.uid in state.outbox.events:
            await write_events(state.outbox, route.uid, route.key, cluster)
    return reports


def _with_own_write(view: RouteView, state: RouteState) -> RouteView:
    route: RouteObject = view.route
    write = state.statuses.own(route.uid, route.resource_version)
    if write is None:
        return view
    return replace(view, route=replace(route, resource_version=write.version, status=write.status))
