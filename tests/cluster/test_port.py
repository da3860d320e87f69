"""Checks that the real Cluster port keeps the contract of the in-memory one, on a real API server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from playground.handle import Playground
from tests.cluster.kubectl import Kubectl
from tests.port import CHECKS
from tierwise.errors import Conflict, Gone, Refused, Transient
from tierwise.kube import connection
from tierwise.kube.client import KubernetesCluster
from tierwise.kube.transport import ApiTransport
from tierwise.ports import Cluster, EventRecord, ObjectRef
from tierwise.runtime.clock import SystemClock

pytestmark = pytest.mark.cluster
NAMESPACE = "port"


@pytest.fixture(scope="module")
def kubectl(playground: Playground) -> Kubectl:
    admin = Kubectl(playground.binaries / "kubectl", playground.kubeconfig, NAMESPACE)
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    return admin


@pytest_asyncio.fixture
async def port(playground: Playground) -> AsyncIterator[KubernetesCluster]:
    async with connection.client(await connection.load(playground.kubeconfig)) as client:
        yield KubernetesCluster(ApiTransport(client), SystemClock(), instance="test")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_real_port_keeps_the_contract(
    check: Callable[[Cluster, str], Awaitable[None]], port: KubernetesCluster, kubectl: Kubectl
) -> None:
    kubectl("delete", "configmap", "thing", "--ignore-not-found")
    await check(port, NAMESPACE)


def deployment(kubectl: Kubectl) -> ObjectRef:
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "none"}]}}
    kubectl.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "d"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": pod},
        }
    )
    return ObjectRef("apps/v1", "deployments", NAMESPACE, "d")


async def test_replicas_are_written_only_on_the_version_that_was_looked_at(
    port: KubernetesCluster, kubectl: Kubectl
) -> None:
    ref = deployment(kubectl)
    found = await port.get(ref)
    assert found is not None
    old = found["metadata"]["resourceVersion"]
    kubectl("annotate", "deployment", "d", f"at={time.time()}")
    with pytest.raises(Conflict):
        await port.scale(ref, 1, resource_version=old)
    found = await port.get(ref)
    assert found is not None
    assert found["spec"]["replicas"] == 0


async def test_a_status_is_replaced_whole_and_only_on_the_version_that_was_looked_at(
    port: KubernetesCluster, kubectl: Kubectl
) -> None:
    ref = deployment(kubectl)
    found = await port.get(ref)
    assert found is not None
    first = found["metadata"]["resourceVersion"]
    condition = {"type": "Made", "status": "True"}
    second = await port.patch_status(ref, {"conditions": [condition]}, resource_version=first)
    with pytest.raises(Conflict):
        await port.patch_status(ref, {}, resource_version=first)
    assert second != first


async def test_events_are_found_beside_their_object(port: KubernetesCluster, kubectl: Kubectl) -> None:
    await port.record_event(EventRecord(NAMESPACE, "chat", "uid", "Created", "made", "Apply"))
    found = kubectl("get", "events", "--field-selector", "involvedObject.name=chat", "-o", "wide")
    assert "tierwise.io/operator" in found
    assert "modeltier/chat" in found


async def test_list_watch_and_versions(port: KubernetesCluster, kubectl: Kubectl) -> None:
    kubectl("delete", "configmap", "thing", "other", "--ignore-not-found")
    kubectl("create", "configmap", "thing")
    kubectl("label", "configmap", "thing", "pick=me")
    collection = ObjectRef("v1", "configmaps", NAMESPACE, "")
    ((items, version),) = [page async for page in port.pages(collection, selector="pick=me")]
    assert [item["metadata"]["name"] for item in items] == ["thing"]
    (metadata,) = [item["metadata"] for item in items]
    assert await port.versions(collection, selector="pick=me") == {metadata["uid"]: metadata["resourceVersion"]}
    kubectl("label", "configmap", "thing", "pick-", "more=x")
    async for event in port.watch(collection, since=version, selector="pick=me"):
        assert (event["type"], event["object"]["metadata"]["name"]) == ("DELETED", "thing")
        break
    with pytest.raises(Gone) as caught:
        await anext(port.pages(ObjectRef("no.such/v1", "kinds", "", "")))
    assert caught.value.status == 404


async def test_what_the_real_server_refuses(port: KubernetesCluster, kubectl: Kubectl) -> None:
    with pytest.raises(Refused) as caught:
        await port.apply(
            ObjectRef("v1", "configmaps", NAMESPACE, "Bad_Name"),
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Bad_Name"}},
        )
    assert caught.value.status == 422
    with pytest.raises(Gone, match="namespaces"):
        await port.apply(
            ObjectRef("v1", "configmaps", "no-such", "x"),
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}},
        )


async def test_credentials_that_the_server_does_not_know(playground: Playground, tmp_path: Path) -> None:
    text = playground.kubeconfig.read_text(encoding="utf-8")
    stranger = tmp_path / "kubeconfig"
    stranger.write_text("\n".join(f"{line}x" if " token:" in line else line for line in text.splitlines()))
    async with connection.client(await connection.load(stranger)) as client:
        with pytest.raises(Transient, match="401"):
            await ApiTransport(client).call("look", "GET", "/api/v1/nodes")
