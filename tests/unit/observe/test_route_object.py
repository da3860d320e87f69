"""ModelRoutes and their children as they are read, also such that fit no schema."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.observe import bodies
from tierwise.observe import Samples, World, observe
from tierwise.observe.records import ScalerRecord, pod_record
from tierwise.observe.route_object import child_record, route_object, route_views


def body(spec: Any = None, status: Any = None, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "tierwise.io/v1alpha1",
        "kind": "ModelRoute",
        "metadata": {
            "name": "chat",
            "namespace": "team",
            "uid": "uid-chat",
            "generation": 2,
            "resourceVersion": "9",
            "creationTimestamp": "2026-11-20T10:00:00Z",
            **metadata,
        },
        "spec": {"tiers": [{"name": "small"}]} if spec is None else spec,
        **({} if status is None else {"status": status}),
    }


def child(name: str = "chat-router", uid: str = "uid-chat", **status: Any) -> dict[str, Any]:
    owner = {"kind": "ModelRoute", "name": "chat", "uid": uid, "controller": True}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "team", "ownerReferences": [owner], "managedFields": [{}]},
        "spec": {"replicas": 2},
        "status": status,
    }


OVERFLOWING = [{"name": "a"}, {"name": "b", "use": "Overflow"}]


def test_a_route_is_read() -> None:
    found = route_object(body())
    assert (str(found.key), found.uid, found.generation, found.resource_version) == ("team/chat", "uid-chat", 2, "9")
    assert found.created_at > 0
    assert found.spec is not None
    assert found.model_names == ("chat",)
    assert route_object(body({"tiers": [{"name": "small"}], "modelNames": ["a", "b"]})).model_names == ("a", "b")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "spec.tiers"),
        ({"tiers": []}, "spec.tiers"),
        ({"tiers": "small"}, "spec.tiers"),
        ({"tiers": [{"name": "a"}, {"name": "a"}]}, "once"),
        ({"tiers": [{"name": "a", "use": "Overflow"}]}, "Always"),
        ({"tiers": [{"name": "a"}], "policy": {"defaultTier": "b"}}, "policy.defaultTier"),
        ({"tiers": [{"name": "a"}], "policy": {"rules": [{"name": "r", "match": {}, "tier": "b"}]}}, "policy.rules"),
        ({"tiers": OVERFLOWING, "policy": {"defaultTier": "b"}}, "policy.defaultTier names a tier with use Overflow"),
        (
            {"tiers": OVERFLOWING, "policy": {"rules": [{"name": "r", "match": {}, "tier": "b"}]}},
            "one of policy.rules names a tier with use Overflow",
        ),
        ({"tiers": [{"name": "a"}], "overflow": {"startPercent": 50, "stopPercent": 60}}, "stopPercent"),
    ],
)
def test_what_the_crd_refuses_is_a_sentence(spec: dict[str, Any], said: str) -> None:
    found = route_object(body(spec))
    assert found.spec is None
    assert said in found.invalid


def test_a_status_that_does_not_parse_counts_as_empty() -> None:
    assert route_object(body(status={"ladder": "?"})).status.ladder == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON)
def test_nothing_that_an_object_holds_raises(spec: Any, status: Any) -> None:
    found = route_object({**body(), "spec": spec, "status": status})
    assert (found.spec is None) == bool(found.invalid)


def test_children_are_those_whose_controller_has_the_uid() -> None:
    records = [
        child_record("deployments", child(readyReplicas=2)),
        child_record("deployments", child("theirs", uid="another")),
        child_record("services", {"metadata": {"name": "chat", "namespace": "team"}}),
    ]
    (view,) = route_views([route_object(body())], records, [])
    (found,) = view.children
    assert (found.name, found.ready_replicas) == ("chat-router", 2)
    assert "status" not in found.manifest
    assert "managedFields" not in found.manifest["metadata"]
    assert view.child("services") is None


def test_who_scales_the_routers() -> None:
    def scaler(name: str, target: str, kind: str = "Deployment", namespace: str = "team") -> ScalerRecord:
        return ScalerRecord(namespace, "HorizontalPodAutoscaler", name, kind, target)

    theirs = [scaler("b", "chat-router"), scaler("a", "chat-router")]
    others = [
        scaler("of-a-tier", "chat-predictor"),
        scaler("elsewhere", "chat-router", namespace="b"),
        scaler("of-another-kind", "chat-router", "StatefulSet"),
    ]
    (view,) = route_views([route_object(body())], [], [], [*others, *theirs])
    assert view.scalers == ("HorizontalPodAutoscaler/a", "HorizontalPodAutoscaler/b")


def test_an_object_of_a_route_without_uid_is_nobodys() -> None:
    orphan = child_record("services", {"metadata": {"name": "chat", "namespace": "team"}})
    (view,) = route_views([route_object(body(uid=""))], [orphan], [])
    assert view.children == ()


def test_why_no_pod_was_made() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    assert child_record("deployments", child(conditions=[failure])).child.failed_create == "exceeded quota"


def test_the_pods_of_a_route_are_not_those_of_a_tier_of_the_same_name() -> None:
    router = bodies.pod("r", ownerReferences=[bodies.controller("ReplicaSet", "chat-router-6d4cf56db")])
    seen = observe(
        World(
            tiers=[],
            pods=[pod_record(bodies.pod("t")), pod_record(router)],
            routes=[route_object(body())],
        ),
        Samples(),
        1.0,
    )
    assert [pod.name for pod in seen.routes[0].pods] == ["r"]
