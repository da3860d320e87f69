"""Defines what the demo shows: the tiers, the load, and how time is compressed.

An hour of a real trace must fit into three minutes, and a GPU's work onto a laptop's cores, without changing what the
autoscaler sees. So requests arrive ARRIVALS_FASTER times faster than recorded, each simulated engine works
ENGINES_FASTER times faster than the GPU it stands for, and the matching share of the requests is kept: per replica, the
load in relation to its capacity is that of the recorded hour. Windows of the autoscaler shrink like the trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tierwise_sim.workloads import (
    AZURE_CONVERSATION,
    Arrival,
    compress,
    data_folder,
    read_azure,
    synthetic_conversation,
    thin,
    window,
)

ARRIVALS_FASTER = 20
ENGINES_FASTER = 2
KEPT = ENGINES_FASTER / ARRIVALS_FASTER
TRACE_SECONDS = 3480.0
TRACE_RATE = 5.56  # requests per second of the Azure 2023 conversation trace
SMALL_SHARE = 0.7
SEED = 20231116  # the day the trace was recorded
ROUTE = "chat"
HARD = "chat-hard"  # the model's name in requests that the rule sends to the large tier
NAMESPACE = "chat"
BOUGHT, PROVIDER = "bought", "provider"
PRICES = (2.50, 10.00)  # of the stub, US dollars per million tokens of prompt and answer
SPILL_DOLLARS = "5"  # an hour, at most
SCRAPE_SECONDS = 2
# Two to three minutes for a replica to start, and the default window of 300 s, in the trace's time.
LOAD_SECONDS = 3
SCALE_DOWN_WINDOW_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier of the demo."""

    name: str
    model: str
    manifest: Mapping[str, Any]


def _tier(name: str, model: str, node: str, dollars: str, spec: Mapping[str, Any]) -> Tier:
    manifest = {
        "apiVersion": "tierwise.io/v1alpha1",
        "kind": "ModelTier",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "contextLength": 16384,
            "placement": {"nodeSelector": {"nvidia.com/gpu.product": node}},
            "drainSeconds": 20,
            "price": {"gpuHour": dollars},
            **spec,
        },
    }
    return Tier(name, model, manifest)


def tiers() -> tuple[Tier, ...]:
    """A small quantized model on cheap GPUs, a large one on dear ones."""
    window_seconds = {"scaleDownWindowSeconds": SCALE_DOWN_WINDOW_SECONDS}
    small = {
        "model": {"name": "qwen3-8b", "uri": "hf://Qwen/Qwen3-8B"},
        "quantization": {"method": "fp8_per_tensor", "kvCacheDtype": "fp8"},
        "batching": {"maxSequences": 16, "maxBatchedTokens": 4096},
        "resources": {"gpus": 1, "cpu": "4", "memory": "24Gi"},
        "scaling": {"minReplicas": 1, "maxReplicas": 6, "waitingPerReplica": 2, **window_seconds},
    }
    large = {
        "model": {"name": "qwen3-32b", "uri": "hf://Qwen/Qwen3-32B"},
        "quantization": {"method": "fp8_per_tensor", "kvCacheDtype": "fp8"},
        "batching": {"maxSequences": 4, "maxBatchedTokens": 4096},
        "resources": {"gpus": 1, "cpu": "8", "memory": "80Gi"},
        "scaling": {"minReplicas": 1, "maxReplicas": 4, "waitingPerReplica": 1, **window_seconds},
    }
    return (
        _tier("small", "qwen3-8b", "NVIDIA-L4", "0.80", small),
        _tier("large", "qwen3-32b", "NVIDIA-H100-80GB-HBM3", "3.90", large),
    )


def bought() -> dict[str, Any]:
    """The tier that somebody else serves."""
    address = f"http://{PROVIDER}.{NAMESPACE}.svc.cluster.local/v1"
    external = {
        "baseURL": address,
        "model": "frontier",
        "apiKeySecretRef": {"name": PROVIDER},
        "prices": {"input": f"{PRICES[0]:.2f}", "output": f"{PRICES[1]:.2f}"},
    }
    return {
        "apiVersion": "tierwise.io/v1alpha1",
        "kind": "ModelTier",
        "metadata": {"name": BOUGHT, "namespace": NAMESPACE},
        "spec": {"external": external},
    }


def provider() -> tuple[dict[str, Any], ...]:
    """A stub of an external API: one simulated engine that is fast and belongs to no tier, its Service, and a key."""
    labels = {"app": PROVIDER}
    container = {
        "name": PROVIDER,
        "image": "vllm/vllm-openai:v0.33.0",
        "args": ["frontier/frontier-8b", "--served-model-name=frontier", "--port=8000"],
        "ports": [{"name": "api", "containerPort": 8000}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "api"}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 2000, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    metadata = {"name": PROVIDER, "namespace": NAMESPACE}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return (
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": "the-key-of-the-stub"}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"name": "api", "port": 80, "targetPort": "api"}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        },
    )


def asked(tier: str) -> str:
    """The model that this tier's requests name: the route's own, or the one that its rule knows."""
    return ROUTE if tier == tiers()[0].name else HARD


def route() -> dict[str, Any]:
    """One endpoint over both tiers, and over an external API for what they cannot take. Waiting is allowed for as long
    as an engine may take to start under this load."""
    small, large = (tier.name for tier in tiers())
    return {
        "apiVersion": "tierwise.io/v1alpha1",
        "kind": "ModelRoute",
        "metadata": {"name": ROUTE, "namespace": NAMESPACE},
        "spec": {
            "modelNames": [ROUTE, HARD],
            "tiers": [{"name": small}, {"name": large}, {"name": BOUGHT, "use": "Overflow"}],
            "referenceTier": large,
            "policy": {"rules": [{"name": "hard", "match": {"model": HARD}, "tier": large}]},
            "overflow": {"maxCostPerHour": SPILL_DOLLARS},
            "queue": {"maxRequests": 1000, "timeoutSeconds": 120},
            "drainSeconds": 20,
        },
    }


def helm_values() -> dict[str, Any]:
    """The chart's values: short intervals, since time is compressed."""
    return {
        "operator": {"tickSeconds": 3, "logFormat": "text"},
        "prometheus": {"scrapeIntervalSeconds": SCRAPE_SECONDS, "queryTimeoutSeconds": 2},
    }


def engine_config() -> dict[str, Any]:
    """The simulated engines' surroundings (tierwise_sim.config), by the name of the model that they load."""
    return {
        "speed": ENGINES_FASTER,
        "load_seconds": LOAD_SECONDS,
        "models": {
            "*Qwen3-32B*": {"gpu": "NVIDIA-H100-80GB-HBM3"},
            "frontier/*": {"gpu": "NVIDIA-H100-80GB-HBM3", "speed": 10 * ENGINES_FASTER},
        },
    }


@dataclass(frozen=True, slots=True)
class Load:
    """Who asks when, of which tier, and where the trace comes from."""

    source: str
    arrivals: Mapping[str, tuple[Arrival, ...]]

    @property
    def requests(self) -> int:
        """How many requests there are."""
        return sum(len(arrivals) for arrivals in self.arrivals.values())

    @property
    def seconds(self) -> float:
        """When the last one is sent."""
        return max(arrivals[-1].at for arrivals in self.arrivals.values() if arrivals)


def load(environment: Mapping[str, str], seconds: float = TRACE_SECONDS) -> Load:
    """The trace in the folder that TIERWISE_DATA names, or the built-in one; `seconds` of it, compressed.

    Raises TraceError when the folder or a line of the file is wrong.
    """
    folder = data_folder(environment)
    if folder is not None and (folder / AZURE_CONVERSATION).is_file():
        path: Path = folder / AZURE_CONVERSATION
        source, trace = f"{path.name} (Azure LLM inference trace 2023)", read_azure(path)
    else:
        source = (
            "built-in workload with the shape of the Azure LLM inference trace 2023 (set TIERWISE_DATA for the trace)"
        )
        trace = synthetic_conversation(TRACE_SECONDS, TRACE_RATE, SEED)
    kept = compress(thin(window(trace, 0, seconds), KEPT, SEED), ARRIVALS_FASTER)
    # Nothing chooses by content yet: chance decides which tier a request names.
    chance = Random(SEED)  # noqa: S311 - a repeatable workload, no secret
    names = [tiers()[0].name if chance.random() < SMALL_SHARE else tiers()[1].name for _ in kept]
    arrivals = {
        tier.name: tuple(arrival for arrival, name in zip(kept, names, strict=True) if name == tier.name)
        for tier in tiers()
    }
    return Load(source, arrivals)


def explanation(chosen: Load) -> str:
    """What is compressed, what is simulated, and which way requests go, in three lines."""
    return (
        f"Load: {chosen.source}.\n"
        f"Compressed: requests arrive {ARRIVALS_FASTER} times faster than recorded, the engines work "
        f"{ENGINES_FASTER} times faster than the GPUs they stand for, 1 request in {round(1 / KEPT)} is kept: "
        f"{chosen.requests} requests in {chosen.seconds:.0f} s. An engine loads its model in {LOAD_SECONDS} s, the "
        f"scale-down window is {SCALE_DOWN_WINDOW_SECONDS} s instead of 300 s.\n"
        f"Simulated: the engines (there is no GPU here). Real: everything else. All requests go to one ModelRoute: "
        f"{SMALL_SHARE:.0%} of them name {ROUTE}, the others {HARD}, which a rule sends to the large tier (by chance: "
        f"nothing chooses by content yet). What a full tier cannot take goes to the next, at last to a stub of an "
        f"external API, for at most {SPILL_DOLLARS} dollars an hour."
    )
