"""A cluster of any number of tiers, in memory, for measurements: API server, KServe, kubelet and Prometheus in one.

It does as little as those may do and still be followed by the real operator: a write gives an object a new version and
a new record, as the informer would keep it; an InferenceService becomes a Deployment; its replicas become pods that
answer at once; and every pod is scraped in every round. What was not written keeps its record, the same object, as in
an informer: whoever measures a cycle on it measures what the operator computes, and none of the cluster's own work.

The tiers are of four shapes (two sizes of model, with FP8 or n-gram speculation, one idle), two to four replicas each.
Their load is constant, and its measurements are new in every round.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tierwise.engines import MetricNames
from tierwise.errors import Conflict, Gone
from tierwise.hub.client import HubFiles
from tierwise.observe import Query, World, queries
from tierwise.observe.gpu_inventory import NodeRecord, node_record
from tierwise.observe.pool_records import pool_object
from tierwise.observe.records import deployment_record, endpoint_slice_record, inference_service_record, pod_record
from tierwise.observe.tier_object import tier_object
from tierwise.ports import EventRecord, ObjectRef, Series
from tierwise.times import rfc3339
from tierwise.types.model_metadata import ModelMetadataSet, Repository

MODELS = 40
SPECS = 120  # of all shapes, models and numbers of replicas
NAMESPACES = 10
SERVICES = "inferenceservices"
TIER_API = "tierwise.io/v1alpha1"
# Product, memory in MiB, compute capability.
GPUS = (
    ("NVIDIA-H100-80GB-HBM3", "81559", ("9", "0")),
    ("NVIDIA-L40S", "46068", ("8", "9")),
    ("NVIDIA-A100-SXM4-80GB", "81920", ("8", "0")),
)
# Requests that a replica runs of the 133 that are its share (batching.maxSequences, and 5 that may wait).
BUSY = 119.0
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "head_dim": 128,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}


# What an informer keeps of each kind.
RECORDS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "modeltiers": tier_object,
    SERVICES: inference_service_record,
    "deployments": deployment_record,
    "pods": pod_record,
    "endpointslices": endpoint_slice_record,
    "gpupools": pool_object,
}


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.seconds

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self.seconds - 1_799_990_000.0


class Hub:
    """The repositories of all models: one config.json."""

    async def read(self, repository: Repository) -> HubFiles:
        """The files of a repository."""
        return HubFiles({**CONFIG, "_name_or_path": repository.name})


class SettledCluster:
    """The Cluster and the Metrics port over a dictionary, and what an informer keeps of it. `writes` counts."""

    def __init__(self, tiers: int, nodes: int, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._bodies: dict[ObjectRef, dict[str, Any]] = {}
        # As in an informer: by kind and UID (here: the reference), and kept until something changes.
        self.records: dict[str, dict[ObjectRef, Any]] = {name: {} for name in RECORDS}
        self.nodes = tuple(self._node(number) for number in range(nodes))
        self.writes = self.queries = 0
        self._answers = {query.promql: query.name for query in prometheus_queries()}
        specs = [_spec(number) for number in range(SPECS)]
        for number in range(tiers):
            ref = ObjectRef(TIER_API, "modeltiers", f"team-{number % NAMESPACES}", f"tier-{number:05d}")
            self._put(ref, {"metadata": {"generation": 1}, "spec": self._placed(specs[number % len(specs)], number)})

    def _placed(self, spec: dict[str, Any], number: int) -> dict[str, Any]:
        """The spec of this tier."""
        return spec

    def _node(self, number: int) -> NodeRecord:
        return node(number)

    def _node_of(self, deployment: ObjectRef) -> str:
        """On which node the next pod of a Deployment runs."""
        return f"node-{next(self._numbers) % 1000:04d}"

    # --- what the informer shows -------------------------------------------------------------------------------------

    def world(self, publications: ModelMetadataSet) -> World:
        """What an informer holds now."""
        found = {kind: tuple(records.values()) for kind, records in self.records.items()}
        return World(
            tiers=found["modeltiers"],
            pods=found["pods"],
            deployments=found["deployments"],
            endpoint_slices=found["endpointslices"],
            inference_services=found[SERVICES],
            nodes=self.nodes,
            publications=publications,
        )

    # --- the API server ----------------------------------------------------------------------------------------------

    def _put(self, ref: ObjectRef, body: Mapping[str, Any]) -> dict[str, Any]:
        before = self._bodies.get(ref)
        metadata = {
            "creationTimestamp": rfc3339(self._clock.now()),
            "uid": f"00000000-0000-4000-8000-{next(self._numbers):012d}",
            **(before["metadata"] if before is not None else {}),
            **body["metadata"],
            "name": ref.name,
            "namespace": ref.namespace,
            "resourceVersion": str(next(self._numbers)),
        }
        made = {**body, "apiVersion": ref.api_version, "metadata": metadata}
        self._bodies[ref] = made
        self.records[ref.plural][ref] = RECORDS[ref.plural](made)
        return made

    def _same(self, ref: ObjectRef, resource_version: str | None) -> dict[str, Any]:
        found = self._bodies.get(ref)
        if found is None:
            raise Gone(f"{ref.plural} {ref.name} not found", status=404)
        if resource_version not in (None, found["metadata"]["resourceVersion"]):
            raise Conflict(f"{ref.plural} {ref.name} has changed", status=409)
        return found

    async def get(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        """The object, or None."""
        return self._bodies.get(ref)

    async def apply(self, ref: ObjectRef, manifest: Mapping[str, Any], *, force: bool = True) -> Mapping[str, Any]:
        """Replace an InferenceService, and let KServe follow."""
        self.writes += 1
        made = self._put(ref, json.loads(json.dumps(manifest)))
        self._kserve(ref, made)
        return made

    async def prune(self, ref: ObjectRef, paths: Sequence[str], *, resource_version: str) -> Mapping[str, Any]:
        """Nobody puts anything beside our fields here."""
        raise AssertionError(f"{paths} of {ref.name} are to be removed")

    async def scale(self, ref: ObjectRef, replicas: int, *, resource_version: str) -> None:
        """Write the replicas, and let the pods follow."""
        self.writes += 1
        self._deploy(ref, {**self._same(ref, resource_version)}, replicas)

    async def annotate_pod(self, namespace: str, name: str, *, uid: str, annotations: Mapping[str, str]) -> None:
        """Nothing is scaled down here."""
        raise AssertionError(f"pod {name} is to be annotated")

    async def patch_status(self, ref: ObjectRef, status: Mapping[str, Any], *, resource_version: str) -> str:
        """Replace the status."""
        self.writes += 1
        found = self._same(ref, resource_version)
        return str(self._put(ref, {**found, "status": status})["metadata"]["resourceVersion"])

    async def record_event(self, event: EventRecord) -> None:
        """Count an Event."""
        self.writes += 1

    # --- KServe and the kubelet --------------------------------------------------------------------------------------

    def _kserve(self, ref: ObjectRef, service: Mapping[str, Any]) -> None:
        """The Deployment of an InferenceService: at 0 replicas, and with its annotations and template."""
        target = ObjectRef("apps/v1", "deployments", ref.namespace, f"{ref.name}-predictor")
        before = self._bodies.get(target)
        owner = {"controller": True, "kind": "InferenceService", "name": ref.name, "uid": service["metadata"]["uid"]}
        predictor = service["spec"]["predictor"]
        template = {name: each for name, each in predictor.items() if name not in ("minReplicas", "deploymentStrategy")}
        body = {
            "metadata": {"annotations": service["metadata"]["annotations"], "ownerReferences": [owner]},
            "spec": {"template": {"spec": template}},
        }
        self._deploy(target, body, before["spec"]["replicas"] if before is not None else 0)

    def _deploy(self, ref: ObjectRef, body: Mapping[str, Any], replicas: int) -> None:
        before = self._bodies.get(ref)
        generation = before["metadata"]["generation"] + 1 if before is not None else 1
        self._put(
            ref,
            {
                "metadata": {**body["metadata"], "generation": generation},
                "spec": {**body["spec"], "replicas": replicas},
                "status": {
                    "observedGeneration": generation,
                    "readyReplicas": replicas,
                    "replicas": replicas,
                    "updatedReplicas": replicas,
                },
            },
        )
        names = [f"{ref.name}-5d8f7c9b6d-{number:05d}" for number in range(replicas)]
        for name in names:
            self._pod(ObjectRef("v1", "pods", ref.namespace, name), ref)
        if names:
            self._endpoints(ObjectRef("discovery.k8s.io/v1", "endpointslices", ref.namespace, ref.name), names)

    def _pod(self, ref: ObjectRef, deployment: ObjectRef) -> None:
        if ref in self._bodies:
            return
        since = rfc3339(self._clock.now())
        owner = {"controller": True, "kind": "ReplicaSet", "name": f"{deployment.name}-5d8f7c9b6d"}
        running = {"name": "kserve-container", "ready": True, "restartCount": 0, "state": {"running": {}}}
        kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        self._put(
            ref,
            {
                "metadata": {"ownerReferences": [owner]},
                "spec": {"nodeName": self._node_of(deployment)},
                "status": {
                    "phase": "Running",
                    "conditions": [{"type": kind, "status": "True", "lastTransitionTime": since} for kind in kinds],
                    "containerStatuses": [running],
                },
            },
        )

    def _endpoints(self, ref: ObjectRef, names: Sequence[str]) -> None:
        owner = {"controller": True, "kind": "Service", "name": ref.name}
        labels = {"kubernetes.io/service-name": ref.name}
        ready = [{"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": name}} for name in names]
        self._put(ref, {"metadata": {"labels": labels, "ownerReferences": [owner]}, "endpoints": ready})

    # --- Prometheus --------------------------------------------------------------------------------------------------

    async def query(self, promql: str) -> Sequence[Series]:
        """One instant query. Answers are made in a thread, as those of the real adapter are."""
        self.queries += 1
        return await asyncio.to_thread(lambda: tuple(self._series(self._answers[promql])))

    def _series(self, query: str) -> Iterator[Series]:
        for ref, deployment in self.records["deployments"].items():
            replicas = deployment.facts.spec_replicas
            tier = ref.name.removesuffix("-predictor")
            values = _values(query, int(tier[-5:]), replicas)
            for number in range(replicas):
                pod = f"{ref.name}-5d8f7c9b6d-{number:05d}"
                labels = {"namespace": ref.namespace, "pod": pod, "tierwise_io_tier": tier}
                for series, value in values:
                    more = {"kv_tokens": "420000", "engine": "0"} if series == "kv_capacity" else {}
                    yield Series({**labels, **more, "series": series}, value)


def prometheus_queries() -> tuple[Query, ...]:
    """The questions as the operator asks them."""
    return queries([MetricNames()])


def _values(query: str, number: int, replicas: int) -> list[tuple[str, float]]:
    """What one replica shows. The load of a tier stays the same, however many replicas share it."""
    shape = number % len(SHAPES)
    busy = 0.0 if shape == IDLE else BUSY * _replicas(number) / max(1, replicas)
    if query == "targets":
        return [("up", 1.0)]
    if query == "capacity":
        return [("kv_capacity", 1.0)]
    if query == "load":
        return [("running", busy), ("waiting", 0.0), ("kv_usage", busy / 500), ("age", 3.5)]
    flows = [("prompt_tokens", 900.0), ("answer_tokens", 300.0), ("finished", 3.0)]
    flows += [("prefix_queries", 900.0), ("prefix_hits", 250.0), ("token_rate", 4.0)]
    if SHAPES[shape].get("speculation"):
        flows += [("drafted", 4000.0), ("accepted", 2400.0), ("draft_rate", 13.0)]
    return [(name, value * busy) for name, value in flows]


SHAPES: tuple[Mapping[str, Any], ...] = (
    {"contextLength": 32768},
    {"quantization": {"method": "fp8_per_channel", "kvCacheDtype": "fp8"}, "rollout": "Replace"},
    {"contextLength": 16384, "speculation": {"mode": "Auto", "method": "ngram"}},
    {"resources": {"gpus": 2, "cpu": 8, "memory": "64Gi"}, "parallelism": {"tensor": 2}},
)
IDLE = 3  # the shape of which nobody asks anything


def _replicas(number: int) -> int:
    """How many a tier settles at."""
    return 2 + number % 3


def _spec(number: int) -> dict[str, Any]:
    shape = SHAPES[number % len(SHAPES)]
    name = f"model-{number % MODELS}"
    least = _replicas(number) if number % len(SHAPES) == IDLE else 1
    return {
        "model": {"name": name, "uri": f"hf://example/{name}", "revision": "main"},
        "placement": {
            "nodeSelector": {"nvidia.com/gpu.product": GPUS[number % 2][0]},
            "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "inference", "effect": "NoSchedule"}],
        },
        "scaling": {"minReplicas": least, "maxReplicas": 8},
        "price": {"gpuHour": "2.49"},
        **shape,
    }


def node(number: int, **more: str) -> NodeRecord:
    """One of three kinds, with as many labels as real ones have."""
    product, memory, (major, minor) = GPUS[number % len(GPUS)]
    labels = {f"feature.node.kubernetes.io/cpu-{each}": "true" for each in range(60)}
    labels |= {
        "kubernetes.io/hostname": f"node-{number:04d}",
        "nvidia.com/cuda.driver-version.major": "580",
        "nvidia.com/gpu.compute.major": major,
        "nvidia.com/gpu.compute.minor": minor,
        "nvidia.com/gpu.memory": memory,
        "nvidia.com/gpu.product": product,
        **more,
    }
    taint = {"key": "dedicated", "value": "inference", "effect": "NoSchedule"}
    body = {
        "metadata": {"labels": labels, "name": f"node-{number:04d}"},
        "spec": {"taints": [taint]},
        "status": {
            "capacity": {"cpu": "192", "nvidia.com/gpu": "8"},
            "allocatable": {"cpu": "192", "nvidia.com/gpu": "8"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    found = node_record(body)
    assert found is not None  # noqa: S101  (it has GPUs; for the type checker)
    return found
