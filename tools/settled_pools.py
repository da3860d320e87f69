"""The cluster of `settled_cluster` with GPUPools: every tier is in one, and every node too.

One pool in two has a budget that is below what its tiers ask for, so that there is something to share out. A node holds
other pods' GPUs as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tierwise.observe import World
from tierwise.observe.gpu_inventory import NodeRecord
from tierwise.observe.pool_records import GPUPodRecord
from tierwise.ports import ObjectRef
from tierwise.types.model_metadata import ModelMetadataSet
from tools.settled_cluster import TIER_API, Clock, SettledCluster, node

LABEL = "example.com/pool"
RESOURCE = "nvidia.com/gpu"
SHORT = 2.4  # GPUs per tier of a budget that is too small: a replica of two GPUs for each of them, and few more


class PooledCluster(SettledCluster):
    """A cluster of tiers in so many pools."""

    def __init__(self, tiers: int, nodes: int, pools: int, clock: Clock) -> None:
        self._pools = pools
        self._nodes = nodes
        super().__init__(tiers, nodes, clock)
        self._others = tuple(GPUPodRecord("batch", "", f"node-{each:04d}", ((RESOURCE, 1),)) for each in range(nodes))
        self._gpu_pods: dict[ObjectRef, GPUPodRecord] = {}
        for number in range(pools):
            budget = {"gpus": round(SHORT * tiers / pools)} if number % 2 else {}
            spec = {"nodeSelector": {LABEL: f"pool-{number}"}, "pricePerGPUHour": "2.49", "budget": budget}
            self._put(
                ObjectRef(TIER_API, "gpupools", "", f"pool-{number}"), {"metadata": {"generation": 1}, "spec": spec}
            )

    def world(self, publications: ModelMetadataSet) -> World:
        """What an informer and the reflectors hold now."""
        pools = tuple(self.records["gpupools"].values())
        for ref, pod in self.records["pods"].items():
            if ref not in self._gpu_pods:
                held = ((RESOURCE, 1),)
                self._gpu_pods[ref] = GPUPodRecord(ref.namespace, pod.deployment, pod.facts.node, held)
        return replace(super().world(publications), pools=pools, gpu_pods=(*self._others, *self._gpu_pods.values()))

    async def annotate_pod(self, namespace: str, name: str, *, uid: str, annotations: Mapping[str, str]) -> None:
        """Which replica ends first: here the last one does, whatever its cost."""
        self.writes += 1

    def _deploy(self, ref: ObjectRef, body: Mapping[str, Any], replicas: int) -> None:
        super()._deploy(ref, body, replicas)
        beyond = itertools.count(replicas)
        gone = (ObjectRef("v1", "pods", ref.namespace, f"{ref.name}-5d8f7c9b6d-{each:05d}") for each in beyond)
        for pod in itertools.takewhile(self._bodies.__contains__, gone):
            del self._bodies[pod], self.records["pods"][pod]
            self._gpu_pods.pop(pod, None)

    def _placed(self, spec: dict[str, Any], number: int) -> dict[str, Any]:
        tolerations = {"tolerations": spec["placement"]["tolerations"]}
        kept = {name: value for name, value in spec.items() if name not in ("price", "placement")}
        pools = [{"name": f"pool-{number % self._pools}"}]
        return {**kept, "placement": tolerations, "pools": pools, "priority": 1 + number % 3}

    def _node(self, number: int) -> NodeRecord:
        return node(number, **{LABEL: f"pool-{number % self._pools}"})

    def _node_of(self, deployment: ObjectRef) -> str:
        pool = int(deployment.name.removesuffix("-predictor")[-5:]) % self._pools
        mine = max(1, self._nodes // self._pools)
        return f"node-{next(self._numbers) % mine * self._pools + pool:04d}"
