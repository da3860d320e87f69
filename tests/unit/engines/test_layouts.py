"""The cache is sized for layouts that are known to keep every token, and for no other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.engines.test_refusals import H100, QWEN_4B, refusal, said
from tests.unit.engines.test_shape import LLAMA
from tierwise import reasons
from tierwise.engines import GPU, model_shape

# Sizes as mistralai/Mamba-Codestral-7B-v0.1 has them: no layer of it keeps a cache that grows.
MAMBA2: dict[str, Any] = {
    "model_type": "mamba2",
    "hidden_size": 4096,
    "num_hidden_layers": 64,
    "num_heads": 128,
    "head_dim": 64,
    "state_size": 128,
    "n_groups": 8,
    "vocab_size": 32768,
}
# All but every eighth layer are linear.
LINEAR: dict[str, Any] = LLAMA | {
    "model_type": "bailing_hybrid",
    "num_hidden_layers": 80,
    "hidden_size": 8192,
    "num_attention_heads": 64,
    "layer_group_size": 8,
    "max_position_embeddings": 262144,
    "rope_scaling": None,
}
EIGHT: dict[str, Any] = {"parallelism": {"tensor": 8}, "resources": {"gpus": 8}}


def test_a_model_without_a_cache_that_grows() -> None:
    shape = model_shape(MAMBA2, {"metadata": {"total_size": 14_572_000_000}})
    assert (shape.attention_layers, shape.window_layers, shape.parameters) == (None, None, None)
    assert (shape.attention_heads, shape.kv_heads, shape.head_dim) == (None, None, None)
    assert said(H100, shape=shape, contextLength=32768) == []
    three: dict[str, Any] = {"parallelism": {"tensor": 3}, "resources": {"gpus": 3}}
    assert [each.reason for each in said(shape=shape, **three) if each.fatal] == []


def test_a_model_with_few_layers_whose_cache_grows() -> None:
    shape = model_shape(LINEAR, {"metadata": {"total_size": 208_000_000_000}})
    assert shape.attention_layers is None
    h200 = GPU("NVIDIA-H200", (9, 0), 143771, 580)
    assert said(h200, shape=shape, contextLength=262144, **EIGHT) == []


@pytest.mark.parametrize("kind", ["", "kimi_linear", "qwen3_next", "zamba2", "gemma3n", "something_new"])
def test_a_type_that_is_not_known_is_not_sized(kind: str) -> None:
    shape = model_shape(LLAMA | {"model_type": kind})
    assert (shape.attention_layers, shape.window_layers, shape.parameters) == (None, None, None)
    assert shape.layers == 32  # what the file says plainly is still read


def test_a_mixture_is_sized_by_what_its_file_tells_of_each_layer() -> None:
    kinds = (["linear_attention"] * 3 + ["full_attention"]) * 8
    mixed = model_shape(LLAMA | {"model_type": "qwen3_next", "layer_types": kinds, "full_attention_interval": 4})
    assert (mixed.attention_layers, mixed.window_layers, mixed.parameters) == (8, 0, None)


@pytest.mark.parametrize(
    "notation",
    [{"is_causal": False}, {"rswa_window": 4096}, {"layer_group_size": 8}, {"num_kv_shared_layers": 4}],
)
def test_a_known_type_may_say_that_it_is_another(notation: dict[str, Any]) -> None:
    assert model_shape(LLAMA | notation).attention_layers is None


def test_kv_heads_are_as_many_as_the_file_says_or_the_type_implies() -> None:
    untold = {name: value for name, value in LLAMA.items() if name != "num_key_value_heads"}
    assert model_shape(untold).kv_heads == 32  # the first Llama models had no such key
    assert model_shape(untold | {"model_type": "mistral"}).kv_heads is None  # 8 where it is left out
    assert model_shape(untold | {"model_type": "falcon"}).kv_heads == 1
    assert model_shape(untold | {"model_type": "falcon", "multi_query": False}).kv_heads == 32


def test_a_window_that_is_left_out_is_not_none() -> None:
    untold = {name: value for name, value in QWEN_4B.items() if name not in ("sliding_window", "use_sliding_window")}
    assert model_shape(untold).attention_layers == 36
    assert model_shape(untold | {"model_type": "mistral"}).attention_layers is None  # 4096 where it is left out
    assert model_shape(untold | {"model_type": "mistral", "sliding_window": None}).attention_layers == 36


def test_what_is_known_is_sized_as_before() -> None:
    l4 = GPU("NVIDIA-L4", (8, 9), 23034, 580)
    assert refusal(l4, shape=model_shape(QWEN_4B), contextLength=120000).reason == reasons.CONTEXT_DOES_NOT_FIT


def test_a_count_is_the_same_under_every_name() -> None:
    step = {name: value for name, value in LLAMA.items() if name != "num_key_value_heads"} | {"num_attention_groups": 8}
    assert model_shape(step) == model_shape(LLAMA)
    assert model_shape(step).parameters == model_shape(LLAMA).parameters
