"""Checks on a real API server that a former RoleBinding goes, with no right to delete it or to bind its role."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from playground.handle import Playground
from tests.builders.routes import POD, spec
from tests.cluster.crds import installed
from tests.cluster.kubectl import Kubectl, eventually
from tierwise.act.former_bindings import let_go
from tierwise.act.render import RouterParts, render_router
from tierwise.api.kinds import MODEL_ROUTE
from tierwise.errors import Refused
from tierwise.kube import connection
from tierwise.kube.client import KubernetesCluster
from tierwise.kube.objects import ROLE_BINDINGS
from tierwise.kube.transport import ApiTransport
from tierwise.observe.route_object import child_record, route_object
from tierwise.ports import ObjectRef
from tierwise.runtime.clock import SystemClock
from tierwise.types import RouteObject, RouteView

pytestmark = pytest.mark.cluster
NAMESPACE, FORMER, PRESENT = "bindings", "bindings-former", "bindings-present"
RBAC = "rbac.authorization.k8s.io"


@pytest.fixture(scope="module")
def kubectl(playground: Playground) -> Iterator[Kubectl]:
    """A namespace with a route, two ClusterRoles for routers, and an account with the chart's rights on bindings."""
    admin = Kubectl(playground.binaries / "kubectl", playground.kubeconfig)
    with installed(admin, MODEL_ROUTE):
        yield _prepared(admin)
        admin("delete", "clusterrole", PRESENT, FORMER, "--ignore-not-found")
        admin("delete", "namespace", NAMESPACE, "--wait=false")


def _prepared(admin: Kubectl) -> Kubectl:
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    endpoints = {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}
    subject = {"kind": "ServiceAccount", "name": "operator", "namespace": NAMESPACE}
    admin.within(NAMESPACE).apply(
        *(_object(f"{RBAC}/v1", "ClusterRole", name, rules=[endpoints]) for name in (FORMER, PRESENT)),
        _object("v1", "ServiceAccount", "operator"),
        _object(
            f"{RBAC}/v1",
            "Role",
            "operator",
            rules=[
                {"apiGroups": [RBAC], "resources": ["rolebindings"], "verbs": ["get", "create", "patch"]},
                {"apiGroups": [RBAC], "resources": ["clusterroles"], "resourceNames": [PRESENT], "verbs": ["bind"]},
            ],
        ),
        _object(
            f"{RBAC}/v1",
            "RoleBinding",
            "operator",
            roleRef={"apiGroup": RBAC, "kind": "Role", "name": "operator"},
            subjects=[subject],
        ),
        _object(MODEL_ROUTE.api_version, "ModelRoute", "chat", spec={"tiers": [{"name": "small"}]}),
    )
    return admin.within(NAMESPACE)


def _object(api_version: str, kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}


@pytest_asyncio.fixture
async def operator(playground: Playground, kubectl: Kubectl, tmp_path: Path) -> AsyncIterator[KubernetesCluster]:
    """The port as that account."""
    config = yaml.safe_load(playground.kubeconfig.read_text())
    token = kubectl("create", "token", "operator").strip()
    config["users"] = [{"name": each["name"], "user": {"token": token}} for each in config["users"]]
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    async with connection.client(await connection.load(path)) as client:
        yield KubernetesCluster(ApiTransport(client), SystemClock(), instance="test")


def _rendered(route: RouteObject, role: str) -> dict[str, Any]:
    parts = RouterParts(route, spec("small"), (), replace(POD, cluster_role=role), "")
    return render_router(parts, ROLE_BINDINGS)


async def test_a_binding_to_a_role_that_is_gone_is_deleted_by_the_garbage_collector(
    kubectl: Kubectl, operator: KubernetesCluster
) -> None:
    found = kubectl.get("modelroute", "chat")
    assert found is not None
    route = route_object(found)
    former, present = (_rendered(route, role) for role in (FORMER, PRESENT))
    kubectl("apply", "--server-side", "--field-manager=tierwise", "-f", "-", stdin=yaml.safe_dump(former))
    kubectl("delete", "clusterrole", FORMER)

    def ref(manifest: dict[str, Any]) -> ObjectRef:
        return ObjectRef(f"{RBAC}/v1", ROLE_BINDINGS, NAMESPACE, manifest["metadata"]["name"])

    await operator.apply(ref(present), present)
    with pytest.raises(Refused):  # so the rights cannot simply be taken out of it
        await operator.apply(ref(former), {**former, "subjects": []})
    body = await operator.get(ref(former))
    assert body is not None
    child = child_record(ROLE_BINDINGS, body).child
    assert await let_go(RouteView(route, (child,)), child, operator)
    await asyncio.to_thread(
        eventually,
        lambda: kubectl.get("rolebinding", ref(former).name),
        lambda seen: seen is None,
        60,
        "the former binding is deleted",
    )
    assert kubectl.get("rolebinding", ref(present).name) is not None
