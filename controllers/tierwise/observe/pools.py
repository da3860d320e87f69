"""Counts what is in each GPUPool: the GPUs of its nodes, those that others hold, what one of them is and costs.

A node counts to one pool only, or its GPUs would be given away twice: to the oldest of those that select it. A node
that is not Ready gives nothing. One that is cordoned gives what its pods hold and no more, as no new pod gets there.
What a tier of the pool holds is not counted here: it is part of what the tier claims.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from tierwise import reasons
from tierwise.api.gpupool import GPUPoolSpec
from tierwise.gpus import UnknownGpu, find, prices_of
from tierwise.observe.gpu_inventory import NodeRecord
from tierwise.observe.pool_records import GPUPodRecord
from tierwise.quantity import parse_quantity
from tierwise.types import GPU, PoolObject, PoolPrice, PoolView

_NO_NODES = "the Nodes are not known, so the GPUs of the pool are not, and nothing grows"
_NO_PODS = "the Pods of all namespaces are not known, so what others hold is not, and nothing grows"
Place = tuple[str, str]  # namespace and Deployment


@dataclass(frozen=True, slots=True)
class PoolNodes:
    """A pool and the nodes that count to it, by name. `view` is without what pods hold."""

    view: PoolView
    nodes: Mapping[str, NodeRecord]


def with_nodes(
    pools: Collection[PoolObject], nodes: Collection[NodeRecord], problem: str = ""
) -> tuple[PoolNodes, ...]:
    """The pools by name, each with its nodes. `problem`: why the nodes are not known."""
    taken: dict[tuple[str, str], str] = {}  # whose a node's resource is
    found: dict[str, PoolNodes] = {}
    for pool in sorted(pools, key=lambda pool: (pool.created_at, pool.name)):
        found[pool.name] = _with_nodes(pool, nodes, taken, problem)
    return tuple(found[name] for name in sorted(found))


def _with_nodes(
    pool: PoolObject, nodes: Collection[NodeRecord], taken: dict[tuple[str, str], str], problem: str
) -> PoolNodes:
    spec = pool.spec
    if spec is None:
        return PoolNodes(PoolView(pool, unknown=(reasons.INVALID_POOL, pool.invalid)), {})
    selected = [node for node in nodes if _selects(spec, node)]
    mine = {node.name: node for node in selected if (node.name, spec.resource_name) not in taken}
    overlaps = sorted({taken[node.name, spec.resource_name] for node in selected if node.name not in mine})
    taken |= {(name, spec.resource_name): pool.name for name in mine}
    gpu = pool_gpu(spec, (_gpu_of(node, spec.resource_name) for node in mine.values()))
    view = PoolView(
        pool=pool,
        nodes=len(mine),
        ready_nodes=sum(1 for node in mine.values() if node.ready),
        gpu=gpu,
        price=price(spec, gpu.product),
        unknown=(reasons.NODES_UNKNOWN, f"{_NO_NODES}: {problem}") if problem else None,
        overlaps=tuple(overlaps),
    )
    return PoolNodes(view, mine)


def with_pods(pool: PoolNodes, pods: Iterable[GPUPodRecord], ours: Container[Place], problem: str = "") -> PoolView:
    """The pool with what it has and what others hold. `pods`: those of its nodes at least; `ours`: the Deployments of
    the tiers in it; `problem`: why the pods are not known."""
    view, spec = pool.view, pool.view.pool.spec
    if view.unknown is not None or spec is None:
        return view
    if problem:
        return replace(view, unknown=(reasons.PODS_UNKNOWN, f"{_NO_PODS}: {problem}"))
    held: dict[str, int] = {}
    others = 0
    for pod in pods:
        node = pool.nodes.get(pod.node)
        if node is None or not node.ready:
            continue
        number = pod.number(spec.resource_name)
        held[pod.node] = held.get(pod.node, 0) + number
        if (pod.namespace, pod.deployment) not in ours:
            others += number
    capacity = sum(_gives(node, spec.resource_name, held.get(name, 0)) for name, node in pool.nodes.items())
    return replace(view, capacity=capacity, others=others)


def _gives(node: NodeRecord, resource: str, held: int) -> int:
    if not node.ready:
        return 0
    return held if node.cordoned else node.allocatable(resource)


def _selects(spec: GPUPoolSpec, node: NodeRecord) -> bool:
    if not any(each.name == spec.resource_name and each.number > 0 for each in node.resources):
        return False
    return all(node.labels.get(name) == value for name, value in spec.node_selector.items())


def _gpu_of(node: NodeRecord, resource: str) -> GPU:
    return next(each.gpu for each in node.resources if each.name == resource)


def pool_gpu(spec: GPUPoolSpec, found: Iterable[GPU]) -> GPU:
    """What one GPU of a pool is: what the user says, else what all nodes agree on, else what is known of the product
    that the user names."""
    kinds = {declared(spec, each) for each in found} or {declared(spec, GPU())}
    first = next(iter(kinds))
    return GPU(
        product=first.product if len({each.product for each in kinds}) == 1 else "",
        capability=first.capability if len({each.capability for each in kinds}) == 1 else None,
        memory_mib=first.memory_mib if len({each.memory_mib for each in kinds}) == 1 else None,
        driver_major=first.driver_major if len({each.driver_major for each in kinds}) == 1 else None,
    )


def declared(spec: GPUPoolSpec, found: GPU) -> GPU:
    """A kind of GPU as a node tells it, with what the user says of it."""
    said = spec.gpu
    product = said.product or found.product
    memory, capability = found.memory_mib, found.capability
    if said.product is not None and found.product != said.product:
        try:
            facts = find(said.product)
        except UnknownGpu:
            memory, capability = None, None
        else:
            memory, capability = facts.memory_mib, None if facts.amd else facts.capability
    if said.memory is not None:
        memory = int((parse_quantity(said.memory) or 0) / 1024**2)
    if said.compute_capability is not None:
        major, _, minor = said.compute_capability.partition(".")
        capability = int(major), int(minor)
    return replace(found, product=product, memory_mib=memory, capability=capability)


def price(spec: GPUPoolSpec, product: str) -> PoolPrice | None:
    """What a GPU costs: as the user says; else the lowest list price of the product, on demand; None without one."""
    if spec.price_per_gpu_hour is not None:
        return PoolPrice(Decimal(spec.price_per_gpu_hour))
    if not product or "-MIG-" in product:  # nobody has a list price for a slice
        return None
    try:
        known = prices_of(find(product).product)
    except UnknownGpu:
        return None
    return PoolPrice(known[0].usd, known[0].said_by) if known else None
