"""Checks which replicas of former specs are ended: never one that answers or has answered, and never by a guess."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.decide import make
from tests.unit.decide.make import HEALTHY, NOW, SETTLED
from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide import decide
from tierwise.decide.former import former_replicas
from tierwise.pod_diagnosis import diagnose, left_over
from tierwise.types import DeploymentFacts, PodFacts, ReplicaSetFacts, ReplicaSetPlan, Snapshot, TierView, Workload

SURGE = ModelTierSpec.model_validate({"model": {"name": "m", "uri": "hf://org/m"}, "resources": {"gpus": 8}})
REPLACE = SURGE.model_copy(update={"rollout": "Replace"})
NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
QUOTA = "pods is forbidden: exceeded quota: gpus"


def pod(name: str, replica_set: str, **changes: Any) -> PodFacts:
    """A pod that was scheduled a minute ago, and loads."""
    plain = PodFacts(
        *(name, f"uid-{name}", "Running"),
        ready=False,
        terminating=False,
        scheduled=True,
        created_at=NOW - 60,
        scheduled_at=NOW - 60,
        replica_set=replica_set,
    )
    return replace(plain, **changes)


WAYS: dict[str, dict[str, Any]] = {
    "its image cannot be pulled": {"waiting_reason": "ImagePullBackOff", "waiting_message": "not found"},
    "its engine ended": {"last_exit_code": 1, "restarts": 1},
    "its engine ended and runs again": {"last_exit_code": 1, "restarts": 1, "running_again": True},
    "it was killed for its memory": {"last_exit_code": 137, "last_exit_reason": "OOMKilled"},
    "a Secret is missing": {"waiting_reason": "CreateContainerConfigError", "waiting_message": "no secret"},
    "it is late": {"scheduled_at": NOW - 1900},
    "no node takes it": {"scheduled": False, "scheduled_at": None, "unschedulable_message": NO_GPU},
    "its node is gone": {"node_lost": True},
}


def replica_set(name: str, revision: int, replicas: int = 1, made: int | None = None) -> ReplicaSetFacts:
    return ReplicaSetFacts(name, f"uid-{name}", f"v-{name}", revision, replicas, replicas if made is None else made)


def seen(
    *pods: PodFacts, sets: tuple[ReplicaSetFacts, ...], answering: tuple[str, ...] = (), **deployment: Any
) -> TierView:
    """A tier whose present ReplicaSet is the one of revision 2."""
    facts = DeploymentFacts("chat-predictor", "d", "7", 2, 2, 1, 2, 0, 1, revision=2)
    return make.view(
        SURGE,
        pods=pods,
        deployment=replace(facts, **deployment),
        ready_endpoints=frozenset(answering),
        replica_sets=sets,
    )


SETS = (replica_set("new", 2), replica_set("old", 1))
PENDING = pod("n", "new", scheduled=False, scheduled_at=None, unschedulable_message=NO_GPU)
END_OLD = ReplicaSetPlan("chat", "old", "uid-old", "v-old", 0, 1)


@pytest.mark.parametrize("spec", [SURGE, REPLACE], ids=["Surge", "Replace"])
@pytest.mark.parametrize("present", [PENDING, pod("n", "new")], ids=["pending", "loading"])
@pytest.mark.parametrize("way", WAYS)
def test_a_corrected_mistake_frees_what_it_holds(way: str, present: PodFacts, spec: ModelTierSpec) -> None:
    assert former_replicas(seen(pod("o", "old", **WAYS[way]), present, sets=SETS), spec, NOW) == (END_OLD,)


def test_two_corrections_free_what_both_mistakes_hold() -> None:
    sets = (replica_set("a", 1), replica_set("b", 3), replica_set("new", 2))
    broken = WAYS["its engine ended"]
    found = former_replicas(seen(pod("x", "a", **broken), pod("y", "b", **broken), PENDING, sets=sets), SURGE, NOW)
    assert [(each.replica_set, each.replicas) for each in found] == [("a", 0), ("b", 0)]


def test_what_a_quota_refused_is_not_asked_for_any_more() -> None:
    sets = (replica_set("new", 2), replica_set("old", 1, made=0))
    assert former_replicas(seen(pod("n", "new"), sets=sets), SURGE, NOW) == (replace(END_OLD, ended=0, refused=1),)


def test_one_that_loads_well_ends_only_when_the_present_spec_finds_no_room() -> None:
    loading = pod("o", "old")
    assert former_replicas(seen(loading, pod("n", "new"), sets=SETS), SURGE, NOW) == ()
    assert former_replicas(seen(loading, PENDING, sets=SETS), SURGE, NOW) == (END_OLD,)
    assert former_replicas(seen(loading, sets=SETS, failed_create=QUOTA), SURGE, NOW) == (END_OLD,)


@pytest.mark.parametrize(
    "served", [{"was_ready": True}, {"was_ready": True, "ready": True}, {"terminating": True}, {"phase": "Failed"}]
)
def test_one_that_has_answered_is_the_deployments_own_to_end(served: dict[str, Any]) -> None:
    old = pod("o", "old", **{**WAYS["its engine ended"], **served})
    assert former_replicas(seen(old, PENDING, sets=SETS), SURGE, NOW) == ()


def test_one_that_requests_are_sent_to_stays() -> None:
    old = pod("o", "old", **WAYS["its engine ended"])
    assert former_replicas(seen(old, PENDING, sets=SETS, answering=("o",)), SURGE, NOW) == ()


@pytest.mark.parametrize("unknown", [{"revision": 0}, {"revision": 9}, {"observed_generation": 1}])
def test_without_knowing_which_template_is_the_present_one_nothing_ends(unknown: dict[str, Any]) -> None:
    assert former_replicas(seen(pod("o", "old", last_exit_code=1), PENDING, sets=SETS, **unknown), SURGE, NOW) == ()


@pytest.mark.parametrize("change", [{"owned": False}, {"deleting": True}])
def test_nothing_ends_of_an_inference_service_that_is_not_ours(change: dict[str, Any]) -> None:
    view = seen(pod("o", "old", last_exit_code=1), PENDING, sets=SETS)
    (work,) = view.workloads
    assert work.inference_service is not None
    work = replace(work, inference_service=replace(work.inference_service, **change))
    assert former_replicas(replace(view, workloads=(work,)), SURGE, NOW) == ()
    assert former_replicas(replace(view, workloads=(replace(work, inference_service=None),)), SURGE, NOW) == ()


def test_no_more_end_than_were_made() -> None:
    """One of two was refused; a second pod that the cluster still shows is none of its replicas."""
    sets = (replica_set("new", 2), replica_set("old", 1, replicas=2, made=1))
    broken = WAYS["its engine ended"]
    found = former_replicas(seen(pod("x", "old", **broken), pod("y", "old", **broken), PENDING, sets=sets), SURGE, NOW)
    assert found == (replace(END_OLD, replicas=0, ended=1, refused=1),)


def test_the_plan_ends_what_is_left_over_only_while_kserve_is_there() -> None:
    view = seen(pod("o", "old", **WAYS["its engine ended"]), PENDING, sets=SETS)
    for present, former in ((True, (END_OLD,)), (False, ())):
        (found,) = decide(Snapshot(NOW, (view,), HEALTHY, kserve_present=present), {view.tier.key: SETTLED}).tiers
        assert found.former == former


def test_the_plan_judges_by_the_present_time_and_spec_what_is_late() -> None:
    """Of the spec that replicas are made from it is how long a start may take."""
    for scheduled, former in ((NOW - 1900, (END_OLD,)), (NOW - 60, ())):
        view = seen(pod("o", "old", scheduled_at=scheduled), pod("n", "new"), sets=SETS)
        (found,) = decide(Snapshot(NOW, (view,), HEALTHY), {view.tier.key: SETTLED}).tiers
        assert found.former == former


def test_the_plan_ends_what_is_left_over_in_every_pool_once() -> None:
    view = seen(pod("o", "old", **WAYS["its engine ended"]), PENDING, sets=SETS)
    (work,) = view.workloads
    second = replace(work, name="chat-b", pool="b", spec=SURGE)
    view = replace(view, workloads=(replace(work, pool="a", spec=SURGE), second))
    (found,) = decide(Snapshot(NOW, (view,), HEALTHY), {view.tier.key: SETTLED}).tiers
    assert found.former == (END_OLD, replace(END_OLD, workload="chat-b"))


PODS = st.lists(
    st.builds(
        lambda old, way, answered, ready: (old, way, answered or ready, ready),
        st.sampled_from(["old", "older", "new"]),
        st.sampled_from([None, *WAYS]),
        st.booleans(),
        st.booleans(),
    ),
    max_size=8,
)


@given(PODS, st.integers(0, 2))
def test_as_many_stay_as_have_answered(drawn: list[tuple[str, str | None, bool, bool]], unmade: int) -> None:
    """Whatever the pods do: of each ReplicaSet stay at least those that answer or have answered, the present one's all;
    and never more than there are."""
    pods = tuple(
        pod(f"{number}", where, **{**(WAYS[way] if way else {}), "was_ready": answered, "ready": ready})
        for number, (where, way, answered, ready) in enumerate(drawn)
    )
    counts = {name: sum(each.replica_set == name for each in pods) for name in ("old", "older")}
    sets = (
        replica_set("new", 2),
        *(replica_set(name, 1, counts[name] + unmade, counts[name]) for name in ("old", "older")),
    )
    answering = tuple(each.name for each in pods if each.ready)
    for plan in former_replicas(seen(*pods, sets=sets, answering=answering), SURGE, NOW):
        assert plan.replica_set != "new"
        kept = sum(each.was_ready for each in pods if each.replica_set == plan.replica_set)
        assert kept <= plan.replicas < counts[plan.replica_set] + unmade
        assert plan.replicas + plan.ended + plan.refused == counts[plan.replica_set] + unmade


def _diagnosed(*pods: PodFacts, spec: ModelTierSpec = SURGE, sets: tuple[ReplicaSetFacts, ...] = SETS) -> Any:
    return diagnose(_work(*pods, sets=sets), spec, NOW)


def _work(*pods: PodFacts, sets: tuple[ReplicaSetFacts, ...] = SETS) -> Workload:
    (work,) = seen(*pods, sets=sets).workloads
    return work


def test_the_present_template_is_judged_first() -> None:
    mistake = pod("a-old", "old", **WAYS["its image cannot be pulled"])
    assert _diagnosed(mistake, pod("n", "new")) is None, "corrected, and the new one starts well"
    found = _diagnosed(mistake, pod("n", "new", **WAYS["its engine ended"]))
    assert (found.reason, "pod n:" in found.detail) == (reasons.ENGINE_CRASHED, True)
    lost = pod("a-old", "old", was_ready=True, node_lost=True)
    assert _diagnosed(lost, pod("n", "new")).reason == reasons.NODE_LOST, "one that served is told of"
    unknown = _diagnosed(mistake, pod("n", "new"), sets=())
    assert unknown.reason == reasons.IMAGE_PULL, "as long as nobody knows which is the present one"


def test_a_change_waits_for_the_gpus_that_its_forerunner_holds() -> None:
    for old in (pod("o", "old", was_ready=True), pod("o", "old", terminating=True)):
        assert _diagnosed(old, PENDING).reason == reasons.SURGE_NEEDS_GPU
        assert _diagnosed(old, PENDING, spec=REPLACE).reason == reasons.INSUFFICIENT_GPU
    alone = replace(_work(PENDING), deployment=replace(seen(sets=SETS).deployments[0], replicas=1))
    found = diagnose(alone, SURGE, NOW)
    assert found is not None
    assert found.reason == reasons.INSUFFICIENT_GPU


def test_nothing_is_left_over_while_the_present_template_is_unknown() -> None:
    assert left_over(_work(pod("o", "old", last_exit_code=1), sets=()), SURGE, NOW) == {}
