"""Makes the spec of a tier as it is in a pool: its nodes, its resource and its price are the pool's.

Everything after this (checks, rendering, the fingerprint of a replica, costs) reads that spec, and needs to know
nothing of pools. Without a pool a tier's spec is what was written.
"""

from __future__ import annotations

from tierwise.api.external import Price
from tierwise.api.gpupool import GPUPoolSpec
from tierwise.api.modeltier import ModelTierSpec, TierPool
from tierwise.types.pool import PoolPrice

NVIDIA = "nvidia.com/"  # the resources that the engine's own image is for


def in_pool(
    spec: ModelTierSpec, pool: GPUPoolSpec, price: PoolPrice | None, here: TierPool | None = None
) -> ModelTierSpec:
    """What the replicas of a tier are made from in this pool. A label that both select by is the tier's: `conflict`
    finds those that differ. `here`: what the tier says of this pool."""
    placement = spec.placement.model_copy(
        update={"node_selector": {**pool.node_selector, **spec.placement.node_selector}}
    )
    parallelism = here.parallelism if here is not None else None
    gpus = spec.resources.gpus if parallelism is None else parallelism.tensor * parallelism.pipeline
    return spec.model_copy(
        update={
            "placement": placement,
            "parallelism": parallelism or spec.parallelism,
            "quantization": (here.quantization if here is not None else None) or spec.quantization,
            "resources": spec.resources.model_copy(update={"resource_name": pool.resource_name, "gpus": gpus}),
            "price": None if price is None else Price(gpu_hour=f"{price.usd:f}"),
        }
    )


def conflict(spec: ModelTierSpec, pool: GPUPoolSpec) -> str:
    """A label by which tier and pool select different nodes, so that none can be of both; empty: there is none."""
    wanted = spec.placement.node_selector
    return next((name for name, value in sorted(pool.node_selector.items()) if wanted.get(name, value) != value), "")
