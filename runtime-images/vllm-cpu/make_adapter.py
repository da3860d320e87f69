#!/usr/bin/env python3
"""Makes a LoRA adapter for the tiny models, from a seed and without a download.

It adds to the last layer's attention so much of one token's embedding that the next token no longer depends on the last
one: with the adapter the model says something else than "abcdefgh", and the same every time.

`make_adapter.py FOLDER` writes adapter_config.json and adapter_model.safetensors as PEFT does. Equal seeds give
byte-equal files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from checkpoint import Tensor, bfloat16, write_safetensors
from make_models import FIRST, RECIPES, Recipe, write_json

TOKEN = FIRST + 12  # "m"
RANK = 8
STRENGTH = 50.0  # against all else in the hidden state
MODULE = "self_attn.o_proj"


def adapter(recipe: Recipe, seed: int, token: int = TOKEN) -> dict[str, Tensor]:
    """The adapter's tensors: what goes in is read in random directions, what comes out is one embedding."""
    shape = recipe.shape
    embedding = np.random.RandomState(0).standard_normal((shape.vocabulary, shape.hidden)).astype(np.float32)
    direction = embedding[token] / np.linalg.norm(embedding[token])
    chance = np.random.RandomState(seed)
    reads = chance.standard_normal((RANK, shape.hidden)).astype(np.float32)
    writes = np.outer(direction, np.full(RANK, STRENGTH, np.float32))
    place = f"base_model.model.model.layers.{shape.layers - 1}.{MODULE}"
    return {f"{place}.lora_A.weight": bfloat16(reads), f"{place}.lora_B.weight": bfloat16(writes)}


def main(given: Sequence[str] | None = None) -> int:
    """Write the adapter for the model `plain`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(given)
    options.folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(options.folder / "adapter_model.safetensors", adapter(RECIPES["plain"], options.seed))
    described = {
        "base_model_name_or_path": "plain",
        "bias": "none",
        "lora_alpha": RANK,
        "peft_type": "LORA",
        "r": RANK,
        "target_modules": [MODULE.rpartition(".")[2]],
        "task_type": "CAUSAL_LM",
    }
    write_json(options.folder / "adapter_config.json", described)
    return 0


if __name__ == "__main__":
    sys.exit(main())
