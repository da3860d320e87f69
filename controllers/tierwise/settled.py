"""Takes over what the last cycle made of a tier in which nothing has changed since.

Most tiers are settled: nothing was written for them, nothing was told, and their plan stands until something changes
(`tierwise.decide.standing`). For those nothing is computed again. What is compared in every cycle is what is observed:
the objects of the informer by identity, the measured values one by one. All other tiers go the whole way.

A tier is settled by a cycle that went the whole way and found nothing to do, never by a guess. Losing what is kept
here costs one such cycle.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field

from tierwise.decide import again, stands
from tierwise.report import TierReport
from tierwise.types import Snapshot, TierKey, TierOutcome, TierPlan, TierState, TierView


@dataclass(slots=True)
class Settled:
    """One tier: as it was seen when it settled and what was made of it then; its plan as of `at`."""

    view: TierView
    shared: tuple[object, ...]
    plan: TierPlan
    outcome: TierOutcome | None
    report: TierReport
    at: float


@dataclass(slots=True)
class SettledTiers:
    """The tiers that are settled, by key."""

    tiers: dict[TierKey, Settled] = field(default_factory=dict)

    def check_in_turns(
        self, snapshot: Snapshot, states: Mapping[str, TierState], *, writing: bool
    ) -> Generator[None, None, Mapping[TierKey, Settled]]:
        """Those that are settled still; the others are forgotten. `states`: what the last cycle left, by UID."""
        shared, found = _shared(snapshot, writing=writing), dict[TierKey, Settled]()
        for view in snapshot.tiers:
            key = view.tier.key
            settled = self.tiers.get(key)
            if settled is not None and settled.plan.state is states.get(view.tier.uid) and settled.shared == shared:
                plan = again(settled.plan, settled.view, settled.at, view, snapshot.at)
                if plan is not None:
                    settled.plan, settled.at = plan, snapshot.at
                    found[key] = settled
            yield
        self.tiers = found
        return found

    def settle_in_turns(
        self,
        snapshot: Snapshot,
        states: Mapping[TierKey, TierState],
        made: Iterable[tuple[TierPlan, TierOutcome | None, TierReport]],
        *,
        writing: bool,
    ) -> Generator[None, None, None]:
        """Note which tiers are settled from now on. `states`: what their plans were made from."""
        shared = _shared(snapshot, writing=writing)
        views = {view.tier.key: view for view in snapshot.tiers}
        for plan, outcome, report in made:
            view = views[plan.key]
            told = not report.events and report.status == view.tier.status
            if told and _idle(outcome) and stands(view, states[plan.key], plan, snapshot):
                self.tiers[plan.key] = Settled(view, shared, plan, outcome, report, snapshot.at)
            yield


def _idle(outcome: TierOutcome | None) -> bool:
    """Whether nothing was written or tried, since everything is as rendered."""
    workloads = outcome.workloads if outcome is not None else ()
    return all(
        each.template
        and each.error is None
        and each.scaled_to is None
        and not (each.applied or each.event or each.freed)
        for each in workloads
    )


def _shared(snapshot: Snapshot, *, writing: bool) -> tuple[object, ...]:
    """What all tiers share, but for the time."""
    health = snapshot.metrics
    beside = snapshot.installations
    said = health.ok, health.problem, health.latency_problem, health.interval_seconds
    return *said, snapshot.kserve_present, beside, writing
