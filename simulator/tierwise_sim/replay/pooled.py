"""Puts the tiers of a simulation into the GPUPools that they name, as the operator does.

Their GPU, price and priority are then those of the manifests, and the budgets of the pools limit them together. What
the nodes of a pool have is not in any manifest: `--gpus` says it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tierwise.api.gpupool import GPUPoolSpec
from tierwise.api.kinds import GPU_POOL
from tierwise.api.modeltier import ModelTierSpec
from tierwise.errors import Invalid
from tierwise.observe.pool_records import pool_object
from tierwise.observe.pools import price
from tierwise.pool_spec import conflict, in_pool

GPU_LABEL = "nvidia.com/gpu.product"


@dataclass(frozen=True, slots=True)
class Placed:
    """Tiers as they are in the first pool that each names. `gpus`: the product that a pool says, by tier; `budget`:
    GPUs that tiers may have together, by product; `priorities`: by tier."""

    tiers: Mapping[str, ModelTierSpec]
    gpus: Mapping[str, str]
    budget: Mapping[str, int]
    priorities: Mapping[str, int]


def placed(documents: Sequence[Mapping[str, Any]], tiers: Mapping[str, ModelTierSpec]) -> Placed:
    """The tiers in their pools. Raises Invalid, with the object and what to do."""
    pools = _pools(documents)
    specs: dict[str, ModelTierSpec] = {}
    products: dict[str, str] = {}
    used: dict[str, GPUPoolSpec] = {}
    for name, spec in tiers.items():
        specs[name] = spec
        if not spec.pools:
            continue
        pool = pools.get(spec.pools[0].name)
        if pool is None:
            raise Invalid(f"ModelTier {name} names GPUPool {spec.pools[0].name}, which is not in these files; add it")
        label = conflict(spec, pool)
        if label:
            raise Invalid(f"ModelTier {name} and GPUPool {spec.pools[0].name} select different nodes by {label}")
        product = product_of(pool)
        specs[name] = in_pool(spec, pool, price(pool, product), spec.pools[0])
        products[name] = product
        used[spec.pools[0].name] = pool
    named = {name: product for name, product in products.items() if product}
    weights = {name: spec.priority for name, spec in specs.items() if spec.pools}
    return Placed(specs, named, _budget(used), weights)


def product_of(pool: GPUPoolSpec) -> str:
    """The product of a pool as far as its manifest says it; empty: it does not."""
    return pool.gpu.product or pool.node_selector.get(GPU_LABEL, "")


def _pools(documents: Sequence[Mapping[str, Any]]) -> dict[str, GPUPoolSpec]:
    found: dict[str, GPUPoolSpec] = {}
    for body in documents:
        if body.get("kind") == GPU_POOL.name:
            seen = pool_object(body)
            if seen.spec is None:
                raise Invalid(f"GPUPool {seen.name}: {seen.invalid}")
            if seen.name in found:
                raise Invalid(f"GPUPool {seen.name} is in these files twice; remove one")
            found[seen.name] = seen.spec
    return found


def _budget(pools: Mapping[str, GPUPoolSpec]) -> dict[str, int]:
    """GPUs by product. Pools of one product are one here: together they have the sum, if each has a budget."""
    budgets: dict[str, list[int | None]] = {}
    for pool in pools.values():
        budgets.setdefault(product_of(pool), []).append(_gpus(pool))
    sums: dict[str, int] = {}
    for product, limits in budgets.items():
        known = [limit for limit in limits if limit is not None]
        if product and len(known) == len(limits):
            sums[product] = sum(known)
    return sums


def _gpus(pool: GPUPoolSpec) -> int | None:
    limits = [] if pool.budget.gpus is None else [pool.budget.gpus]
    known = price(pool, product_of(pool))
    if pool.budget.usd_per_hour is not None and known is not None and known.usd > 0:
        limits.append(int(Decimal(pool.budget.usd_per_hour) // known.usd))
    return min(limits, default=None)
