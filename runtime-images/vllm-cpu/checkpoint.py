"""Writes tensors as safetensors files, with equal bytes every time.

The safetensors format is a length, a JSON header and the raw tensors; written here, in sorted order, it depends on
no library's version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as it lies in the file; `kind` is safetensors' name of its type."""

    kind: str
    shape: tuple[int, ...]
    data: bytes


def tensor(values: np.ndarray) -> Tensor:
    """A tensor of a type that numpy has."""
    kinds = {"float32": "F32", "float16": "F16", "int8": "I8", "int32": "I32", "int64": "I64"}
    return Tensor(kinds[values.dtype.name], values.shape, np.ascontiguousarray(values).tobytes())


def bfloat16(values: np.ndarray) -> Tensor:
    """Rounded to bfloat16, ties to even: the upper half of a float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return Tensor("BF16", values.shape, rounded.astype(np.uint16).tobytes())


def _e4m3_values() -> np.ndarray:
    """The non-negative values of float8 e4m3fn by their seven bits; 0x7f is NaN and left out."""
    codes = np.arange(0x7F)
    exponent, mantissa = codes >> 3, codes & 7
    return np.where(exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0 ** (exponent - 7.0))


E4M3 = _e4m3_values()


def float8(values: np.ndarray) -> Tensor:
    """The nearest float8 e4m3fn; a tie goes to the smaller magnitude."""
    size = np.minimum(np.abs(values), E4M3[-1])
    above = np.searchsorted(E4M3, size).clip(1)
    code = np.where(size - E4M3[above - 1] <= E4M3[above] - size, above - 1, above)
    return Tensor("F8_E4M3", values.shape, (code | np.where(values < 0, 0x80, 0)).astype(np.uint8).tobytes())


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a file of tensors in the order of their names. Raises OSError."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(tensors):
        begin, end = end, end + len(tensors[name].data)
        header[name] = {"dtype": tensors[name].kind, "shape": tensors[name].shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of eight
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(tensors):
            file.write(tensors[name].data)
