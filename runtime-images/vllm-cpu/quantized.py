"""Stores a linear layer's weights in each quantized format.

Round to nearest: the formats are what is tried here, not clever rounding. Each scheme has what goes into
`quantization_config` and a function from the weight [outputs, inputs] to the tensors of the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from checkpoint import Tensor, bfloat16, float8, tensor

Matrix: TypeAlias = np.ndarray
GROUP = 64
_TINY = 1e-8
_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # which of eight columns each nibble holds, lowest first


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way of storing."""

    config: Mapping[str, Any]
    store: Callable[[Matrix], dict[str, Tensor]]


def _part(bits: int, kind: str, strategy: str, *, group: int | None = None, dynamic: bool = False) -> dict[str, Any]:
    return {
        "num_bits": bits, "type": kind, "symmetric": True, "strategy": strategy, "group_size": group,
        "dynamic": dynamic,
    }  # fmt: skip


def _compressed(form: str, weights: dict[str, Any], activations: dict[str, Any] | None) -> dict[str, Any]:
    group = {
        "targets": ["Linear"], "weights": weights, "input_activations": activations, "output_activations": None,
    }  # fmt: skip
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": group},
    }


def _pack(nibbles: Matrix, axis: int) -> Matrix:
    """Eight 4-bit values along an axis in one int32, the lowest first."""
    split = np.moveaxis(nibbles, axis, -1).astype(np.uint32)
    split = split.reshape(*split.shape[:-1], -1, 8) << (4 * np.arange(8, dtype=np.uint32))
    return np.moveaxis(np.bitwise_or.reduce(split, axis=-1), -1, axis).view(np.int32)


def _signed_groups(weight: Matrix, most: int) -> tuple[Matrix, Matrix]:
    """Symmetric rounding in groups of inputs: values from -most - 1 to most, and a scale per output and group."""
    groups = weight.reshape(len(weight), -1, GROUP)
    scale = np.maximum(np.abs(groups).max(axis=-1, keepdims=True) / most, _TINY)
    values = np.clip(np.round(groups / scale), -most - 1, most)
    return values.reshape(weight.shape).astype(np.int32), scale[..., 0].astype(np.float32)


def _int8(weight: Matrix) -> dict[str, Tensor]:
    scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True) / 127, _TINY).astype(np.float32)
    return {"weight": tensor(np.round(weight / scale).astype(np.int8)), "weight_scale": tensor(scale)}


def _fp8(weight: Matrix) -> dict[str, Tensor]:
    scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True) / 448, _TINY).astype(np.float32)
    return {"weight": float8(weight / scale), "weight_scale": tensor(scale)}


def _w4a16(weight: Matrix) -> dict[str, Tensor]:
    values, scale = _signed_groups(weight, 7)
    return {
        "weight_packed": tensor(_pack(values + 8, 1)),
        "weight_scale": bfloat16(scale),
        "weight_shape": tensor(np.array(weight.shape, np.int64)),
    }


def _gptq(weight: Matrix) -> dict[str, Tensor]:
    values, scale = _signed_groups(weight, 7)
    zeros = np.full(scale.T.shape, 7, np.int32)  # the zero point 8, less one as the format has it
    return {
        "qweight": tensor(_pack((values + 8).T, 0)),
        "qzeros": tensor(_pack(zeros, 1)),
        "scales": tensor(scale.T.astype(np.float16)),
        "g_idx": tensor((np.arange(weight.shape[1]) // GROUP).astype(np.int32)),
    }


def _awq(weight: Matrix) -> dict[str, Tensor]:
    groups = weight.reshape(len(weight), -1, GROUP)
    low, high = groups.min(axis=-1, keepdims=True), groups.max(axis=-1, keepdims=True)
    scale = np.maximum((high - low) / 15, _TINY)
    zero = np.clip(np.round(-low / scale), 0, 15)
    values = np.clip(np.round(groups / scale) + zero, 0, 15).reshape(weight.shape)

    def ordered(matrix: Matrix) -> Matrix:
        return _pack(matrix.reshape(len(matrix), -1, 8)[:, :, _AWQ_ORDER].reshape(matrix.shape), 1)

    return {
        "qweight": tensor(ordered(values.T)),
        "qzeros": tensor(ordered(zero[..., 0].T)),
        "scales": tensor(scale[..., 0].T.astype(np.float16)),
    }


_GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": False, "sym": True, "lm_head": False,
         "checkpoint_format": "gptq"}  # fmt: skip
_AWQ = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"}
_PER_TOKEN_INT = _part(8, "int", "token", dynamic=True)
_PER_TOKEN_FLOAT = _part(8, "float", "token", dynamic=True)
SCHEMES = {
    "int8": Scheme(_compressed("int-quantized", _part(8, "int", "channel"), _PER_TOKEN_INT), _int8),
    "w4a16": Scheme(_compressed("pack-quantized", _part(4, "int", "group", group=GROUP), None), _w4a16),
    "awq": Scheme(_AWQ, _awq),
    "gptq": Scheme(_GPTQ, _gptq),
    "fp8": Scheme(_compressed("float-quantized", _part(8, "float", "channel"), _PER_TOKEN_FLOAT), _fp8),
    "gptq-desc-act": Scheme(_GPTQ | {"desc_act": True}, _gptq),
}
