"""Describes what is known of the model and of the GPUs that a tier may get.

Two sources fill these values: the model's own config.json (or the sizes that the user declares), and the labels of the
nodes that `placement` selects. Both may be silent, so every field may be unknown, and an unknown value never rejects a
spec. `engines.check` reads them; nothing here does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class GPU:
    """One kind of GPU, as node labels tell it. `memory_mib` is of one GPU; `capability` compares as integers."""

    product: str = ""  # nvidia.com/gpu.product, e.g. NVIDIA-L4; empty when the node does not say
    capability: tuple[int, int] | None = None  # compute capability (major, minor); None: unknown, or not NVIDIA
    memory_mib: int | None = None
    driver_major: int | None = None  # of the kernel driver, e.g. 580


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What a model's config.json says, as far as it decides whether and where the model can be served.

    `parameters` counts all weights; `weight_bytes` is what the checkpoint takes on disk, when the repository says it
    (metadata.total_size of model.safetensors.index.json): it wins over `parameters`. `sliding_window` in tokens.
    `attention_layers` are those whose cache grows with the whole context and `window_layers` those that keep
    `sliding_window` tokens; both None when the layers are of kinds that nobody here can size."""

    parameters: int | None = None
    weight_bytes: int | None = None
    layers: int | None = None
    hidden_size: int | None = None
    attention_heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    vocabulary: int | None = None
    context_length: int | None = None  # the longest that the engine accepts, RoPE scaling included
    default_context: int | None = None  # what the engine takes unasked, where that is less (LongRoPE, YaRN)
    dtype: str = ""  # torch_dtype of the checkpoint: bfloat16, float16, float32
    quantization: str = ""  # quantization_config.quant_method; empty: a plain checkpoint
    unsupported: str = ""  # what of that quantization no release of the engine reads; empty: nothing known
    weight_bits: int | None = None  # fewest bits that the checkpoint's quantization gives a weight
    experts: int = 0  # 0: a dense model
    sliding_window: int | None = None
    attention_layers: int | None = None
    window_layers: int | None = None
    draft_layers: int | None = None  # layers for multi-token prediction that the checkpoint brings
    model_type: str = ""  # of config.json, e.g. qwen3
    latent_size: int | None = None  # MLA: kv_lora_rank + qk_rope_head_dim, elements of one token in one layer


@dataclass(frozen=True, slots=True)
class EngineRules:
    """What whoever installed the operator has said of engines.

    `hub_url` is the hub as engines reach it; empty: the engine's own choice. `offline`: engines ask no hub.
    `remote_code`: whether a checkpoint may bring code that runs. `host_paths`: folders of nodes below which a tier may
    keep weights. `ipv6`: whether engines listen on IPv6; by itself vLLM does on IPv4 alone."""

    hub_url: str = ""
    offline: bool = False
    remote_code: bool = False
    host_paths: tuple[str, ...] = ()
    ipv6: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything known about where and what a tier serves. `gpus` is sorted, one entry a kind; () is unknown.
    `engine_rules`: None where nobody has said it; then nothing is refused because of it."""

    gpus: tuple[GPU, ...] = ()
    model: ModelShape | None = None
    draft: ModelShape | None = None
    engine_rules: EngineRules | None = None


UNKNOWN = Facts()
