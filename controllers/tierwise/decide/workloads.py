"""Divides a decision over the workloads of a tier, and says which replicas end first.

Whether the replicas of a workload are ours to write is asked for each of them: one may be scaled by somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tierwise.api.modeltier import ModelTierSpec
from tierwise.types import Decision, DeploymentFacts, TierState, TierView, Workload, WorkloadPlan

_NEVER_MEANS_ZERO = "HorizontalPodAutoscaler/"
# Ends before any replica that answers.
_FIRST = -1


def workload_plans(
    view: TierView,
    spec: ModelTierSpec,
    decision: Decision,
    state: TierState,
    granted: Mapping[str, int] | None = None,
) -> tuple[WorkloadPlan, ...]:
    """The replicas that are to be written, in the order of the workloads; none where they are as decided. `granted`:
    what each workload gets, by name, where the fleet has shared it out."""
    present = [workload for workload in view.workloads if workload.deployment is not None]
    targets = _targets(view, decision, granted)
    return tuple(
        WorkloadPlan(workload.name, now, target, deletion_costs(view, workload) if target < now else ())
        for workload, now, target in ((each, each.replicas, targets.get(each.name, each.replicas)) for each in present)
        if target != now and _ours_to_write(workload, spec, state)
    )


def _targets(view: TierView, decision: Decision, granted: Mapping[str, int] | None) -> dict[str, int]:
    """How many replicas each workload shall have, by its name. Those of a retired one end as replicas of the others
    answer in their place."""
    staying = [workload for workload in view.staying if workload.deployment is not None]
    if granted is None:
        shares = spread([workload.replicas for workload in staying], decision.target)
        found = {workload.name: share for workload, share in zip(staying, shares, strict=True)}
    else:
        found = dict(granted)
    left = max(0, decision.target - sum(len(workload.ready_endpoints) for workload in view.staying))
    for workload in view.workloads:
        if workload.retired:
            found[workload.name] = min(workload.replicas, left)
            left -= found[workload.name]
    return found


def spread(current: Sequence[int], target: int) -> tuple[int, ...]:
    """The replicas of each workload when there shall be `target` in all: the first is the tier's first choice, so it
    grows first and shrinks last."""
    replicas = list(current)
    if not replicas:
        return ()
    replicas[0] += max(0, target - sum(replicas))
    for index in reversed(range(len(replicas))):
        replicas[index] -= min(replicas[index], max(0, sum(replicas) - target))
    return tuple(replicas)


def _ours_to_write(workload: Workload, spec: ModelTierSpec, state: TierState) -> bool:
    """Whether replicas shall be written. Where others scale (Advisory, a HorizontalPodAutoscaler) they are written
    once, out of zero: the Deployment is made at 0 replicas, where a HorizontalPodAutoscaler does nothing. A
    ScaledObject can mean zero, so beside one nothing is written."""
    service, deployment, others = workload.inference_service, workload.deployment, workload.foreign_scalers
    if deployment is None or service is None or not service.owned or service.deleting:
        return False
    if not others and spec.scaling.mode == "Auto":
        return True
    may_start = all(other.startswith(_NEVER_MEANS_ZERO) for other in others)
    return deployment.spec_replicas == 0 and may_start and not _scaled_before(state, deployment)


def _scaled_before(state: TierState, deployment: DeploymentFacts) -> bool:
    """Whether we have scaled this Deployment: one that is at zero since was put there by somebody else."""
    return state.scaled_at is not None and state.scaled_at >= deployment.created_at


def deletion_costs(view: TierView, workload: Workload) -> tuple[tuple[str, int], ...]:
    """Which replicas end first when some must: (pod, cost), sorted by name; the lowest cost ends first.

    Replicas that do not answer yet, then those with the fewest running requests. One whose requests are not known ends
    last: it may be the busiest."""
    samples = {pod.pod: pod.running for pod in view.signals.pods}
    ready = workload.ready_endpoints
    known = {name: round(samples[name].value) for name in ready if name in samples and samples[name].has_value}
    unknown = max(known.values(), default=0) + 1
    return tuple(
        (pod.name, known.get(pod.name, unknown) if pod.name in ready else _FIRST)
        for pod in workload.pods
        if not pod.terminating
    )
