"""Runs the part of a cycle that serves routes: decide, act, report, publish.

It comes after the tiers, whose replicas and statuses matter more, and has a share of the cycle's time of its own: what
is not done in that is done in the next one. A defect that one route meets, and an API server that does not answer for
one, are that route's alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
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
from tierwise.types import RouteKey, RouteObject, RouteOutcome, RoutePlan, RouterPod, RouteView, Snapshot

logger = logging.getLogger(__name__)

PARALLEL = 4
# Of a cycle's time.
WRITE_SHARE, TELL_SHARE, TOTAL_SHARE = 0.1, 0.08, 0.2
# Of the time for telling, what one route may take while it waits for an answer.
ROUTE_SHARE = 0.75


@dataclass(slots=True)
class RouteState:
    """What one process carries from cycle to cycle for its routes. `pod`: how routers run here; None when nobody has
    said which image they run."""

    pod: RouterPod | None = None
    statuses: StatusWriter[ModelRouteStatus] = field(default_factory=lambda: StatusWriter(MODEL_ROUTE))
    outbox: Outbox = field(default_factory=Outbox)
    write_state: WriteState = field(default_factory=WriteState)
    # When a route could last not be told of because nobody answered, by UID: the others go first the next time.
    untold: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RouteCycle:
    """What was decided, done and told about routes in one cycle; nothing where it was given up."""

    plans: tuple[RoutePlan, ...] = ()
    outcomes: tuple[RouteOutcome, ...] = ()
    reports: tuple[RouteReport, ...] = ()


async def run(
    snapshot: Snapshot,
    cluster: Cluster,
    clock: Clock,
    state: RouteState,
    *,
    limit_seconds: float,
) -> RouteCycle:
    """Serve the routes of the snapshot. `limit_seconds`: of the whole cycle."""
    uids = {view.route.uid for view in snapshot.routes}
    state.statuses.forget(uids)
    state.outbox.forget(uids, clock.now())
    state.untold = {uid: at for uid, at in state.untold.items() if uid in uids}
    if not snapshot.routes:
        return RouteCycle()
    try:
        async with asyncio.timeout(limit_seconds * TOTAL_SHARE):
            return await _run(snapshot, cluster, clock, state, limit_seconds)
    except TimeoutError:
        logger.warning("not everything about the routes was written in this cycle: the API server does not answer")
    except Exception:
        # A defect that a route meets must not take the tiers' cycle with it: the process would be restarted for it.
        logger.exception("the routes are left as they are in this cycle: a defect")
    return RouteCycle()


async def _run(
    snapshot: Snapshot, cluster: Cluster, clock: Clock, state: RouteState, limit_seconds: float
) -> RouteCycle:
    snapshot = replace(snapshot, routes=tuple(_with_own_write(view, state) for view in snapshot.routes))
    views = {view.route.key: view for view in snapshot.routes}
    plans = plan_routes(snapshot)
    for plan in plans:
        if plan.failure:
            logger.error("this route keeps what it has: a defect\n%s", plan.failure, extra={"route": str(plan.key)})
    seconds = limit_seconds * WRITE_SHARE
    outcomes = await act_routes(snapshot, plans, cluster, state.write_state, state.pod, limit_seconds=seconds)
    reports = _reports(views, plans, {each.key: each for each in outcomes}, snapshot.at)
    state.outbox.take_events(reports, clock.now(), {view.route.uid for view in snapshot.routes})
    await _tell(reports, views, cluster, clock, state, limit_seconds * TELL_SHARE)
    return RouteCycle(plans, outcomes, reports)


def _reports(
    views: Mapping[RouteKey, RouteView],
    plans: Iterable[RoutePlan],
    outcomes: Mapping[RouteKey, RouteOutcome],
    at: float,
) -> tuple[RouteReport, ...]:
    """What is to be told. Nothing of a route whose plan failed, and of one that cannot be told of."""
    reports: list[RouteReport] = []
    for plan in plans:
        if plan.failure:
            continue
        try:
            reports.append(report_route(views[plan.key], plan, outcomes[plan.key], at))
        except Exception:
            logger.exception("this route is not told of: a defect", extra={"route": str(plan.key)})
    return tuple(reports)


async def _tell(
    reports: Iterable[RouteReport],
    views: Mapping[RouteKey, RouteView],
    cluster: Cluster,
    clock: Clock,
    state: RouteState,
    seconds: float,
) -> None:
    """Write the statuses that changed, and the Events. The routes whose writes were not answered before come last."""
    gate = asyncio.Semaphore(PARALLEL)
    now = asyncio.get_running_loop().time
    deadline = now() + seconds

    async def one(report: RouteReport) -> None:
        route = views[report.key].route
        async with gate:
            tried = now() < deadline
            try:
                async with asyncio.timeout_at(min(deadline, now() + seconds * ROUTE_SHARE)):
                    if should_write_route(route.status, report.status, state.statuses.age(route.uid, clock)):
                        await state.statuses.write(
                            route.key, route.uid, route.resource_version, report.status, cluster, clock
                        )
                    if route.uid in state.outbox.events:
                        await write_events(state.outbox, route.uid, route.key, cluster)
            except TimeoutError:
                if tried:
                    state.untold[route.uid] = clock.now()
                logger.warning("a route was not told of in this cycle: no answer", extra={"route": str(route.key)})
            else:
                state.untold.pop(route.uid, None)

    await asyncio.gather(*map(one, sorted(reports, key=lambda report: state.untold.get(report.uid, 0.0))))


def _with_own_write(view: RouteView, state: RouteState) -> RouteView:
    route: RouteObject = view.route
    write = state.statuses.own(route.uid, route.resource_version)
    if write is None:
        return view
    return replace(view, route=replace(route, resource_version=write.version, status=write.status))
