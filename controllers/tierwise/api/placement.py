"""Describes what one replica asks of the cluster: GPUs, memory, image pull secrets, nodes, tolerations, spreading."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from tierwise.api.base import NAME_LENGTH, NAME_PATTERN, DNSName, Model, Quantity, Rule, unique
from tierwise.api.serving import Parallelism, Quantization

ResourceName = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$",
        max_length=253,
    ),
]

# What is no quantity at all is refused by its own rule.
_ABOVE_ZERO = "!isQuantity(string(self.{0})) || quantity(string(self.{0})).isGreaterThan(quantity('0'))"


class Resources(Model):
    """What one replica requests of its node."""

    cel = (
        Rule(
            expression=_ABOVE_ZERO.format("cpu"),
            message="resources.cpu must be above zero",
            field_path=".cpu",
        ),
        Rule(
            expression=_ABOVE_ZERO.format("memory"),
            message="resources.memory must be above zero",
            field_path=".memory",
        ),
        Rule(
            expression=_ABOVE_ZERO.format("sharedMemory"),
            message="resources.sharedMemory must be above zero",
            field_path=".sharedMemory",
        ),
        Rule(
            expression="!has(self.cpuLimit) || "
            "!isQuantity(string(self.cpuLimit)) || !isQuantity(string(self.cpu)) || "
            "quantity(string(self.cpuLimit)).compareTo(quantity(string(self.cpu))) >= 0",
            message="resources.cpuLimit must not be below resources.cpu",
            field_path=".cpuLimit",
        ),
        Rule(
            expression="!has(self.memoryLimit) || "
            "!isQuantity(string(self.memoryLimit)) || !isQuantity(string(self.memory)) || "
            "quantity(string(self.memoryLimit)).compareTo(quantity(string(self.memory))) >= 0",
            message="resources.memoryLimit must not be below resources.memory",
            field_path=".memoryLimit",
        ),
        Rule(
            expression="!has(self.ephemeralStorage) || "
            "!isQuantity(string(self.ephemeralStorage)) || "
            "quantity(string(self.ephemeralStorage)).isGreaterThan(quantity('0'))",
            message="resources.ephemeralStorage must be above zero",
            field_path=".ephemeralStorage",
        ),
    )

    gpus: int = Field(default=1, ge=0, le=64, description="GPUs of one replica; tensor times pipeline.")
    resource_name: ResourceName = Field(
        default="nvidia.com/gpu",
        description="Extended resource, e.g. nvidia.com/gpu, a MIG slice or amd.com/gpu. In a pool that of the pool "
        "is requested.",
    )
    cpu: Quantity = Field(default="4", description="CPU requested by one replica.")
    cpu_limit: Quantity | None = Field(
        default=None, description="CPU allowed to one replica. Without it, as much as it requests."
    )
    memory: Quantity = Field(default="16Gi", description="Memory requested by one replica.")
    memory_limit: Quantity | None = Field(
        default=None, description="Memory allowed to one replica. Without it, as much as it requests."
    )
    ephemeral_storage: Quantity | None = Field(
        default=None,
        description="Disk of the node requested by and allowed to one replica: logs, caches, and hf:// weights that no "
        "claim keeps. A replica that takes more is evicted.",
    )
    shared_memory: Quantity = Field(
        default="2Gi", description="Size of /dev/shm; tensor parallelism exchanges data there."
    )


class Toleration(Model):
    """A taint that the pods of the tier accept; Kubernetes' own fields."""

    cel = (
        Rule(
            expression="has(self.key) || self.operator == 'Exists'",
            message="a toleration without key needs operator: Exists",
        ),
        Rule(
            expression="!has(self.value) || self.operator == 'Equal'",
            message="a toleration with operator: Exists has no value",
            field_path=".value",
        ),
        Rule(
            expression="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            message="tolerationSeconds needs effect: NoExecute",
            field_path=".tolerationSeconds",
        ),
    )

    key: Annotated[str, StringConstraints(max_length=253)] | None = Field(default=None, description="Taint key.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="Exists ignores the value.")
    value: Annotated[str, StringConstraints(max_length=63)] | None = Field(default=None, description="Taint value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect; all effects when unset."
    )
    toleration_seconds: int | None = Field(
        default=None, ge=0, le=86400, description="How long a NoExecute taint is tolerated, in seconds."
    )


LabelKey = Annotated[str, StringConstraints(max_length=317)]


LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]


LABEL_NAME_PATTERN = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"


def label_names(field: str) -> str:
    """The CEL expression of a rule that the keys of this field are names of labels."""
    return f"!has(self.{field}) || self.{field}.all(k, k.size() <= 317 && k.matches('{LABEL_NAME_PATTERN}'))"


def _comparisons(kind: str) -> tuple[Rule, ...]:
    """The rules of a requirement; each message tells its kind, so that a person finds the place."""
    return (
        Rule(
            expression="!(self.operator in ['In', 'NotIn']) || (has(self.values) && self.values.size() > 0)",
            message=f"a {kind} node requirement with operator In or NotIn needs values",
            field_path=".values",
        ),
        Rule(
            expression="!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || self.values.size() == 0",
            message=f"a {kind} node requirement with operator Exists or DoesNotExist has no values",
            field_path=".values",
        ),
        Rule(
            expression="!(self.operator in ['Gt', 'Lt']) || "
            "(has(self.values) && self.values.size() == 1 && self.values[0].matches('^-?[0-9]{1,15}$'))",
            message=f"a {kind} node requirement with operator Gt or Lt needs one whole number in values",
            field_path=".values",
        ),
    )


class NodeRequirement(Model):
    """What one label of a node must be; Kubernetes' own fields."""

    cel = _comparisons("required")

    key: Annotated[str, StringConstraints(pattern=LABEL_NAME_PATTERN, max_length=317)] = Field(
        description="Label of the node."
    )
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        description="How the label is compared. NotIn and DoesNotExist hold also where it is absent."
    )
    values: list[LabelValue] = Field(
        default_factory=list, max_length=32, description="What the label is compared with."
    )


class NodePreference(NodeRequirement):
    """What one label of a node should be; Kubernetes' own fields."""

    cel = _comparisons("preferred")


class NodeTerm(Model):
    """A description of nodes."""

    match_expressions: list[NodeRequirement] = Field(
        min_length=1, max_length=16, description="What the labels of a node must be, all of it."
    )


class PreferredNodes(Model):
    """A description of nodes that are better than others."""

    weight: int = Field(default=1, ge=1, le=100, description="How much better: the weights of a node are added up.")
    match_expressions: list[NodePreference] = Field(
        min_length=1, max_length=16, description="What the labels of a node must be, all of it."
    )


class Affinity(Model):
    """Which nodes replicas need, and which they prefer, by labels."""

    required: list[NodeTerm] = Field(
        default_factory=list,
        max_length=8,
        description="Descriptions of nodes, one of which must fit a node, besides nodeSelector.",
    )
    preferred: list[PreferredNodes] = Field(
        default_factory=list, max_length=8, description="Nodes that are taken first, while they have room."
    )


class Spread(Model):
    """How replicas are spread, so that one failure does not take all of them."""

    over: Literal["Hosts", "Zones"] = Field(description="What replicas are spread over: nodes, or zones of the cloud.")
    mode: Literal["Preferred", "Required"] = Field(
        default="Preferred",
        description="Required leaves a replica Pending rather than crowd; a new one then needs room elsewhere.",
    )
    max_skew: int = Field(
        default=1, ge=1, le=64, description="By how many replicas one of them may be ahead of another."
    )


def _once_each(spread: list[Spread]) -> list[Spread]:
    unique([each.over for each in spread])
    return spread


class Placement(Model):
    """Where replicas may run."""

    cel = (
        Rule(
            expression=label_names("nodeSelector"),
            message="placement.nodeSelector has a key that is not a label name",
            field_path=".nodeSelector",
        ),
    )

    node_selector: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=16, description="Labels that a node must have."
    )
    affinity: Affinity | None = Field(default=None, description="Nodes by expressions over their labels.")
    spread: Annotated[list[Spread], AfterValidator(_once_each)] = Field(
        default_factory=list,
        max_length=2,
        description="How replicas are spread over nodes and zones.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["over"]},
    )
    scheduler_name: DNSName | None = Field(
        default=None, description="Scheduler of the pods, e.g. volcano. Without it, the cluster's own."
    )
    tolerations: list[Toleration] = Field(default_factory=list, max_length=16, description="Taints accepted.")
    runtime_class_name: DNSName | None = Field(default=None, description="RuntimeClass of the pods, e.g. nvidia.")
    priority_class_name: DNSName | None = Field(default=None, description="PriorityClass of the pods.")
    image_pull_secrets: Annotated[list[DNSName], AfterValidator(unique)] = Field(
        default_factory=list,
        max_length=8,
        description="Names of Secrets that pull the engine image.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class TierPool(Model):
    """A GPUPool that the replicas of a tier run in."""

    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=NAME_LENGTH)] = Field(
        description="Name of the GPUPool."
    )
    parallelism: Parallelism | None = Field(
        default=None,
        description="How a replica is divided among its GPUs in this pool: it has tensor times pipeline of them. "
        "Default: spec.parallelism.",
    )
    quantization: Quantization | None = Field(
        default=None, description="Number formats in this pool, all of them. Default: spec.quantization."
    )
