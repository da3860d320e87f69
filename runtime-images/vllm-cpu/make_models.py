#!/usr/bin/env python3
"""Makes tiny models whose every answer is known beforehand, without a download.

A tiny Llama, written here from a seed. Its layers change the hidden state, but never so much that the next token
depends on more than the last one: `lm_head` row next(t) is the embedding of t. From `<|assistant|>` on, greedy
decoding says "abcdefgh" for ever; n-gram drafts of such text are accepted, and a quantized copy says the same with
slightly other log-probabilities, which is how one sees that its quantized layers take part.

`make_models.py FOLDER` writes one folder per model. Equal seeds give byte-equal files: the random numbers are those
of numpy's `RandomState`, whose stream is frozen, and the files are written here (quantized.py, checkpoint.py).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from checkpoint import Tensor, bfloat16, write_safetensors
from quantized import SCHEMES, Matrix
from tokenizer import ASSISTANT, END, write_tokenizer

CYCLE = 8  # tokens until the answer repeats
FIRST = 64  # "a": the byte-level alphabet begins with "!"
INFLUENCE = 1.0  # of all layers together on the hidden state, relative to the embedding (at most)


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a model. Head size 32 and widths divisible by 128 are what the CPU kernels ask for."""

    layers: int = 4
    hidden: int = 256
    intermediate: int = 512
    heads: int = 8
    kv_heads: int = 4
    positions: int = 4096
    vocabulary: int = 512
    errs_every: int = 0  # the successor of every so many tokens is a wrong one: a draft model that is sometimes wrong

    @property
    def head(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model: its sizes and how its linear layers are stored (a key of SCHEMES; "" keeps bfloat16)."""

    shape: Shape
    scheme: str = ""


_SMALL = Shape()
RECIPES = {
    "plain": Recipe(_SMALL),
    "int8": Recipe(_SMALL, "int8"),
    "w4a16": Recipe(_SMALL, "w4a16"),
    "awq": Recipe(_SMALL, "awq"),
    "gptq": Recipe(_SMALL, "gptq"),
    "fp8": Recipe(_SMALL, "fp8"),
    # About ten times as long per token: streams last long enough to be watched, and requests queue.
    "slow": Recipe(replace(_SMALL, layers=64)),
    "slow-int8": Recipe(replace(_SMALL, layers=64), "int8"),
    "draft": Recipe(replace(_SMALL, layers=1, errs_every=4)),
}
# What the engine refuses, to prove that a refusal of ours is true.
REFUSED = {
    "gptq-desc-act": Recipe(_SMALL, "gptq-desc-act"),
    "draft-other-vocabulary": Recipe(replace(_SMALL, layers=1, vocabulary=768)),
}


def successors(shape: Shape) -> np.ndarray:
    """The token that follows each token."""
    tokens = np.arange(shape.vocabulary)
    following = tokens - tokens % CYCLE + (tokens + 1) % CYCLE
    if shape.errs_every:
        following = np.where(tokens % shape.errs_every == 0, (following + CYCLE) % shape.vocabulary, following)
    following[ASSISTANT] = FIRST
    return following


def linears(shape: Shape, layers: int) -> dict[str, tuple[int, int, float]]:
    """The linear layers of one block: outputs, inputs, standard deviation of the weights."""
    hidden, inner, kv = shape.hidden, shape.intermediate, shape.kv_heads * shape.head
    flat, out = 1 / np.sqrt(hidden), INFLUENCE / (2 * layers)
    return {
        "self_attn.q_proj": (hidden, hidden, flat),
        "self_attn.k_proj": (kv, hidden, flat),
        "self_attn.v_proj": (kv, hidden, flat),
        "self_attn.o_proj": (hidden, hidden, out * flat),
        "mlp.gate_proj": (inner, hidden, flat),
        "mlp.up_proj": (inner, hidden, flat),
        "mlp.down_proj": (hidden, inner, out / np.sqrt(inner)),
    }


def tensors(recipe: Recipe, seed: int) -> dict[str, Tensor]:
    """All tensors of a model. Every block has the same weights, so that a deep model costs no more to make."""
    shape, chance = recipe.shape, np.random.RandomState(seed)
    # Drawn first and for all shapes alike: models of one seed share their embeddings, hence their answers.
    embedding = chance.standard_normal((shape.vocabulary, shape.hidden)).astype(np.float32)
    embedding *= np.sqrt(shape.hidden) / np.linalg.norm(embedding, axis=1, keepdims=True)
    head = np.zeros_like(embedding)
    np.add.at(head, successors(shape), embedding / np.sqrt(shape.hidden))
    ones = np.ones(shape.hidden, np.float32)
    found = {"model.embed_tokens.weight": bfloat16(embedding), "lm_head.weight": bfloat16(head)}
    found["model.norm.weight"] = bfloat16(ones)
    block: dict[str, Tensor] = {
        f"{norm}.weight": bfloat16(ones) for norm in ("input_layernorm", "post_attention_layernorm")
    }
    for name, (outputs, inputs, deviation) in linears(shape, shape.layers).items():
        weight: Matrix = (chance.standard_normal((outputs, inputs)) * deviation).astype(np.float32)
        stored = SCHEMES[recipe.scheme].store(weight) if recipe.scheme else {"weight": bfloat16(weight)}
        block.update({f"{name}.{part}": tensor for part, tensor in stored.items()})
    for layer in range(shape.layers):
        found.update({f"model.layers.{layer}.{name}": tensor for name, tensor in block.items()})
    return found


def config(recipe: Recipe) -> dict[str, object]:
    """The model's config.json."""
    shape = recipe.shape
    found: dict[str, object] = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": None,
        "dtype": "bfloat16",
        "eos_token_id": END,
        "head_dim": shape.head,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "max_position_embeddings": shape.positions,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "vocab_size": shape.vocabulary,
    }
    if recipe.scheme:
        found["quantization_config"] = SCHEMES[recipe.scheme].config
    return found


def write_model(folder: Path, recipe: Recipe, seed: int) -> None:
    """Write one model's folder: config.json, the weights, the tokenizer. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config(recipe))
    write_json(folder / "generation_config.json", {"eos_token_id": END})
    write_tokenizer(folder, recipe.shape.vocabulary, recipe.shape.positions)
    write_safetensors(folder / "model.safetensors", tensors(recipe, seed))


def write_json(path: Path, content: object) -> None:
    """Write a JSON file, keys sorted. Raises OSError."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def main(given: Sequence[str] | None = None) -> int:
    """Write the models that the command line names, all by default."""
    known = {**RECIPES, **REFUSED}
    parser = argparse.ArgumentParser(description="Write tiny models with known answers, each into a folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=sorted(known), default=sorted(known), metavar="MODEL")
    options = parser.parse_args(given)
    for name in options.only:
        write_model(options.folder / name, known[name], options.seed)
        print(f"{name}: {options.folder / name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
