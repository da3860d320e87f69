"""Defines what the demo shows: the tiers, the load, and how time is compressed.

An hour of a real trace must fit into three minutes, and a GPU's work onto a laptop's cores, without changing what the
autoscaler sees. So requests arrive ARRIVALS_FASTER times faster than recorded, each simulated engine works
ENGINES_FASTER times faster than the GPU it stands for, and the matching share of the requests is kept: per replica, the
load in relation to its capacity is that of the recorded hour. Windows of the autoscaler shrink like the trace. A trace
has no text, so questions are made (playground.demo.questions), and a classifier is trained on made labels of such ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playground.demo.questions import HARD_SHARE, LARGE, SMALL
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
SEED = 20231116  # the day the trace was recorded
ROUTE = "chat"
CLASSIFIER, LABELS = "chat-classifier", 400
QUALITY_PERCENT = 95
SAMPLE_PERCENT = 5  # some 60 comparisons in three minutes; each costs an answer of the large model and two verdicts
NAMESPACE = "chat"
BOUGHT, PROVIDER = "bought", "provider"
PRICES = (2.50, 10.00)  # of the stub, US dollars per million tokens of prompt and answer
SPILL_DOLLARS = "5"  # an hour, at most
# Two and a half times as many may wait as by default before an answer is bought, which costs three times as much as one
# of the large tier here: load that rises twenty times faster than recorded outruns replicas for longer.
PATIENCE = 250
JUDGE_DOLLARS = "5"
JUDGE_TOKENS = 60  # of a verdict with its reasons
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


def route() -> dict[str, Any]:
    """One endpoint over both tiers, and over an external API, which takes what they cannot, and judges. A classifier
    chooses. Waiting is allowed for as long as an engine may take to start under this load."""
    small, large = (tier.name for tier in tiers())
    return {
        "apiVersion": "tierwise.io/v1alpha1",
        "kind": "ModelRoute",
        "metadata": {"name": ROUTE, "namespace": NAMESPACE},
        "spec": {
            "modelNames": [ROUTE],
            "tiers": [{"name": small}, {"name": large}, {"name": BOUGHT, "use": "Overflow"}],
            "referenceTier": large,
            "policy": {
                "type": "Classifier",
                "defaultTier": small,
                "classifier": {"configMapName": CLASSIFIER, "qualityPercent": QUALITY_PERCENT},
            },
            "quality": {"samplePercent": SAMPLE_PERCENT, "judgeTier": BOUGHT, "budgetUSDPerDay": JUDGE_DOLLARS},
            "overflow": {"startPercent": PATIENCE, "stopPercent": PATIENCE - 100, "maxCostPerHour": SPILL_DOLLARS},
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
            "*Qwen3-8B*": {
                "answers_skill": SMALL.level,
                "answers_slip": SMALL.slip,
                "answers_luck": SMALL.luck,
            },
            "*Qwen3-32B*": {"gpu": "NVIDIA-H100-80GB-HBM3", "answers_skill": LARGE.level},
            "frontier/*": {
                "gpu": "NVIDIA-H100-80GB-HBM3",
                "speed": 10 * ENGINES_FASTER,
                "answers_skill": LARGE.level,
                "output_tokens": JUDGE_TOKENS,
            },
        },
    }


@dataclass(frozen=True, slots=True)
class Load:
    """Who asks when, and where the trace comes from."""

    source: str
    arrivals: tuple[Arrival, ...]

    @property
    def requests(self) -> int:
        """How many requests there are."""
        return len(self.arrivals)

    @property
    def seconds(self) -> float:
        """When the last one is sent."""
        return self.arrivals[-1].at


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
    return Load(source, kept)


def explanation(chosen: Load) -> str:
    """What is compressed, what is simulated, and which way requests go, in three lines."""
    return (
        f"Load: {chosen.source}.\n"
        f"Compressed: requests arrive {ARRIVALS_FASTER} times faster than recorded, the engines work "
        f"{ENGINES_FASTER} times faster than the GPUs they stand for, 1 request in {round(1 / KEPT)} is kept: "
        f"{chosen.requests} requests in {chosen.seconds:.0f} s. An engine loads its model in {LOAD_SECONDS} s, the "
        f"scale-down window is {SCALE_DOWN_WINDOW_SECONDS} s instead of 300 s.\n"
        f"Simulated: the engines (there is no GPU here) and the questions: arithmetic. The small model can answer "
        f"{1 - HARD_SHARE:.0%} of them (and answers {1 - SMALL.slip:.0%} of these rightly), the large one all. Real: "
        f"everything else. All requests go to one ModelRoute. A classifier, trained on {LABELS} made labels, chooses "
        f"the tier by what is asked, and keeps {QUALITY_PERCENT} % of the large model's quality; {SAMPLE_PERCENT} % of "
        f"the answers are compared with the large model's. What a full tier cannot take goes to the next, at last to a "
        f"stub of an external API, for at most {SPILL_DOLLARS} dollars an hour."
    )
