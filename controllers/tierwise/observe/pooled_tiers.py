"""Gives each tier that names pools the spec that it has there, and each pool what its tiers do not hold.

A tier is made anew only when it or its pool has changed, so that what is compared by identity stays the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from tierwise.api.modeltier import ModelTierSpec
from tierwise.kube.objects import PREDICTOR_SUFFIX
from tierwise.observe.gpu_inventory import GPUInventory
from tierwise.observe.pool_records import GPUPodRecord
from tierwise.observe.pools import Place, PoolNodes, declared, with_pods
from tierwise.pool_spec import in_pool
from tierwise.types import GPU, PoolObject, PoolPrice, Pools, PoolView, TierKey, TierObject, TierView, Workload


class _Made(NamedTuple):
    """A tier in its pools, and what it was made from. `specs`: what its replicas are made from, by pool."""

    tier: TierObject
    pools: tuple[tuple[PoolObject, PoolPrice | None], ...]
    made: TierObject
    specs: Mapping[str, ModelTierSpec]


class PooledTiers:
    """The pools of one world after another, and the tiers in them."""

    def __init__(self) -> None:
        self._pools: Mapping[str, PoolNodes] = {}
        self._made: dict[TierKey, _Made] = {}
        self._pods: tuple[tuple[GPUPodRecord, ...], Mapping[str, Sequence[GPUPodRecord]]] = ((), {})

    def take(self, pools: Iterable[PoolNodes], tiers: Collection[TierObject]) -> Collection[TierObject]:
        """The tiers, those that name pools with the spec that they have in the first. One of whose pools the first does
        not exist, or cannot be read, is left as it is: what becomes of it is decided elsewhere."""
        self._pools = {each.view.name: each for each in pools}
        if not self._pools:
            self._made = {}
            return tiers
        before, self._made = self._made, {}
        return [self._in_pools(tier, before.get(tier.key)) for tier in tiers]

    def of(self, tier: TierObject) -> PoolView | None:
        """The first of the pools that a tier runs in."""
        made = self._made.get(tier.key)
        return None if made is None else self._pools[made.pools[0][0].name].view

    def specs(self, tier: TierObject) -> Mapping[str, ModelTierSpec]:
        """What the replicas of a tier are made from in each pool that it names, or is leaving, by pool; of no pool
        that is not known."""
        made = self._made.get(tier.key)
        return {} if made is None else made.specs

    def kinds(self, tier: TierObject, inventory: GPUInventory) -> tuple[tuple[str, tuple[GPU, ...]], ...]:
        """The kinds of GPU that the replicas of a tier may get in each pool, by pool."""
        found = self.specs(tier)
        return tuple(
            (name, kinds_in_pool(inventory.kinds(spec), self._pools[name].view)) for name, spec in found.items()
        )

    @property
    def all_specs(self) -> list[ModelTierSpec]:
        """Those of all tiers in all pools."""
        return [spec for made in self._made.values() for spec in made.specs.values()]

    def views(self, tiers: Iterable[TierView], pods: Collection[GPUPodRecord], problem: str = "") -> Pools:
        """The pools with what their nodes have and what pods of others hold. `tiers`: all; `problem`: why `pods` are
        not all there are."""
        if not self._pools:
            return Pools()
        ours: dict[str, set[Place]] = {}
        for view in tiers:
            for pool in view.tier.spec.pools if view.tier.spec is not None else ():
                names = (each.name + PREDICTOR_SUFFIX for each in view.workloads if not _strange(each))
                ours.setdefault(pool.name, set()).update((view.tier.key.namespace, name) for name in names)
        by_node = self._by_node(pods)
        return Pools(
            tuple(
                with_pods(
                    pool,
                    (pod for node in pool.nodes for pod in by_node.get(node, ())),
                    ours.get(name, frozenset[Place]()),
                    problem=problem,
                )
                for name, pool in self._pools.items()
            )
        )

    def _by_node(self, pods: Collection[GPUPodRecord]) -> Mapping[str, Sequence[GPUPodRecord]]:
        now = tuple(pods)
        if now != self._pods[0]:
            found: dict[str, list[GPUPodRecord]] = {}
            for pod in now:
                found.setdefault(pod.node, []).append(pod)
            self._pods = now, found
        return self._pods[1]

    def _in_pools(self, tier: TierObject, before: _Made | None) -> TierObject:
        spec = tier.spec
        named = spec.pools if spec is not None else []
        names = dict.fromkeys([*(each.name for each in named), *(each.pool for each in tier.status.inference_services)])
        found = [self._pools[name].view for name in names if name in self._pools]
        readable = [each for each in found if each.pool.spec is not None]
        if spec is None or not named or not readable or readable[0].name != named[0].name:
            return tier
        pools = tuple((each.pool, each.price) for each in readable)
        if before is not None and before.tier is tier and before.pools == pools:
            made = before
        else:
            said = {each.name: each for each in named}
            specs = {
                pool.name: in_pool(spec, pool.spec, price, said.get(pool.name))
                for pool, price in pools
                if pool.spec is not None
            }
            made = _Made(tier, pools, replace(tier, spec=specs[named[0].name]), specs)
        self._made[tier.key] = made
        return made.made


def _strange(workload: Workload) -> bool:
    """Whether what has the name of a tier's workload is somebody else's: no tier claims what it holds."""
    service = workload.inference_service
    return service is not None and not service.owned and not workload.pods


def kinds_in_pool(found: tuple[GPU, ...], pool: PoolView | None) -> tuple[GPU, ...]:
    """The kinds of GPU that a tier may get, with what the user says of those of its pool."""
    spec = None if pool is None else pool.pool.spec
    if spec is None or not any((spec.gpu.product, spec.gpu.memory, spec.gpu.compute_capability)):
        return found
    return tuple(sorted({declared(spec, each) for each in found or (GPU(),)}, key=_order))


def _order(gpu: GPU) -> tuple[str, tuple[int, int], int, int]:
    return gpu.product, gpu.capability or (0, 0), gpu.memory_mib or 0, gpu.driver_major or 0
