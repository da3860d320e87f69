"""Determines a model's size and number format.

The engine is told only a name ("Qwen/Qwen3-8B-FP8"), as vLLM is; a real engine reads config.json, this one
reads the size and the number format out of the name and takes the layer shape of the well-known dense model
nearest in size. Everything can be given instead of guessed.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What memory and arithmetic depend on; parameters in billions."""

    params_b: float
    active_b: float
    layers: int
    hidden: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool = False

    @property
    def embedding_params(self) -> int:
        """Parameters of one vocabulary matrix."""
        return self.vocab * self.hidden

    def kv_bytes_per_token(self, element_bytes: float, tensor_parallel: int, pipeline_parallel: int) -> float:
        """KV-cache bytes per token on one GPU.

        2 (keys and values) x layers x heads x head size x bytes, divided over the pipeline; heads are split
        over tensor parallelism until one is left, then replicated (vLLM, `ModelConfig.get_num_kv_heads`).
        """
        heads = max(1, self.kv_heads // tensor_parallel)
        return 2 * self.layers * heads * self.head_dim * element_bytes / pipeline_parallel


@dataclass(frozen=True, slots=True)
class Precision:
    """Bits per weight as stored (scales included) and the arithmetic the matrix units use."""

    name: str
    bits: float
    arithmetic: str


# config.json of the named checkpoints: parameters, layers, hidden, KV heads, head size, vocabulary, tied.
_SHAPES: tuple[ModelShape, ...] = (
    ModelShape(0.6, 0.6, 28, 1024, 8, 128, 151936, tied=True),  # Qwen3-0.6B
    ModelShape(1.24, 1.24, 16, 2048, 8, 64, 128256, tied=True),  # Llama-3.2-1B
    ModelShape(3.21, 3.21, 28, 3072, 8, 128, 128256, tied=True),  # Llama-3.2-3B
    ModelShape(4.02, 4.02, 36, 2560, 8, 128, 151936, tied=True),  # Qwen3-4B
    ModelShape(8.03, 8.03, 32, 4096, 8, 128, 128256),  # Llama-3.1-8B
    ModelShape(14.8, 14.8, 40, 5120, 8, 128, 151936),  # Qwen3-14B
    ModelShape(32.8, 32.8, 64, 5120, 8, 128, 151936),  # Qwen3-32B
    ModelShape(70.6, 70.6, 80, 8192, 8, 128, 128256),  # Llama-3.1-70B
    ModelShape(405.9, 405.9, 126, 16384, 8, 128, 128256),  # Llama-3.1-405B
)

_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)
_EXPERTS = re.compile(r"(?<![\w.])(\d+)x(\d+(?:\.\d+)?)b(?![a-z0-9])", re.IGNORECASE)
_ACTIVE = re.compile(r"-a(\d+(?:\.\d+)?)b(?![a-z0-9])", re.IGNORECASE)

DEFAULT_PARAMS_B = 8.03


def shape_of(name: str, params_b: float | None = None) -> ModelShape:
    """The shape for a model name; `params_b` (billions) overrides the size read from the name.

    A name without a size is taken as an 8B. "8x7B" counts experts that share the attention layers: Mixtral
    8x7B has 46.7 billion parameters of which 12.9 are active, the ratios used here.
    """
    total, active = params_b or DEFAULT_PARAMS_B, 0.0
    if params_b is None:
        if experts := _EXPERTS.search(name):
            total = int(experts[1]) * float(experts[2]) * 46.7 / 56
            active = 2 * float(experts[2]) * 12.9 / 14
        elif sizes := _SIZE.findall(name):
            total = max(float(size) / (1000 if unit in "mM" else 1) for size, unit in sizes)
    if found := _ACTIVE.search(name):
        active = float(found[1])
    near = min(_SHAPES, key=lambda shape: abs(math.log(shape.params_b / total)))
    if params_b is None and abs(near.params_b / total - 1) < 0.1 and not active:
        return near
    return ModelShape(
        total, active or total, near.layers, near.hidden, near.kv_heads, near.head_dim, near.vocab, near.tied
    )


# Bits: group scales included (INT4 with groups of 128: 4.25; NVFP4 with blocks of 16: 4.5; MXFP4, 32: 4.25).
_MARKERS: tuple[tuple[str, Precision], ...] = (
    (r"mxfp4|gpt-oss", Precision("mxfp4", 4.25, "fp4")),
    (r"fp4", Precision("nvfp4", 4.5, "fp4")),
    (r"w4a16|int4|awq|gptq|4bit", Precision("w4a16", 4.25, "bf16")),
    (r"w8a16", Precision("w8a16", 8.08, "bf16")),
    (r"w8a8|int8", Precision("w8a8", 8.08, "int8")),
    (r"fp8", Precision("fp8", 8.08, "fp8")),
)
BF16 = Precision("bf16", 16.0, "bf16")

# vLLM's methods that quantize a bf16 checkpoint while loading it. int8_per_channel_weight_only and
# nvfp4_per_token act on mixture-of-experts layers only: on a dense model they start and change nothing.
_ONLINE: dict[str, Precision] = {
    "fp8_per_tensor": Precision("fp8", 8.0, "fp8"),
    "fp8_per_channel": Precision("fp8", 8.0, "fp8"),
    "fp8_per_block": Precision("fp8", 8.08, "fp8"),
    "mxfp8": Precision("mxfp8", 8.25, "bf16"),
    "mxfp4": Precision("mxfp4", 4.25, "bf16"),
    "int8_per_channel_weight_only": BF16,
    "nvfp4_per_token": BF16,
}
# A method that names a pre-quantized checkpoint's format, for names that do not show it (/mnt/models).
_CHECKPOINT: dict[str, Precision] = {
    "fp8": Precision("fp8", 8.08, "fp8"),
    "modelopt": Precision("fp8", 8.08, "fp8"),
    "modelopt_fp4": Precision("nvfp4", 4.5, "fp4"),
    "gpt_oss_mxfp4": Precision("mxfp4", 4.25, "fp4"),
}


def checkpoint_precision(name: str) -> Precision | None:
    """The number format that a model name shows, or None for an ordinary bf16 checkpoint."""
    lowered = name.lower()
    return next((precision for pattern, precision in _MARKERS if re.search(pattern, lowered)), None)


def precision_of(name: str, quantization: str | None) -> Precision:
    """The format that runs, from the checkpoint's name and vLLM's `--quantization` value (or None)."""
    stored = checkpoint_precision(name)
    if stored is not None:
        return stored
    if quantization is None:
        return BF16
    if quantization in _ONLINE:
        return _ONLINE[quantization]
    if quantization in _CHECKPOINT:
        return _CHECKPOINT[quantization]
    four_bit = re.search("awq|gptq|wna16", quantization)
    return Precision("w4a16", 4.25, "bf16") if four_bit else Precision(quantization, 8.08, "bf16")


# Bytes per KV-cache element by `--kv-cache-dtype`; anything else counts as the model's own two bytes.
_KV_BYTES = {"nvfp4": 0.5625, "nvfp4_4over6": 0.5625, "int4_per_token_head": 0.5}


def kv_element_bytes(kv_cache_dtype: str) -> float:
    """Bytes per element of the KV cache for a `--kv-cache-dtype` value."""
    if kv_cache_dtype in _KV_BYTES:
        return _KV_BYTES[kv_cache_dtype]
    if kv_cache_dtype.startswith("turboquant_"):
        return 0.5 if "4bit" in kv_cache_dtype or "k3" in kv_cache_dtype else 0.75
    return 1.0 if kv_cache_dtype.startswith(("fp8", "int8")) else 2.0
