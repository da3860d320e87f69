"""Runs one reconcile cycle and owns the state carried between cycles.

    observe → decide → act → report → publish

One cycle serves all tiers, because they share GPUs and budgets. What is carried over (`OperatorState`) is this
process's own: the states of decisions, which a restarted operator restores from the statuses; what writes taught; what
was written a moment ago and what was done and is not told yet (`publisher`, `outbox`). Standbys run the full cycle but
write nothing, so that they know everything when they take over. A cycle may be given up at any moment while it waits,
so nothing that must not be lost waits to be kept.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from tierwise.act.apply import CYCLE_SECONDS, WriteState, act
from tierwise.decide import decide, remember, resume
from tierwise.observe import Samples, World, observe
from tierwise.ports import Clock, Cluster
from tierwise.publisher import Publisher
from tierwise.report import Report, TierReport, report_tier
from tierwise.types import Outcome, Plan, Snapshot, TierOutcome, TierState

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class OperatorState:
    """What one process carries from cycle to cycle. Tiers are known by UID: a namesake starts afresh."""

    tiers: dict[str, TierState] = field(default_factory=dict)
    publisher: Publisher = field(default_factory=Publisher)
    write_state: WriteState = field(default_factory=WriteState)

    def forget(self, alive: Iterable[str], now: float) -> None:
        """Drop what belongs to tiers that are gone."""
        uids = set(alive)
        self.tiers = {uid: state for uid, state in self.tiers.items() if uid in uids}
        self.publisher.forget(uids, now)


@dataclass(frozen=True, slots=True)
class CycleResult:
    """One cycle: what was seen, decided, done and told."""

    snapshot: Snapshot
    plan: Plan
    outcome: Outcome
    report: Report


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
    now, publisher = clock.now(), state.publisher
    snapshot = publisher.with_own_writes(observe(world, samples, now))
    # As the API server has them. Taken before the next line: what is not told yet must not look told.
    tiers = {view.tier.key: view.tier for view in snapshot.tiers}
    state.forget((tier.uid for tier in tiers.values()), now)
    snapshot = publisher.with_untold(snapshot)
    plan = _decide(snapshot, state)
    outcome = Outcome(())
    if writing:
        outcome = await act(snapshot, plan, cluster, state.write_state, publisher.outbox, limit_seconds=limit_seconds)
    report = _report(snapshot, plan, outcome)
    if writing:
        publisher.collect(report, outcome, tiers, clock.now())
        await publisher.publish(report, tiers, cluster, clock)
    return CycleResult(snapshot, plan, outcome, report)


def _decide(snapshot: Snapshot, state: OperatorState) -> Plan:
    """The plan; the state is what it leaves for the next one."""
    views = {view.tier.key: view.tier for view in snapshot.tiers}
    before = {key: resume(state.tiers.get(tier.uid), tier.status, snapshot.at) for key, tier in views.items()}
    plan = decide(snapshot, before)
    state.tiers |= {views[each.key].uid: each.state for each in plan.tiers}
    for each in plan.tiers:
        if each.failure:
            logger.error("this tier keeps what it has: a defect\n%s", each.failure, extra={"tier": str(each.key)})
    return plan


def _report(snapshot: Snapshot, plan: Plan, outcome: Outcome) -> Report:
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
    return Report(tuple(reports))
