"""Defines how one replica serves its model.

It covers the engine and what makes it cheaper: quantization, speculation, caching, batching, parallelism. Weights have
a module of their own (`tierwise.api.model_source`). No field is a raw pod field, and no value that YAML 1.1 would read
as a boolean is an enum value (hence `Enabled`, `Disabled`, not `On`, `Off`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tierwise.api.base import Model, Rule, SwitchState
from tierwise.api.model_source import DraftArchitecture


class Engine(Model):
    """The program that serves the model."""

    cel = (
        Rule(
            expression="!has(self.image) || self.image.matches('(@sha256:[a-f0-9]{64}|:[A-Za-z0-9_][A-Za-z0-9._-]*)$')",
            message="engine.image must end in a tag or a sha256 digest, so that every replica runs the same engine",
            field_path=".image",
        ),
        Rule(
            expression="!has(self.image) || !self.image.contains('//')",
            message="engine.image has no scheme: remove '//' and what stands before it",
            field_path=".image",
        ),
    )

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
    """Number formats of the weights and the KV cache."""

    method: QuantizationMethod = Field(
        default="none",
        description="The methods fp8_per_*, mxfp8, mxfp4, int8_per_channel_weight_only and nvfp4_per_token quantize "
        "a plain checkpoint while it loads. The others name what a pre-quantized checkpoint already is: the engine "
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
    """Drafts tokens cheaply and verifies them in one pass, which pays while the batch is small."""

    cel = (
        Rule(
            expression="self.mode == 'Disabled' || has(self.method)",
            message="speculation.method is required when speculation.mode is Enabled or Auto",
            field_path=".method",
        ),
        Rule(
            expression="!has(self.method) || has(self.draftModel) || "
            "!(self.method in ['draft_model', 'eagle', 'eagle3', 'medusa', 'mlp_speculator'])",
            message="speculation.draftModel is required for the methods draft_model, eagle, eagle3, medusa and "
            "mlp_speculator",
            field_path=".draftModel",
        ),
        Rule(
            expression="!has(self.draftModel) || (has(self.method) && "
            "self.method in ['draft_model', 'eagle', 'eagle3', 'medusa', 'mlp_speculator'])",
            message="speculation.draftModel has an effect only with the methods draft_model, eagle, eagle3, medusa "
            "and mlp_speculator; remove it",
            field_path=".draftModel",
        ),
        Rule(
            expression="!has(self.draftModel) || !self.draftModel.contains('..')",
            message="speculation.draftModel must not contain '..'",
            field_path=".draftModel",
        ),
        Rule(
            expression="!has(self.draftArchitecture) || has(self.draftModel)",
            message="speculation.draftArchitecture describes speculation.draftModel; set that, too",
            field_path=".draftArchitecture",
        ),
        Rule(
            expression="!(has(self.tokens) && has(self.schedule))",
            message="set speculation.tokens or speculation.schedule, not both",
        ),
        Rule(
            expression="!has(self.schedule) || !has(self.method) || "
            "!(self.method in ['suffix', 'medusa', 'mlp_speculator'])",
            message="the engine ignores speculation.schedule with the methods suffix, medusa and mlp_speculator; "
            "use speculation.tokens",
            field_path=".schedule",
        ),
        Rule(
            expression="!has(self.schedule) || self.schedule[0].fromBatch == 1",
            message="the first step of speculation.schedule must have fromBatch 1",
            field_path=".schedule",
        ),
        Rule(
            expression="!has(self.schedule) || (self.schedule.map(s, s.fromBatch).isSorted() && "
            "self.schedule.all(s, self.schedule.exists_one(t, t.fromBatch == s.fromBatch)))",
            message="speculation.schedule must be in ascending order of fromBatch, each once",
            field_path=".schedule",
        ),
        Rule(
            expression="!has(self.schedule) || self.schedule.exists(s, s.tokens > 0)",
            message="speculation.schedule never drafts: give one step tokens above 0, or set mode: Disabled",
            field_path=".schedule",
        ),
    )

    mode: Literal["Disabled", "Enabled", "Auto"] = Field(
        default="Disabled",
        description="Enabled always drafts. Auto lets the engine stop drafting above a batch size, without a restart.",
    )
    method: Literal["ngram", "draft_model", "eagle", "eagle3", "mtp", "suffix", "medusa", "mlp_speculator"] | None = (
        Field(default=None, description="Where drafts come from.")
    )
    draft_model: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=256)] | None = (
        Field(default=None, description="Hugging Face repository of the draft model.")
    )
    draft_architecture: DraftArchitecture | None = Field(
        default=None, description="Sizes of the draft model, where the operator cannot read its repository."
    )
    tokens: int | None = Field(default=None, ge=1, le=16, description="Tokens drafted per step (default 3).")
    schedule: list[SpeculationStep] | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        description="Tokens drafted by batch size, in ascending order of fromBatch.",
    )


class Caching(Model):
    """What is cached so that it is not computed twice."""

    prefix: SwitchState = Field(
        default="Enabled", description="Reuses the KV cache of prompts that begin alike. Costs next to nothing."
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
            field_path=".maxBatchedTokens",
        ),
        Rule(
            expression="!has(self.maxQueuedRequests) || self.maxQueuedRequests >= self.maxSequences",
            message="batching.maxQueuedRequests counts running requests too: it must not be below "
            "batching.maxSequences",
            field_path=".maxQueuedRequests",
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
    """How one replica is divided among GPUs."""

    tensor: int = Field(default=1, ge=1, le=64, description="GPUs that share each layer.")
    pipeline: int = Field(default=1, ge=1, le=16, description="Groups of GPUs, each of which holds consecutive layers.")
