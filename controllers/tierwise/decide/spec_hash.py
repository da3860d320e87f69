"""Writes a spec in a form that later releases recognize, and hashes it.

Two things outlive a decision and belong to a spec: the last spec that served, and the learned capacity of one replica.
Both are in the status, and the next release of the operator must understand them. So a spec is kept as it was written:
a field at its default is left out, and a release that adds fields changes no text. The default engine release is the
exception, as it depends on our release: the engine is always written out, or a rollback would lead to an engine that
never served.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tierwise.api.modeltier import ModelTierSpec

# They follow the present spec at all times: none of them is part of a replica.
FOLLOWING = ("scaling", "replicas", "price", "rollout", "pools", "priority")


def canonical_spec(spec: ModelTierSpec, *without: str) -> str:
    """The fields of a spec that make a replica, but for the fields `without`: equal specs give equal text."""
    body = spec.model_dump(mode="json", by_alias=True, exclude={*FOLLOWING, *without}, exclude_defaults=True)
    engine = {**body.get("engine", {}), "name": spec.engine.name, "version": spec.engine.version}
    return json.dumps(_filled({**body, "engine": engine}), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def fingerprint(text: str) -> str:
    """Twelve characters that change when what is kept changes. `text` as by `canonical_spec`."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _filled(body: Any) -> Any:
    """Without what is empty."""
    if not isinstance(body, dict):
        return body
    below = {name: _filled(value) for name, value in body.items()}
    return {name: value for name, value in below.items() if value not in ({}, [])}
