"""Finds where the live object differs from what we rendered.

What is compared follows what server-side apply can restore, so that a difference is gone after one apply:

- Containers, volumes, tolerations and pull secrets are atomic lists in KServe's CRD: whoever applies a list owns all of
  its content. There, anything that we did not render (a variable added by hand, a second container) is a difference.
- Labels and annotations of the predictor are shared with others. Those of a tier come with a digest of all that was
  rendered, which tells that one of them is gone from the tier: apply then takes away what we wrote.
- Elsewhere a field that somebody adds beside ours is theirs and stays. The exception are the fields that decide where
  and with which rights pods run: they are ours also when absent, or a field removed from a tier would live on. Apply
  removes them when we wrote them; when somebody else did, only a patch does.

What the API server and KServe write by default is either rendered by us as well, or lies outside these places.

Every tier is compared in every cycle, and nearly always nothing differs: an object that is the same as a whole is not
searched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tierwise.kube.objects import RENDERED
from tierwise.quantity import parse_quantity

# Lists whose items have a name of their own, for readable paths.
_KEYS = {
    "containers": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "ownerReferences": "uid",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_QUANTITIES = {"limits", "requests"}
_ATOMIC = {"containers", "volumes", "imagePullSecrets", "nodeSelector"}
_OURS_EVEN_WHEN_ABSENT = (
    "affinity",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "imagePullSecrets",
    "initContainers",
    "model",
    "nodeName",
    "nodeSelector",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "serviceAccountName",
    "shareProcessNamespace",
    "storageUris",
    "tolerations",
    "topologySpreadConstraints",
    "workerSpec",
)
_USERS = ("fsGroup", "runAsUser")
_EMPTY: tuple[Any, ...] = ({}, [], "", None, False)


def differences(rendered: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths at which the live object differs from the rendered one, sorted; () means nothing has to be applied.

    Paths are fit for an Event: `spec.predictor.containers[kserve-container].image`. Values are left out, since a
    hand edit may have put a secret there."""
    found = set(_map("", "", rendered, live, strict=False))
    wanted, present = _predictor(rendered), _predictor(live)
    found |= {
        f"spec.predictor.{name}"
        for name in _OURS_EVEN_WHEN_ABSENT
        if name not in wanted and present.get(name) not in _EMPTY
    }
    # Numbers of a user that are rendered no more must go: a namespace with a range of its own refuses them.
    now, before = wanted.get("securityContext") or {}, present.get("securityContext") or {}
    found |= {f"spec.predictor.securityContext.{name}" for name in _USERS if name in before and name not in now}
    if RENDERED in (present.get("annotations") or {}) and RENDERED not in (wanted.get("annotations") or {}):
        found.add(f"spec.predictor.annotations.{RENDERED}")
    return tuple(sorted(found))


def lacking(rendered: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths at which a live object of Kubernetes' own kinds lacks what was rendered, sorted. Their lists merge by
    key and their defaults are many, so whatever else is in them is left alone."""
    return tuple(sorted(set(_map("", "", rendered, live, strict=None))))


def _predictor(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = manifest.get("spec")
    predictor = spec.get("predictor") if isinstance(spec, Mapping) else None
    return predictor if isinstance(predictor, Mapping) else {}


def _any(path: str, field: str, wanted: Any, found: Any, *, strict: bool | None) -> Iterator[str]:
    """`strict`: whether nothing may be beside what is wanted; None never becomes True further below."""
    strict = strict if strict is None else strict or field in _ATOMIC
    if _same(wanted, found):
        return
    if isinstance(wanted, Mapping):
        yield from _map(path, field, wanted, found, strict=strict)
    elif isinstance(wanted, list) and field in _KEYS:
        yield from _keyed(path, _key(field, wanted), wanted, found, strict=strict)
    elif json.dumps(wanted, sort_keys=True) != json.dumps(found, sort_keys=True):
        yield path


def _same(wanted: Any, found: Any) -> bool:
    """Whether both are the same in every part. Not by `==` alone: for that, 1 and True are equal."""
    if type(wanted) is not type(found):
        return False
    if isinstance(wanted, dict):
        return wanted.keys() == found.keys() and all(map(_same, wanted.values(), map(found.__getitem__, wanted)))
    if isinstance(wanted, list):
        return len(wanted) == len(found) and all(map(_same, wanted, found))
    return bool(wanted == found)


def _map(path: str, field: str, wanted: Mapping[str, Any], found: Any, *, strict: bool | None) -> Iterator[str]:
    if not isinstance(found, Mapping):
        yield path or "."
        return
    for name, value in wanted.items():
        below = f"{path}.{name}" if path else name
        if name not in found:
            yield below
        elif field in _QUANTITIES or name == "sizeLimit":
            if parse_quantity(value) != parse_quantity(found[name]):
                yield below
        else:
            yield from _any(below, name, value, found[name], strict=strict)
    if strict:
        yield from (f"{path}.{name}" for name in found if name not in wanted and found[name] not in _EMPTY)


def _key(field: str, wanted: Sequence[Any]) -> str:
    """What names an item: a port of a Service has no containerPort."""
    key = _KEYS[field]
    return key if all(key in item for item in wanted) else "port"


def _keyed(path: str, key: str, wanted: Sequence[Any], found: Any, *, strict: bool | None) -> Iterator[str]:
    items = found if isinstance(found, list) else []
    by_key = {str(item.get(key)): item for item in items if isinstance(item, Mapping)}
    names = [str(item[key]) for item in wanted]
    for name, item in zip(names, wanted, strict=True):
        below = f"{path}[{name}]"
        if name in by_key:
            yield from _map(below, "", item, by_key[name], strict=strict)
        else:
            yield below
    if strict:
        yield from (f"{path}[{name}]" for name in by_key if name not in names)
