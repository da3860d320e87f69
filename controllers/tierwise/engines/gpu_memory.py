"""Computes the least GPU memory that the weights and one context need.

Lower bounds, so that a spec is refused only when it cannot work:

    weights  = parameters x bits / 8, or the size of the checkpoint, / (tensor x pipeline)
    KV/token = 2 x layers x max(1, KV heads / tensor) x head size x bytes / pipeline
               (latent attention: layers x latent size x bytes / pipeline, the same on every GPU of a layer)
    fits     = share x memory - overhead - weights >= KV/token x context

as vLLM computes them (config/model.py get_num_kv_heads; v1/kv_cache_interface.py max_memory_usage_bytes, where layers
with a window keep at most the window; check_enough_kv_cache_memory under v1/core, which ends the engine).
The stages of a pipeline are averaged: when the mean does not fit, the largest stage does not either. What a GPU needs
besides (CUDA's own memory, activations, graphs) is unknown before a start. vLLM's page on Qwen3-4B (weights 7.5 GiB)
on an L4 tells of 11.47 GiB of KV cache, which leaves 1.3 GiB of 0.92 x 22.03 GiB; half a GiB is taken as certain, and
less than two GiB is worth a warning.
"""

from __future__ import annotations

from dataclasses import dataclass

from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import arg_values
from tierwise.engines.methods import METHODS, of_checkpoint
from tierwise.engines.profiles import Profile
from tierwise.engines.resolved_facts import certainly_dense, known_context
from tierwise.types.capabilities import Facts, ModelShape

GIB = 1024**3
CERTAIN_OVERHEAD = GIB // 2
USUAL_OVERHEAD = 2 * GIB
_DRAFTS = frozenset({"draft_model", "eagle", "eagle3", "medusa", "mlp_speculator"})


@dataclass(frozen=True, slots=True)
class Need:
    """What one GPU of a replica certainly has to hold, in bytes; `kv` of one whole context of `context` tokens."""

    weights: int
    per_token: float = 0.0
    window: int = 0  # layers with a sliding window, whose cache stops growing
    context: int | None = None

    @property
    def kv(self) -> int:
        """Bytes of one context; 0 when the context or its size is unknown."""
        return int(self.per_token * self.context) + self.window if self.context is not None else 0

    def tokens_in(self, size: int) -> int:
        """The longest context whose cache fits into `size` bytes, rounded down to the engine's blocks of 16."""
        left = size - self.window
        return max(0, int(left / self.per_token)) // 16 * 16 if self.per_token else 0


def need(spec: ModelTierSpec, release: Profile, facts: Facts) -> Need | None:
    """What one GPU has to hold, or None when not even the weights are known. `facts` are effective ones."""
    shape = facts.model
    if shape is None:
        return None
    weights = _weights(spec, release, shape)
    if weights is None:
        return None
    shared = spec.parallelism.tensor * spec.parallelism.pipeline
    total = weights + _draft_weights(spec, facts.draft)
    context, _ = known_context(spec, shape)
    per_layer = _kv_bytes_per_layer(spec, shape)
    if per_layer is None or shape.attention_layers is None or context is None:
        return Need(total // shared)
    pipeline = spec.parallelism.pipeline
    window = int((shape.window_layers or 0) * per_layer * min(shape.sliding_window or 0, context) / pipeline)
    return Need(total // shared, shape.attention_layers * per_layer / pipeline, window, context)


def _weights(spec: ModelTierSpec, release: Profile, shape: ModelShape) -> int | None:
    """Bytes of all weights on the GPUs, at least."""
    size = _stored(spec, shape)
    if shape.quantization:
        if size is not None:
            return size
        known = of_checkpoint(shape.quantization)
        bits = shape.weight_bits or (known.bits if known is not None else 1)
        return None if shape.parameters is None else int(shape.parameters * bits / 8)
    parameters = shape.parameters if size is None else size // 2
    if parameters is None:
        return None
    method = spec.quantization.method
    if method not in release.online_quantization or (METHODS[method].experts_only and certainly_dense(spec, shape)):
        return parameters * 2
    kept = min(parameters, (shape.vocabulary or 0) * (shape.hidden_size or 0))  # embeddings stay in 16 bits
    return int(kept * 2 + (parameters - kept) * METHODS[method].bits / 8)


def _stored(spec: ModelTierSpec, shape: ModelShape) -> int | None:
    """Bytes that the engine loads of the checkpoint, at least; None: the size is not told, or too much else is in it.

    A plain float32 checkpoint is loaded with 16 bits. Layers for multi-token prediction are left out (counted double,
    since they bring tables of their own); a part for images may be left out."""
    if shape.weight_bytes is None or arg_values.has(spec.extra_args, "--language-model-only"):
        return None
    size = shape.weight_bytes
    if not shape.quantization:
        size = min(size // 2 if shape.dtype == "float32" else size, 2 * (shape.parameters or size))
    if shape.draft_layers is not None and shape.layers is not None and spec.speculation.method != "mtp":
        size = size * shape.layers // (shape.layers + 2 * shape.draft_layers)
    return size


def _draft_weights(spec: ModelTierSpec, draft: ModelShape | None) -> int:
    if draft is None or spec.speculation.mode == "Disabled" or spec.speculation.method not in _DRAFTS:
        return 0
    if draft.quantization or draft.parameters is None:
        return draft.weight_bytes or 0
    return draft.parameters * 2 if draft.weight_bytes is None else min(draft.weight_bytes, draft.parameters * 2)


def _kv_bytes_per_layer(spec: ModelTierSpec, shape: ModelShape) -> float | None:
    """Bytes of one token in one layer on one GPU. A quantized checkpoint may bring an FP8 cache of its own."""
    element = {"fp8": 1.0, "fp8_e4m3": 1.0, "fp8_e5m2": 1.0, "nvfp4": 0.5625}.get(spec.quantization.kv_cache_dtype, 2.0)
    if spec.quantization.kv_cache_dtype == "auto" and shape.quantization:
        element = 1.0
    if shape.latent_size is not None:
        return shape.latent_size * element
    if shape.kv_heads is None or shape.head_dim is None:
        return None
    return 2 * max(1, shape.kv_heads // spec.parallelism.tensor) * shape.head_dim * element
