"""Checks whether whoever installed the operator allows what a spec asks for.

What is allowed is said to the operator by its chart, and known only while a decision is made: rendering does not ask
again, and nothing is refused where nobody has said anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from tierwise.api.modeltier import ModelSource, ModelTierSpec
from tierwise.engines.finding import Finding
from tierwise.engines.speculation import NEEDS_DRAFT_MODEL
from tierwise.reasons import HOST_PATH_NOT_ALLOWED, HUB_OFFLINE, REMOTE_CODE_NOT_ALLOWED
from tierwise.types.capabilities import EngineRules

_HUB = "hf://"


def check_engine_rules(spec: ModelTierSpec, model: ModelSource, engine_rules: EngineRules | None) -> list[Finding]:
    """What is not allowed here: fatal findings."""
    if engine_rules is None:
        return []
    found = []
    path = spec.model_cache.host_path if spec.model_cache is not None else None
    if path is not None and not _below(path, engine_rules.host_paths):
        allowed = ", ".join(engine_rules.host_paths) or "none"
        message = f"modelCache.hostPath: {path} is in no folder of the chart value engines.hostPaths ({allowed})"
        found.append(Finding(HOST_PATH_NOT_ALLOWED, message))
    if model.trust_remote_code == "Enabled" and not engine_rules.remote_code:
        message = "model.trustRemoteCode: the chart value engines.trustRemoteCode does not allow code of checkpoints"
        found.append(Finding(REMOTE_CODE_NOT_ALLOWED, message))
    if engine_rules.offline and not _kept(spec, model):
        for field, uri in _from_hub(spec, model):
            message = f"{field}: engines ask no hub here (chart value hub.offline), and {uri} is kept nowhere"
            found.append(Finding(HUB_OFFLINE, f"{message}: set modelCache.pvc to a claim that has it, or use pvc://"))
    return found


def _from_hub(spec: ModelTierSpec, model: ModelSource) -> Iterator[tuple[str, str]]:
    """What a pod would download, by the field that names it."""
    if model.uri.startswith(_HUB):
        yield "model.uri", model.uri
    for adapter in model.adapters:
        if adapter.uri.startswith(_HUB):
            yield f"model.adapters {adapter.name}", adapter.uri
    drafting = spec.speculation
    if drafting.mode != "Disabled" and drafting.method in NEEDS_DRAFT_MODEL and drafting.draft_model is not None:
        yield "speculation.draftModel", drafting.draft_model


def _below(path: str, folders: tuple[str, ...]) -> bool:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    allowed = ([part for part in folder.split("/") if part not in ("", ".")] for folder in folders)
    return ".." not in parts and any(parts[: len(each)] == each for each in allowed)


def _kept(spec: ModelTierSpec, model: ModelSource) -> bool:
    """Whether weights may be there before a pod starts."""
    cache = spec.model_cache
    return model.cache_pvc is not None or (cache is not None and bool(cache.pvc or cache.host_path))
