"""What every implementation of the Cluster port must do: run against the in-memory store and the real API server.

Each check is given the port and a namespace that exists and is its own.
"""

from __future__ import annotations

import pytest

from tierwise.errors import Conflict, Gone
from tierwise.ports import Cluster, ObjectRef


def _config(namespace: str, name: str = "thing") -> ObjectRef:
    return ObjectRef("v1", "configmaps", namespace, name)


def _manifest(ref: ObjectRef, **data: str) -> dict[str, object]:
    metadata = {"name": ref.name, "namespace": ref.namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def absent_is_none(port: Cluster, namespace: str) -> None:
    assert await port.get(_config(namespace)) is None
    assert await port.get(ObjectRef("no.such/v1", "kinds", namespace, "x")) is None


async def apply_creates_and_changes(port: Cluster, namespace: str) -> None:
    ref = _config(namespace)
    made = await port.apply(ref, _manifest(ref, a="1"))
    again = await port.apply(ref, _manifest(ref, a="2"))
    assert again["data"] == {"a": "2"}
    assert again["metadata"]["uid"] == made["metadata"]["uid"]
    assert await port.get(ref) == again


async def apply_on_an_old_version_is_a_conflict(port: Cluster, namespace: str) -> None:
    ref = _config(namespace)
    made = await port.apply(ref, _manifest(ref, a="1"))
    await port.apply(ref, _manifest(ref, a="2"))
    old = _manifest(ref, a="3")
    old["metadata"] = {"name": ref.name, "resourceVersion": made["metadata"]["resourceVersion"]}
    with pytest.raises(Conflict):
        await port.apply(ref, old)
    found = await port.get(ref)
    assert found is not None
    assert found["data"] == {"a": "2"}


async def prune_takes_away_what_anybody_put_there(port: Cluster, namespace: str) -> None:
    ref = _config(namespace)
    made = await port.apply(ref, _manifest(ref, a="1", b="2"))
    version = made["metadata"]["resourceVersion"]
    pruned = await port.prune(ref, ["data.a"], resource_version=version)
    assert pruned["data"] == {"b": "2"}
    with pytest.raises(Conflict):
        await port.prune(ref, ["data.b"], resource_version=version)


async def scale_of_nothing_is_gone(port: Cluster, namespace: str) -> None:
    with pytest.raises(Gone):
        await port.scale(ObjectRef("apps/v1", "deployments", namespace, "none"), 1, resource_version="1")


async def annotate_of_nothing_is_gone(port: Cluster, namespace: str) -> None:
    with pytest.raises(Gone):
        await port.annotate_pod(namespace, "none", uid="x", annotations={"a": "b"})


CHECKS = (
    absent_is_none,
    apply_creates_and_changes,
    apply_on_an_old_version_is_a_conflict,
    prune_takes_away_what_anybody_put_there,
    scale_of_nothing_is_gone,
    annotate_of_nothing_is_gone,
)
