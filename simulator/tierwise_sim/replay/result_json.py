"""Writes results as JSON: the same result gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

from tierwise_sim.replay.result import SimulationResult


def as_json(results: SimulationResult | list[SimulationResult]) -> str:
    """One result, or a list of them, as indented JSON. Money is written as decimal strings."""
    return json.dumps(plain(results), indent=1, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """A result as dictionaries, lists, strings and numbers."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value
