"""Carries LoRA adapters, and position embeddings other than the checkpoint's, over into a tier."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tierwise_cli.convert.draft import Draft
from tierwise_cli.convert.words import Flag

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_NAMED = "an adapter is NAME=ORG/REPO of the hub, or on a claim: name it in model.adapters"
_ROPE = {"rope_type": "type", "factor": "factor", "original_max_position_embeddings": "originalContextLength"}


def _modules(flag: Flag, draft: Draft) -> str:
    """--lora-modules name=path ..., or a JSON object for each."""
    for value in flag.values:
        try:
            found: dict[str, Any] = json.loads(value) if value.startswith("{") else {}
        except ValueError:
            found = {}
        name, _, path = value.partition("=") if not found else (str(found.get("name")), "", str(found.get("path")))
        if not name or not _REPOSITORY.fullmatch(path):
            draft.drop(flag.shown, value, _NAMED)
            continue
        rank = draft.get("model.adapters", [{}])[0].get("rank")
        one = {"name": name, "uri": f"hf://{path}", **({"rank": rank} if rank else {})}
        draft.put("model.adapters", [*draft.get("model.adapters", []), one], flag.shown)
    return ""


def _enabled(flag: Flag, draft: Draft) -> str:
    """The switch has no field: adapters that are named are what turns it on."""
    return "" if draft.get("model.adapters") or flag.value.lower() == "false" else "name the adapters in model.adapters"


def _slots(flag: Flag, draft: Draft) -> str:
    if not flag.value.isdigit() or not 1 <= int(flag.value) <= 32:
        return "model.adapterSlots is a number from 1 to 32"
    if not draft.get("model.adapters"):
        return "name the adapters in model.adapters; then it is model.adapterSlots"
    draft.put("model.adapterSlots", int(flag.value), flag.written)
    return ""


def _rank(flag: Flag, draft: Draft) -> str:
    if not flag.value.isdigit() or not draft.get("model.adapters"):
        return "name the adapters in model.adapters, each with its rank"
    kept = [{**each, "rank": int(flag.value)} for each in draft.get("model.adapters")]
    draft.put("model.adapters", kept, flag.written)
    return ""


def _overrides(flag: Flag, draft: Draft) -> str:
    """--hf-overrides: of it, the position embeddings."""
    try:
        found = json.loads(flag.value)
        rope = dict(found.pop("rope_scaling", None) or found.pop("rope_parameters", None) or {})
        theta = rope.pop("rope_theta", None) or found.pop("rope_theta", None)
    except (ValueError, AttributeError, TypeError):
        return "it is no JSON object; use model.overrides"
    for key, value in found.items():
        draft.drop(f"{flag.shown} {key}", value, "model.overrides is a closed list")
    if not rope:
        return ""
    rope["rope_type"] = rope.get("rope_type") or rope.pop("type", None)
    values = {field: rope.pop(key, None) for key, field in _ROPE.items()}
    try:
        theta = None if theta is None else float(theta)
    except (TypeError, ValueError):
        return "the rope_theta is no number"
    if None in values.values() or theta is None:
        return "model.overrides.rope needs its type, factor, original context length, and the rope_theta of config.json"
    values["factor"], values["theta"] = str(values["factor"]), f"{theta:.3f}".rstrip("0").rstrip(".")
    draft.put("model.overrides.rope", values, flag.written)
    for key, value in rope.items():
        draft.drop(f"{flag.shown} {key}", value, "model.overrides is a closed list")
    return ""


FIELDS: dict[str, Callable[[Flag, Draft], str]] = {
    "--enable-lora": _enabled,
    "--hf-overrides": _overrides,
    "--lora-modules": _modules,
    "--max-lora-rank": _rank,
    "--max-loras": _slots,
}
