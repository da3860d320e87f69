"""Checks that the models and the schema agree: each accepts and refuses what the other does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.unit.api.structural import errors, spoiled, values
from tierwise.api.crd import structural
from tierwise.api.modeltier import ModelTierSpec, Placement, Resources
from tierwise.api.modeltier_status import ModelTierStatus

SPEC = structural(ModelTierSpec)
STATUS = structural(ModelTierStatus, defaults=False)
SLOW = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
)


def accepts(model: type[ModelTierSpec] | type[ModelTierStatus], value: Any) -> bool:
    """Whether the model takes the value as it is, without turning one type into another."""
    try:
        model.model_validate(value, strict=True)
    except ValidationError:
        return False
    return True


def top(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """One property at a time: a whole spec is too large for a shrinking search."""

    @st.composite
    def one(draw: st.DrawFn) -> Any:
        name = draw(st.sampled_from(sorted(schema["properties"])))
        return {name: draw(spoiled(schema["properties"][name]))}

    return one()


@SLOW
@given(top(SPEC))
def test_spec_and_schema_give_the_same_verdict(value: dict[str, Any]) -> None:
    assert accepts(ModelTierSpec, value) == (not errors(SPEC, value)), errors(SPEC, value)


@SLOW
@given(top(STATUS))
def test_status_and_schema_give_the_same_verdict(value: dict[str, Any]) -> None:
    assert accepts(ModelTierStatus, value) == (not errors(STATUS, value)), errors(STATUS, value)


@settings(SLOW, max_examples=50)
@given(values(SPEC))
def test_what_a_spec_says_survives_the_way_to_the_api_server_and_back(value: dict[str, Any]) -> None:
    spec = ModelTierSpec.model_validate(value)
    written = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert errors(SPEC, written) == []
    assert ModelTierSpec.model_validate(written) == spec


@settings(SLOW, max_examples=50)
@given(values(STATUS))
def test_what_a_status_says_survives_the_way_to_the_api_server_and_back(value: dict[str, Any]) -> None:
    status = ModelTierStatus.model_validate(value)
    written = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert errors(STATUS, written) == []
    assert ModelTierStatus.model_validate(written) == status


def test_defaults_of_the_models_are_those_of_the_schema() -> None:
    def filled(schema: dict[str, Any]) -> Any:
        if "default" not in schema or "properties" not in schema:
            return schema.get("default")
        return {name: filled(child) for name, child in schema["properties"].items() if "default" in child}

    written = ModelTierSpec().model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=False)
    for name, child in SPEC["properties"].items():
        if "default" in child:
            expected = filled(child)
            actual = (
                {k: v for k, v in written[name].items() if v not in ([], {})}
                if isinstance(expected, dict)
                else written[name]
            )
            assert actual == expected, name


def test_a_quantity_may_be_a_number_but_no_float_and_no_boolean() -> None:
    assert Resources.model_validate({"cpu": 4}).cpu == "4"
    for wrong in (0.5, True, None, "1e3", "-1", "four", "1 Gi"):
        with pytest.raises(ValidationError):
            Resources.model_validate({"cpu": wrong})


def test_a_pull_secret_is_named_once() -> None:
    assert Placement.model_validate({"imagePullSecrets": ["a", "b"]}).image_pull_secrets == ["a", "b"]
    with pytest.raises(ValidationError, match="once"):
        Placement.model_validate({"imagePullSecrets": ["a", "a"]})


def test_unknown_fields_are_ignored_so_that_an_older_operator_reads_a_newer_crd() -> None:
    assert ModelTierSpec.model_validate({"fromTheFuture": {"a": 1}}) == ModelTierSpec()
