"""Describes what one replica asks of the cluster: GPUs, memory, image pull secrets, nodes and tolerations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from tierwise.api.base import DNSName, Model, Quantity, Rule, unique

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
    )

    gpus: int = Field(default=1, ge=0, le=64, description="GPUs of one replica; tensor times pipeline.")
    resource_name: Annotated[
        str,
        StringConstraints(
            pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$",
            max_length=253,
        ),
    ] = Field(
        default="nvidia.com/gpu", description="Extended resource, e.g. nvidia.com/gpu, a MIG slice or amd.com/gpu."
    )
    cpu: Quantity = Field(default="4", description="CPU requested by one replica.")
    memory: Quantity = Field(default="16Gi", description="Memory requested by and allowed to one replica.")
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


class Placement(Model):
    """Where replicas may run."""

    cel = (
        Rule(
            expression="!has(self.nodeSelector) || self.nodeSelector.all(k, k.size() <= 317 && "
            "k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$'))",
            message="placement.nodeSelector has a key that is not a label name",
            field_path=".nodeSelector",
        ),
    )

    node_selector: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=16, description="Labels that a node must have."
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
