"""Tells whether a Deployment has reached what was rendered for its tier.

KServe copies an InferenceService into a Deployment a moment later, and neither object says which spec of the tier it
comes from: a label with that information would be part of the pod template, and a change of it would restart GPUs. So
the pod template itself is the evidence. Its fingerprint is taken over the fields that a spec decides about, in a form
that the rendered predictor and the Deployment share. What KServe and the API server fill in or write differently
(defaults, "1000m" for "1", variables of KServe's own) is removed or normalized.

What people give names of their own (labels, annotations, variables) cannot be told from what others put beside it. A
pod that has any is rendered with a digest of itself, as an annotation, which the fingerprint includes.

If a cluster changes such a field on the way, the fingerprints never agree. What depends on them (that a spec has
served, that one cannot start) is then never reported.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tierwise.quantity import parse_quantity

CONTAINER = "kserve-container"  # the name by which KServe knows the container with the model
RENDERED = "tierwise.io/rendered"  # the annotation with what was rendered, as a digest
# Those that follow the spec; the others never vary, and KServe adds some of its own.
_VARIABLES = frozenset({"HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN", "STORAGE_URI", "VLLM_ENGINE_READY_TIMEOUT_S"})
_POD_FIELDS = (
    "nodeSelector",
    "priorityClassName",
    "runtimeClassName",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "tolerations",
)


def fingerprint(pod: Mapping[str, Any]) -> str:
    """Twelve characters that change when a spec changes what runs: of a predictor as rendered, or of a pod template's
    spec with the template's `annotations` beside it. Raises nothing for what is missing; that counts as empty."""
    container = next((each for each in _items(pod, "containers") if each.get("name") == CONTAINER), {})
    variables = [each for each in _items(container, "env") if each.get("name") in _VARIABLES]
    kept: dict[str, Any] = {
        "args": container.get("args"),
        "command": container.get("command"),
        "env": sorted([str(each.get("name")), each.get("value"), each.get("valueFrom")] for each in variables),
        "image": container.get("image"),
        "resources": _amounts(_below(container, "resources")),
        "startup": _below(container, "startupProbe").get("failureThreshold"),
        "pull": sorted(str(each.get("name")) for each in _items(pod, "imagePullSecrets")),
        "volumes": sorted(_volume(each) for each in _items(pod, "volumes")),
        "user": _below(pod, "securityContext").get("runAsUser"),
        "pod": {name: pod[name] for name in _POD_FIELDS if pod.get(name)},
    }
    if rendered := _below(pod, "annotations").get(RENDERED):
        kept["rendered"] = rendered
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _items(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = body.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list | tuple) else []


def _below(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = body.get(name)
    return found if isinstance(found, Mapping) else {}


def _amounts(resources: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {
        kind: {name: str(parse_quantity(value)) for name, value in _below(resources, kind).items()}
        for kind in ("limits", "requests")
    }


def _volume(volume: Mapping[str, Any]) -> list[str]:
    claim = _below(volume, "persistentVolumeClaim").get("claimName")
    size = _below(volume, "emptyDir").get("sizeLimit", 0)
    return [str(volume.get("name")), str(claim), str(parse_quantity(size))]
