"""Defines what all API types share.

They are camelCase on the wire and immutable in Python. Unknown fields are ignored, since an older operator may meet a
newer CRD. Every string and list is bounded: the API server prices the CEL rules by these bounds, and refuses a CRD
whose rules could cost too much. A rule is part of the class that it is about and goes into the CRD with it, so the two
cannot differ.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

GROUP = "tierwise.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_LENGTH = 40  # KServe adds suffixes to the name of a tier
QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
MONEY_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,9})?$"


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


# Kubernetes' own quantities may be written as a number or as text: the CRD says int-or-string.
Quantity = Annotated[
    str,
    BeforeValidator(_text),
    StringConstraints(pattern=QUANTITY_PATTERN, max_length=20),
    # the pattern again: pydantic leaves it out of the schema of a field that has a validator before it
    Field(json_schema_extra={"x-kubernetes-int-or-string": True, "minimum": 0, "pattern": QUANTITY_PATTERN}),
]


def unique(values: list[str]) -> list[str]:
    """`values`, when none stands in it twice (the CRD's list type "set"); raises ValueError otherwise."""
    if len(set(values)) != len(values):
        raise ValueError("each value may stand here once")
    return values


Money = Annotated[str, StringConstraints(pattern=MONEY_PATTERN, max_length=19)]
DNSLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
DNSName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
# A key of a Secret or ConfigMap.
DataKey = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
SwitchState = Literal["Enabled", "Disabled"]


class Rule(BaseModel):
    """One CEL rule of the CRD: `expression` over `self`, what the user reads when it is false, and the field
    (relative to `self`, e.g. ".revision") that the error names when it is not `self` as a whole."""

    model_config = ConfigDict(frozen=True)

    expression: str
    message: str
    field_path: str | None = None


def _with_rules(schema: dict[str, Any], model: type[BaseModel]) -> None:
    rules: tuple[Rule, ...] = getattr(model, "cel", ())
    if rules:
        schema["x-kubernetes-validations"] = [
            {"rule": rule.expression, "message": rule.message}
            | ({"fieldPath": rule.field_path} if rule.field_path else {})
            for rule in rules
        ]


class Model(BaseModel):
    """Base of every API type. `cel` holds the rules of its level; they are part of its JSON schema."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        json_schema_extra=_with_rules,
    )
    cel: ClassVar[tuple[Rule, ...]] = ()
