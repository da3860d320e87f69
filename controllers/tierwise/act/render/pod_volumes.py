"""Renders the volumes of a pod and where its container finds them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from tierwise.api.modeltier import ModelSource, ModelTierSpec
from tierwise.api.pod import ModelCache
from tierwise.engines import CHAT_TEMPLATE
from tierwise.engines.adapters import fetched, folder

_PVC = "pvc://"
HOME = "/home/tierwise"
HUB_CACHE = "/mnt/huggingface"
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the place itself, not a temporary file
_CERTIFICATES = "/etc/tierwise/certificates"
CERTIFICATE = f"{_CERTIFICATES}/ca.crt"


def volumes(spec: ModelTierSpec, model: ModelSource) -> list[dict[str, Any]]:
    """The volumes of a pod, for a spec whose `model` is given."""
    found = [
        {"emptyDir": {"medium": "Memory", "sizeLimit": spec.resources.shared_memory}, "name": "dshm"},
        {"emptyDir": {}, "name": "home"},
        {"name": "huggingface", **_hub_cache(spec.model_cache, model.cache_pvc)},
    ]
    if spec.certificates is not None:
        items = [{"key": spec.certificates.key, "path": "ca.crt"}]
        found.append({"configMap": {"items": items, "name": spec.certificates.config_map_name}, "name": "certificates"})
    if model.chat_template is not None:
        items = [{"key": model.chat_template.key, "path": PurePosixPath(CHAT_TEMPLATE).name}]
        template = {"items": items, "name": model.chat_template.config_map_name}
        found.append({"configMap": template, "name": "chat-template"})
    if fetched(model):
        found.append({"emptyDir": {}, "name": "adapters"})
    return [*found, *({"name": name, **_claim(claim)} for claim, name in _adapter_claims(model).items())]


def mounts(spec: ModelTierSpec, model: ModelSource) -> list[dict[str, Any]]:
    """Where the container finds them."""
    found: list[dict[str, Any]] = [
        {"mountPath": SHARED_MEMORY, "name": "dshm"},
        {"mountPath": HOME, "name": "home"},
        {"mountPath": HUB_CACHE, "name": "huggingface"},
    ]
    if spec.certificates is not None:
        found.append({"mountPath": _CERTIFICATES, "name": "certificates", "readOnly": True})
    if model.chat_template is not None:
        folder_of_it = str(PurePosixPath(CHAT_TEMPLATE).parent)
        found.append({"mountPath": folder_of_it, "name": "chat-template", "readOnly": True})
    found += [
        {"mountPath": folder(model, each), "name": "adapters", "subPath": str(model.adapters.index(each))}
        for each in fetched(model)
    ]
    return [*found, *_claimed_adapters(model)]


def _claimed_adapters(model: ModelSource) -> list[dict[str, Any]]:
    claims, found = _adapter_claims(model), []
    for each in model.adapters:
        if each.uri.startswith(_PVC):
            claim, _, path = each.uri.removeprefix(_PVC).partition("/")
            mount: dict[str, Any] = {"mountPath": folder(model, each), "name": claims[claim], "readOnly": True}
            found.append(mount | ({"subPath": path} if path else {}))
    return found


def _adapter_claims(model: ModelSource) -> dict[str, str]:
    """The claims that have adapters, and what their volumes are called."""
    uris = (each.uri for each in model.adapters if each.uri.startswith(_PVC))
    claims = dict.fromkeys(uri.removeprefix(_PVC).partition("/")[0] for uri in uris)
    return {claim: f"adapters-{number}" for number, claim in enumerate(claims)}


def _claim(name: str) -> dict[str, Any]:
    return {"persistentVolumeClaim": {"claimName": name}}


def _hub_cache(cache: ModelCache | None, claim: str | None) -> dict[str, Any]:
    if cache is None or cache.pvc is not None:
        name = cache.pvc if cache is not None else claim
        return {"emptyDir": {}} if name is None else _claim(name)
    if cache.host_path is not None:
        return {"hostPath": {"path": cache.host_path, "type": "Directory"}}
    if cache.ephemeral is not None:
        claimed: dict[str, Any] = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": cache.ephemeral.size}},
        }
        if cache.ephemeral.storage_class_name is not None:
            claimed["storageClassName"] = cache.ephemeral.storage_class_name
        return {"ephemeral": {"volumeClaimTemplate": {"spec": claimed}}}
    limit = cache.empty_dir.size_limit if cache.empty_dir is not None else None
    return {"emptyDir": {} if limit is None else {"sizeLimit": limit}}
