"""Determines the number type in which the engine computes a model.

The rule is that of vLLM's config/model.py (`_resolve_auto_dtype`, `_FLOAT16_NOT_SUPPORTED_MODELS`, equal in 0.30, 0.32
and 0.33): the requested type, else the model's own type if the GPU and the engine have it for this model, else the
first type that they have.
"""

from __future__ import annotations

from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import arg_values
from tierwise.engines.hardware import NATIVE_BFLOAT16, Hardware
from tierwise.engines.methods import Capability
from tierwise.types.capabilities import ModelShape


def computed_dtype(
    spec: ModelTierSpec, shape: ModelShape | None, hardware: Hardware, capability: Capability | None
) -> str | None:
    """float16, bfloat16 or float32 on a GPU of this capability (None: any GPU); None when that is not certain."""
    asked = arg_values.dtype(spec.extra_args)
    if asked != "auto":
        return asked
    if shape is None or not shape.model_type:
        return None
    takes_float16 = shape.model_type not in hardware.no_float16
    if capability is not None and capability < NATIVE_BFLOAT16:
        return "float16" if takes_float16 else "float32"
    if shape.dtype == "float16" and takes_float16:
        return "float16"
    return "bfloat16" if shape.dtype and capability is not None else None
