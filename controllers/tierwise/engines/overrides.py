"""Renders what is said instead of the model's config.json, from a closed list.

The engine takes a dictionary of position embeddings instead of the file's, so it is written whole. With YaRN the engine
expects max_position_embeddings to be stretched already, and for the other types it applies the factor itself: the
number is written so that the context is the original one times the factor in either case (config/model.py,
`_get_and_verify_max_len`).
"""

from __future__ import annotations

import json
from decimal import Decimal

from tierwise.api.model_source import Overrides, RopeOverride


def stretched_context(rope: RopeOverride) -> int:
    """The longest context that the engine takes with these position embeddings, in tokens."""
    return int(rope.original_context_length * Decimal(rope.factor))


def config_overrides(overrides: Overrides | None) -> str | None:
    """The value of --hf-overrides; None when nothing is said."""
    rope = overrides.rope if overrides is not None else None
    if rope is None:
        return None
    positions = stretched_context(rope) if rope.type == "yarn" else rope.original_context_length
    parameters: dict[str, object] = {
        "factor": float(rope.factor),
        "original_max_position_embeddings": rope.original_context_length,
        "rope_theta": float(rope.theta),
        "rope_type": rope.type,
    }
    said = {"max_position_embeddings": positions, "rope_parameters": parameters}
    return json.dumps(said, sort_keys=True, separators=(",", ":"))
