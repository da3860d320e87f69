"""Counts the layers of a model whose cache grows with the context.

Full attention keeps every token, a sliding window only its last ones (v1/kv_cache_interface.py of vLLM), linear
attention and state-space layers a fixed state. Only the model types named here are sized: those that the engine builds
of attention alone. A cache that is taken for larger than it is would reject what the engine serves, and new kinds of
layers appear with every release, in notations of their own. For all other types the counts are None, and what depends
on them is not checked. The tests compare the list with the model files of every release
(tests/conformance/test_layouts.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tierwise.engines.config_keys import DRAFT_LAYERS, LAYERS
from tierwise.engines.json_fields import flag, integer, word

# The model_type of (text) configs whose layers are all attention: full, with a window, or latent (DeepSeek).
ATTENTION = frozenset(
    {"apertus", "arcee", "bloom", "cohere", "cohere2", "deepseek_v2", "deepseek_v3", "ernie4_5", "exaone", "exaone4"}
    | {"falcon", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "glm4_moe", "gpt2", "gpt_neox", "gpt_oss", "gptj"}
    | {"granite", "granitemoe", "internlm2", "internlm3", "kimi_k2", "llama", "mimo", "minimax_m2", "ministral3"}
    | {"mistral", "mixtral", "nemotron", "olmo", "olmo2", "olmo3", "olmoe", "opt", "orion", "phi", "phi3", "phimoe"}
    | {"qwen2", "qwen2_moe", "qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text", "qwen3", "qwen3_moe"}
    | {"qwen3_vl_text", "qwen3_vl_moe_text", "seed_oss", "smollm3", "solar", "stablelm", "starcoder2"}
)
# Types that mix them with linear attention, and are built layer by layer as `layer_types` says.
TOLD = frozenset({"qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"})
# Types that take a window of some size when the file does not speak of it; null says that there is none.
_WINDOWED = frozenset({"cohere2", "exaone4", "gemma2", "gemma3_text", "gpt_oss", "ministral3", "mistral", "olmo3"})
# Keys by which a file of any type says that some of its layers are of other kinds, shared, or of sizes that differ.
OPAQUE = (
    "block_configs",
    "per_layer_config",
    "layers_block_type",
    "hybrid_override_pattern",
    "hybrid_layer_pattern",
    "layer_group_size",
    "attn_layer_period",
    "num_kv_shared_layers",
    "global_head_dim",
    "compress_ratios",
    "index_topk",
    "attention_chunk_size",
    "rswa_window",
    "state_size",
    "ssm_state_size",
    "mamba_d_state",
    "mamba_expand",
    "ssm_cfg",
    "full_attn_idxs",
    "attn_layer_indices",
    "linear_attn_config",
    "cross_attention_layers",
)


@dataclass(frozen=True, slots=True)
class LayerKinds:
    """How many layers keep the whole context, how many a window of it (`window` tokens); None: unknown."""

    full: int | None = None
    windowed: int | None = None
    window: int | None = None


def layer_kinds(text: Mapping[str, Any]) -> LayerKinds:
    """The kinds of the layers of a (text) config. A window whose layers are not told counts for all of them: that
    asks for the least memory."""
    layers = integer(text, *LAYERS)
    window = integer(text, "sliding_window")
    if text.get("use_sliding_window") is False:
        window = None
    if layers is None or not _known(text):
        return LayerKinds(window=window)
    kinds = text.get("layer_types")
    if isinstance(kinds, list) and kinds:
        return _told(kinds, layers, window)
    if word(text, "model_type") in TOLD or integer(text, "full_attention_interval") is not None:
        return LayerKinds(window=window)
    if window is None:
        return LayerKinds(full=layers, windowed=0)
    pattern = integer(text, "sliding_window_pattern")
    full = layers // pattern if pattern is not None else 0
    return LayerKinds(full=full, windowed=layers - full, window=window)


def _known(text: Mapping[str, Any]) -> bool:
    """Whether the file is of a type that is known, and says nothing that would make it another."""
    kind = word(text, "model_type")
    if kind not in ATTENTION | TOLD or (kind in _WINDOWED and "sliding_window" not in text):
        return False
    if text.get("is_causal") is False or flag(text, "is_encoder_decoder"):  # encoders keep no cache
        return False
    return all(text.get(name) in (None, False, 0, [], {}) for name in OPAQUE)


def _told(kinds: list[Any], layers: int, window: int | None) -> LayerKinds:
    full, windowed = kinds.count("full_attention"), kinds.count("sliding_attention")
    fixed = kinds.count("linear_attention")
    if len(kinds) != layers or full + windowed + fixed != layers or (windowed and window is None):
        return LayerKinds(window=window)
    return LayerKinds(full=full, windowed=windowed, window=window if windowed else None)


def draft_layers(text: Mapping[str, Any]) -> int | None:
    """How many layers for multi-token prediction the checkpoint brings; None when it does not say."""
    return integer(text, *DRAFT_LAYERS)
