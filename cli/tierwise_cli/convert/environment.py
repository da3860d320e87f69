"""Carries the variables of a container, and the labels and annotations of its pod, over into a tier."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from tierwise.api.pod import OPENING_VARIABLES, OWN_VARIABLES, RESERVED_DOMAINS, RESERVED_KEYS
from tierwise_cli.convert.draft import Draft, Reader

KUBECTL, KUBECTL_REASON = "kubectl.kubernetes.io/", "kubectl wrote it for the object that was converted: leave it out"
# About the object that was read, and nothing that a tier could have: no loss.
BOOKKEEPING = (f"{KUBECTL}last-applied-configuration", f"{KUBECTL}restartedAt")
MOST_VARIABLES, MOST_LABELS = 32, 16
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN")
_OWN = "Tierwise sets this variable itself"
_OPENING = "it moves the engine, asks for a key that no router knows, or opens what no request may reach"
_DEVICES = "the device plugin chooses the GPUs, and they are numbered from 0 in the pod; resources.gpus says how many"
_VARIABLES = {
    **dict.fromkeys(OWN_VARIABLES, _OWN),
    **dict.fromkeys(OPENING_VARIABLES, _OPENING),
    "HF_ENDPOINT": "the mirror of the hub is the chart value hub.url, for all tiers",
    "HF_HOME": "the cache has a fixed place in the pod; what lies there is modelCache",
    **dict.fromkeys(
        ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"), _DEVICES
    ),
    "VLLM_USE_V1": "the engine has one core since 0.11",
}


def literals(variables: Iterable[Reader]) -> dict[str, str]:
    """The variables whose value stands there."""
    given = (each.value for each in variables)
    return {str(each.get("name")): str(each["value"]) for each in given if each.get("value") is not None}


def environment(readers: Iterable[Reader], draft: Draft, used: Collection[str] = ()) -> None:
    """The variables of a container; `used`: names that the command has taken the values of."""
    for reader in readers:
        name = str(reader.take("name", ""))
        source = reader.inside("valueFrom")
        if name in used:
            reader.take("value")
        elif not source.value:
            literal(name, str(reader.take("value", "")), draft)
        else:
            _referred(name, source, draft)
        source.rest()
        reader.rest()


def literal(name: str, value: str, draft: Draft) -> None:
    """A variable whose value stands there."""
    if name in _TOKENS:
        draft.drop(f"env {name}", value, "put the token into a Secret and name it in model.tokenSecretRef")
    elif name in _VARIABLES:
        draft.drop(f"env {name}", value, _VARIABLES[name])
    elif "$(" in value:
        draft.drop(f"env {name}", value, "Kubernetes would put another variable in its place: write out the value")
    else:
        _set(name, {"value": value}, draft)


def _referred(name: str, source: Reader, draft: Draft) -> None:
    """A variable whose value stands in a Secret or a ConfigMap."""
    for kind in ("secretKeyRef", "configMapKeyRef"):
        found = source.inside(kind)
        if not found.value:
            continue
        given = {"name": found.take("name"), "key": found.take("key")}
        found.take("optional")
        found.rest()
        if name in _TOKENS and kind == "secretKeyRef":
            draft.put("model.tokenSecretRef", given, f"env {name}")
        elif name in _VARIABLES:
            draft.drop(f"env {name}", f"of {given['name']}", _VARIABLES[name])
        else:
            _set(name, {kind: given}, draft)


def _set(name: str, value: Mapping[str, Any], draft: Draft) -> None:
    before = [each for each in draft.get("env", []) if each["name"] != name]
    if len(before) < MOST_VARIABLES:
        draft.put("env", [*before, {"name": name, **value}], f"env {name}")
    else:
        draft.drop(f"env {name}", next(iter(value.values())), f"env holds at most {MOST_VARIABLES} variables")


def metadata(found: Mapping[str, Any], draft: Draft, where: str) -> None:
    """Labels and annotations of the pods."""
    for kind in ("labels", "annotations"):
        given = found.get(kind) or {}
        if not isinstance(given, Mapping):
            draft.drop(f"{where}.{kind}".lstrip("."), given, "a mapping was expected here")
            continue
        for key, value in given.items():
            place, before = f"{where}.{kind}.{key}".lstrip("."), draft.get(f"podMetadata.{kind}", {})
            if key in BOOKKEEPING:
                continue
            if key in RESERVED_KEYS or re.match(RESERVED_DOMAINS, str(key)):
                draft.drop(place, value, "Tierwise and KServe tell pods by labels and annotations of their own")
            elif str(key).startswith(KUBECTL):
                draft.drop(place, value, KUBECTL_REASON)
            elif str(key).startswith("prometheus.io/"):
                draft.drop(place, value, "the chart's PodMonitor scrapes every tier")
            elif len(before) >= MOST_LABELS:
                draft.drop(place, value, f"podMetadata.{kind} holds at most {MOST_LABELS}")
            else:
                draft.put(f"podMetadata.{kind}", {**before, str(key): str(value)}, place)
