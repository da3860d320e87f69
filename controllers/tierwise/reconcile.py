"""Runs one reconcile cycle and owns the state carried between cycles.

    observe → decide → act → report → publish

One cycle serves all tiers, because they share GPUs and budgets, and then the routes over them (`route_cycle`). What is
carried over (`OperatorState`) is this process's own: the states of decisions, which a restarted operator restores from
the statuses; what writes taught; what was written a moment ago and what was done and is not told yet (`publisher`,
`outbox`). Standbys run the full cycle but write nothing, so that they know everything when they take over. A cycle may
be given up at any moment while it waits, so nothing that must not be lost waits to be kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tierwise import pool_cycle, route_cycle
from tierwise.act.apply import CYCLE_SECONDS, WriteState, act
from tierwise.decide import Allocation, SpecChecks, decide_in_turns, held, remember, resume, share
from tierwise.observe import Observer, Samples, World
from tierwise.outbox import Outbox
from tierwise.ports import Clock, Cluster
from tierwise.publisher import Publisher
from tierwise.report import PoolReport, Report, TierReport, report_tier
from tierwise.reservations import Reservations
from tierwise.runtime.turns import in_turns
from tierwise.settled import Settled, SettledTiers
from tierwise.types import (
    NO_POOLS,
    Outcome,
    Plan,
    Snapshot,
    TierKey,
    TierObject,
    TierOutcome,
    TierPlan,
    TierState,
)

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class OperatorState:
    """What one process carries from cycle to cycle. Tiers are known by UID: a namesake starts afresh."""

    tiers: dict[str, TierState] = field(default_factory=dict)
    publisher: Publisher = field(default_factory=Publisher)
    write_state: WriteState = field(default_factory=WriteState)
    observer: Observer = field(default_factory=Observer)
    settled: SettledTiers = field(default_factory=SettledTiers)
    checks: SpecChecks = field(default_factory=SpecChecks)
    routes: route_cycle.RouteState = field(default_factory=route_cycle.RouteState)
    pools: pool_cycle.PoolState = field(default_factory=pool_cycle.PoolState)
    reservations: Reservations = field(default_factory=Reservations)

    def forget(self, alive: Iterable[str], now: float) -> None:
        """Drop what belongs to tiers that are gone."""
        uids = set(alive)
        self.tiers = {uid: state for uid, state in self.tiers.items() if uid in uids}
        self.publisher.forget(uids, now)
        self.checks.forget(uids)


@dataclass(frozen=True, slots=True)
class CycleResult:
    """One cycle: what was seen, decided, done and told. `routes` and `pools`: None in a process that does not write."""

    snapshot: Snapshot
    plan: Plan
    outcome: Outcome
    report: Report
    routes: route_cycle.RouteCycle | None = None
    pools: tuple[PoolReport, ...] | None = None


async def run(
    world: World,
    samples: Samples,
    cluster: Cluster,
    clock: Clock,
    state: OperatorState,
    *,
    writing: bool,
    limit_seconds: float = CYCLE_SECONDS,
) -> CycleResult:
    """One cycle. `writing`: whether this process may write; what fails is in the outcome or in the log.
    `limit_seconds`: when the caller gives the cycle up; the writes end so early that they can still be told."""
    now, publisher, tiers_settled = clock.now(), state.publisher, state.settled
    observed = await in_turns(state.observer.observe_in_turns(world, samples, now, tiers_settled.tiers))
    snapshot = publisher.with_own_writes(observed)
    await asyncio.sleep(0)  # what is done for all tiers at once is short, and not so short together
    # As the API server has them. Taken before the next lines: what is not told yet must not look told.
    tiers = {view.tier.key: view.tier for view in snapshot.tiers}
    state.forget((tier.uid for tier in tiers.values()), now)
    await asyncio.sleep(0)
    snapshot = publisher.with_untold(snapshot)
    await asyncio.sleep(0)
    settled = await in_turns(tiers_settled.check_in_turns(snapshot, state.tiers, writing=writing))
    views = (view if view.tier.key in settled else state.observer.dated(view, samples, now) for view in snapshot.tiers)
    snapshot = replace(snapshot, tiers=tuple(views))
    await asyncio.sleep(0)
    before = _states(snapshot, state, settled)
    standing = {key: each.plan for key, each in settled.items()}
    await asyncio.sleep(0)
    plan = await in_turns(decide_in_turns(snapshot, before, standing, state.checks))
    await asyncio.sleep(0)
    plan, allocation = _shared(snapshot, plan, state)
    await asyncio.sleep(0)
    settled, reopened = _still(settled, plan)
    if reopened:
        before |= _states(snapshot, state, {view.tier.key for view in snapshot.tiers} - reopened)
    _keep(plan, tiers, state)
    await asyncio.sleep(0)
    # For a settled tier nothing is to be done. It is only part of the result.
    # Nor is what another installation of Tierwise serves.
    acts = snapshot.installations.acts
    open_plan = Plan(tuple(each for each in plan.tiers if each.key not in settled and acts(each.key.namespace)))
    outcome = Outcome(())
    if writing:
        state.reservations.reserve(snapshot, open_plan)
        outcome = await act(
            snapshot, open_plan, cluster, state.write_state, publisher.outbox, limit_seconds=limit_seconds
        )
        state.reservations.release(snapshot, outcome)
    report = Report(await in_turns(_report_in_turns(snapshot, open_plan, outcome)))
    if writing:
        publisher.collect(report, outcome, tiers, clock.now())
        await asyncio.sleep(0)
        await publisher.publish(report, tiers, cluster, clock)
    made = _quiet(open_plan, outcome, report, publisher.outbox)
    await asyncio.sleep(0)
    await in_turns(tiers_settled.settle_in_turns(snapshot, before, made, writing=writing))
    await asyncio.sleep(0)
    routes: route_cycle.RouteCycle | None = None
    pools: tuple[PoolReport, ...] | None = None
    if writing:
        seen = replace(snapshot, pools=NO_POOLS) if snapshot.installations.nowhere else snapshot
        pools = await pool_cycle.run(seen, allocation, cluster, clock, state.pools, limit_seconds=limit_seconds)
        ours = replace(snapshot, routes=tuple(each for each in snapshot.routes if acts(each.route.key.namespace)))
        routes = await route_cycle.run(ours, cluster, clock, state.routes, limit_seconds=limit_seconds)
    await asyncio.sleep(0)
    return await in_turns(_with_settled_in_turns(CycleResult(snapshot, plan, outcome, report, routes, pools), settled))


def _shared(snapshot: Snapshot, plan: Plan, state: OperatorState) -> tuple[Plan, Allocation]:
    """The plan under the pools and budgets that tiers share. When that meets a defect, no tier of a pool changes."""
    try:
        shared = share(snapshot, plan, state.reservations.replicas(snapshot))
    except Exception:
        logger.exception("the GPUs of the pools are not shared out in this cycle: a defect")
        return held(snapshot, plan), Allocation((), ())
    return shared.plan, shared.allocation


def _still(settled: Mapping[TierKey, Settled], plan: Plan) -> tuple[Mapping[TierKey, Settled], frozenset[TierKey]]:
    """The tiers that are settled still, and those that are not, because others left them more or less than before."""
    reopened = frozenset(each.key for each in plan.tiers if each.key in settled and each is not settled[each.key].plan)
    return {key: each for key, each in settled.items() if key not in reopened}, reopened


def _states(snapshot: Snapshot, state: OperatorState, settled: Container[TierKey]) -> dict[TierKey, TierState]:
    """What decisions are made from; not asked for of settled tiers."""
    tiers = (view.tier for view in snapshot.tiers if view.tier.key not in settled)
    return {tier.key: resume(state.tiers.get(tier.uid), tier.status, snapshot.at) for tier in tiers}


def _keep(plan: Plan, tiers: Mapping[TierKey, TierObject], state: OperatorState) -> None:
    """What the plan leaves for the next one."""
    state.tiers |= {tiers[each.key].uid: each.state for each in plan.tiers}
    for each in plan.tiers:
        if each.failure:
            logger.error("this tier keeps what it has: a defect\n%s", each.failure, extra={"tier": str(each.key)})


def _report_in_turns(snapshot: Snapshot, plan: Plan, outcome: Outcome) -> Generator[None, None, tuple[TierReport, ...]]:
    """What is to be told. Nothing of a tier without a plan, of one that failed, and of one that cannot be told of: a
    defect that one tier meets must not stop the others."""
    plans = {each.key: each for each in plan.tiers if not each.failure}
    outcomes = {each.key: each for each in outcome.tiers}
    reports: list[TierReport] = []
    for view in snapshot.tiers:
        planned = plans.get(view.tier.key)
        if planned is None:
            continue
        done = outcomes.get(planned.key, TierOutcome(planned.key))
        try:
            reports.append(report_tier(snapshot, view, planned, done, snapshot.at, remember(planned.state)))
        except Exception:
            logger.exception("this tier is not told of: a defect", extra={"tier": str(planned.key)})
        yield
    return tuple(reports)


def _quiet(
    plan: Plan, outcome: Outcome, report: Report, outbox: Outbox
) -> Iterator[tuple[TierPlan, TierOutcome | None, TierReport]]:
    """What was made of the tiers of which nothing waits to be known or to be told."""
    plans = {each.key: each for each in plan.tiers}
    outcomes = {each.key: each for each in outcome.tiers}
    for told in report.tiers:
        if not any(told.uid in waiting for waiting in (outbox.pending, outbox.decisions, outbox.events)):
            yield plans[told.key], outcomes.get(told.key), told


def _with_settled_in_turns(
    result: CycleResult, settled: Mapping[TierKey, Settled]
) -> Generator[None, None, CycleResult]:
    """The result of a cycle with the tiers for which nothing was to be done."""
    outcomes = {each.key: each for each in result.outcome.tiers}
    reports = {each.key: each for each in result.report.tiers}
    done: list[TierOutcome] = []
    told: list[TierReport] = []
    for view in result.snapshot.tiers:
        key = view.tier.key
        stands = settled.get(key)
        outcome = outcomes.get(key, stands.outcome if stands is not None else None)
        report = reports.get(key, stands.report if stands is not None else None)
        if outcome is not None:
            done.append(outcome)
        if report is not None:
            told.append(report)
        yield
    return replace(result, outcome=Outcome(tuple(done)), report=Report(tuple(told)))
