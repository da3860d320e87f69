"""Resolves a fieldRef or resourceFieldRef of a pod.

The paths are those the API accepts (downward API); an unknown one is refused at admission already, so an
error here means a path this kubelet does not know.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

from playground.kubelet.model import Json
from playground.kubelet.quantity import parse_quantity

_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['([^']+)'\]$")


class FieldError(Exception):
    """A field reference that this kubelet cannot resolve."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """The pod and what only its kubelet knows: addresses and the node's allocatable resources."""

    pod: Json
    pod_ip: str
    host_ip: str
    allocatable: dict[str, str]


def field_value(facts: PodFacts, path: str) -> str:
    """Return the text of a fieldRef. Raises FieldError."""
    metadata, spec = facts.pod["metadata"], facts.pod["spec"]
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        return str(metadata.get(subscript[1], {}).get(subscript[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        # The file form of the downward API: sorted lines, values quoted as Go's %q does.
        entries = metadata.get(path.removeprefix("metadata."), {})
        return "\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(entries.items()))
    simple = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
    }
    if path not in simple:
        raise FieldError(f"unsupported fieldPath: {path}")
    return str(simple[path])


def resource_value(facts: PodFacts, reference: Json, container_name: str) -> str:
    """Return the text of a resourceFieldRef: rounded up to whole divisors, as the kubelet does.

    A limit that is not set is what the node can give. Raises FieldError.
    """
    name = reference.get("containerName") or container_name
    spec = facts.pod["spec"]
    containers = [*spec["containers"], *spec.get("initContainers", [])]
    container = next((c for c in containers if c["name"] == name), None)
    if container is None:
        raise FieldError(f"container {name} not found")
    kind, _, resource = str(reference["resource"]).partition(".")
    resources = container.get("resources", {})
    given = resources.get(kind, {}).get(resource)
    if given is None:
        given = facts.allocatable.get(resource, "0") if kind == "limits" else "0"
    divisor = parse_quantity(reference.get("divisor") or 1) or parse_quantity(1)
    return str(math.ceil(parse_quantity(given) / divisor))
