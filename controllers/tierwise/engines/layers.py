"""Which of a model's layers keep a cache that grows with the context?

Full attention keeps every token, a sliding window only its last ones (v1/kv_cache_interface.py of vLLM), linear
attention and state-space layers a fixed state. Where a config.json does not tell the kinds apart, nobody can say how
much one context takes: the counts are None then, and what depends on them is not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tierwise.engines.reading import flag, integer

# Layers of several kinds, shared caches or sizes that differ by layer, in notations that are not read here.
_OPAQUE = (
    "block_configs",
    "per_layer_config",
    "layers_block_type",
    "hybrid_override_pattern",
    "attn_layer_period",
    "num_kv_shared_layers",
    "global_head_dim",
    "compress_ratios",
    "index_topk",
    "attention_chunk_size",
    "mamba_d_state",
    "mamba_expand",
    "ssm_cfg",
    "full_attn_idxs",
    "attn_layer_indices",
    "linear_attn_config",
    "cross_attention_layers",
)
DRAFT_LAYERS = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "n_predict")


@dataclass(frozen=True, slots=True)
class LayerKinds:
    """How many layers keep the whole context, how many a window of it (`window` tokens); None: unknown."""

    full: int | None = None
    windowed: int | None = None
    window: int | None = None


def layer_kinds(text: Mapping[str, Any]) -> LayerKinds:
    """The kinds of the layers of a (text) config. A window whose layers are not told counts for all of them: that
    asks for the least memory."""
    layers = integer(text, "num_hidden_layers", "n_layer", "num_layers")
    window = integer(text, "sliding_window")
    if text.get("use_sliding_window") is False:
        window = None
    if layers is None or any(text.get(name) not in (None, False, 0, [], {}) for name in _OPAQUE):
        return LayerKinds(window=window)
    kinds = text.get("layer_types")
    if isinstance(kinds, list) and kinds:
        return _told(kinds, layers, window)
    if flag(text, "is_encoder_decoder") or integer(text, "full_attention_interval") is not None:
        return LayerKinds(window=window)
    if window is None:
        return LayerKinds(full=layers, windowed=0)
    pattern = integer(text, "sliding_window_pattern")
    full = layers // pattern if pattern is not None else 0
    return LayerKinds(full=full, windowed=layers - full, window=window)


def _told(kinds: list[Any], layers: int, window: int | None) -> LayerKinds:
    full, windowed = kinds.count("full_attention"), kinds.count("sliding_attention")
    fixed = kinds.count("linear_attention")
    if len(kinds) != layers or full + windowed + fixed != layers or (windowed and window is None):
        return LayerKinds(window=window)
    return LayerKinds(full=full, windowed=windowed, window=window if windowed else None)


def draft_layers(text: Mapping[str, Any]) -> int | None:
    """How many layers for multi-token prediction the checkpoint brings; None when it does not say."""
    return integer(text, *DRAFT_LAYERS)
