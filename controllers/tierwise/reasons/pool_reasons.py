"""Defines the reasons about GPUPools, and about what a pool or a budget leaves of what a tier asks for."""

from __future__ import annotations

from tierwise.reasons.table import (
    ACCEPTED,
    CAPACITY_KNOWN,
    POOL_READY,
    PRICED,
    SCALING_LIMITED,
    WITHIN_BUDGET,
    reason,
)

# Accepted, of a tier
POOL_NOT_FOUND = reason(
    "PoolNotFound",
    (ACCEPTED,),
    "spec.pools names a GPUPool that does not exist. What ran before keeps running.",
    "Create the GPUPool, or name another one.",
)
POOLS_UNKNOWN = reason(
    "PoolsUnknown",
    (ACCEPTED,),
    "The operator may not list GPUPools, so the tier is left as it is.",
    "Upgrade the chart, or grant the verb that the message names.",
)
POOL_CONFLICT = reason(
    "PoolConflict",
    (ACCEPTED,),
    "No node can be one of the tier's and one of the pool's, or the engine cannot run on the pool's GPUs.",
    "Change what the message names.",
)

# Accepted, of a pool and of a tier in it
INVALID_POOL = reason(
    "InvalidPool",
    (ACCEPTED, CAPACITY_KNOWN),
    "The spec of a GPUPool cannot be read.",
    "Change the field that the message names.",
)
NODES_SHARED = reason(
    "NodesShared",
    (ACCEPTED,),
    "An older pool selects nodes of this one. They count there, and not here.",
    "Let each node be in one pool: add labels to nodeSelector.",
)

# CapacityKnown
COUNTED = reason("Counted", (CAPACITY_KNOWN,), "The GPUs of the pool's Ready nodes and those that pods hold are known.")
NO_NODES = reason(
    "NoNodes",
    (CAPACITY_KNOWN, POOL_READY),
    "No node has the labels and the resource of the pool.",
    "Compare nodeSelector and resourceName with `kubectl get nodes --show-labels`.",
)
NODES_NOT_READY = reason(
    "NodesNotReady",
    (CAPACITY_KNOWN, POOL_READY),
    "The pool has nodes, and none of them is Ready, so it has no GPU.",
    "See `kubectl get nodes` and `kubectl describe node` for what keeps them from being Ready.",
)
NODES_LEND_NOTHING = reason(
    "NodesLendNothing",
    (CAPACITY_KNOWN, POOL_READY),
    "Nodes of the pool are Ready, and none has a GPU for a pod: they are cordoned, or their kubelets lend none.",
    "Uncordon the nodes; where `kubectl describe node` shows none of the resource as allocatable, look at the device "
    "plugin.",
)
NODES_UNKNOWN = reason(
    "NodesUnknown",
    (CAPACITY_KNOWN,),
    "The operator does not see the Nodes. Nothing grows in the pool, and nothing is taken there.",
    "Where the operator may not see them, set the chart value watch.nodes to true.",
)
PODS_UNKNOWN = reason(
    "PodsUnknown",
    (CAPACITY_KNOWN,),
    "The operator does not see the Pods of all namespaces. Nothing grows in the pool, and nothing is taken there.",
    "Where the operator may not see them, set the chart value watch.pools to true.",
)

# Priced
PRICE_DECLARED = reason("PriceDeclared", (PRICED,), "pricePerGPUHour says what a GPU costs.")
PRICE_ASSUMED = reason(
    "PriceAssumed",
    (PRICED,),
    "Nobody has said what a GPU costs: a list price of the product is assumed.",
    "Set pricePerGPUHour to what you pay.",
)
NO_PRICE = reason(
    "NoPrice",
    (PRICED,),
    "Nobody has said what a GPU costs, and no list price of the product is known. No cost is shown, and under a budget "
    "in US dollars nothing grows.",
    "Set pricePerGPUHour.",
)

# WithinBudget
BUDGET_KEPT = reason("BudgetKept", (WITHIN_BUDGET,), "The tiers use no more than the budget, or there is none.")
OVER_BUDGET = reason(
    "OverBudget",
    (WITHIN_BUDGET,),
    "The tiers use more than the budget. It is given back, down to scaling.minReplicas of each tier.",
    "Wait until replicas have drained; or lower scaling.minReplicas, or raise the budget.",
)

# Ready, of a pool
POOL_FREE = reason("GPUsFree", (POOL_READY,), "GPUs are free, and the budget allows more.")
POOL_FULL = reason(
    "NothingFree", (POOL_READY,), "No GPU is free, or the budget allows none. What runs keeps running.", "Nothing."
)
POOL_UNKNOWN = reason(
    "NotCounted", (POOL_READY,), "What the pool has is not known, so nothing grows.", "See the condition CapacityKnown."
)

# ScalingLimited, and the steps of a decision
BUDGET = reason(
    "Budget",
    (SCALING_LIMITED, "Step", "Event"),
    "The budget of the pool keeps the target down.",
    "Raise the budget of the GPUPool, or lower the demand or priority of other tiers in it.",
)
POOL = reason(
    "Pool",
    (SCALING_LIMITED, "Step", "Event"),
    "No GPU of the pool is free that the tier can use, or it is not known whether one is.",
    "See `kubectl get gpupools`: add nodes, or lower the demand or priority of other tiers in the pool.",
)
RECLAIMED = reason(
    "Reclaimed",
    (SCALING_LIMITED, "Step", "Event"),
    "The load asks for fewer replicas. What a window or headroom still kept is given to a tier that has too little.",
)

# Events only
POOL_CHANGED = reason("CapacityChanged", ("Event",), "The GPUs of a pool's Ready nodes have become more or fewer.")
