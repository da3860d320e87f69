"""Decides for every tier what is created, from which spec, and how many replicas it has.

The first question is whether the tier may be changed at all: a spec that cannot be served is left as it is (what ran
before keeps running), an external tier has no replicas, and a tier that is being deleted is removed by its owner
references. Then follow the spec that its replicas are made from, how many there are, and whether we write them.

The spec itself is always checked; the facts of nodes and hub only before something runs. A spec that was accepted and
runs is not stopped by a fact that comes later: nodes are relabelled, added and lost all the time, and a replica that
serves has shown that it can. It gets advice instead, and its next change is checked again.

A tier of which nothing was created yet, or whose spec has changed, waits for the first answer about its model
(`metadata_pending`); whoever answers makes sure that this takes seconds. Until then there is no plan for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from tierwise import engines, reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide.advice import advise
from tierwise.decide.replicas import decide_replicas
from tierwise.decide.rollout import choose_rollout
from tierwise.decide.spec_hash import canonical_spec, fingerprint
from tierwise.engines import Finding
from tierwise.errors import Unsupported
from tierwise.times import seconds
from tierwise.types import Decision, DeploymentFacts, Plan, Snapshot, TierKey, TierPlan, TierState, TierView
from tierwise.types.capabilities import UNKNOWN

# KServe makes <name>-predictor-<namespace> one DNS label.
NAME_AND_NAMESPACE = 52
_NEVER_MEANS_ZERO = "HorizontalPodAutoscaler/"
# Ends before any replica that answers.
_FIRST = -1


def decide(snapshot: Snapshot, memories: Mapping[TierKey, TierState]) -> Plan:
    """The plan for all tiers, sorted by key. A tier without a memory counts as one whose memory was lost; one that
    still waits for what is asked about its model is left out."""
    views = sorted(snapshot.tiers, key=lambda view: view.tier.key)
    plans = (_tier(view, memories.get(view.tier.key, TierState()), snapshot) for view in views if not _waits(view))
    return Plan(tuple(plans))


def _waits(view: TierView) -> bool:
    return view.metadata_pending and not view.tier.deleting and not runs_as_accepted(view)


def runs_as_accepted(view: TierView) -> bool:
    """Whether replicas run that were made from this spec, as far as it makes a replica: it was accepted then. A change
    of scaling is none of the replicas."""
    tier, workload = view.tier, view.workload
    deployment = workload.deployment
    if tier.spec is None or not (workload.pods or (deployment is not None and deployment.spec_replicas > 0)):
        return False
    accepted = next((each for each in tier.status.conditions if each.type == reasons.ACCEPTED), None)
    if accepted is not None and accepted.observed_generation == tier.generation:
        return accepted.status == "True"
    rendered = tier.status.rollout.rendered
    return rendered is not None and rendered.hash == fingerprint(canonical_spec(tier.spec))


def _tier(view: TierView, memory: TierState, snapshot: Snapshot) -> TierPlan:
    tier, spec = view.tier, view.tier.spec
    if tier.deleting:
        return TierPlan(tier.key, None, memory)
    if spec is None:
        return TierPlan(tier.key, None, memory, invalid=(reasons.INVALID_SPEC, tier.invalid))
    if spec.external is not None:
        return TierPlan(tier.key, None, TierState())
    runs = runs_as_accepted(view)
    problems, refused = _judged(view, spec, runs)
    if refused is not None:
        return TierPlan(tier.key, None, memory, invalid=refused)
    advice, memory = advise(view, spec, problems, memory, snapshot.at)
    rollout = choose_rollout(view, spec, snapshot.at)
    decision, memory = decide_replicas(view, rollout.spec, snapshot.metrics, memory, snapshot.at)
    ours = snapshot.kserve_present and _ours_to_write(view, spec, decision)
    scale_to = decision.target if ours else None
    return TierPlan(
        key=tier.key,
        decision=decision,
        memory=memory,
        serve=True,
        scale_to=scale_to,
        deletion_costs=deletion_costs(view) if scale_to is not None and scale_to < decision.current else (),
        advice=advice,
        rollout=rollout,
    )


def _judged(view: TierView, spec: ModelTierSpec, runs: bool) -> tuple[tuple[Finding, ...], tuple[str, str] | None]:
    """What is wrong or doubtful, and why the tier cannot be served as it is: a reason and a sentence. Of a tier that
    runs, only what the spec itself says forbids serving."""
    key = view.tier.key
    length = len(key.name) + len(key.namespace)
    if length > NAME_AND_NAMESPACE:
        said = f"the names {key} have {length} characters, KServe allows {NAME_AND_NAMESPACE}"
        return (), (reasons.NAME_TOO_LONG, said)
    try:
        problems = engines.check(spec, view.facts)
        fatal = [problem for problem in (engines.check(spec, UNKNOWN) if runs else problems) if problem.fatal]
    except Unsupported as error:
        return (), (reasons.UNSUPPORTED, error.message)
    if not fatal:
        return problems, None
    return problems, (fatal[0].reason, "; ".join(problem.message for problem in fatal))


def _ours_to_write(view: TierView, spec: ModelTierSpec, decision: Decision) -> bool:
    """Whether the target shall be written. Where others scale (Advisory, a HorizontalPodAutoscaler) it is written once,
    out of zero: the Deployment is made at 0 replicas, where a HorizontalPodAutoscaler does nothing. A ScaledObject can
    mean zero, so beside one nothing is written."""
    service = view.workload.inference_service
    if view.workload.deployment is None or service is None or not service.owned or service.deleting:
        return False
    if decision.target == decision.current:
        return False
    others = view.workload.foreign_scalers
    if not others and spec.scaling.mode == "Auto":
        return True
    may_start = all(other.startswith(_NEVER_MEANS_ZERO) for other in others)
    return decision.current == 0 and may_start and not _scaled_before(view, view.workload.deployment)


def _scaled_before(view: TierView, deployment: DeploymentFacts) -> bool:
    """Whether we have scaled this Deployment: one that is at zero since was put there by somebody else."""
    decisions = view.tier.status.scaling.decisions
    if not decisions:
        return False
    last = seconds(decisions[0].time)
    return last is None or last >= deployment.created_at


def deletion_costs(view: TierView) -> tuple[tuple[str, int], ...]:
    """Which replicas end first when some must: (pod, cost), sorted by name; the lowest cost ends first.

    Replicas that do not answer yet, then those with the fewest running requests. One whose requests are not known ends
    last: it may be the busiest."""
    samples = {pod.pod: pod.running for pod in view.signals.pods}
    ready = view.workload.ready_endpoints
    known = {name: round(samples[name].value) for name in ready if name in samples and samples[name].has_value}
    unknown = max(known.values(), default=0) + 1
    return tuple(
        (pod.name, known.get(pod.name, unknown) if pod.name in ready else _FIRST)
        for pod in view.workload.pods
        if not pod.terminating
    )
