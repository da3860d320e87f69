"""Holds the published config.json of real models, as far as anything here reads them."""

from __future__ import annotations

from typing import Any

# https://huggingface.co/Qwen/Qwen3-8B
QWEN3_8B: dict[str, Any] = {
    "model_type": "qwen3",
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "sliding_window": None,
    "use_sliding_window": False,
    "max_position_embeddings": 40960,
}
