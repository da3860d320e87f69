"""Keeps GPUs for replicas that were asked for and that the informer may not show yet.

A change of replicas is seen a moment after it is made, and of one whose answer was lost nobody knows for a while. Until
then its GPUs are not there for another tier. So growth is noted before it is written, and stands until the Deployment
has moved on, or the write was refused. Losing what is kept here (a restart, another leader) costs nothing: the first
list that a process reads is newer than any write before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tierwise.outbox import DOUBT_SECONDS
from tierwise.types import Outcome, Plan, Snapshot, TierView, WorkloadKey


@dataclass(frozen=True, slots=True)
class _Reserved:
    """Replicas asked for, on which Deployment as it was then, and when (seconds since the epoch)."""

    uid: str
    generation: int
    replicas: int
    at: float


@dataclass(slots=True)
class Reservations:
    """By UID of the tier and name of the workload."""

    kept: dict[str, dict[str, _Reserved]] = field(default_factory=dict)

    def replicas(self, snapshot: Snapshot) -> Mapping[WorkloadKey, int]:
        """Replicas of the workloads for which more were asked than are seen. What is seen by now is forgotten."""
        if not self.kept:
            return {}
        found: dict[WorkloadKey, int] = {}
        kept: dict[str, dict[str, _Reserved]] = {}
        for view in snapshot.tiers:
            mine = self.kept.get(view.tier.uid)
            standing = _standing(mine, view, snapshot.at) if mine is not None else {}
            if standing:
                kept[view.tier.uid] = standing
                found |= {WorkloadKey(view.tier.key, name): each.replicas for name, each in standing.items()}
        self.kept = kept
        return found

    def reserve(self, snapshot: Snapshot, plan: Plan) -> None:
        """Note what is about to be asked for."""
        by_key, at = {view.tier.key: view for view in snapshot.tiers}, snapshot.at
        for each in plan.tiers:
            growing = {one.name: one.scale_to for one in each.workloads if one.scale_to > one.current}
            view = by_key.get(each.key)
            if not growing or view is None:
                continue
            mine = self.kept.setdefault(view.tier.uid, {})
            for workload in view.workloads:
                deployment = workload.deployment
                if workload.name in growing and deployment is not None:
                    replicas = growing[workload.name]
                    mine[workload.name] = _Reserved(deployment.uid, deployment.generation, replicas, at)

    def release(self, snapshot: Snapshot, outcome: Outcome) -> None:
        """Forget what was not asked for, or was refused. What may have been made stands."""
        if not self.kept:
            return
        uids = {view.tier.key: view.tier.uid for view in snapshot.tiers}
        for done in outcome.tiers:
            mine = self.kept.get(uids.get(done.key, ""), {})
            for workload in done.workloads:
                doubtful = workload.error is not None and workload.error.transient
                if workload.scaled_to is None and not doubtful:
                    mine.pop(workload.name, None)


def _standing(mine: Mapping[str, _Reserved], view: TierView, now: float) -> dict[str, _Reserved]:
    deployments = {workload.name: workload.deployment for workload in view.workloads}
    found: dict[str, _Reserved] = {}
    for name, reserved in mine.items():
        deployment = deployments.get(name)
        if deployment is None or (deployment.uid, deployment.generation) != (reserved.uid, reserved.generation):
            continue
        if deployment.spec_replicas == reserved.replicas:
            continue
        if reserved.at <= now < reserved.at + DOUBT_SECONDS:
            found[name] = reserved
    return found
