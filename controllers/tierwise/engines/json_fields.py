"""Reads values from JSON of unknown origin.

There is one typed look-up per kind of value. A value that is missing, of another type or absurd is None (or empty).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LARGEST = 10**15  # more than the bytes of any checkpoint
_LONGEST_WORD = 256


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` when it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def integer(source: Mapping[str, Any], *names: str) -> int | None:
    """The first of `names` that holds a positive whole number up to LARGEST."""
    for name in names:
        value = source.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST:
            return value
    return None


def fraction(source: Mapping[str, Any], name: str) -> float | None:
    """A positive number up to a million."""
    value = source.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1_000_000:
        return float(value)
    return None


def flag(source: Mapping[str, Any], name: str) -> bool:
    """True only for true."""
    return source.get(name) is True


def word(source: Mapping[str, Any], name: str) -> str:
    """A short text, else an empty one."""
    value = source.get(name)
    return value if isinstance(value, str) and len(value) <= _LONGEST_WORD else ""
