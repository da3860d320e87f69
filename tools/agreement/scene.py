"""Says what both sides are given: one tier behind a route, its requests, and how a replica starts.

An hour of a recorded trace is squeezed into ten minutes, or a running cluster would take the hour; both sides get the
squeezed one, and a scale-down window that is as much shorter. Nothing else differs from an installation as it comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tierwise.api.kinds import MODEL_ROUTE, MODEL_TIER
from tierwise_sim.traces.arrival import Trace
from tierwise_sim.workloads import (
    AZURE_CONVERSATION,
    Arrival,
    compress,
    data_folder,
    read_azure,
    synthetic_conversation,
    thin,
)

TIER, ROUTE, NAMESPACE = "small", "chat", "agreement"
SECONDS = 600.0
TRACE_SECONDS, TRACE_RATE = 3500.0, 5.5
RATE = 2.2
"""Requests per second on average: two to four replicas, and what two processor cores can play."""
LOAD_SECONDS = 20
"""What an engine takes to load its model; its process and its pod take some more."""
WINDOW_SECONDS = 60
SEED = 20261130
SCRAPE_SECONDS = 10


def arrivals(environment: Mapping[str, str]) -> tuple[str, tuple[Arrival, ...]]:
    """Where the requests come from, and they. Raises TraceError."""
    folder = data_folder(environment)
    if folder is not None and (folder / AZURE_CONVERSATION).is_file():
        name, whole = AZURE_CONVERSATION.removesuffix(".csv"), read_azure(folder / AZURE_CONVERSATION)
    else:
        name, whole = "synthetic conversation", synthetic_conversation(TRACE_SECONDS, TRACE_RATE, SEED)
    squeeze = (whole[-1].at + 1.0) / SECONDS
    share = RATE * SECONDS / len(whole)
    return name, compress(thin(whole, share, SEED), squeeze)


def trace(name: str, requests: Sequence[Arrival]) -> Trace:
    """The requests as the simulation takes them."""
    return Trace(name, tuple(requests), SECONDS, name)


def documents() -> list[dict[str, Any]]:
    """What is applied to the cluster, and simulated."""
    tier = {
        "model": {"name": TIER, "uri": "hf://Qwen/Qwen3-8B"},
        "quantization": {"method": "fp8_per_tensor", "kvCacheDtype": "fp8"},
        "resources": {"gpus": 1, "cpu": "1", "memory": "2Gi"},
        "contextLength": 16384,
        "batching": {"maxSequences": 8},
        "placement": {"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4"}},
        "scaling": {"minReplicas": 1, "maxReplicas": 6, "scaleDownWindowSeconds": WINDOW_SECONDS},
        "drainSeconds": 20,
        "price": {"gpuHour": "0.80"},
    }
    route = {"tiers": [{"name": TIER}], "drainSeconds": 20}
    return [_object(MODEL_TIER.name, TIER, tier), _object(MODEL_ROUTE.name, ROUTE, route)]


def engine_config() -> dict[str, Any]:
    """The surroundings of the engines in the cluster (`tierwise_sim.config`)."""
    return {"load_seconds": LOAD_SECONDS, "gpu": "NVIDIA-L4", "tick_seconds": 0.1}


def _object(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "tierwise.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": dict(spec)}
