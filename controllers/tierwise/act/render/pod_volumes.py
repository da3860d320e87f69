"""Renders the volumes of a pod and where its container finds them."""

from __future__ import annotations

from typing import Any

from tierwise.api.modeltier import ModelSource, ModelTierSpec
from tierwise.api.pod import ModelCache

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
    return found


def mounts(spec: ModelTierSpec) -> list[dict[str, Any]]:
    """Where the container finds them."""
    found: list[dict[str, Any]] = [
        {"mountPath": SHARED_MEMORY, "name": "dshm"},
        {"mountPath": HOME, "name": "home"},
        {"mountPath": HUB_CACHE, "name": "huggingface"},
    ]
    if spec.certificates is not None:
        found.append({"mountPath": _CERTIFICATES, "name": "certificates", "readOnly": True})
    return found


def _hub_cache(cache: ModelCache | None, claim: str | None) -> dict[str, Any]:
    if cache is None or cache.pvc is not None:
        name = cache.pvc if cache is not None else claim
        return {"emptyDir": {}} if name is None else {"persistentVolumeClaim": {"claimName": name}}
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
