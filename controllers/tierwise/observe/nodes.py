"""Which kinds of GPU may a tier land on?

Asked of the nodes themselves: the labels of NVIDIA's GPU feature discovery (or AMD's node labeller), on the nodes that
the scheduler would consider for the tier. Three rules keep the answer from flapping and from refusing too much:

- A node counts by its `capacity`, not by what is allocatable now: a broken GPU or a device plugin that restarts does
  not change which kind it is. Taints that Kubernetes itself puts on a node for a while (not ready, cordoned) are
  ignored for the same reason.
- A node that has GPUs and does not say which is a kind of its own, of which nothing is known: nothing is refused then.
- Where no node fits, the answer is empty, and that means unknown: an autoscaler may be about to add one.

A node's status is written every few seconds; none of what moves in it is kept, so that a record is equal to the one
before until something is different.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tierwise.api.v1alpha1 import ModelTierSpec, Toleration
from tierwise.facts import GPU
from tierwise.observe.bodies import items, mapping, optional_number, text

NVIDIA = "nvidia.com/"
DRIVER = ("nvidia.com/cuda.driver-version.major", "nvidia.com/cuda.driver.major")  # the second is the older name
SHARED = "-SHARED"  # what GPU feature discovery adds to the product when GPUs are time-sliced
AMD, AMD_PRODUCT, AMD_MEMORY = "amd.com/gpu", "amd.com/gpu.product-name", "amd.com/gpu.vram"
_TIMESTAMP = "nvidia.com/gfd.timestamp"  # new whenever the labels are written, and told by nothing else
_TEMPORARY = "node.kubernetes.io/"
_HARD = frozenset({"NoSchedule", "NoExecute"})
_MIG = re.compile(r"nvidia\.com/mig-([0-9a-z.+-]+)")
_GIGABYTES = re.compile(r"([0-9]{1,5})Gi?B?")


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint that keeps pods away. Soft ones (PreferNoSchedule) are not kept."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node with extended resources: its labels, the taints that last, how many of each resource it has; sorted."""

    labels: tuple[tuple[str, str], ...]
    taints: tuple[Taint, ...]
    resources: tuple[tuple[str, int], ...]


def node_record(body: Mapping[str, Any]) -> NodeRecord | None:
    """A node as a record; None for one without any extended resource, on which no GPU tier can land."""
    capacity = mapping(body, "status", "capacity")
    resources = tuple(sorted((name, optional_number(each) or 0) for name, each in capacity.items() if "/" in name))
    if not resources:
        return None
    labels = mapping(body, "metadata", "labels")
    taints = (
        Taint(text(each, "key"), text(each, "value"), text(each, "effect")) for each in items(body, "spec", "taints")
    )
    lasting = (each for each in taints if each.effect in _HARD and not each.key.startswith(_TEMPORARY))
    return NodeRecord(
        labels=tuple(sorted((name, str(each)) for name, each in labels.items() if name != _TIMESTAMP)),
        taints=tuple(sorted(lasting, key=lambda each: (each.key, each.effect, each.value))),
        resources=resources,
    )


def kinds(nodes: Iterable[NodeRecord], spec: ModelTierSpec) -> tuple[GPU, ...]:
    """The kinds of GPU on the nodes that `placement` and `resources` select, sorted; () when that is not known."""
    wanted, name = spec.resources.gpus, spec.resources.resource_name
    if wanted == 0:
        return ()
    found = {_gpu(dict(each.labels), name) for each in nodes if _fits(each, spec, name, wanted)}
    return tuple(sorted(found, key=_order))


def _order(gpu: GPU) -> tuple[str, tuple[int, int], int, int]:
    return gpu.product, gpu.capability or (0, 0), gpu.memory_mib or 0, gpu.driver_major or 0


def _fits(node: NodeRecord, spec: ModelTierSpec, resource: str, wanted: int) -> bool:
    labels, placement = dict(node.labels), spec.placement
    return (
        dict(node.resources).get(resource, 0) >= wanted
        and all(labels.get(name) == value for name, value in placement.node_selector.items())
        # Many clusters tolerate the taint named after the resource for every pod that asks for it (the admission plugin
        # ExtendedResourceToleration).
        and all(
            taint.key == resource or any(_tolerates(each, taint) for each in placement.tolerations)
            for taint in node.taints
        )
    )


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Kubernetes' own rule: an unset effect is every effect, an unset key with Exists is every key."""
    if toleration.effect is not None and toleration.effect != taint.effect:
        return False
    if toleration.key is not None and toleration.key != taint.key:
        return False
    return toleration.operator == "Exists" or (toleration.value or "") == taint.value


def _gpu(labels: Mapping[str, str], resource: str) -> GPU:
    if resource == AMD:
        return GPU(product=labels.get(AMD_PRODUCT, ""), memory_mib=_mebibytes(labels.get(AMD_MEMORY, "")))
    if not resource.startswith(NVIDIA):
        return GPU()
    # With MIG's strategy "mixed" each size of slice is a resource with a memory label of its own.
    slice_ = _MIG.fullmatch(resource)
    major, minor = (optional_number(labels.get(f"nvidia.com/gpu.compute.{part}")) for part in ("major", "minor"))
    product = labels.get("nvidia.com/gpu.product", "").removesuffix(SHARED)
    return GPU(
        product=f"{product}-MIG-{slice_[1]}" if slice_ and product else product,
        capability=None if major is None or minor is None else (major, minor),
        # Of a shared GPU it is the whole memory: an upper bound, which never refuses what would fit.
        memory_mib=_positive(labels.get(f"{slice_[0] if slice_ else 'nvidia.com/gpu'}.memory")),
        driver_major=next((each for each in map(_positive, map(labels.get, DRIVER)) if each is not None), None),
    )


def _positive(label: str | None) -> int | None:
    number = optional_number(label)
    return number if number is not None and number > 0 else None


def _mebibytes(label: str) -> int | None:
    found = _GIGABYTES.fullmatch(label)
    return int(found[1]) * 1024 if found else None
