"""Checks whether a tier can run in the pool that it names."""

from __future__ import annotations

from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.pool_spec import NVIDIA, conflict
from tierwise.types import Pools, TierObject, TierView


def awaits_pools(tier: TierObject, pools: Pools) -> bool:
    """Whether nobody can say yet where the tier runs: it names a pool, and which there are is about to be known."""
    return bool(tier.spec and tier.spec.pools) and not pools.known and not pools.problem


def pool_problem(view: TierView, spec: ModelTierSpec, pools: Pools) -> tuple[str, str] | None:
    """Why a tier cannot run in a pool that it names, as a reason and a sentence; None where it can run in all of them,
    or names none."""
    if spec.pools and pools.problem:
        return reasons.POOLS_UNKNOWN, pools.problem
    named = {workload.pool: workload.spec or spec for workload in view.workloads}
    problems = (_problem(named.get(each.name, spec), each.name, pools) for each in spec.pools)
    return next((found for found in problems if found is not None), None)


def _problem(spec: ModelTierSpec, name: str, pools: Pools) -> tuple[str, str] | None:
    pool = pools.find(name)
    if pool is None:
        there = ", ".join(each.name for each in pools.views)
        return reasons.POOL_NOT_FOUND, f"there is no GPUPool {name}; there {f'are {there}' if there else 'is none'}"
    if pool.pool.spec is None:
        return reasons.INVALID_POOL, f"GPUPool {name}: {pool.pool.invalid}"
    label = conflict(spec, pool.pool.spec)
    if label:
        return reasons.POOL_CONFLICT, (
            f"placement.nodeSelector wants {label}: {spec.placement.node_selector[label]!r}, "
            f"GPUPool {name} wants {pool.pool.spec.node_selector[label]!r}"
        )
    resource = pool.pool.spec.resource_name
    if not resource.startswith(NVIDIA) and spec.engine.image is None:
        return reasons.POOL_CONFLICT, (
            f"GPUPool {name} lends {resource}, and the engine's own image is for NVIDIA GPUs: "
            "name a build for it in engine.image"
        )
    return None
