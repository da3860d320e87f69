"""What may a user say about a model tier, and what do we answer in its status?

These models are the one source of the CRD (`tierwise.api.crd` writes it), of `kubectl explain` (the field texts) and
of what the operator reads. Three habits keep the API cheap to evaluate and hard to misuse: every string and list is
bounded (the API server prices CEL rules by these bounds), no field is a raw pod field, and no value that YAML 1.1
would read as a boolean is an enum value (hence `Enabled`, `Disabled`, not `On`, `Off`).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

GROUP = "tierwise.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
MONEY_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,9})?$"


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


# Kubernetes' own quantities may be written as a number or as text: the CRD says int-or-string.
Quantity = Annotated[
    str,
    BeforeValidator(_text),
    StringConstraints(pattern=QUANTITY_PATTERN, max_length=20),
    Field(json_schema_extra={"x-kubernetes-int-or-string": True}),
]
Money = Annotated[str, StringConstraints(pattern=MONEY_PATTERN, max_length=19)]
DNSLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
DNSName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
SwitchState = Literal["Enabled", "Disabled"]


class Rule(BaseModel):
    """One CEL rule of the CRD: `expression` over `self`, and what the user reads when it is false."""

    model_config = ConfigDict(frozen=True)

    expression: str
    message: str
    field_path: str | None = None


class Model(BaseModel):
    """Base of every API type: camelCase on the wire, immutable, unknown fields ignored (an older operator may meet
    a newer CRD). `cel` holds the rules of this level."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)
    cel: ClassVar[tuple[Rule, ...]] = ()


class SecretKeyRef(Model):
    """One key of a Secret in the tier's own namespace. The operator never reads it: the pod does."""

    name: DNSName = Field(description="Name of the Secret, in the namespace of the tier.")
    key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)] = Field(
        default="token", description="Key in the Secret."
    )


class ModelSource(Model):
    """Which weights to serve, and under which name clients ask for them."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=128)] = Field(
        description="The name clients send as `model`, and the label of the engine's metrics."
    )
    uri: Annotated[
        str,
        StringConstraints(pattern=r"^(hf|pvc|s3|gs|oci)://[A-Za-z0-9][A-Za-z0-9._/@:-]*$", max_length=512),
    ] = Field(
        description="Where the weights are. hf://ORG/REPO is loaded by the engine itself; pvc://CLAIM/PATH, s3://, "
        "gs:// and oci:// go through KServe's storage initializer."
    )
    revision: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=128)] | None = (
        Field(default=None, description="Branch, tag or commit of an hf:// repository. Pin a commit in production.")
    )
    token_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Hugging Face token for a gated hf:// repository; becomes HF_TOKEN in the pod.",
    )
    cache_pvc: DNSName | None = Field(
        default=None,
        alias="cachePVC",
        description="PersistentVolumeClaim that keeps downloaded hf:// weights across pods. Without it every new "
        "replica downloads them again.",
    )
    service_account_name: DNSName | None = Field(
        default=None,
        description="ServiceAccount of the pods, for example one that holds the credentials of an s3:// store.",
    )


class Engine(Model):
    """The program that serves the model."""

    name: Literal["vllm"] = Field(default="vllm", description="Inference engine.")
    version: Annotated[str, StringConstraints(pattern=r"^0\.(30|32|33)\.[0-9]{1,3}$", max_length=16)] = Field(
        default="0.33.0", description="Engine release. It decides which flags and methods exist."
    )
    image: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][A-Za-z0-9._/:@-]*$", max_length=512)] | None = Field(
        default=None,
        description="Container image, when it is not the engine's own for this version (a mirror, a digest).",
    )


QuantizationMethod = Literal[
    "none",
    "fp8_per_tensor",
    "fp8_per_channel",
    "fp8_per_block",
    "mxfp8",
    "mxfp4",
    "int8_per_channel_weight_only",
    "nvfp4_per_token",
    "compressed-tensors",
    "awq",
    "gptq",
    "fp8",
    "modelopt",
    "modelopt_fp4",
    "quark",
    "torchao",
]
KVCacheDtype = Literal["auto", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2", "nvfp4"]


class Quantization(Model):
    """How many bits a weight and a cached token take."""

    method: QuantizationMethod = Field(
        default="none",
        description="fp8_per_*, mxfp8, mxfp4, int8_per_channel_weight_only and nvfp4_per_token quantize a plain "
        "checkpoint while it loads. The other methods name what a pre-quantized checkpoint already is: the engine "
        "detects them itself, so no flag is passed.",
    )
    kv_cache_dtype: KVCacheDtype = Field(
        default="auto", description="Type of the KV cache; fp8 doubles how many tokens fit."
    )


class SpeculationStep(Model):
    """How many tokens to draft while the batch has at least `fromBatch` requests."""

    from_batch: int = Field(ge=1, le=4096, description="First batch size of this step.")
    tokens: int = Field(ge=0, le=16, description="Tokens drafted per step; 0 turns drafting off.")


class Speculation(Model):
    """Drafting tokens cheaply and checking them in one pass: pays while the batch is small."""

    cel = (
        Rule(
            expression="self.mode == 'Disabled' || has(self.method)",
            message="speculation.method is required when speculation is Enabled or Auto",
        ),
        Rule(
            expression="!has(self.method) || !(self.method in ['draft_model', 'eagle', 'eagle3']) || "
            "has(self.draftModel)",
            message="speculation.draftModel is required for the methods draft_model, eagle and eagle3",
        ),
        Rule(
            expression="!(has(self.tokens) && has(self.schedule))",
            message="set speculation.tokens or speculation.schedule, not both",
        ),
        Rule(
            expression="!has(self.schedule) || self.schedule[0].fromBatch == 1",
            message="the first step of speculation.schedule must have fromBatch 1",
        ),
    )

    mode: Literal["Disabled", "Enabled", "Auto"] = Field(
        default="Disabled",
        description="Enabled drafts always; Auto lets the engine stop drafting above a batch size, without a restart.",
    )
    method: Literal["ngram", "draft_model", "eagle", "eagle3", "mtp", "suffix", "medusa", "mlp_speculator"] | None = (
        Field(default=None, description="Where drafts come from.")
    )
    draft_model: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=256)] | None = (
        Field(default=None, description="Hugging Face repository of the draft model.")
    )
    tokens: int | None = Field(default=None, ge=1, le=16, description="Tokens drafted per step (default 3).")
    schedule: list[SpeculationStep] | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        description="Tokens drafted by batch size, in ascending order of fromBatch.",
    )


class Caching(Model):
    """What is kept so that it is not computed twice."""

    prefix: SwitchState = Field(
        default="Enabled", description="Reuse the KV cache of equal prompt beginnings. Costs next to nothing."
    )
    kv_offload_gib: int = Field(
        default=0,
        ge=0,
        le=4096,
        alias="kvOffloadGiB",
        description="Host memory, in GiB for all GPUs of a replica, that holds evicted KV blocks. It is added to the "
        "memory of the pod.",
    )


class Batching(Model):
    """How much one replica works on at a time. Rendered explicitly, since the engine's defaults differ by GPU."""

    cel = (
        Rule(
            expression="self.maxBatchedTokens >= self.maxSequences",
            message="batching.maxBatchedTokens must not be below batching.maxSequences",
        ),
    )

    max_sequences: int = Field(default=128, ge=1, le=4096, description="Requests decoded together in one replica.")
    max_batched_tokens: int = Field(
        default=8192,
        ge=32,
        le=1048576,
        description="Tokens of one engine step; larger favours throughput over TTFT.",
    )
    max_queued_requests: int | None = Field(
        default=None,
        ge=1,
        le=100000,
        description="Requests (waiting and running) above which a replica answers 503 instead of queueing.",
    )


class Parallelism(Model):
    """How one replica is spread over GPUs."""

    tensor: int = Field(default=1, ge=1, le=64, description="GPUs that share each layer.")
    pipeline: int = Field(default=1, ge=1, le=16, description="Groups of GPUs that hold consecutive layers.")


class Resources(Model):
    """What one replica asks of its node."""

    gpus: int = Field(default=1, ge=0, le=64, description="GPUs of one replica; tensor times pipeline.")
    resource_name: Annotated[
        str,
        StringConstraints(
            pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$",
            max_length=253,
        ),
    ] = Field(default="nvidia.com/gpu", description="Extended resource: nvidia.com/gpu, a MIG slice, amd.com/gpu.")
    cpu: Quantity = Field(default="4", description="CPU requested by one replica.")
    memory: Quantity = Field(default="16Gi", description="Memory requested by and allowed to one replica.")
    shared_memory: Quantity = Field(
        default="2Gi", description="Size of /dev/shm; tensor parallelism exchanges data there."
    )


class Toleration(Model):
    """A taint that the pods of the tier accept; Kubernetes' own fields."""

    key: Annotated[str, StringConstraints(max_length=253)] | None = Field(default=None, description="Taint key.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="Exists ignores the value.")
    value: Annotated[str, StringConstraints(max_length=63)] | None = Field(default=None, description="Taint value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect; all effects when unset."
    )
    toleration_seconds: int | None = Field(
        default=None, ge=0, le=86400, description="How long a NoExecute taint is tolerated, in seconds."
    )


LabelKey = Annotated[str, StringConstraints(max_length=317)]
LabelValue = Annotated[str, StringConstraints(max_length=63)]


class Placement(Model):
    """Where replicas may run."""

    node_selector: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=16, description="Labels that a node must have."
    )
    tolerations: list[Toleration] = Field(default_factory=list, max_length=16, description="Taints accepted.")
    runtime_class_name: DNSName | None = Field(default=None, description="RuntimeClass of the pods, e.g. nvidia.")
    priority_class_name: DNSName | None = Field(default=None, description="PriorityClass of the pods.")
    image_pull_secrets: list[DNSName] = Field(
        default_factory=list, max_length=8, description="Names of Secrets that pull the engine image."
    )


class Scaling(Model):
    """How replicas follow the load."""

    cel = (
        Rule(
            expression="self.minReplicas <= self.maxReplicas",
            message="scaling.minReplicas must not exceed scaling.maxReplicas",
        ),
    )

    mode: Literal["Auto", "Advisory"] = Field(
        default="Auto", description="Advisory computes and shows the replicas, and never changes them."
    )
    min_replicas: int = Field(
        default=1, ge=1, le=1000, description="Fewest replicas in Auto. For zero set spec.replicas to 0."
    )
    max_replicas: int = Field(default=1, ge=1, le=1000, description="Most replicas in Auto.")
    waiting_per_replica: int = Field(
        default=5,
        ge=0,
        le=1000,
        description="Waiting requests that one full replica may have before another starts.",
    )
    kv_cache_percent: int = Field(default=80, ge=10, le=100, description="KV-cache use aimed at, in percent.")
    tolerance_percent: int = Field(
        default=10,
        ge=0,
        le=50,
        description="Overload up to which nothing changes, in percent of a replica's share.",
    )
    scale_down_window_seconds: int = Field(
        default=300,
        ge=0,
        le=3600,
        description="Replicas fall to the highest number recommended in this window.",
    )


class Price(Model):
    """What the hardware of this tier costs."""

    gpu_hour: Money = Field(description='US dollars for one GPU for one hour, e.g. "2.49".')


class TokenPrices(Model):
    """US dollars per million tokens of an external API."""

    input: Money = Field(description="Uncached input tokens.")
    cached_input: Money | None = Field(default=None, description="Input tokens read from the cache; default: input.")
    cache_write: Money | None = Field(default=None, description="Input tokens written to the cache; default: input.")
    output: Money = Field(description="Output tokens, reasoning included.")


class External(Model):
    """A model served by somebody else behind an OpenAI-compatible API."""

    base_url: Annotated[
        str,
        StringConstraints(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$", max_length=512),
    ] = Field(alias="baseURL", description="Base URL up to and including /v1.")
    model: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=128)] = Field(
        description="Model name at the provider."
    )
    api_key_secret_ref: SecretKeyRef = Field(description="Key of the API, in a Secret of the tier's namespace.")
    prices: TokenPrices = Field(description="The provider's four prices.")


ExtraArg = Annotated[str, StringConstraints(pattern=r"^--[a-z0-9][a-z0-9-]*(=[^\n\r]*)?$", max_length=512)]


class ModelTierSpec(Model):
    """One model at one quality and price: served by us (`model`) or by somebody else (`external`)."""

    cel = (
        Rule(
            expression="has(self.model) != has(self.external)",
            message="set exactly one of spec.model (served here) and spec.external (an API)",
        ),
        Rule(
            expression="!has(self.external) || !has(self.replicas)",
            message="an external tier has no replicas",
        ),
        Rule(
            expression="self.resources.gpus == 0 || "
            "self.parallelism.tensor * self.parallelism.pipeline == self.resources.gpus",
            message="resources.gpus must equal parallelism.tensor times parallelism.pipeline",
        ),
    )

    model: ModelSource | None = Field(default=None, description="The model to serve. Exactly one of model, external.")
    external: External | None = Field(default=None, description="An external API. Exactly one of model, external.")
    engine: Engine = Field(default_factory=Engine, description="The program that serves the model.")
    quantization: Quantization = Field(default_factory=Quantization, description="Bits per weight and cached token.")
    speculation: Speculation = Field(default_factory=Speculation, description="Speculative decoding.")
    caching: Caching = Field(default_factory=Caching, description="Prefix cache and KV offload.")
    batching: Batching = Field(default_factory=Batching, description="Work per replica.")
    parallelism: Parallelism = Field(default_factory=Parallelism, description="GPUs per replica, and how they share.")
    context_length: int | None = Field(
        default=None,
        ge=16,
        le=10485760,
        description="Longest prompt plus answer, in tokens. Default: what the model was trained for.",
    )
    resources: Resources = Field(default_factory=Resources, description="What one replica asks of its node.")
    placement: Placement = Field(default_factory=Placement, description="Where replicas may run.")
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
        description="How long a replica that leaves may finish its answers, in seconds.",
    )
    rollout: Literal["Surge", "Replace"] = Field(
        default="Surge",
        description="How a change reaches running replicas: Surge starts a new one first (needs a spare GPU), "
        "Replace stops an old one first.",
    )
    scaling: Scaling = Field(default_factory=Scaling, description="How replicas follow the load.")
    replicas: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Pins the replicas (kubectl scale writes it). Unset: automatic.",
    )
    price: Price | None = Field(default=None, description="What the hardware costs; without it no cost is shown.")
    extra_args: list[ExtraArg] = Field(
        default_factory=list,
        max_length=16,
        description="Further engine arguments as --name=value, from a list of allowed ones.",
    )
