"""Builds the specs that the cases of the CRD are changes of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Spec = dict[str, Any]
HF, PVC = "hf://Qwen/Qwen3-8B", "pvc://weights/qwen3"


@dataclass(frozen=True)
class Case:
    """A spec, and the name of the object; `before` is the spec that the object has when `spec` is written."""

    id: str
    spec: Spec
    name: str = "chat"
    before: Spec | None = None
    says: str = field(default="", compare=False)


def served(changes: Mapping[str, Any] | None = None, **model: Any) -> Spec:
    """A tier that is served here: the plainest one, with `model` and `changes` over it."""
    return {"model": {"name": "chat", "uri": HF, **model}, **(changes or {})}


def external(changes: Mapping[str, Any] | None = None, **api: Any) -> Spec:
    """A tier that is served by somebody else."""
    plain = {
        "baseURL": "https://api.example.com/v1",
        "model": "big-1",
        "apiKeySecretRef": {"name": "provider"},
        "prices": {"input": "2", "output": "10"},
    }
    return {"external": {**plain, **api}, **(changes or {})}


def placed(**placement: Any) -> Spec:
    """A tier with a placement."""
    return served({"placement": placement})
