"""Defines the spec of a ModelTier.

These models are the one source of the CRD (`tierwise.api.crd` writes it), of `kubectl explain` (the field texts) and
of what the operator reads. What one replica is made of stands in `tierwise.api.serving`; this module adds where
replicas run, how many, at what price, and the external alternative. What CEL can tell is refused at apply: the user
reads the message where the mistake was made.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tierwise.api.base import (
    API_VERSION,
    GROUP,
    NAME_LENGTH,
    NAME_PATTERN,
    VERSION,
    DNSLabel,
    DNSName,
    Model,
    Money,
    Quantity,
    Rule,
    SwitchState,
)
from tierwise.api.external import External, Price, TokenPrices
from tierwise.api.model_source import Architecture, DraftArchitecture, ModelSource, SecretKeyRef
from tierwise.api.placement import Placement, Resources, TierPool, Toleration
from tierwise.api.pod import Certificates, Environment, ModelCache, PodMetadata
from tierwise.api.scaling import Scaling
from tierwise.api.serving import (
    Batching,
    Caching,
    Engine,
    KVCacheDtype,
    Parallelism,
    Quantization,
    QuantizationMethod,
    Speculation,
    SpeculationStep,
)

__all__ = [
    "API_VERSION",
    "GROUP",
    "NAME_LENGTH",
    "NAME_PATTERN",
    "VERSION",
    "Architecture",
    "Batching",
    "Caching",
    "Certificates",
    "DNSLabel",
    "DNSName",
    "DraftArchitecture",
    "Engine",
    "External",
    "KVCacheDtype",
    "Model",
    "ModelCache",
    "ModelSource",
    "ModelTierSpec",
    "Money",
    "Parallelism",
    "Placement",
    "PodMetadata",
    "Price",
    "Quantity",
    "Quantization",
    "QuantizationMethod",
    "Resources",
    "Rule",
    "Scaling",
    "SecretKeyRef",
    "Speculation",
    "SpeculationStep",
    "SwitchState",
    "TierPool",
    "TokenPrices",
    "Toleration",
]


# True when a size is not declared, so that a rule about it holds: `has` must be asked level by level.
_DECLARED = "!has(self.model) || !has(self.model.architecture) || !has(self.model.architecture.{0})"
_DRAFT_DECLARED = "!has(self.speculation.draftArchitecture) || !has(self.speculation.draftArchitecture.{0})"

ExtraArg = Annotated[str, StringConstraints(pattern=r"^--[a-z0-9][a-z0-9-]*(=[^\n\r]*)?$", max_length=512)]


class ModelTierSpec(Model):
    """One model at one quality and price: served by us (`model`) or by somebody else (`external`)."""

    cel = (
        Rule(
            expression="has(self.model) != has(self.external)",
            message="set exactly one of spec.model (served here) and spec.external (an API)",
        ),
        Rule(
            expression="has(self.model) == has(oldSelf.model)",
            message="a tier cannot change between spec.model and spec.external; create a new tier",
        ),
        Rule(
            expression="!has(self.external) || !has(self.replicas)",
            message="an external tier has no replicas; remove spec.replicas",
            field_path=".replicas",
        ),
        Rule(
            expression="!has(self.external) || !has(self.price)",
            message="an external tier is paid by token: use external.prices and remove spec.price",
            field_path=".price",
        ),
        Rule(
            expression="!has(self.external) || !has(self.contextLength)",
            message="the provider decides the context length of an external tier; remove spec.contextLength",
            field_path=".contextLength",
        ),
        Rule(
            expression="!has(self.external) || self.securityContext == 'Fixed'",
            message="an external tier has no pods; remove spec.securityContext",
            field_path=".securityContext",
        ),
        Rule(
            expression="!has(self.external) || !has(self.extraArgs)",
            message="an external tier has no engine; remove spec.extraArgs",
            field_path=".extraArgs",
        ),
        Rule(
            expression="!has(self.external) || "
            "(!has(self.env) && !has(self.podMetadata.labels) && !has(self.podMetadata.annotations) && "
            "!has(self.modelCache) && !has(self.certificates))",
            message="an external tier has no pods; remove podMetadata, env, modelCache and certificates",
        ),
        Rule(
            expression="!has(self.modelCache) || !has(self.model) || self.model.uri.startsWith('hf://')",
            message="modelCache has an effect only with an hf:// URI; remove it",
            field_path=".modelCache",
        ),
        Rule(
            expression="!has(self.modelCache) || !has(self.model) || !has(self.model.cachePVC)",
            message="set modelCache or model.cachePVC, not both: modelCache.pvc says the same as model.cachePVC",
            field_path=".modelCache",
        ),
        Rule(
            expression="self.resources.gpus == 0 || "
            "self.parallelism.tensor * self.parallelism.pipeline == self.resources.gpus",
            message="resources.gpus must equal parallelism.tensor times parallelism.pipeline",
            field_path=".resources.gpus",
        ),
        Rule(
            expression="self.resources.gpus > 0 || self.parallelism.pipeline == 1",
            message="without GPUs parallelism.pipeline must be 1",
            field_path=".parallelism.pipeline",
        ),
        Rule(
            expression="!has(self.speculation.method) || !self.engine.version.startsWith('0.33.') || "
            "!(self.speculation.method in ['medusa', 'mlp_speculator'])",
            message="vLLM 0.33 has no speculation method medusa or mlp_speculator; "
            "choose another method or engine.version 0.32",
            field_path=".speculation.method",
        ),
        Rule(
            expression=f"{_DECLARED.format('attentionHeads')} || "
            "self.model.architecture.attentionHeads % self.parallelism.tensor == 0",
            message="parallelism.tensor must divide model.architecture.attentionHeads",
            field_path=".parallelism.tensor",
        ),
        Rule(
            expression=f"{_DECLARED.format('keyValueHeads')} || has(self.model.architecture.latentSize) || "
            "self.model.architecture.keyValueHeads % self.parallelism.tensor == 0 || "
            "self.parallelism.tensor % self.model.architecture.keyValueHeads == 0",
            message="parallelism.tensor must divide model.architecture.keyValueHeads or be a multiple of it",
            field_path=".parallelism.tensor",
        ),
        Rule(
            expression=f"{_DECLARED.format('contextLength')} || !has(self.contextLength) || "
            "self.contextLength <= self.model.architecture.contextLength",
            message="contextLength must not exceed model.architecture.contextLength",
            field_path=".contextLength",
        ),
        Rule(
            expression=f"{_DRAFT_DECLARED.format('attentionHeads')} || "
            "self.speculation.draftArchitecture.attentionHeads % self.parallelism.tensor == 0",
            message="parallelism.tensor must divide speculation.draftArchitecture.attentionHeads",
            field_path=".parallelism.tensor",
        ),
        Rule(
            expression="!has(self.speculation.method) || self.speculation.method != 'draft_model' || "
            f"{_DRAFT_DECLARED.format('vocabularySize')} || {_DECLARED.format('vocabularySize')} || "
            "self.speculation.draftArchitecture.vocabularySize == self.model.architecture.vocabularySize",
            message="with speculation.method draft_model the vocabularies of both models must have the same size",
            field_path=".speculation.draftArchitecture.vocabularySize",
        ),
        Rule(
            expression="!has(self.external) || !has(self.pools) || size(self.pools) == 0",
            message="an external tier uses no GPU; remove spec.pools",
            field_path=".pools",
        ),
        Rule(
            expression="!has(self.pools) || size(self.pools) == 0 || self.resources.gpus > 0",
            message="a tier in a pool needs a GPU; set resources.gpus or remove spec.pools",
            field_path=".resources.gpus",
        ),
        Rule(
            expression="!has(self.price) || !has(self.pools) || size(self.pools) == 0",
            message="in a pool the price is the pool's (pricePerGPUHour); remove spec.price",
            field_path=".price",
        ),
        Rule(
            expression="self.resources.gpus > 0 && self.resources.resourceName.startsWith('nvidia.com/') || "
            "has(self.external) || has(self.engine.image)",
            message="the engine's own image is for NVIDIA GPUs (nvidia.com/...): name a build for what the tier runs "
            "on in engine.image, a ROCm build say; without GPUs a build for CPUs",
            field_path=".engine.image",
        ),
    )

    model: ModelSource | None = Field(default=None, description="The model to serve. Exactly one of model, external.")
    external: External | None = Field(default=None, description="An external API. Exactly one of model, external.")
    engine: Engine = Field(default_factory=Engine, description="The program that serves the model.")
    quantization: Quantization = Field(
        default_factory=Quantization, description="Number formats of the weights and the KV cache."
    )
    speculation: Speculation = Field(default_factory=Speculation, description="Speculative decoding.")
    caching: Caching = Field(default_factory=Caching, description="Prefix cache and KV offload.")
    batching: Batching = Field(default_factory=Batching, description="How much one replica works on at a time.")
    parallelism: Parallelism = Field(
        default_factory=Parallelism, description="How one replica is divided among its GPUs."
    )
    context_length: int | None = Field(
        default=None,
        ge=16,
        le=10485760,
        description="Longest prompt plus answer, in tokens. Default: what the model was trained for.",
    )
    resources: Resources = Field(default_factory=Resources, description="What one replica requests of its node.")
    placement: Placement = Field(default_factory=Placement, description="Where replicas may run.")
    pools: list[TierPool] = Field(
        default_factory=list,
        max_length=8,
        description="GPUPools that the replicas run in. Their nodes, resource and price are those of the pool, and "
        "its budget is shared with the other tiers in it. Without pools the tier shares nothing.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    priority: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Weight of this tier's demand where tiers of a pool want more GPUs than there are. Fewest replicas "
        "(scaling.minReplicas) of all tiers come first.",
    )
    pod_metadata: PodMetadata = Field(
        default_factory=PodMetadata, description="Labels and annotations of the pods. A change replaces the pods."
    )
    env: Environment = Field(
        default_factory=list,
        max_length=32,
        description="Variables of the engine's environment, e.g. NCCL_*, VLLM_*, HF_HUB_OFFLINE or a proxy. A change "
        "replaces the pods; a change of the Secret or ConfigMap does not.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    model_cache: ModelCache | None = Field(
        default=None, description="Where downloaded hf:// weights are kept. Without it, in a folder of the pod."
    )
    certificates: Certificates | None = Field(
        default=None, description="Authorities that the engine trusts when it downloads, e.g. of a mirror of the hub."
    )
    security_context: Literal["Fixed", "Namespace"] = Field(
        default="Fixed",
        description="As which user replicas run. Fixed: user and file system group 2000, those of the engine's image. "
        "Namespace: none is named, and the cluster gives each pod one, as OpenShift does from the namespace's range.",
    )
    startup_timeout_seconds: int = Field(
        default=1800,
        ge=30,
        le=14400,
        description="How long a replica may take to load its model, in seconds.",
    )
    drain_seconds: int = Field(
        default=300,
        ge=0,
        le=3600,
        description="How long a replica that is removed may finish its answers, in seconds.",
    )
    rollout: Literal["Surge", "Replace"] = Field(
        default="Surge",
        description="How a change reaches running replicas. Surge starts a new replica first (needs a spare GPU). "
        "Replace stops an old replica first, and returns to the last spec that served if the new one cannot start.",
    )
    scaling: Scaling = Field(default_factory=Scaling, description="How replicas follow the load.")
    replicas: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="A fixed number of replicas (kubectl scale writes it). Unset: automatic scaling.",
    )
    price: Price | None = Field(default=None, description="What the hardware costs. Without it no cost is shown.")
    extra_args: list[ExtraArg] = Field(
        default_factory=list,
        max_length=16,
        description="Further engine arguments as --name=value, from a list of allowed ones.",
    )
