"""Which of a spec's `extraArgs` change how much memory or which type of numbers the engine uses?

The few that the checks of memory and hardware have to know; what a value may look like is checked in `extra`.
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
        return float(said) if said is not None else default
    except ValueError:
        return default  # `extra` refuses it


def kv_cache_bytes(extra: Sequence[str]) -> int | None:
    """The bytes of the KV cache on one GPU, when they are fixed; the engine's own units, where k is 1000 and K 1024."""
    said = value(extra, "--kv-cache-memory-bytes")
    if not said:
        return None
    digits = said.rstrip("kKmMgG")
    return int(digits) * _UNITS.get(said[len(digits) :], 1) if digits.isdecimal() else None


def has(extra: Sequence[str], name: str) -> bool:
    """Whether the switch or option is among `extra`."""
    return any(argument == name or argument.startswith(f"{name}=") for argument in extra)
