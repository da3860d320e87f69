"""Defines a GPUPool: one kind of GPU, on which nodes it is, what it costs, and how much of it tiers may use.

Tiers share a pool, from all namespaces, so it belongs to none. What a pool has is never written down by anybody: it is
counted on the nodes, in every cycle.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from tierwise.api.base import NAME_LENGTH, NAME_PATTERN, Model, Money, Quantity, Rule
from tierwise.api.conditions import Condition
from tierwise.api.placement import LabelKey, LabelValue, ResourceName, label_names

Product = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=63)]
ComputeCapability = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]?\.[0-9]$", max_length=4)]


class PoolGPU(Model):
    """What one GPU of the pool is. What is not set here is read from the labels of the nodes."""

    cel = (
        Rule(
            expression="!has(self.memory) || !isQuantity(string(self.memory)) || "
            "quantity(string(self.memory)).isGreaterThan(quantity('0'))",
            message="gpu.memory must be above zero",
            field_path=".memory",
        ),
    )

    product: Product | None = Field(
        default=None,
        description="Name of the product as the node label nvidia.com/gpu.product says it, e.g. NVIDIA-L40S. "
        "docs/gpus.md lists those of which facts and prices are known.",
    )
    memory: Quantity | None = Field(default=None, description='Memory of one GPU, e.g. "45Gi".')
    compute_capability: ComputeCapability | None = Field(
        default=None, description='Compute capability as NVIDIA counts it, e.g. "8.9".'
    )


class PoolBudget(Model):
    """The most that the tiers of a pool may use together. What is not set is not limited."""

    gpus: int | None = Field(default=None, ge=0, le=100000, description="GPUs.")
    usd_per_hour: Money | None = Field(
        default=None, description='US dollars per hour, e.g. "120". Needs a price: pricePerGPUHour, or a list price.'
    )


class GPUPoolSpec(Model):
    """Which GPUs, at what price, and how many of them tiers may use."""

    cel = (
        Rule(
            expression="self.resourceName == oldSelf.resourceName",
            message="resourceName cannot change: create another pool and name it in the tiers",
            field_path=".resourceName",
        ),
        Rule(
            expression="has(self.nodeSelector) == has(oldSelf.nodeSelector) && "
            "(!has(self.nodeSelector) || self.nodeSelector == oldSelf.nodeSelector)",
            message="nodeSelector cannot change, since every replica of the pool would restart: create another pool",
            field_path=".nodeSelector",
        ),
        Rule(
            expression=label_names("nodeSelector"),
            message="nodeSelector has a key that is not a label name, e.g. nvidia.com/gpu.product",
            field_path=".nodeSelector",
        ),
    )

    resource_name: ResourceName = Field(
        default="nvidia.com/gpu",
        description="Extended resource that the replicas request, e.g. nvidia.com/gpu, a MIG slice or amd.com/gpu.",
    )
    node_selector: dict[LabelKey, LabelValue] = Field(
        default_factory=dict,
        max_length=16,
        description="Labels of the pool's nodes. The replicas get them as their node selector. Empty: every node that "
        "has the resource.",
    )
    gpu: PoolGPU = Field(default_factory=PoolGPU, description="What one GPU is, where the nodes' labels do not say it.")
    price_per_gpu_hour: Money | None = Field(
        alias="pricePerGPUHour",
        default=None,
        description='US dollars for one GPU for one hour, e.g. "2.49". Unset: the list price of the product, which is '
        "shown as assumed (docs/gpus.md).",
    )
    budget: PoolBudget = Field(default_factory=PoolBudget, description="The most that tiers may use together.")


class PoolGPUStatus(Model):
    """What one GPU of the pool is, as it is used."""

    product: str = Field(default="", max_length=63, description="Product; empty: not known, or nodes differ.")
    memory: str = Field(default="", max_length=20, description="Memory; empty: not known, or nodes differ.")
    compute_capability: str = Field(
        default="", max_length=8, description="Compute capability; empty: not known, or nodes differ."
    )


class GPUPoolStatus(Model):
    """The observed state: shown by `kubectl get gpupools`."""

    observed_generation: int = Field(default=0, ge=0, description="Generation of the spec this status is about.")
    capacity: int | None = Field(
        default=None, ge=0, description="GPUs of the pool's Ready nodes. Absent: not known, and nothing grows."
    )
    nodes: str = Field(default="", max_length=16, description="Ready and all nodes of the pool, e.g. 3/4.")
    used: int | None = Field(
        default=None,
        ge=0,
        description="GPUs of the tiers' replicas, those that are pending or terminating included.",
    )
    pending: int | None = Field(default=None, ge=0, description="Of these, GPUs of replicas that no node runs yet.")
    others: int | None = Field(default=None, ge=0, description="GPUs of pods that belong to no tier of the pool.")
    free: int | None = Field(default=None, ge=0, description="GPUs that nobody uses.")
    budget: str = Field(default="", max_length=64, description="The budget, e.g. 8 GPUs, $40/h.")
    tiers: int = Field(default=0, ge=0, description="Tiers that name the pool.")
    price_per_gpu_hour: str = Field(
        alias="pricePerGPUHour", default="", max_length=24, description="US dollars of one GPU for one hour."
    )
    price_source: str = Field(
        default="",
        max_length=256,
        description="Where the price is from when nobody has set one: provider, region, instance, terms and date.",
    )
    cost_per_hour: str = Field(
        default="",
        max_length=32,
        description="US dollars per hour of the GPUs that tiers use, now; with the word assumed when the price is.",
    )
    gpu: PoolGPUStatus = Field(default_factory=PoolGPUStatus, description="What one GPU is.")
    state: str = Field(
        default="",
        max_length=32,
        description="One word for the pool: Ready, Full, OverBudget, Empty, Unknown, Rejected or Deleting.",
    )
    reason: str = Field(default="", max_length=64, description="Reason of the condition that `state` stands for.")
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=8,
        description="Conditions as in metav1, one of each type.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


class GPUPool(Model):
    """One kind of GPU that tiers share, with its price and its budget."""

    cel = (
        Rule(
            expression=f"self.metadata.name.size() <= {NAME_LENGTH}",
            message=f"the name of a pool has at most {NAME_LENGTH} characters",
        ),
        Rule(
            expression=f"self.metadata.name.matches('{NAME_PATTERN}')",
            message="the name of a pool is lower-case letters, digits and dashes, and starts with a letter",
        ),
    )

    spec: GPUPoolSpec = Field(description="The desired state.")
    status: GPUPoolStatus = Field(default_factory=GPUPoolStatus, description="The observed state.")
