"""Reads the values of `extraArgs` that change the engine's memory or number type.

Only the checks of memory and hardware need them. What a value may look like is checked in `extra_args`.
"""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = {"k": 1000, "m": 1000**2, "g": 1000**3, "K": 1024, "M": 1024**2, "G": 1024**3}
_DTYPES = {"half": "float16", "float": "float32"}


def value(extra: Sequence[str], name: str) -> str | None:
    """The value of --name=value, when it is among `extra`."""
    prefix = f"{name}="
    return next((argument.removeprefix(prefix) for argument in extra if argument.startswith(prefix)), None)


def dtype(extra: Sequence[str]) -> str:
    """The type that activations are asked to have: float16, bfloat16, float32, or auto."""
    said = value(extra, "--dtype") or "auto"
    return _DTYPES.get(said, said)


def memory_share(extra: Sequence[str], default: float) -> float:
    """The share of a GPU's memory that the engine may use, 0..1."""
    said = value(extra, "--gpu-memory-utilization")
    try:
        return float(said or 0) or default
    except ValueError:
        return default  # `extra` refuses it, and a share of 0 as well


def kv_cache_bytes(extra: Sequence[str]) -> int | None:
    """The bytes of the KV cache on one GPU, when they are fixed; the engine's own units, where k is 1000 and K 1024.
    0 is as good as nothing said (gpu_worker.py)."""
    said = value(extra, "--kv-cache-memory-bytes")
    if not said:
        return None
    digits = said.rstrip("kKmMgG")
    size = int(digits) * _UNITS.get(said[len(digits) :], 1) if digits.isdecimal() else 0
    return size or None


def number(extra: Sequence[str], name: str) -> int | None:
    """The whole number of --name=number, when it is among `extra`."""
    said = value(extra, name)
    return int(said) if said is not None and said.isdecimal() else None


def whole_prompts(extra: Sequence[str]) -> bool:
    """Whether prompts are read in one step: the last of the switch's two forms counts."""
    said = [argument for argument in extra if argument in ("--enable-chunked-prefill", "--no-enable-chunked-prefill")]
    return said[-1:] == ["--no-enable-chunked-prefill"]


def has(extra: Sequence[str], name: str) -> bool:
    """Whether the switch or option is among `extra`."""
    return any(argument == name or argument.startswith(f"{name}=") for argument in extra)
