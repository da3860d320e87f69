"""Chooses the spec that replicas are made from: the present one, or the last one that served.

With `rollout: Surge` always from the present one: what serves stays until a new replica answers. With `rollout:
Replace` a replica that serves is stopped first, so a spec that cannot start costs capacity until somebody corrects it.
Therefore the last spec that served is remembered, and when no replica of the present one can start, it is served again:

    served      the Deployment has the template of the spec, all its pods are of that template, and one has answered for
                STEADY_SECONDS: the spec is now the last good one
    given up    the Deployment has the template of another spec, none of its pods answers, and what keeps one from it
                has lasted (`tierwise.pod_diagnosis.cannot_start`): the present spec is marked as failed
    back        the present spec is marked as failed: the last good one is rendered, scaled as the present one says

The mark is written into the status first and acted upon in the next cycle. An operator that dies in between, or whose
status write is lost, so never goes back without knowing it afterwards: there is at most one way back per spec, and none
from the last good spec, which has nothing behind it. The mark falls when a field that makes a replica changes. A change
of scaling alone does not try a failed spec again: that would stop another replica for it.

Why the status and not a ControllerRevision: it is read and written anyway (no further right, no further kind to watch),
the mark and what it is about change in one write, and it is small: the fields that make a replica, as said,
300 bytes as a rule and 32 KiB at most. A longer spec is not kept, and there is then no way back to it.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import ValidationError

from tierwise import engines
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import SPEC_LENGTH, FailedSpec, LastGood, RenderedStatus, RolloutStatus
from tierwise.decide.spec_hash import FOLLOWING, canonical_spec, fingerprint
from tierwise.errors import Unsupported
from tierwise.pod_diagnosis import cannot_start
from tierwise.text_sanitize import truncate
from tierwise.types import PodFacts, Rollout, TierState, TierView, Workload

STEADY_SECONDS = 30.0
_MESSAGE = 512
Rollouts = tuple[tuple[str, Rollout], ...]


def choose_rollout(view: TierView, spec: ModelTierSpec, state: RolloutStatus, at: float) -> Rollout:
    """What the replicas of a tier are made from. `spec` is the tier's, accepted; `state`: what the status says of its
    rollout; `at`: seconds since the epoch."""
    text = canonical_spec(spec)
    present = fingerprint(text)
    good = state.last_good
    failed = state.failed if state.failed is not None and state.failed.hash == present else None
    before = _before(good, spec) if good is not None and good.hash != present and spec.rollout == "Replace" else None
    if before is not None and good is not None and failed is not None:
        served = _served_by(view, good.hash, state.rendered, at)
        good = good.model_copy(update={"replica_set": served}) if served else good
        return Rollout(before, good.hash, back=True, good=good, failed=failed)
    served = _served_by(view, present, state.rendered, at)
    if served:
        return Rollout(spec, present, good=_good(good, view.tier.generation, text, served))
    if before is not None and good is not None:
        failed = _given_up(view, spec, state, present, at)
    return Rollout(spec, present, good=good, failed=failed)


def choose_rollouts(
    view: TierView, spec: ModelTierSpec, state: TierState, at: float
) -> tuple[tuple[str, Rollout], ...]:
    """What the replicas of each workload are made from, by its name: a change succeeds or fails in each pool by itself.
    Of a workload that is retired, or of whose pool nothing is known, nothing: it stays as it is."""
    found = []
    for workload in view.staying:
        here = spec if not workload.pool else workload.spec
        if here is not None:
            alone = replace(view, workloads=(workload,))
            found.append((workload.name, choose_rollout(alone, here, state.rollout_of(workload), at)))
    return tuple(found)


def remembered(view: TierView, rollouts: Rollouts, state: TierState) -> TierState:
    """`state` with what is to be remembered of these rollouts."""
    made = dict(rollouts)
    kept = {workload.name: state.rollout_of(workload) for workload in view.workloads}
    for name, rollout in made.items():
        kept[name] = kept[name].model_copy(update={"last_good": rollout.good, "failed": rollout.failed})
    pooled = tuple((each.name, kept[each.name]) for each in view.workloads if each.pool)
    free = next((kept[each.name] for each in view.workloads if not each.pool and not each.retired), RolloutStatus())
    return replace(state, rollout=free, rollouts=pooled)


def _before(good: LastGood, spec: ModelTierSpec) -> ModelTierSpec | None:
    """The last good spec, scaled as the present one says; None when it was too long to be kept, or when this release
    no longer accepts it."""
    if not good.spec:
        return None
    try:
        found = ModelTierSpec.model_validate_json(good.spec)
        if found.model is None or any(problem.fatal for problem in engines.check(found)):
            return None
    except (ValidationError, Unsupported):
        return None
    return found.model_copy(update={name: getattr(spec, name) for name in FOLLOWING})


def _good(before: LastGood | None, generation: int, text: str, replica_set: str) -> LastGood:
    if before is not None and before.hash == fingerprint(text):
        return before.model_copy(update={"replica_set": replica_set})
    spec = text if len(text) <= SPEC_LENGTH else ""
    return LastGood(generation=generation, hash=fingerprint(text), replica_set=replica_set, spec=spec)


def _reached(workload: Workload, wanted: str, rendered: RenderedStatus | None) -> bool:
    """Whether the Deployment has the template of the spec with this fingerprint, and its status is about that."""
    deployment = workload.deployment
    if deployment is None or rendered is None or rendered.hash != wanted:
        return False
    return deployment.template == rendered.template and deployment.observed_generation >= deployment.generation


def _served_by(view: TierView, wanted: str, rendered: RenderedStatus | None, at: float) -> str:
    """The ReplicaSet whose pods serve the spec with this fingerprint; empty while none does, or others as well. Of
    several workloads each must serve it; the first one's ReplicaSet is named."""
    served = [_workload_served_by(workload, wanted, rendered, at) for workload in view.workloads]
    return served[0] if all(served) else ""


def _workload_served_by(workload: Workload, wanted: str, rendered: RenderedStatus | None, at: float) -> str:
    deployment = workload.deployment
    if deployment is None or not _reached(workload, wanted, rendered):
        return ""
    if not 0 < deployment.replicas <= deployment.updated_replicas or deployment.ready_replicas == 0:
        return ""
    living = [pod for pod in workload.pods if not pod.terminating]
    steady = any(
        pod.name in workload.ready_endpoints and pod.ready_at is not None and pod.ready_at + STEADY_SECONDS <= at
        for pod in living
    )
    sets = {pod.replica_set for pod in living}
    return sets.pop() if steady and len(sets) == 1 else ""


def _given_up(view: TierView, spec: ModelTierSpec, state: RolloutStatus, present: str, at: float) -> FailedSpec | None:
    """The mark on a present spec of which no replica of a workload can start."""
    for workload in view.workloads:
        deployment = workload.deployment
        if deployment is None or deployment.updated_replicas == 0 or not _reached(workload, present, state.rendered):
            continue
        newest = _newest(workload, state.last_good)
        found = cannot_start(replace(workload, pods=newest), spec, at)
        if found is not None:
            message = truncate(found.detail, _MESSAGE)
            return FailedSpec(generation=view.tier.generation, hash=present, reason=found.reason, message=message)
    return None


def _newest(workload: Workload, good: LastGood | None) -> tuple[PodFacts, ...]:
    """The pods of the present ReplicaSet, unless that is the last good one's. While the present one is not known, those
    of the youngest that is not the last good one's: a spec in between, which may stand for a moment, is older."""
    present = workload.present_set
    others = [
        pod
        for pod in workload.pods
        if (good is None or pod.replica_set != good.replica_set) and present in ("", pod.replica_set)
    ]
    if not others:
        return ()
    youngest = max(others, key=lambda pod: (pod.created_at, pod.name)).replica_set
    return tuple(pod for pod in others if pod.replica_set == youngest)
