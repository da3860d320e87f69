"""Counts the parameters of a model from its sizes.

Counted as the common decoder layouts define their matrices: attention (grouped heads, or DeepSeek's latent form), a
gated feed-forward or routed experts, embeddings and norms; biases are left out. What is not known to be there is not
counted, so that the result does not exceed the truth: a model that is refused for its weights really is too large.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tierwise.engines.config_keys import EXPERTS, HEAD_DIM, HEADS, HIDDEN, LAYERS, SHARED_EXPERTS
from tierwise.engines.json_fields import integer, word
from tierwise.engines.layers import layer_kinds

_UNGATED = frozenset(  # two matrices in the feed-forward instead of three
    {"apertus", "arcee", "bloom", "falcon", "gpt2", "gpt_neox", "gptj", "nemotron", "opt", "phi", "starcoder2"}
)


def parameter_count(text: Mapping[str, Any], kv_heads: int | None) -> int | None:
    """Parameters of the model that a (text) config describes; None when a size is missing or its layers are of kinds
    that are not known here. Unknown `kv_heads` count as one, the fewest."""
    hidden, layers = integer(text, *HIDDEN), integer(text, *LAYERS)
    vocabulary, attention = integer(text, "vocab_size"), _attention(text, kv_heads or 1)
    kinds = layer_kinds(text)
    if hidden is None or layers is None or vocabulary is None or attention is None:
        return None
    if kinds.full is None or kinds.windowed is None or kinds.full + kinds.windowed != layers:
        return None
    feed_forward = _feed_forward(text, hidden, layers)
    if feed_forward is None:
        return None
    tables = 2 if text.get("tie_word_embeddings") is False else 1
    return tables * vocabulary * hidden + layers * (attention + 2 * hidden) + feed_forward + hidden


def _attention(text: Mapping[str, Any], kv_heads: int) -> int | None:
    """Parameters of one layer's attention."""
    hidden, heads = integer(text, *HIDDEN), integer(text, *HEADS)
    if hidden is None or heads is None:
        return None
    rank = integer(text, "kv_lora_rank")
    if rank is not None:
        return _latent_attention(text, hidden, heads, rank)
    dim = integer(text, *HEAD_DIM) or hidden // heads
    return hidden * dim * (2 * heads + 2 * kv_heads)


def _latent_attention(text: Mapping[str, Any], hidden: int, heads: int, rank: int) -> int | None:
    rope, nope = integer(text, "qk_rope_head_dim"), integer(text, "qk_nope_head_dim")
    value = integer(text, "v_head_dim")
    if rope is None or nope is None or value is None:
        return None
    query_rank = integer(text, "q_lora_rank")
    width = heads * (nope + rope)
    query = hidden * width if query_rank is None else query_rank * (hidden + width)
    return query + hidden * (rank + rope) + rank * heads * (nope + value) + heads * value * hidden


def _feed_forward(text: Mapping[str, Any], hidden: int, layers: int) -> int | None:
    """Parameters of all layers' feed-forward parts, experts included."""
    width = integer(text, "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
    matrices = 2 if word(text, "model_type") in _UNGATED else 3
    experts = integer(text, *EXPERTS)
    if experts is None:
        return None if width is None else layers * matrices * hidden * width
    expert_width = integer(text, "moe_intermediate_size") or width
    if expert_width is None:
        return None
    routed = _routed_layers(text, layers)
    shared = integer(text, *SHARED_EXPERTS) or 0
    shared_width = integer(text, "shared_expert_intermediate_size") or shared * expert_width
    one = matrices * hidden * (experts * expert_width + shared_width) + hidden * experts
    return routed * one + (layers - routed) * matrices * hidden * (width or 0)


def _routed_layers(text: Mapping[str, Any], layers: int) -> int:
    dense = min(layers, integer(text, "first_k_dense_replace") or 0)
    step = integer(text, "decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_freq") or 1
    named = text.get("mlp_only_layers")
    return max(0, (layers - dense) // step - (len(named) if isinstance(named, list) else 0))
