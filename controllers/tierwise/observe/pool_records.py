"""Reduces GPUPools, and the pods that hold GPUs, to what is counted.

Of a pod that holds no extended resource nothing is kept, and of the others only where it is and how many it holds:
whose it is, its Deployment tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tierwise.api.gpupool import GPUPoolSpec, GPUPoolStatus
from tierwise.observe.object_fields import controller, items, mapping, number, optional_number, text, time
from tierwise.observe.tier_object import sentence
from tierwise.pod_diagnosis import FINISHED
from tierwise.types.pool import PoolObject


@dataclass(frozen=True, slots=True)
class GPUPodRecord:
    """A pod on a node that holds extended resources, and how many of each, sorted. `deployment`: which made it, as the
    name of its ReplicaSet tells; empty: none."""

    namespace: str
    deployment: str
    node: str
    held: tuple[tuple[str, int], ...]

    def number(self, resource: str) -> int:
        """How many of a resource it holds."""
        return next((held for name, held in self.held if name == resource), 0)


def pool_object(body: Mapping[str, Any]) -> PoolObject:
    """A GPUPool as a value. Never raises for what the object holds; a status that does not parse counts as empty."""
    metadata = mapping(body, "metadata")
    spec, invalid = _spec(body.get("spec"))
    return PoolObject(
        name=text(metadata, "name"),
        uid=text(metadata, "uid"),
        generation=number(metadata, "generation"),
        resource_version=text(metadata, "resourceVersion"),
        created_at=time(metadata, "creationTimestamp") or 0.0,
        spec=spec,
        status=_status(body.get("status")),
        invalid=invalid,
        deleting=bool(metadata.get("deletionTimestamp")),
    )


def _spec(raw: object) -> tuple[GPUPoolSpec | None, str]:
    try:
        return GPUPoolSpec.model_validate(raw if raw is not None else {}), ""
    except ValidationError as error:
        return None, sentence(error)


def _status(raw: object) -> GPUPoolStatus:
    try:
        return GPUPoolStatus.model_validate(raw if raw is not None else {})
    except ValidationError:
        return GPUPoolStatus()


def gpu_pod_record(body: Mapping[str, Any]) -> GPUPodRecord | None:
    """A pod as a record; None of one that is on no node, has ended, or holds no extended resource."""
    metadata, spec = mapping(body, "metadata"), mapping(body, "spec")
    node = text(spec, "nodeName")
    if not node or text(mapping(body, "status"), "phase") in FINISHED:
        return None
    held = _held(items(spec, "containers"), [*items(spec, "initContainers")])
    if not held:
        return None
    owner = controller(metadata)
    replica_set = text(owner, "name") if text(owner, "kind") == "ReplicaSet" else ""
    return GPUPodRecord(text(metadata, "namespace"), replica_set.rpartition("-")[0], node, tuple(sorted(held.items())))


def _held(containers: Iterable[Mapping[str, Any]], first: list[Mapping[str, Any]]) -> dict[str, int]:
    """What the scheduler counts: all containers that run together, or one that runs before them, if it takes more."""
    together: dict[str, int] = {}
    for each in [*containers, *(one for one in first if one.get("restartPolicy") == "Always")]:
        for name, count in _extended(each):
            together[name] = together.get(name, 0) + count
    for each in first:
        for name, count in _extended(each):
            together[name] = max(together.get(name, 0), count)
    return {name: count for name, count in together.items() if count > 0}


def _extended(container: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    """Extended resources cannot be overcommitted: limits and requests are equal, and either may be left out."""
    found = {**mapping(container, "resources", "limits"), **mapping(container, "resources", "requests")}
    return ((name, optional_number(count) or 0) for name, count in found.items() if "/" in name)
