"""Scenes with GPUPools: nodes and pods that hold GPUs beside the tiers of `scenes`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tests.unit.reconcile.scenes import Scene
from tierwise.api.gpupool import GPUPoolStatus
from tierwise.observe import World
from tierwise.observe.gpu_inventory import NodeRecord, Resource
from tierwise.observe.pool_records import GPUPodRecord, pool_object
from tierwise.ports import ObjectRef
from tierwise.types import GPU

L40S = GPU("NVIDIA-L40S", (8, 9), 46068, 570)
RESOURCE = "nvidia.com/gpu"


def pool_ref(name: str = "gpus") -> ObjectRef:
    return ObjectRef("tierwise.io/v1alpha1", "gpupools", "", name)


def node(name: str, gpus: int = 1, *, ready: bool = True, **labels: str) -> NodeRecord:
    return NodeRecord(labels, (), (Resource(RESOURCE, gpus, L40S),), name, ready, lent=((RESOURCE, gpus),))


@dataclass
class PoolScene(Scene):
    """A cluster with tiers in pools."""

    nodes: list[NodeRecord] = field(default_factory=lambda: [node("node-0", 4)])
    gpu_pods: list[GPUPodRecord] = field(default_factory=list)
    unknown: dict[str, Any] = field(default_factory=dict)

    def pool(self, name: str = "gpus", **spec: Any) -> None:
        """Create a pool, or change it."""
        there = pool_ref(name) in self.store._objects
        generation = self.store.seen(pool_ref(name))["metadata"]["generation"] + 1 if there else 1
        status = self.store.seen(pool_ref(name)).get("status", {}) if there else {}
        self.store.put(pool_ref(name), {"metadata": {"generation": generation}, "spec": spec, "status": status})

    def pooled(self, name: str, replicas: int, pool: str = "gpus", **spec: Any) -> None:
        """A tier in a pool that wants so many replicas."""
        self.add(name, replicas=replicas, pools=[{"name": pool}], scaling={"maxReplicas": 50}, **spec)

    def world(self) -> World:
        pools = [body for ref, body in self.store._objects.items() if ref.plural == "gpupools"]
        known: dict[str, Any] = {
            "pools": [pool_object(body) for body in pools],
            "nodes": tuple(self.nodes),
            "gpu_pods": tuple(self.gpu_pods),
        }
        return replace(super().world(), **{**known, **self.unknown})

    def pool_status(self, name: str = "gpus") -> GPUPoolStatus:
        return GPUPoolStatus.model_validate(self.store.seen(pool_ref(name)).get("status") or {})

    def reason(self, kind: str, name: str = "gpus") -> str:
        return next(each.reason for each in self.pool_status(name).conditions if each.type == kind)

    def all_replicas(self, *names: str) -> list[int]:
        return [self.replicas(name) for name in names]
