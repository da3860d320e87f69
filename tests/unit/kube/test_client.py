"""Checks that each verb of the port becomes the right request to the API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from kubernetes.aio.client import ApiClient, Configuration

from tests.unit.act.api_server import Answer, ApiServer, serving, status
from tierwise.errors import Conflict, Gone
from tierwise.kube.client import KubernetesCluster, event_body, path_of
from tierwise.kube.transport import APPLY, JSON_PATCH, MERGE, ApiTransport
from tierwise.ports import EventRecord, ObjectRef

TIER = ObjectRef("tierwise.io/v1alpha1", "modeltiers", "a", "b")
EVENT = EventRecord("a", "b", "u", "Created", "x" * 2000, "Apply", warning=True)


class Clock:
    def now(self) -> float:
        return 1_000_000.25

    def monotonic(self) -> float:
        return 0.0


@asynccontextmanager
async def cluster(*answers: Answer) -> AsyncIterator[tuple[KubernetesCluster, ApiServer]]:
    async with serving(*answers) as server, ApiClient(Configuration(host=server.url)) as client:
        yield KubernetesCluster(ApiTransport(client), Clock(), instance="pod-1"), server


@pytest.mark.parametrize(
    ("ref", "subresource", "path"),
    [
        (TIER, "", "/apis/tierwise.io/v1alpha1/namespaces/a/modeltiers/b"),
        (TIER, "status", "/apis/tierwise.io/v1alpha1/namespaces/a/modeltiers/b/status"),
        (ObjectRef("v1", "pods", "a", "b"), "", "/api/v1/namespaces/a/pods/b"),
        (ObjectRef("v1", "nodes", "", "n"), "", "/api/v1/nodes/n"),
        (ObjectRef("apps/v1", "deployments", "", ""), "", "/apis/apps/v1/deployments"),
        (ObjectRef("v1", "pods", "a/../b", "c/d?e"), "", "/api/v1/namespaces/a%2F..%2Fb/pods/c%2Fd%3Fe"),
    ],
)
def test_paths(ref: ObjectRef, subresource: str, path: str) -> None:
    assert path_of(ref, subresource) == path


async def test_get_reads_with_quorum_and_absent_is_none() -> None:
    async with cluster(Answer(200, {"x": 1}), status(404, "not found")) as (port, server):
        assert await port.get(TIER) == {"x": 1}
        assert await port.get(TIER) is None
    assert server.requests[0].query == {}  # no resourceVersion: not from a cache


@pytest.mark.parametrize("force", [True, False])
async def test_apply_is_server_side_and_forced_where_asked(force: bool) -> None:
    async with cluster(Answer(200, {"x": 1})) as (port, server):
        assert await port.apply(TIER, {"spec": {}}, force=force) == {"x": 1}
    request = server.requests[0]
    assert (request.method, request.headers["Content-Type"]) == ("PATCH", APPLY)
    assert request.query == {"fieldManager": "tierwise", "force": "true" if force else "false"}
    assert request.body == {"spec": {}}


async def test_prune_is_a_conditional_merge_of_nothing() -> None:
    async with cluster(Answer(200)) as (port, server):
        await port.prune(TIER, ["spec.predictor.nodeSelector", "spec.predictor.tolerations"], resource_version="7")
    assert server.requests[0].headers["Content-Type"] == MERGE
    assert server.requests[0].body == {
        "metadata": {"resourceVersion": "7"},
        "spec": {"predictor": {"nodeSelector": None, "tolerations": None}},
    }


async def test_scale_goes_through_the_subresource_on_a_version() -> None:
    async with cluster(Answer(200), status(409, "modified")) as (port, server):
        await port.scale(TIER, 3, resource_version="7")
        with pytest.raises(Conflict):
            await port.scale(TIER, 3, resource_version="7")
    request = server.requests[0]
    assert (request.method, request.headers["Content-Type"]) == ("PATCH", MERGE)
    assert request.path.endswith("/modeltiers/b/scale")
    assert request.body == {"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 3}}


async def test_a_pod_is_annotated_by_uid() -> None:
    async with cluster(Answer(200)) as (port, server):
        await port.annotate_pod("a", "p", uid="u", annotations={"k": "v"})
    assert server.requests[0].path == "/api/v1/namespaces/a/pods/p"
    assert server.requests[0].body == {"metadata": {"uid": "u", "annotations": {"k": "v"}}}


async def test_a_status_is_replaced_whole_on_a_version() -> None:
    async with cluster(Answer(200, {"metadata": {"resourceVersion": "8"}})) as (port, server):
        assert await port.patch_status(TIER, {"a": []}, resource_version="7") == "8"
    request = server.requests[0]
    assert request.headers["Content-Type"] == JSON_PATCH
    assert request.path.endswith("/status")
    assert request.body == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "add", "path": "/status", "value": {"a": []}},
    ]


async def test_an_event_is_created_beside_its_tier() -> None:
    async with cluster(Answer(201)) as (port, server):
        await port.record_event(EVENT)
    assert (server.requests[0].method, server.requests[0].path) == (
        "POST",
        "/apis/events.k8s.io/v1/namespaces/a/events",
    )
    assert server.requests[0].body == event_body(EVENT, 1_000_000.25, "pod-1")


def test_an_event_keeps_within_its_limits() -> None:
    body = event_body(EVENT, 1_000_000.25, "i" * 300)
    assert body["eventTime"] == "1970-01-12T13:46:40.250000Z"
    assert body["metadata"]["generateName"] == "b-"
    assert len(body["note"]) == 1024
    assert len(body["reportingInstance"]) == 128
    assert body["type"] == "Warning"
    assert event_body(EventRecord("a", "b", "u", "R", "m", "Scale"), 0.0, "i")["type"] == "Normal"


def test_an_event_that_is_written_again_has_the_same_name_and_tells_when_it_happened() -> None:
    first, again, later = (
        event_body(replace(EVENT, at=at), now, "i") for at, now in ((5.5, 6.0), (5.5, 90.0), (6.5, 90.0))
    )
    assert first == again
    assert first["eventTime"] == "1970-01-01T00:00:05.500000Z"
    assert first["metadata"]["name"].startswith("b-")
    assert later["metadata"]["name"] != first["metadata"]["name"]


async def test_create_and_replace_are_for_what_has_one_writer() -> None:
    async with cluster(Answer(201, {"x": 1}), Answer(200, {"x": 2}), status(409, "exists")) as (port, server):
        assert await port.create(TIER, {"a": 1}) == {"x": 1}
        assert await port.replace(TIER, {"a": 2}) == {"x": 2}
        with pytest.raises(Conflict):
            await port.create(TIER, {"a": 1})
    assert [(request.method, request.path.rsplit("/", 1)[1]) for request in server.requests[:2]] == [
        ("POST", "modeltiers"),
        ("PUT", "b"),
    ]


async def test_list_and_watch_by_label() -> None:
    first = {"metadata": {"resourceVersion": "5", "continue": "more"}, "items": [{"a": 1}]}
    last = {"metadata": {"resourceVersion": "5"}, "items": [{"a": 2}]}
    events = ({"type": "ADDED", "object": {}},)
    async with cluster(Answer(200, first), Answer(200, last), Answer(200, {}), Answer(lines=events)) as (port, server):
        collection = ObjectRef("v1", "pods", "", "")
        found = [page async for page in port.pages(collection, selector="a=b")]
        assert found == [(({"a": 1},), "5"), (({"a": 2},), "5")]
        assert [page async for page in port.pages(collection)] == [((), "")]
        assert [event async for event in port.watch(collection, since="5", selector="a=b")] == list(events)
        assert [event async for event in port.watch(collection, since="6")] == list(events)
    assert [request.query for request in server.requests] == [
        {"limit": "250", "labelSelector": "a=b"},
        {"limit": "250", "labelSelector": "a=b", "continue": "more"},
        {"limit": "250"},
        {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "5", "labelSelector": "a=b"},
        {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "6"},
    ]


async def test_versions_ask_for_metadata_only() -> None:
    found = {"1": "7", "2": "9"}
    items = {"items": [{"metadata": {"uid": uid, "resourceVersion": version}} for uid, version in found.items()]}
    async with cluster(Answer(200, items), Answer(200, {}), status(404, "no such kind")) as (port, server):
        collection = ObjectRef("v1", "pods", "", "")
        assert await port.versions(collection, selector="a=b") == found
        assert await port.versions(collection) == {}
        with pytest.raises(Gone):
            await port.versions(collection)
    assert "PartialObjectMetadataList" in server.requests[0].headers["Accept"]
    assert server.requests[0].query == {"labelSelector": "a=b"}
