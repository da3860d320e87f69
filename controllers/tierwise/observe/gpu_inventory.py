"""Finds the kinds of GPU that a tier may get.

The source is the nodes themselves: the labels of NVIDIA's GPU feature discovery (or AMD's node labeller), on the nodes
that the scheduler would consider for the tier. Three rules keep the answer from flapping and from rejecting too much:

- A node counts by its `capacity`, not by what is allocatable now: a broken GPU or a restarting device plugin does not
  change its kind. Taints that Kubernetes itself puts on a node for a while (not ready, cordoned) are ignored for the
  same reason.
- A node that has GPUs and does not say which is a kind of its own, of which nothing is known: nothing is rejected then.
- Where no node fits, the answer is empty, and that means unknown: an autoscaler may be about to add one.

A node's status is written every few seconds. None of what moves in it is kept (of its conditions only whether it is
Ready), so that a record is equal to the one before until something is different. Hundreds of tiers ask the same of a
thousand nodes: labels are read when a node arrives, and a `GPUInventory` (one per snapshot, so that no answer grows
old) looks at nodes that are alike, and answers tiers that ask alike, once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.placement import NodeRequirement, NodeTerm
from tierwise.observe.object_fields import condition, items, mapping, optional_number, text
from tierwise.types.capabilities import GPU

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
class Resource:
    """One extended resource of a node, how many there are, and which kind of GPU one of them is."""

    name: str
    number: int
    gpu: GPU


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node with extended resources: its labels, the taints that last, its resources; the latter two sorted.

    The rest is for pools, which count what can be used now: whether it is Ready, whether it takes new pods, and how
    many of each resource its kubelet lends (`lent`, by name)."""

    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    resources: tuple[Resource, ...]
    name: str = ""
    ready: bool = True
    cordoned: bool = False
    lent: tuple[tuple[str, int], ...] = ()

    def allocatable(self, resource: str) -> int:
        """How many of a resource pods may hold."""
        return next((number for name, number in self.lent if name == resource), 0)


def node_record(body: Mapping[str, Any]) -> NodeRecord | None:
    """A node as a record; None for one without any extended resource, on which no GPU tier can land."""
    capacity = {name: each for name, each in mapping(body, "status", "capacity").items() if "/" in name}
    if not capacity:
        return None
    lent = mapping(body, "status", "allocatable")
    found = mapping(body, "metadata", "labels").items()
    labels = {name: str(each) for name, each in found if name != _TIMESTAMP}
    taints = (
        Taint(text(each, "key"), text(each, "value"), text(each, "effect")) for each in items(body, "spec", "taints")
    )
    lasting = (each for each in taints if each.effect in _HARD and not each.key.startswith(_TEMPORARY))
    return NodeRecord(
        labels=labels,
        taints=tuple(sorted(lasting, key=lambda each: (each.key, each.effect, each.value))),
        resources=tuple(
            Resource(name, optional_number(capacity[name]) or 0, _gpu(labels, name)) for name in sorted(capacity)
        ),
        name=text(mapping(body, "metadata"), "name"),
        ready=condition(body, "Ready").get("status") == "True",
        cordoned=mapping(body, "spec").get("unschedulable") is True,
        lent=tuple((name, optional_number(lent.get(name)) or 0) for name in sorted(capacity)),
    )


def selecting_labels(spec: ModelTierSpec) -> frozenset[str]:
    """The labels by which a tier selects nodes."""
    asked = (each.key for term in _required(spec) for each in term.match_expressions)
    return frozenset({*spec.placement.node_selector, *asked})


def _required(spec: ModelTierSpec) -> list[NodeTerm]:
    return spec.placement.affinity.required if spec.placement.affinity is not None else []


class GPUInventory:
    """The nodes of one snapshot, for the tiers of that snapshot."""

    def __init__(self, nodes: Iterable[NodeRecord], specs: Iterable[ModelTierSpec]) -> None:
        """`specs`: all that will be asked about; a label that none of them selects by makes no difference."""
        names = sorted({name for spec in specs for name in selecting_labels(spec)})
        self._nodes = frozenset(
            _Node(each.resources, each.taints, frozenset([(name, each.labels.get(name)) for name in names]))
            for each in nodes
        )
        self._answers: dict[_Question, tuple[GPU, ...]] = {}

    def renewed(self) -> GPUInventory:
        """The same nodes, for the tiers of the next snapshot."""
        inventory = GPUInventory((), ())
        inventory._nodes = self._nodes
        return inventory

    def kinds(self, spec: ModelTierSpec) -> tuple[GPU, ...]:
        """The kinds of GPU on the nodes that `placement` and `resources` select, sorted; () when that is not known."""
        if spec.resources.gpus == 0:
            return ()
        question = _question(spec)
        if question not in self._answers:
            self._answers[question] = tuple(sorted(_selected(self._nodes, question), key=_order))
        return self._answers[question]


class _Node(NamedTuple):
    """What makes a difference between nodes: `labels` only as far as somebody selects by them (None: absent)."""

    resources: tuple[Resource, ...]
    taints: tuple[Taint, ...]
    labels: frozenset[tuple[str, str | None]]


class _Toleration(NamedTuple):
    key: str | None
    operator: str
    value: str
    effect: str | None


class _Requirement(NamedTuple):
    key: str
    operator: str
    values: tuple[str, ...]


class _Question(NamedTuple):
    """What a tier asks of the nodes. `terms`: one of them must fit, all of it; () is no further demand."""

    resource: str
    number: int
    selector: frozenset[tuple[str, str]]
    terms: frozenset[frozenset[_Requirement]]
    tolerations: tuple[_Toleration, ...]


def _question(spec: ModelTierSpec) -> _Question:
    placement = spec.placement
    return _Question(
        resource=spec.resources.resource_name,
        number=spec.resources.gpus,
        selector=frozenset(placement.node_selector.items()),
        terms=frozenset(frozenset(map(_requirement, term.match_expressions)) for term in _required(spec)),
        tolerations=tuple(
            _Toleration(each.key, each.operator, each.value or "", each.effect) for each in placement.tolerations
        ),
    )


def _requirement(asked: NodeRequirement) -> _Requirement:
    return _Requirement(asked.key, asked.operator, tuple(sorted(asked.values)))


def _selected(nodes: Iterable[_Node], asked: _Question) -> set[GPU]:
    suitable = (each for each in nodes if _fits(each, asked))
    return {each.gpu for node in suitable for each in node.resources if each.name == asked.resource}


def _order(gpu: GPU) -> tuple[str, tuple[int, int], int, int]:
    return gpu.product, gpu.capability or (0, 0), gpu.memory_mib or 0, gpu.driver_major or 0


def _fits(node: _Node, asked: _Question) -> bool:
    return (
        # Every name of the selector is among these labels: it is one of those that the nodes were told apart by.
        asked.selector <= node.labels
        and (not asked.terms or any(_all_hold(term, dict(node.labels)) for term in asked.terms))
        and any(each.name == asked.resource and each.number >= asked.number for each in node.resources)
        # Many clusters tolerate the taint named after the resource for every pod that asks for it (the admission plugin
        # ExtendedResourceToleration).
        and all(
            taint.key == asked.resource or any(_tolerates(each, taint) for each in asked.tolerations)
            for taint in node.taints
        )
    )


def _all_hold(term: Iterable[_Requirement], labels: Mapping[str, str | None]) -> bool:
    return all(_holds(each, labels.get(each.key)) for each in term)


def _holds(asked: _Requirement, label: str | None) -> bool:
    """Kubernetes' own rule: a label that is absent is in no set, and neither above nor below anything."""
    match asked.operator:
        case "In":
            return label in asked.values
        case "NotIn":
            return label not in asked.values
        case "Exists":
            return label is not None
        case "DoesNotExist":
            return label is None
    found, limit = optional_number(label), optional_number(next(iter(asked.values), None))
    if found is None or limit is None:
        return False
    return found > limit if asked.operator == "Gt" else found < limit


def _tolerates(toleration: _Toleration, taint: Taint) -> bool:
    """Kubernetes' own rule: an unset effect is every effect, an unset key with Exists is every key."""
    if toleration.effect is not None and toleration.effect != taint.effect:
        return False
    if toleration.key is not None and toleration.key != taint.key:
        return False
    return toleration.operator == "Exists" or toleration.value == taint.value


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
