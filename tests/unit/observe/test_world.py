"""Checks that each tier gets its own children and series, and nobody else's."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.observe import bodies
from tierwise.observe import Samples, World, observe, records
from tierwise.observe import signals as kinds
from tierwise.observe.signals import PodKey, PodReadings, health, tier_signals
from tierwise.observe.tier_object import tier_object
from tierwise.types import MISSING, Signal, State, TierView

NOW = 1_000_000.0
TIER = "chat"


def world(**kinds_: Any) -> World:
    """One tier with an InferenceService, a Deployment and two pods; keyword arguments replace kinds."""
    found: dict[str, Any] = {
        "tiers": [bodies.tier()],
        "pods": [bodies.pod("b"), bodies.pod("a")],
        "deployments": [bodies.deployment()],
        "endpoint_slices": [bodies.endpoint_slice("s", bodies.endpoint("a"))],
        "scalers": [],
        "inference_services": [bodies.inference_service()],
        **kinds_,
    }
    return World(
        tiers=[tier_object(body) for body in found["tiers"]],
        pods=[records.pod_record(body) for body in found["pods"]],
        deployments=[records.deployment_record(body) for body in found["deployments"]],
        endpoint_slices=[records.endpoint_slice_record(body) for body in found["endpoint_slices"]],
        scalers=[records.scaler_record(body) for body in found["scalers"]],
        inference_services=[records.inference_service_record(body) for body in found["inference_services"]],
    )


def only(seen: World, samples: Samples | None = None) -> TierView:
    (view,) = observe(seen, samples or Samples(), NOW).tiers
    return view


def test_a_tier_gets_its_children() -> None:
    view = only(world())
    workload = view.workloads[0]
    assert workload.inference_service is not None
    assert workload.inference_service.owned
    assert workload.deployment is not None
    assert workload.deployment.spec_replicas == 2
    assert [pod.name for pod in workload.pods] == ["a", "b"]
    assert workload.ready_endpoints == {"a"}
    assert workload.foreign_scalers == ()


def test_nothing_is_not_an_error() -> None:
    snapshot = observe(World(kserve_present=False), Samples(), NOW)
    assert (snapshot.at, snapshot.tiers, snapshot.kserve_present) == (NOW, (), False)
    bare = only(world(pods=[], deployments=[], endpoint_slices=[], inference_services=[])).workloads[0]
    assert (bare.inference_service, bare.deployment, bare.pods, bare.ready_endpoints) == (None, None, (), frozenset())


def test_tiers_are_sorted() -> None:
    tiers = [bodies.tier(name) for name in ("c", "a", "b")]
    assert [view.tier.key.name for view in observe(world(tiers=tiers), Samples(), NOW).tiers] == ["a", "b", "c"]


def test_several_slices_are_one_service() -> None:
    slices = [
        bodies.endpoint_slice("s1", bodies.endpoint("a")),
        bodies.endpoint_slice("s2", bodies.endpoint("b")),
        bodies.endpoint_slice("s3", bodies.endpoint("c"), service="other"),
    ]
    assert only(world(endpoint_slices=slices)).workloads[0].ready_endpoints == {"a", "b"}


def test_pods_of_another_tier_or_namespace_are_not_its_own() -> None:
    pods = [bodies.pod("a"), bodies.pod("x", tier_name="other"), bodies.pod("y", namespace="elsewhere")]
    assert [pod.name for pod in only(world(pods=pods)).workloads[0].pods] == ["a"]


@pytest.mark.parametrize(
    "owners",
    [
        [],
        [bodies.controller("Job", "chat-predictor-6d4cf56db")],
        [bodies.controller("ReplicaSet", "chat-predictor")],
        [bodies.controller("ReplicaSet", "chat-predictor-copy-6d4cf56db")],
        [{**bodies.controller("ReplicaSet", "chat-predictor-6d4cf56db"), "controller": False}],
    ],
    ids=["none", "another kind", "no hash", "another Deployment", "no controller"],
)
def test_a_copy_of_a_pod_with_our_labels_is_not_ours(owners: list[Any]) -> None:
    copy = bodies.pod("copy", ownerReferences=owners)
    view = only(world(pods=[bodies.pod("a"), copy]), sampled({"a": FULL, "copy": {**FULL, kinds.RUNNING: 9999.0}}))
    assert [pod.name for pod in view.workloads[0].pods] == ["a"]
    assert [each.pod for each in view.signals.pods] == ["a"]


@pytest.mark.parametrize(
    "owners",
    [[], [bodies.controller("Service", "other")], [bodies.controller("Endpoints", "chat-predictor")]],
    ids=["none", "another Service", "another kind"],
)
def test_a_slice_with_the_label_of_our_service_alone_is_not_ours(owners: list[Any]) -> None:
    forged = bodies.endpoint_slice("forged", bodies.endpoint("ghost"))
    forged["metadata"]["ownerReferences"] = owners
    slices = [bodies.endpoint_slice("s", bodies.endpoint("a")), forged]
    assert only(world(endpoint_slices=slices)).workloads[0].ready_endpoints == {"a"}


def test_the_recorded_name_of_the_child_rules() -> None:
    named = bodies.tier(status={"inferenceServices": [{"name": "chat-old"}]})
    services = [bodies.inference_service("chat"), bodies.inference_service("chat-old")]
    view = only(world(tiers=[named], inference_services=services))
    assert view.workloads[0].inference_service is not None
    assert view.workloads[0].inference_service.name == "chat-old"
    assert view.workloads[0].deployment is None


@pytest.mark.parametrize("owner", ["", "another-uid"])
def test_an_inference_service_of_somebody_else_is_not_owned(owner: str) -> None:
    found = only(world(inference_services=[bodies.inference_service(owner_uid=owner)])).workloads[0].inference_service
    assert found is not None
    assert not found.owned


def test_a_deployment_of_somebody_else_is_not_ours() -> None:
    for deployment in (bodies.deployment(owner_uid="an older namesake"), bodies.deployment(owner="other")):
        assert only(world(deployments=[deployment])).workloads[0].deployment is None
    unseen = world(inference_services=[])
    assert only(unseen).workloads[0].deployment is not None, "the InferenceService may not have been seen yet"


def test_foreign_scalers_of_the_deployment_are_found() -> None:
    scalers = [
        bodies.scaler("ScaledObject"),
        bodies.scaler(),
        bodies.scaler(kind="StatefulSet"),
        bodies.scaler(name="other"),
        bodies.scaler(kind="ModelTier", name="chat"),
    ]
    assert only(world(scalers=scalers)).workloads[0].foreign_scalers == (
        "HorizontalPodAutoscaler/theirs",
        "ScaledObject/theirs",
    )


# --- signals ----------------------------------------------------------------------------------------------------------


def sampled(pods: dict[str, dict[str, float]], *, age: float = 3.0, tier: str = "chat", **fields: Any) -> Samples:
    readings = {
        PodKey("team", tier, pod): PodReadings(series, dict.fromkeys(series, NOW - age)) for pod, series in pods.items()
    }
    return Samples(pods=readings, answered_at=NOW - 1, **fields)


FULL = {kinds.RUNNING: 4.0, kinds.WAITING: 1.0, kinds.KV_USAGE: 0.5, kinds.KV_CAPACITY: 1000.0, kinds.UP: 1.0}


def test_when_a_tier_was_measured() -> None:
    """Stale measurements count, and those of replicas that receive no requests do not make it older."""
    found = sampled({"a": FULL, "b": FULL}, age=60)
    newer = sampled({"c": FULL}, age=5)
    seen = replace(found, pods={**found.pods, **newer.pods})
    pods = [bodies.pod("a"), bodies.pod("b"), bodies.pod("c")]
    (view,) = observe(world(pods=pods), seen, NOW).tiers
    assert view.ready_endpoints == {"a"}
    assert view.sampled == (NOW - 60, NOW - 5)
    assert only(world(), sampled({"a": {kinds.RUNNING: math.nan, kinds.WAITING: 1.0}})).sampled == (NOW - 3, None)
    assert only(world()).sampled == (None, None)


def test_a_measured_replica_has_values_with_their_times() -> None:
    (sample,) = only(world(), sampled({"a": FULL})).signals.pods
    assert sample.pod == "a"
    assert sample.running == Signal(State.VALUE, 4.0, NOW - 3)
    assert sample.kv_capacity_tokens == Signal(State.VALUE, 1000.0, NOW - 3)


def test_a_ready_replica_without_series_is_listed_as_missing() -> None:
    (sample,) = only(world(), sampled({})).signals.pods
    assert (sample.pod, sample.running, sample.kv_capacity_tokens) == ("a", MISSING, MISSING)


def test_a_starting_replica_without_series_is_not_listed() -> None:
    assert [each.pod for each in only(world(), sampled({"a": FULL, "b": {kinds.UP: 0}})).signals.pods] == ["a"]


def test_series_of_pods_that_the_cluster_does_not_know_do_not_count() -> None:
    forged = sampled({"a": FULL, "ghost": {**FULL, kinds.RUNNING: 9999.0}})
    assert [each.pod for each in only(world(), forged).signals.pods] == ["a"]
    assert only(world(), sampled({"a": FULL}, tier="other")).signals.pods[0].running == MISSING


@pytest.mark.parametrize(
    ("value", "age", "state"),
    [
        (0.0, 0.0, State.VALUE),
        (5.0, 30.0, State.VALUE),
        (5.0, 30.1, State.STALE),
        (float("nan"), 0.0, State.INVALID),
        (float("inf"), 0.0, State.INVALID),
        (-1.0, 90.0, State.INVALID),
    ],
)
def test_the_four_states(value: float, age: float, state: State) -> None:
    (sample,) = only(world(), sampled({"a": {**FULL, kinds.RUNNING: value}}, age=age)).signals.pods
    assert sample.running.state is state


def test_how_often_a_value_can_be_new_is_part_of_what_was_seen() -> None:
    for age in (1, 1000):
        seen = observe(world(), sampled({"a": FULL}, age=age, interval_seconds=60.0), NOW)
        assert seen.metrics.interval_seconds == 60


def test_stale_follows_the_scrape_interval() -> None:
    assert only(world(), sampled({"a": FULL}, age=7, interval_seconds=2.0)).signals.pods[0].running.state is State.STALE


def test_a_capacity_of_nothing_is_invalid() -> None:
    for nothing in (0.0, float("nan")):
        (sample,) = only(world(), sampled({"a": {**FULL, kinds.KV_CAPACITY: nothing}})).signals.pods
        assert sample.kv_capacity_tokens.state is State.INVALID


def test_targets_are_counted_among_the_ready() -> None:
    signals = tier_signals(
        sampled({"a": {kinds.UP: 1}, "b": {kinds.UP: 0}, "c": {kinds.UP: 0}}),
        "team",
        "chat",
        ["a", "b", "c"],
        frozenset("ab"),
        NOW,
    )
    assert (signals.targets_up, signals.targets_down) == (1, 1)


FLOWS = {
    kinds.PROMPT_TOKENS: 800.0, kinds.ANSWER_TOKENS: 200.0, kinds.FINISHED: 4.0, kinds.PREFIX_QUERIES: 100.0,
    kinds.PREFIX_HITS: 25.0, kinds.DRAFTED: 10.0, kinds.ACCEPTED: 7.0, kinds.TOKEN_RATE: 50.0, kinds.DRAFT_RATE: 3.0,
}  # fmt: skip


def test_ratios_are_made_of_sums_over_the_known_replicas() -> None:
    other = {**FLOWS, kinds.PROMPT_TOKENS: 3200.0, kinds.FINISHED: 8.0}
    signals = only(world(), sampled({"a": FLOWS, "b": other, "ghost": FLOWS})).signals
    assert signals.tokens_per_request.value == pytest.approx((4000 + 400) / 12)
    assert signals.prefix_hit_ratio.value == pytest.approx(0.25)
    assert signals.accepted_ratio.value == pytest.approx(0.7)
    assert signals.tokens_per_second.value == pytest.approx(100)
    assert signals.draft_tokens_per_second.value == pytest.approx(6)
    assert signals.tokens_per_request.at == NOW - 3


def test_nothing_divided_by_nothing_is_missing() -> None:
    signals = only(world(), sampled({"a": dict.fromkeys(FLOWS, 0.0)})).signals
    assert signals.tokens_per_request == MISSING
    assert signals.prefix_hit_ratio == MISSING
    assert signals.tokens_per_second == Signal(State.VALUE, 0.0, NOW - 3)
    assert only(world(), sampled({})).signals.tokens_per_second == MISSING


def test_a_sum_is_as_good_as_its_worst_part() -> None:
    broken = {**FLOWS, kinds.TOKEN_RATE: float("nan"), kinds.PREFIX_HITS: float("inf")}
    signals = only(world(), sampled({"a": FLOWS, "b": broken})).signals
    assert signals.tokens_per_second.state is State.INVALID
    assert signals.prefix_hit_ratio.state is State.INVALID
    assert only(world(), sampled({"a": FLOWS}, age=99)).signals.tokens_per_request.state is State.STALE


def test_one_failed_round_is_no_outage() -> None:
    assert health(Samples(answered_at=NOW - 29, problem="refused"), NOW).ok
    assert health(Samples(answered_at=NOW - 31, problem="refused"), NOW).problem == "refused"
    late = health(Samples(answered_at=NOW - 31), NOW)
    assert not late.ok
    assert "not asked in time" in late.problem
    fresh = health(Samples(), NOW)
    assert (fresh.ok, fresh.problem, fresh.at) == (False, "", None)


def test_a_workload_knows_the_replica_sets_of_its_own_deployment_that_matter() -> None:
    present = {"deployment.kubernetes.io/revision": "3"}
    body = bodies.deployment()
    body["metadata"]["annotations"] |= present
    stranger = bodies.replica_set("d")
    stranger["metadata"]["ownerReferences"][0]["uid"] = "somebody"
    sets = [
        bodies.replica_set("c", revision="2"),
        bodies.replica_set("b", revision="3", replicas=0),
        bodies.replica_set("a", revision="1", replicas=0),
        stranger,
    ]
    seen = replace(world(deployments=[body]), replica_sets=[records.replica_set_record(each) for each in sets])
    (workload,) = only(seen).workloads
    assert [each.name for each in workload.replica_sets] == ["b", "c"]
    assert workload.present_set == "b"
    behind = {**body, "status": {**body["status"], "observedGeneration": 3}}
    (workload,) = only(replace(seen, deployments=[records.deployment_record(behind)])).workloads
    assert workload.present_set == "", "its controller has not seen the present template"
    (workload,) = only(replace(seen, deployments=[])).workloads
    assert (workload.replica_sets, workload.present_set) == ((), "")


def test_who_scales_the_tier_itself_is_none_that_scales_its_deployment() -> None:
    of_tier = bodies.scaler(kind="ModelTier", name="chat", apiVersion="tierwise.io/v1alpha1")
    elsewhere = bodies.scaler(kind="ModelTier", name="other")
    view = only(world(scalers=[of_tier, elsewhere]))
    assert view.tier_scalers == ("HorizontalPodAutoscaler/theirs",)
    assert view.foreign_scalers == ()
    assert only(world(scalers=[bodies.scaler()])).tier_scalers == ()
