"""A plan stands when nothing but a change of what is observed could change it.

Most tiers are settled most of the time: their pods answer, they are measured in full, and the load asks for what runs.
Deciding again would give the same plan. `stands` says of which plans that is certain: of those in which nothing waits
for time to pass. No window holds the target, no queue is being learned from, no advice is being made sure of, no pod
starts, ends or is too young to count, and the state that the plan leaves is the one that it was made from. `again`
then says whether what is observed is still the same: the same objects, the same measured values, only newer.

Two times in the state move although nothing changes: when the tier was last seen complete, and when the newest sample
was taken. `again` moves them as a decision would. The signals of the decision keep the time at which they were first
seen at their value.
"""

from __future__ import annotations

from dataclasses import replace

from tierwise.decide.capacity_estimate import SAME_SAMPLE_SECONDS
from tierwise.decide.demand import gaps
from tierwise.decide.from_zero import applies
from tierwise.decide.rollout import STEADY_SECONDS
from tierwise.pod_diagnosis import FINISHED
from tierwise.types import PodFacts, PodSample, Snapshot, TierPlan, TierState, TierView


def stands(view: TierView, before: TierState, plan: TierPlan, snapshot: Snapshot) -> bool:
    """Whether `plan`, made from this view and the state `before`, stands until something changes."""
    tier, state = view.tier, plan.state
    if tier.deleting or view.metadata_pending or plan.failure or plan.workloads:
        return False
    if tier.spec is not None and tier.spec.external is not None:
        return True
    if plan.decision is None:  # not accepted
        return state == before
    newest, now = view.sampled.newest, snapshot.at
    return (
        snapshot.metrics.ok
        and not (state.peaks or state.doubts or state.queued or state.clamps)
        and (tier.spec is None or not applies(tier.spec) or plan.decision.target == view.replicas == 0)
        and state == replace(before, observed_at=state.observed_at, sampled_at=state.sampled_at)
        and (newest is None or newest == state.sampled_at)
        and (not view.ready_endpoints or not gaps(view))
        and all(_sampled_twice(pod, state) for pod in view.signals.pods)
        and all(pod.phase in FINISHED or _steady(pod, now) for pod in view.pods)
    )


def _steady(pod: PodFacts, now: float) -> bool:
    return not pod.terminating and pod.ready_at is not None and pod.ready_at + STEADY_SECONDS <= now


def _sampled_twice(pod: PodSample, state: TierState) -> bool:
    first = dict(state.measured or ()).get(pod.pod)
    return first is not None and (pod.running.at or 0.0) - first > SAME_SAMPLE_SECONDS


def again(plan: TierPlan, then: TierView, at: float, view: TierView, now: float) -> TierPlan | None:
    """The plan for `view`, when `plan` stands since it was made for the view `then` (`at`); None when it must be
    decided."""
    if now < at or not _unchanged(then, view):
        return None
    state, newest = plan.state, view.sampled.newest
    same = newest is None or state.sampled_at is None or abs(newest - state.sampled_at) < SAME_SAMPLE_SECONDS
    moved = replace(
        state,
        observed_at=now if state.observed_at == at else state.observed_at,
        sampled_at=state.sampled_at if same else newest,
    )
    return replace(plan, state=moved)


def _unchanged(then: TierView, view: TierView) -> bool:
    """Whether nothing but the times of the measurements has changed. The same objects are not looked into."""
    return (
        then.signals is view.signals
        and then.routers.says_the_same(view.routers)
        and then.tier == view.tier
        and then.tier_scalers == view.tier_scalers
        and then.workloads == view.workloads
        and (then.facts, then.gpus) == (view.facts, view.gpus)
        and (then.metadata_error, then.metadata_pending) == (view.metadata_error, view.metadata_pending)
    )
