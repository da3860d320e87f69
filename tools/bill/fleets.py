"""Makes the manifests of a row: what would be applied to a cluster, and nothing that only a simulation understands.

A fleet is a value with one field per tactic, so that a row differs from the one above it in exactly that field, and a
test can compare what both would apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tierwise.api.kinds import MODEL_ROUTE, MODEL_TIER
from tierwise.gpus import Price, prices_of
from tierwise_sim.replay.scenario import DEFAULT_TARGETS

H100, L40S = "NVIDIA-H100-80GB-HBM3", "NVIDIA-L40S"
PROVIDER = "AWS"
LARGE, SMALL, API = "large", "small", "hosted"
LARGE_MODEL, SMALL_MODEL = "meta-llama/Llama-3.1-70B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"
DRAFT_MODEL = "yuhuili/EAGLE3-LLaMA3.1-Instruct-70B"
API_MODEL = "gpt-4.1"
API_PRICES: Mapping[str, str] = {"input": "2.00", "cachedInput": "0.50", "output": "8.00"}
"""US dollars per million tokens that OpenAI lists for gpt-4.1: a model that takes the place of the large one."""
CONTEXT = 16384
PERCENTILE = 99
Document = Mapping[str, Any]


def price(product: str) -> Price:
    """The list price that every row assumes: on demand, of one provider."""
    return next(found for found in prices_of(product) if found.provider == PROVIDER)


@dataclass(frozen=True, slots=True)
class Step:
    """From this batch size on so many tokens are drafted."""

    from_batch: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Served:
    """One tier of ours. `sequences`: requests that a replica decodes together; `replicas`: pinned there, None: they
    follow the load between 1 and `most`; `judged`: they are to keep the service level that all rows are judged by;
    `drafts`: empty without speculation."""

    name: str
    model: str
    gpu: str
    gpus: int
    quantized: bool = False
    prefix_cache: bool = False
    drafts: tuple[Step, ...] = ()
    sequences: int = 128
    replicas: int | None = None
    most: int = 24
    judged: bool = False
    context: int = CONTEXT

    def document(self) -> Document:
        """The ModelTier."""
        spec: dict[str, Any] = {
            "model": {"name": self.name, "uri": f"hf://{self.model}"},
            "quantization": {"method": "fp8_per_tensor", "kvCacheDtype": "fp8"}
            if self.quantized
            else {"method": "none"},
            "caching": {"prefix": "Enabled" if self.prefix_cache else "Disabled"},
            "batching": {"maxSequences": self.sequences},
            "contextLength": self.context,
            "resources": {"gpus": self.gpus},
            "parallelism": {"tensor": self.gpus},
            "placement": {"nodeSelector": {"nvidia.com/gpu.product": self.gpu}},
            "scaling": {"minReplicas": 1, "maxReplicas": self.most},
            "price": {"gpuHour": str(price(self.gpu).usd)},
        }
        if self.judged:
            spec["scaling"]["targets"] = {
                "ttft": {"percentile": PERCENTILE, "milliseconds": round(1000 * DEFAULT_TARGETS.ttft)},
                "interToken": {"percentile": PERCENTILE, "milliseconds": round(1000 * DEFAULT_TARGETS.inter_token)},
            }
        if self.drafts:
            schedule = [{"fromBatch": step.from_batch, "tokens": step.tokens} for step in self.drafts]
            spec["speculation"] = {
                "mode": "Auto", "method": "eagle3", "draftModel": DRAFT_MODEL, "schedule": schedule,
            }  # fmt: skip
        if self.replicas is not None:
            spec["replicas"] = self.replicas
        return _object(MODEL_TIER.name, self.name, spec)


@dataclass(frozen=True, slots=True)
class Fleet:
    """All tiers, cheapest first, and the route over them. `api`: what spills goes to an external API, at most for so
    many US dollars an hour; None: there is none."""

    tiers: tuple[Served, ...]
    api: Decimal | None = None
    api_prices: Mapping[str, str] = field(default_factory=lambda: API_PRICES)

    @property
    def routed(self) -> bool:
        """Whether a classifier chooses between two tiers."""
        return len(self.tiers) > 1

    def tier(self, name: str) -> Served:
        """The tier of this name."""
        return next(each for each in self.tiers if each.name == name)

    def documents(self) -> tuple[Document, ...]:
        """What is applied."""
        found = [tier.document() for tier in self.tiers]
        refs: list[dict[str, Any]] = [{"name": tier.name} for tier in self.tiers]
        spec: dict[str, Any] = {"tiers": refs, "referenceTier": LARGE}
        if self.routed:
            classifier = {"configMapName": "chat-classifier", "qualityPercent": 95}
            spec["policy"] = {"type": "Classifier", "classifier": classifier, "defaultTier": LARGE}
        if self.api is not None:
            refs.append({"name": API, "use": "Overflow"})
            spec["overflow"] = {"maxCostPerHour": str(self.api)}
            found.append(
                _object(
                    MODEL_TIER.name,
                    API,
                    {
                        "external": {
                            "baseURL": "https://api.openai.com/v1",
                            "model": API_MODEL,
                            "apiKeySecretRef": {"name": "openai"},
                            "prices": dict(self.api_prices),
                        }
                    },
                )
            )
        return (*found, _object(MODEL_ROUTE.name, "chat", spec))


def reference(sequences: int, replicas: int | None) -> Fleet:
    """The large model as it was published, and nothing else."""
    return Fleet((Served(LARGE, LARGE_MODEL, H100, 4, sequences=sequences, replicas=replicas),))


def small(sequences: int, replicas: int | None) -> Served:
    """The small tier, quantized, with its prefix cache."""
    return Served(
        SMALL, SMALL_MODEL, L40S, 1, quantized=True, prefix_cache=True, sequences=sequences, replicas=replicas
    )


def _object(kind: str, name: str, spec: Mapping[str, Any]) -> Document:
    return {"apiVersion": "tierwise.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
