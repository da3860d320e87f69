"""A config.json is read as the engine reads it, and no content of one can do harm."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.published import QWEN3_8B
from tierwise.engines import ModelShape, model_shape
from tierwise.engines.shape import text_config

LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
    "rope_scaling": {"factor": 8.0, "rope_type": "llama3", "original_max_position_embeddings": 8192},
}
QWEN = QWEN3_8B | {"sliding_window": 4096}  # a window that is there and not used
MIXTRAL = LLAMA | {"model_type": "mixtral", "vocab_size": 32000, "num_local_experts": 8, "rope_scaling": None}
DEEPSEEK = {
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "first_k_dense_replace": 3,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "vocab_size": 129280,
    "tie_word_embeddings": False,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "max_position_embeddings": 163840,
    "num_nextn_predict_layers": 1,
    "moe_layer_freq": 1,
    "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096},
    "quantization_config": {"quant_method": "fp8"},
}


@pytest.mark.parametrize(
    ("config", "published"),
    [(LLAMA, 8_030_261_248), (QWEN, 8_190_735_360), (MIXTRAL, 46_702_792_704), (DEEPSEEK, 671_026_419_200)],
    ids=["llama", "qwen", "mixtral", "deepseek"],
)
def test_the_parameters_are_those_that_were_published(config: dict[str, Any], published: int) -> None:
    counted = model_shape(config).parameters
    assert counted is not None
    assert published * 0.999 < counted <= published  # never above: what is refused for its weights is too large


def test_a_plain_decoder() -> None:
    shape = model_shape(LLAMA, {"metadata": {"total_size": 16_060_522_496}})
    assert (shape.layers, shape.hidden_size, shape.attention_heads, shape.kv_heads) == (32, 4096, 32, 8)
    assert (shape.head_dim, shape.vocabulary, shape.context_length, shape.dtype) == (128, 128256, 131072, "bfloat16")
    assert (shape.weight_bytes, shape.quantization, shape.experts) == (16_060_522_496, "", 0)
    assert (shape.attention_layers, shape.window_layers, shape.latent_size) == (32, 0, None)


def test_experts_and_the_latent_cache() -> None:
    assert model_shape(MIXTRAL).experts == 8
    shape = model_shape(DEEPSEEK)
    assert (shape.experts, shape.latent_size, shape.draft_layers, shape.quantization) == (256, 576, 1, "fp8")
    assert (shape.context_length, shape.default_context) == (163840, None)


def test_a_multimodal_file_nests_the_language_model() -> None:
    nested = {"model_type": "gemma3", "torch_dtype": "bfloat16", "text_config": dict(LLAMA, model_type="gemma3_text")}
    shape = model_shape(nested)
    assert (shape.layers, shape.context_length, shape.dtype, shape.model_type) == (32, 131072, "bfloat16", "gemma3")
    assert text_config({"thinker_config": {"text_config": {"hidden_size": 8}}}) == {"hidden_size": 8}


def test_the_context_follows_the_scaling() -> None:
    def context(**rope: Any) -> tuple[int | None, int | None]:
        shape = model_shape(LLAMA | {"max_position_embeddings": 4096, "rope_scaling": rope})
        return shape.context_length, shape.default_context

    assert context(type="linear", factor=4.0) == (16384, None)
    assert context(rope_type="llama3", factor=8.0) == (4096, None)
    # YaRN: releases and files differ in what max_position_embeddings means, so the larger reading is let pass.
    assert context(rope_type="yarn", factor=4.0) == (16384, 4096)
    assert context(rope_type="longrope", original_max_position_embeddings=2048) == (4096, 2048)
    assert model_shape(LLAMA | {"model_max_length": 1024, "rope_scaling": None}).context_length == 1024


def test_layers_with_a_window_and_layers_that_nobody_can_size() -> None:
    kinds = ["sliding_attention"] * 26 + ["full_attention"] * 6
    shape = model_shape(LLAMA | {"sliding_window": 1024, "layer_types": kinds})
    assert (shape.attention_layers, shape.window_layers, shape.sliding_window) == (6, 26, 1024)
    pattern = model_shape(LLAMA | {"sliding_window": 1024, "sliding_window_pattern": 6})
    assert (pattern.attention_layers, pattern.window_layers) == (5, 27)
    untold = model_shape(LLAMA | {"sliding_window": 4096})
    assert (untold.attention_layers, untold.window_layers) == (0, 32)
    linear = model_shape(LLAMA | {"layer_types": ["linear_attention"] * 24 + ["full_attention"] * 8})
    assert (linear.attention_layers, linear.window_layers, linear.parameters) == (8, 0, None)
    for opaque in ({"layers_block_type": ["mamba"]}, {"layer_types": ["strange"] * 32}, {"attn_layer_period": 8}):
        shape = model_shape(LLAMA | opaque)
        assert (shape.attention_layers, shape.window_layers, shape.parameters) == (None, None, None)


def test_names_of_older_files() -> None:
    gpt2 = {"model_type": "gpt2", "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "vocab_size": 50257}
    shape = model_shape(gpt2)
    assert (shape.hidden_size, shape.attention_heads, shape.kv_heads, shape.head_dim) == (768, 12, 12, 64)
    assert (shape.layers, shape.context_length) == (12, 1024)
    falcon = {"model_type": "falcon", "hidden_size": 4544, "num_attention_heads": 71, "multi_query": True}
    assert model_shape(falcon).kv_heads == 1


def test_quantization_as_the_engine_names_it() -> None:
    def method(**said: Any) -> tuple[str, int | None]:
        shape = model_shape(LLAMA | {"quantization_config": said})
        return shape.quantization, shape.weight_bits

    assert method(quant_method="AWQ", bits=4) == ("awq", 4)
    groups = {"group_0": {"weights": {"num_bits": 8}}, "group_1": {"weights": {"num_bits": 4}}}
    assert method(quant_method="compressed_tensors", config_groups=groups) == ("compressed-tensors", 4)
    assert method(producer={"name": "modelopt"}, quantization={"quant_algo": "NVFP4"}) == ("modelopt_fp4", None)
    assert method(quant_method="$(HF_TOKEN)\n") == ("", None)
    assert model_shape(LLAMA | {"compression_config": {"quant_method": "compressed-tensors"}}).quantization


KEYS = sorted(
    {*LLAMA, *QWEN, *DEEPSEEK, "text_config", "layer_types", "rope_parameters", "factor", "metadata", "total_size"}
    | {"quant_method", "config_groups", "weights", "num_bits", "sliding_window_pattern", "mlp_only_layers", "head_dim"}
)
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**18),
    st.integers(0, 64),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["llama", "falcon", "yarn", "longrope", "linear", "full_attention", "sliding_attention"]),
)
JSON = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
)
CONFIGS = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=20)


@given(CONFIGS, st.none() | CONFIGS)
def test_any_content_gives_sizes_or_nothing(config: dict[str, Any], index: dict[str, Any] | None) -> None:
    shape = model_shape(config, index)
    for each in fields(ModelShape):
        value = getattr(shape, each.name)
        if each.name in ("dtype", "quantization", "unsupported", "model_type"):
            assert isinstance(value, str)
            assert len(value) <= 256
        else:
            assert value is None or (type(value) is int and value >= 0), each.name


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=12))
def test_a_spoilt_real_file_is_still_read(spoilt: dict[str, Any]) -> None:
    shape = model_shape(DEEPSEEK | spoilt)
    assert shape == model_shape(DEEPSEEK | spoilt)
