"""Reads a model's sizes from a Hugging Face config.json.

A pure reader of files that anybody may have written: what is missing, of the wrong type or absurd becomes None, never
an exception. Names and rules are those of vLLM (transformers_utils/model_arch_config_convertor.py and config/model.py
`_get_and_verify_max_len`, equal in 0.30, 0.32 and 0.33), so that the checks find what the engine would find. Where a
file is ambiguous the reading that refuses less is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tierwise.engines.config_keys import CONTEXT, EXPERTS, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, LAYERS
from tierwise.engines.json_fields import flag, fraction, integer, mapping, word
from tierwise.engines.layers import draft_layers, layer_kinds
from tierwise.engines.parameter_count import parameter_count
from tierwise.types.capabilities import ModelShape

_TEXT = ("text_config", "llm_config", "language_config", "thinker_config")  # where multimodal models keep the rest
# RoPE types whose factor the engine does not apply to the context length; YaRN files differ in what they mean.
UNSCALED = frozenset({"su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling"})
# Types with as many KV heads as heads when the file does not count them; others have a number of their own then.
_ONE_EACH = frozenset({"bloom", "cohere", "gpt2", "gpt_neox", "gptj", "granite", "llama", "nemotron", "opt", "phi"})
GPTQ = frozenset({"auto_gptq", "gptq", "gptq_marlin"})  # read by one class
GPTQ_BITS = frozenset({4, 8})  # only symmetric
_DTYPES = frozenset({"bfloat16", "float16", "float32"})
_LIBRARY = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")
_ALGORITHMS = {  # what ModelOpt calls its formats -> what the engine calls them
    "FP8": "modelopt",
    "FP8_PER_CHANNEL_PER_TOKEN": "modelopt",
    "FP8_PB_WO": "modelopt",
    "NVFP4": "modelopt_fp4",
    "MIXED_PRECISION": "modelopt_mixed",
}


def model_shape(config: Mapping[str, Any], index: Mapping[str, Any] | None = None) -> ModelShape:
    """The shape that a config.json describes, with the sizes of its model.safetensors.index.json when it has one.

    Never raises for any JSON value; counts in tokens, elements and bytes. The number of parameters is the index's own
    (metadata.total_parameters), else estimated from the sizes, never above the true one for the layouts it knows."""
    text = text_config(config)
    heads, hidden = integer(text, *HEADS), integer(text, *HIDDEN)
    kv_heads = _kv_heads(text, heads)
    quantization = _quantization(config) or _quantization(text)
    metadata = mapping(mapping(index or {}).get("metadata"))
    kinds = layer_kinds(text)
    longest, unasked = _context(text, config)
    return ModelShape(
        parameters=integer(metadata, "total_parameters") or parameter_count(text, kv_heads),
        weight_bytes=integer(metadata, "total_size"),
        layers=integer(text, *LAYERS),
        hidden_size=hidden,
        attention_heads=heads,
        kv_heads=kv_heads,
        head_dim=_head_dim(text, hidden, heads),
        vocabulary=integer(text, "vocab_size"),
        context_length=longest,
        default_context=unasked,
        dtype=_dtype(config) or _dtype(text),
        quantization=_method(quantization),
        unsupported=_unsupported(quantization),
        weight_bits=_weight_bits(quantization),
        experts=_experts(text),
        sliding_window=kinds.window,
        attention_layers=kinds.full,
        window_layers=kinds.windowed,
        draft_layers=draft_layers(text),
        model_type=word(config, "model_type"),
        latent_size=_latent(text),
    )


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part about the language model: a multimodal config.json nests it."""
    found = mapping(config)
    for name in _TEXT:
        inner = mapping(found.get(name))
        if inner:
            deeper = mapping(inner.get("text_config"))
            return deeper or inner
    return found


def _kv_heads(text: Mapping[str, Any], heads: int | None) -> int | None:
    kind = word(text, "model_type")
    if kind == "falcon" and not flag(text, "new_decoder_architecture"):
        return heads if text.get("multi_query") is False else 1
    return integer(text, *KV_HEADS) or (heads if kind in _ONE_EACH else None)


def _head_dim(text: Mapping[str, Any], hidden: int | None, heads: int | None) -> int | None:
    """Of attention: the heads of a state-space layer are something else."""
    if heads is None:
        return None
    said = integer(text, *HEAD_DIM)
    return said if said is not None or hidden is None else hidden // heads or None


def _latent(text: Mapping[str, Any]) -> int | None:
    rank, rope = integer(text, "kv_lora_rank"), integer(text, "qk_rope_head_dim")
    return None if rank is None or rope is None else rank + rope


def _experts(text: Mapping[str, Any]) -> int:
    for name in EXPERTS:
        value = text.get(name)
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, int) and not isinstance(first, bool) and 0 < first <= 1_000_000:
            return first
    return 0


def _dtype(config: Mapping[str, Any]) -> str:
    said = (word(config, "torch_dtype") or word(config, "dtype")).removeprefix("torch.")
    return said if said in _DTYPES else ""


def _context(text: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The longest context that the engine accepts, and what it takes unasked when that is less."""
    said = [value for value in (integer(text, name) for name in CONTEXT) if value is not None]
    own = integer(text, "model_max_length") or (min(said) if said else None)
    if own is None:
        return None, None
    longest = unasked = float(own)
    if "gemma3" not in word(config, "model_type"):
        for rope in _ropes(text):
            kind, factor = word(rope, "rope_type") or word(rope, "type"), fraction(rope, "factor") or 1.0
            trained = integer(rope, "original_max_position_embeddings") or integer(
                text, "original_max_position_embeddings"
            )
            if kind == "longrope" and trained is not None:
                unasked = min(unasked, trained)
            elif kind not in UNSCALED:
                longest, unasked = max(longest, own * factor), max(unasked, own * factor)
            elif "yarn" in kind:
                longest = max(longest, (trained or own) * factor)
    longest = max(longest, integer(config, "model_max_length") or 0)
    return int(longest), int(unasked) if unasked < longest else None


def _ropes(text: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in ("rope_parameters", "rope_scaling"):
        said = mapping(text.get(name))
        if said:
            yield said
            yield from (inner for inner in map(mapping, said.values()) if inner)


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(config.get("quantization_config")) or mapping(config.get("compression_config"))


def _method(quantization: Mapping[str, Any]) -> str:
    said = word(quantization, "quant_method").lower().replace("compressed_tensors", "compressed-tensors")
    inner = mapping(quantization.get("quantization"))
    if word(mapping(quantization.get("producer")), "name") == "modelopt" or "modelopt_quant_config" in inner:
        said = _ALGORITHMS.get(word(inner, "quant_algo").upper(), said)
    return said if _LIBRARY.fullmatch(said) else ""


def _unsupported(quantization: Mapping[str, Any]) -> str:
    """What AutoGPTQConfig of auto_gptq.py refuses, on every GPU and whatever `dynamic` says of single layers. What is
    of another type than expected is left to the engine."""
    if _method(quantization) not in GPTQ:
        return ""
    bits, group = integer(quantization, "bits"), integer(quantization, "group_size")
    if quantization.get("desc_act") is True and group is not None:
        return f"desc_act: true and group_size {group}"
    if bits is not None and bits not in GPTQ_BITS:
        return f"bits {bits}"
    return f"bits {bits} and sym: false" if bits is not None and quantization.get("sym") is False else ""


def _weight_bits(quantization: Mapping[str, Any]) -> int | None:
    groups = mapping(quantization.get("config_groups")).values()
    said = [integer(mapping(mapping(group).get("weights")), "num_bits") for group in groups]
    bits = [value for value in (*said, integer(quantization, "bits", "w_bit", "weight_bits")) if value is not None]
    return min(bits) if bits and min(bits) <= 32 else None


__all__: Sequence[str] = ("model_shape", "text_config")
