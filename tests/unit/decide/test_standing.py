"""Checks, condition by condition, when a plan stands, and what becomes of one that stands.

The property in tests/unit/properties/test_settled.py shows that what is taken over is what would be decided, over whole
lives of a tier. Here each condition has its own example: one settled case, and one change to it at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.unit.decide.make import HEALTHY, KEY, NOW, SETTLED, pod, sample, spec, view
from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide import again, decide, stands
from tierwise.decide.capacity_estimate import SAME_SAMPLE_SECONDS
from tierwise.decide.rollout import STEADY_SECONDS
from tierwise.types import (
    GPU,
    MISSING,
    Facts,
    Peak,
    PodFacts,
    PodSample,
    SampleTimes,
    Snapshot,
    TierPlan,
    TierSignals,
    TierState,
    TierView,
    WorkloadPlan,
)

LATER = NOW + 10
AGED = STEADY_SECONDS  # how long the pods of the settled tier are ready: as long as they must be, and no longer
L4 = Facts(gpus=(GPU("NVIDIA-L4"),))
API = {"baseURL": "https://llm.example/v1", "model": "m", "apiKeySecretRef": {"name": "k", "key": "k"}}
EXTERNAL = ModelTierSpec.model_validate({"external": {**API, "prices": {"input": "1", "output": "2"}}})


def aged(name: str, *, ready_for: float = AGED) -> PodFacts:
    """A pod that is ready for this long."""
    return replace(pod(name), ready_at=NOW - ready_for)


def seen_at(at: float, *pods: PodFacts) -> TierView:
    """One replica with a load that asks for one, measured at this time."""
    found = view(spec(), (sample("a", 8, at=at),), pods=(aged("a"), *pods))
    return replace(found, sampled=SampleTimes(at, at))


@dataclass(frozen=True)
class Case:
    """What `stands` is asked about."""

    view: TierView
    before: TierState
    plan: TierPlan
    metrics_ok: bool = True

    @property
    def stands(self) -> bool:
        """Whether the plan stands."""
        return stands(
            self.view, self.before, self.plan, Snapshot(NOW, (self.view,), replace(HEALTHY, ok=self.metrics_ok))
        )

    def seen(self, **changes: Any) -> Case:
        """The view is another one."""
        return replace(self, view=replace(self.view, **changes))

    def tier(self, **changes: Any) -> Case:
        """The object of the tier is another one."""
        return self.seen(tier=replace(self.view.tier, **changes))

    def workload(self, **changes: Any) -> Case:
        """What runs is something else."""
        (workload,) = self.view.workloads
        return self.seen(workloads=(replace(workload, **changes),))

    def pods(self, *pods: PodFacts) -> Case:
        """Other pods, of which the same one is measured and receives requests."""
        return self.workload(pods=pods)

    def measured(self, found: PodSample) -> Case:
        """The pod is measured otherwise."""
        return self.seen(signals=TierSignals((found,)))

    def planned(self, **changes: Any) -> Case:
        """The plan is another one."""
        return replace(self, plan=replace(self.plan, **changes))

    def left(self, **changes: Any) -> Case:
        """The plan leaves another state than the one that it was made from."""
        return self.planned(state=replace(self.plan.state, **changes))

    def kept(self, **changes: Any) -> Case:
        """The same, and the plan was made from such a state already."""
        return replace(self.left(**changes), before=replace(self.before, **changes))


def decided(seen: TierView, state: TierState, at: float) -> TierPlan:
    """The plan for this view."""
    return decide(Snapshot(at, (seen,), HEALTHY), {KEY: state}).tiers[0]


def settled() -> Case:
    """Decided twice, with nothing to do: the second plan, and the state that the first one left."""
    before = decided(seen_at(NOW - 10), SETTLED, NOW - 10).state
    seen = seen_at(NOW)
    return Case(seen, before, decided(seen, before, NOW))


def at_zero() -> Case:
    """A tier without replicas, of which nothing is measured."""
    none = replace(view(spec(replicas=0), (), current=0), sampled=SampleTimes())
    before = decided(none, TierState(recommended=0), NOW - 10).state
    return Case(none, before, decided(none, before, NOW))


def rejected() -> Case:
    """A tier whose spec is refused, and was before."""
    seen = replace(settled().view, tier=replace(settled().view.tier, spec=None, invalid="no"))
    before = decided(seen, SETTLED, NOW - 10).state
    return Case(seen, before, decided(seen, before, NOW))


def test_a_settled_plan_stands() -> None:
    case = settled()
    assert case.plan.decision is not None
    assert case.plan.state != case.before, "the times in it moved"
    assert case.stands


CHANGES: dict[str, Callable[[Case], Case]] = {
    "the tier is being deleted": lambda case: case.tier(deleting=True),
    "the model is being asked about": lambda case: case.seen(metadata_pending=True),
    "deciding met a defect": lambda case: case.planned(failure="Traceback"),
    "replicas are to be written": lambda case: case.planned(workloads=(WorkloadPlan("chat", 1, 2),)),
    "Prometheus does not answer": lambda case: replace(case, metrics_ok=False),
    "a window holds the target": lambda case: case.kept(peaks=(Peak(2, NOW - 10),)),
    "advice is being made sure of": lambda case: case.kept(doubts=((reasons.LOAD, NOW - 10),)),
    "a queue is learned from": lambda case: case.kept(queued=(("a", 16.0),)),
    "the recommendation changed": lambda case: case.left(recommended=2),
    "the capacity was learned": lambda case: case.left(requests_per_replica=12.0),
    "a restart was got over": lambda case: replace(case, before=replace(case.before, resumed=True)),
    "the spec was accepted now": lambda case: case.left(accepted=(2, True)),
    "a pod was measured for the first time": lambda case: case.left(measured=(("a", 0.0), ("b", 0.0))),
    "a newer sample was taken": lambda case: case.seen(sampled=SampleTimes(NOW, NOW + 0.1)),
    "no sample is known to the state": lambda case: case.kept(sampled_at=None),
    "a replica is not measured in full": lambda case: case.measured(replace(sample("a", 8), waiting=MISSING)),
    "a replica has been sampled once": lambda case: case.kept(measured=(("a", NOW),)),
    "a replica has never been sampled": lambda case: case.kept(measured=(("b", 0.0),)),
    "it is not known who was sampled": lambda case: case.kept(measured=None),
    "a pod ends": lambda case: case.pods(replace(aged("a"), terminating=True)),
    "a pod is not ready": lambda case: case.pods(replace(aged("a"), ready=False, ready_at=None)),
    "a pod is ready too short": lambda case: case.pods(aged("a", ready_for=AGED - 0.5)),
    "another pod is not ready": lambda case: case.pods(aged("a"), pod("b", ready=False)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_plan_that_waits_for_something_does_not_stand(change: Callable[[Case], Case]) -> None:
    assert not change(settled()).stands


HARMLESS: dict[str, Callable[[Case], Case]] = {
    "the same sample as before": lambda case: case.kept(sampled_at=NOW),
    "a pod is ready for long": lambda case: case.pods(aged("a", ready_for=3600.0)),
    "a pod was evicted": lambda case: case.pods(aged("a"), replace(pod("b", ready=False), phase="Failed")),
    "a pod has finished": lambda case: case.pods(
        aged("a"), replace(pod("b", ready=False, terminating=True), phase="Succeeded")
    ),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_waits_for_nothing_does_not_matter(change: Callable[[Case], Case]) -> None:
    assert change(settled()).stands


@pytest.mark.parametrize(("apart", "standing"), [(SAME_SAMPLE_SECONDS, False), (SAME_SAMPLE_SECONDS + 0.25, True)])
def test_a_second_sample_is_one_that_is_not_the_first_with_another_age(apart: float, standing: bool) -> None:
    assert settled().kept(measured=(("a", NOW - apart),)).stands is standing


def test_a_pod_that_is_not_measured_and_was_found_after_a_restart_is_not_sampled_twice() -> None:
    unmeasured = at_zero().kept(measured=(("a", 0.0),)).measured(PodSample("a"))
    assert not unmeasured.stands


def test_a_tier_without_replicas_has_no_gap_and_stands() -> None:
    case = at_zero()
    assert case.plan.decision is not None
    assert case.stands


def test_a_refused_tier_stands_once_that_is_known() -> None:
    case = rejected()
    assert case.plan.decision is None
    assert case.stands
    assert replace(case, metrics_ok=False).stands, "nothing measured counts"
    assert not replace(case, before=SETTLED).stands


def test_an_external_tier_stands_whatever_was_known_of_it() -> None:
    seen = settled().tier(spec=EXTERNAL).view
    assert Case(seen, SETTLED, decided(seen, SETTLED, NOW)).stands
    assert not Case(seen, SETTLED, decided(seen, SETTLED, NOW)).tier(deleting=True).stands


def later(case: Case, at: float = LATER) -> TierView:
    """Nothing but the times of the measurements has changed."""
    return replace(case.view, sampled=SampleTimes(at, at))


def test_what_is_taken_over_is_what_would_be_decided() -> None:
    case = settled()
    taken = again(case.plan, case.view, NOW, later(case), LATER)
    assert taken is not None
    assert taken.state == decided(seen_at(LATER), case.plan.state, LATER).state
    assert (taken.state.observed_at, taken.state.sampled_at) == (LATER, LATER)
    assert taken == replace(case.plan, state=taken.state)


def test_the_clock_may_stand_and_not_go_back() -> None:
    case = settled()
    assert again(case.plan, case.view, NOW, case.view, NOW) == case.plan
    assert again(case.plan, case.view, NOW, case.view, NOW - 0.1) is None


OTHER: dict[str, Callable[[Case], Case]] = {
    "the tier": lambda case: case.tier(generation=2),
    "its status": lambda case: case.tier(status=case.view.tier.status.model_copy(update={"observed_generation": 7})),
    "its replicas": lambda case: case.workload(ready_endpoints=frozenset()),
    "its pods": lambda case: case.pods(aged("a"), aged("b")),
    "the facts of its model": lambda case: case.seen(facts=L4),
    "why they are not known": lambda case: case.seen(metadata_error="the hub is away"),
    "whether they are asked for": lambda case: case.seen(metadata_pending=True),
    "what is measured": lambda case: case.measured(sample("a", 9)),
}


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_when_anything_else_changes_it_is_decided_again(change: Callable[[Case], Case]) -> None:
    case = settled()
    assert again(case.plan, case.view, NOW, later(change(case)), LATER) is None


def test_equal_objects_are_unchanged() -> None:
    case = settled()
    equal = replace(later(case), tier=replace(case.view.tier), workloads=tuple(map(replace, case.view.workloads)))
    assert again(case.plan, case.view, NOW, equal, LATER) is not None


@pytest.mark.parametrize("seen_last", [None, NOW - 300])
def test_a_tier_that_was_not_complete_then_is_not_now(seen_last: float | None) -> None:
    case = settled().left(observed_at=seen_last)
    taken = again(case.plan, case.view, NOW, later(case), LATER)
    assert taken is not None
    assert taken.state.observed_at == seen_last


@pytest.mark.parametrize(
    ("before", "newest", "after"),
    [
        (NOW, NOW + SAME_SAMPLE_SECONDS - 0.25, NOW),
        (NOW, NOW + SAME_SAMPLE_SECONDS, NOW + SAME_SAMPLE_SECONDS),
        (NOW, NOW - SAME_SAMPLE_SECONDS + 0.25, NOW),
        (NOW, NOW - 5, NOW - 5),
        (NOW, None, NOW),
        (None, None, None),
        (None, NOW, None),
    ],
)
def test_the_newest_sample_moves_unless_it_is_the_same_one(
    before: float | None, newest: float | None, after: float | None
) -> None:
    case = settled().left(sampled_at=before)
    seen = replace(case.view, sampled=SampleTimes(newest, newest))
    taken = again(case.plan, case.view, NOW, seen, LATER)
    assert taken is not None
    assert taken.state.sampled_at == after
