"""Decides for all tiers: recommend for each, allocate over all, finalize for each.

Before that, whether the tier may be touched at all: a spec that cannot be served is left as it is (what ran before goes
on running), an external tier has no replicas, and one that is being deleted dies by its owner references. Then from
which spec its replicas are made.

The spec itself is always checked; the facts of nodes and hub only before something runs. A spec that was accepted and
runs is not stopped by a fact that comes later: nodes are relabelled, added and lost all the time, and a replica that
serves has shown that it can. It gets advice instead, and its next change is checked again.

A tier that names a pool which does not exist is left as it is, too: without the pool's nodes its replicas would
restart elsewhere. And while nobody has said which pools there are, there is no plan for a tier that names one.

A tier of which nothing was made yet, or whose spec has changed, waits for the first answer about its model
(`metadata_pending`); whoever answers sees to it that this takes seconds. Until then there is no plan for it.

A defect that one tier meets is that tier's alone: it keeps what it has, and its plan says what happened.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

from tierwise import reasons
from tierwise.api.modeltier import External
from tierwise.decide.advice import advise
from tierwise.decide.allocate import Grant, allocate
from tierwise.decide.finalize import finalize
from tierwise.decide.former import former_replicas
from tierwise.decide.pool_checks import awaits_pools, pool_problem
from tierwise.decide.pool_rates import learn_rates
from tierwise.decide.recommend import Recommendation, recommend
from tierwise.decide.rollout import Rollouts, choose_rollouts, remembered
from tierwise.decide.spec_checks import SpecChecks
from tierwise.decide.spec_hash import canonical_spec, fingerprint
from tierwise.decide.workloads import workload_plans
from tierwise.engines import Finding
from tierwise.errors import Unsupported
from tierwise.types import (
    UNKNOWN,
    Advice,
    Plan,
    ReplicaSetPlan,
    Snapshot,
    TierKey,
    TierPlan,
    TierState,
    TierView,
    Workload,
)

# KServe makes <name>-predictor-<namespace> one DNS label.
NAME_AND_NAMESPACE = 52
_NONE: Mapping[TierKey, TierPlan] = {}
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A tier that is served, on its way from recommendation to decision."""

    view: TierView
    advice: tuple[Advice, ...]
    rollouts: Rollouts
    recommendation: Recommendation


def decide(snapshot: Snapshot, states: Mapping[TierKey, TierState]) -> Plan:
    """The plan for all tiers, sorted by key. A tier without a state counts as one whose state was lost; one that still
    waits for what is asked about its model is left out."""
    turns = decide_in_turns(snapshot, states)
    while True:
        try:
            next(turns)
        except StopIteration as end:
            plan: Plan = end.value
            return plan


def decide_in_turns(
    snapshot: Snapshot,
    states: Mapping[TierKey, TierState],
    standing: Mapping[TierKey, TierPlan] = _NONE,
    checks: SpecChecks | None = None,
) -> Generator[None, None, Plan]:
    """The same, a tier at a time: whoever drives it may let others work in between. `checks`: what was found before.

    `standing`: plans that stand (see `standing`), and are taken as they are. What pools and budgets leave of all plans
    is decided after this (`pools.share`)."""
    checks = SpecChecks() if checks is None else checks
    plans: dict[TierKey, TierPlan] = {}
    candidates: dict[TierKey, _Candidate] = {}
    for view in sorted(snapshot.tiers, key=lambda view: view.tier.key):
        key = view.tier.key
        state = states.get(key, TierState())
        if key in standing:
            plans[key] = standing[key]
        elif not _waits(view, state, snapshot):
            found = _isolated(view, state, partial(_candidate, view, state, snapshot, checks))
            if isinstance(found, TierPlan):
                plans[key] = found
            else:
                candidates[key] = found
        yield
    grants = allocate({key: each.recommendation for key, each in candidates.items()})
    for key, candidate in candidates.items():
        state = states.get(key, TierState())
        made = _isolated(candidate.view, state, partial(_planned, candidate, grants[key], snapshot))
        plans[key] = made
        yield
    return Plan(tuple(plans[key] for key in sorted(plans)))


def _isolated(view: TierView, state: TierState, work: Callable[[], Result]) -> Result | TierPlan:
    try:
        return work()
    except Exception:
        return TierPlan(view.tier.key, None, state, failure=traceback.format_exc())


def _waits(view: TierView, state: TierState, snapshot: Snapshot) -> bool:
    if awaits_pools(view.tier, snapshot.pools):
        return True
    return view.metadata_pending and not view.tier.deleting and not runs_as_accepted(view, state)


def runs_as_accepted(view: TierView, state: TierState) -> bool:
    """Whether replicas run that were made from this spec, as far as it makes a replica: it was accepted then. A change
    of scaling is none of the replicas."""
    tier = view.tier
    if tier.spec is None or not (view.pods or view.replicas > 0):
        return False
    if state.accepted is not None and state.accepted[0] == tier.generation:
        return state.accepted[1]
    return all(_rendered(workload, view, state) for workload in view.staying if workload.pods or workload.replicas)


def _rendered(workload: Workload, view: TierView, state: TierState) -> bool:
    spec, rendered = view.spec_of(workload), state.rollout_of(workload).rendered
    return spec is not None and rendered is not None and rendered.hash == fingerprint(canonical_spec(spec))


def _candidate(view: TierView, state: TierState, snapshot: Snapshot, checks: SpecChecks) -> _Candidate | TierPlan:
    """The tier with what its load asks for; its plan, where nothing is to be scaled."""
    tier, spec = view.tier, view.tier.spec
    if tier.deleting:
        return TierPlan(tier.key, None, state)
    if spec is None:
        return _rejected(view, state, (reasons.INVALID_SPEC, tier.invalid))
    if spec.external is not None:
        return TierPlan(tier.key, None, TierState(), advice=_no_path(spec.external))
    misplaced = pool_problem(view, spec, snapshot.pools)
    if misplaced is not None:
        return _rejected(view, state, misplaced)
    findings, refused = _checked(view, checks, runs_as_accepted(view, state))
    if refused is not None:
        return _rejected(view, state, refused)
    advice, state = advise(view, spec, findings, state, snapshot.at)
    advice = tuple(sorted((*advice, *_beside(tier.key, snapshot), *_scalers(view))))
    rollouts = choose_rollouts(view, spec, state, snapshot.at)
    state = replace(state, accepted=(tier.generation, True), rates=learn_rates(view, state))
    state = remembered(view, rollouts, state)
    # Of several pools the first says what a replica carries: a replica counts the same in each of them.
    return _Candidate(view, advice, rollouts, recommend(view, rollouts[0][1].spec, snapshot.metrics, state))


def _beside(key: TierKey, snapshot: Snapshot) -> tuple[Advice, ...]:
    """That another installation of Tierwise would serve the tier as well."""
    other = snapshot.installations.still(key.namespace)
    if other is None:
        return ()
    return (Advice(reasons.TWO_INSTALLATIONS, f"the installation {other} would serve {key.namespace} too"),)


def _scalers(view: TierView) -> tuple[Advice, ...]:
    """That an autoscaler of somebody else's asks the tier for a number that is not there."""
    tier = view.tier
    if not view.tier_scalers or tier.spec is None or tier.spec.replicas is not None:
        return ()
    who = ", ".join(view.tier_scalers)
    said = f"{who} scales the ModelTier {tier.key.name} and cannot read its replicas: spec.replicas is unset"
    return (Advice(reasons.SCALER_ON_TIER, said),)


def _no_path(external: External) -> tuple[Advice, ...]:
    """That the address of an API has no path at all, which is hardly ever meant."""
    if urlsplit(external.base_url).path:
        return ()
    said = f"external.baseURL {external.base_url} has no path: requests go to {external.base_url}/v1/chat/completions"
    return (Advice(reasons.NO_API_PATH, said),)


def _rejected(view: TierView, state: TierState, why: tuple[str, str]) -> TierPlan:
    state = replace(state, accepted=(view.tier.generation, False))
    return TierPlan(view.tier.key, None, state, invalid=why)


def _planned(candidate: _Candidate, grant: Grant, snapshot: Snapshot) -> TierPlan:
    view, rollouts = candidate.view, candidate.rollouts
    rollout = rollouts[0][1]
    decision, state = finalize(grant, view, rollout.spec, snapshot.metrics, snapshot.at)
    spec = view.tier.spec
    writes = snapshot.kserve_present and spec is not None
    return TierPlan(
        key=view.tier.key,
        decision=decision,
        state=state,
        serve=True,
        workloads=workload_plans(view, spec, decision, state) if writes and spec is not None else (),
        advice=candidate.advice,
        rollout=rollout,
        rollouts=tuple(each for each in rollouts if each[0] in _pooled(view)),
        former=_former(view, rollouts, snapshot.at) if writes else (),
    )


def _former(view: TierView, rollouts: Rollouts, at: float) -> tuple[ReplicaSetPlan, ...]:
    works = {workload.name: workload for workload in view.workloads}
    return tuple(
        found
        for name, made in rollouts
        for found in former_replicas(replace(view, workloads=(works[name],)), made.spec, at)
    )


def _pooled(view: TierView) -> frozenset[str]:
    return frozenset(workload.name for workload in view.workloads if workload.pool)


def _checked(view: TierView, checks: SpecChecks, runs: bool) -> tuple[tuple[Finding, ...], tuple[str, str] | None]:
    """What is wrong or doubtful in any pool, and why the tier cannot be served as it is: a reason and a sentence. Of a
    tier that runs, only what the spec itself says forbids serving."""
    found: list[Finding] = []
    for workload in view.staying:
        findings, refused = _checked_in(workload, view, checks, runs)
        found += findings
        if refused is not None:
            reason, said = refused
            return tuple(found), (reason, f"in pool {workload.pool}: {said}" if len(view.staying) > 1 else said)
    return tuple(dict.fromkeys(found)), None


def _checked_in(
    workload: Workload, view: TierView, checks: SpecChecks, runs: bool
) -> tuple[tuple[Finding, ...], tuple[str, str] | None]:
    namespace, pool = view.tier.key.namespace, workload.pool
    name = max(view.tier.key.name, workload.name, key=len)
    length = len(name) + len(namespace)
    if length > NAME_AND_NAMESPACE:
        said = f"the names {namespace}/{name} have {length} characters, KServe allows {NAME_AND_NAMESPACE}"
        return (), (reasons.NAME_TOO_LONG, said)
    try:
        findings = checks.findings(view.tier, view.facts_of(workload), workload.spec, pool)
        judged = checks.findings(view.tier, UNKNOWN, workload.spec, pool) if runs else findings
    except Unsupported as error:
        return (), (reasons.UNSUPPORTED, error.message)
    fatal = [finding for finding in judged if finding.fatal]
    if not fatal:
        return findings, None
    return findings, (fatal[0].reason, "; ".join(finding.message for finding in fatal))
