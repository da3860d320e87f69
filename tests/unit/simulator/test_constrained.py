"""Checks that an answer under a schema follows it, and that tools are chosen and refused as by vLLM.

pydantic judges: what it makes a schema of, it must be able to read the answer as.
"""

from __future__ import annotations

import json
from enum import Enum
from random import Random
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from tierwise_sim.constrained import BadConstraint, ToolCall, constraint
from tierwise_sim.structured import UnsupportedSchema, example, text
from tierwise_sim.tokens import pieces


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Part(BaseModel):
    name: Annotated[str, Field(max_length=3)]
    code: Annotated[str, Field(min_length=40)]
    colour: Colour


class Whole(BaseModel):
    count: Annotated[int, Field(ge=3, le=5)]
    share: Annotated[float, Field(gt=0)]
    parts: Annotated[list[Part], Field(min_length=2)]
    kind: Literal["a"]
    either: int | str
    maybe: Part | None
    sure: bool
    nothing: None


@given(st.integers())
def test_a_value_follows_its_schema(seed: int) -> None:
    value = example(Whole.model_json_schema(), Random(seed))
    assert Whole.model_validate_json(text(value)).model_dump(mode="json") == value


@given(st.integers())
def test_equal_chance_makes_equal_values(seed: int) -> None:
    schema = Whole.model_json_schema()
    assert example(schema, Random(seed)) == example(schema, Random(seed))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string", "pattern": "a+"}, "pattern is not simulated"),
        ({"type": "thing"}, "type 'thing' is not simulated"),
        ({"$ref": "#/$defs/none"}, "leads nowhere"),
        ({"$ref": "#"}, "leads nowhere"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "has no end"),
        (5, "a schema is an object"),
    ],
)
def test_a_schema_that_cannot_be_followed_is_refused(schema: object, words: str) -> None:
    with pytest.raises(UnsupportedSchema, match=words):
        example(schema, Random(0))


SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Oslo"]}}}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("first", "second")]


def asked(**body: Any) -> ToolCall | str | None:
    found = constraint(body, Random(0))
    return found if found is None else found.call or found.text


def test_a_named_tool_is_called_and_a_required_one_is_the_first() -> None:
    named = asked(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "second"}})
    required = asked(tools=TOOLS, tool_choice="required")
    assert named == ToolCall("second", '{"city":"Oslo"}', True)
    assert required == ToolCall("first", '{"city":"Oslo"}', False)
    assert json.loads(required.text) == [{"name": "first", "parameters": {"city": "Oslo"}}]
    assert (named.finish("stop"), required.finish("stop"), required.finish("length")) == (
        "stop",
        "tool_calls",
        "length",
    )


@pytest.mark.parametrize("body", [{}, {"tools": TOOLS}, {"tools": TOOLS, "tool_choice": "none"}])
def test_a_model_that_may_choose_calls_no_tool(body: dict[str, Any]) -> None:
    assert asked(**body) is None


def test_json_is_an_object_with_a_schema_or_without() -> None:
    by_schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    assert asked(response_format=by_schema) == '{"city":"Oslo"}'
    free = asked(response_format={"type": "json_object"})
    assert isinstance(free, str)
    assert isinstance(json.loads(free), dict)
    assert asked(response_format={"type": "text"}) is None


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"tools": []}, "tools", "must not be an empty array"),
        ({"tool_choice": "required"}, "tool_choice", "`tools` must be set"),
        ({"tools": TOOLS, "tool_choice": "any"}, "tool_choice", "Invalid value for `tool_choice`: any!"),
        ({"tools": TOOLS, "tool_choice": {"name": "first"}}, "tool_choice.function", "Correct usage"),
        ({"tools": TOOLS, "tool_choice": {"function": {"name": "third"}}}, "tool_choice", "does not match any"),
        ({"response_format": {"type": "json_schema"}}, "response_format", "needs a schema"),
        ({"response_format": {"type": "structural_tag"}}, "response_format", "is not simulated"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(body: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(BadConstraint, match=words) as refused:
        asked(**body)
    assert refused.value.param == param


@given(st.booleans(), st.lists(st.integers(1, 5)))
def test_the_arguments_come_once_however_the_answer_is_cut(named: bool, cuts: list[int]) -> None:
    call = ToolCall("weather", '{"city":"Oslo","days":3}', named)
    tokens, place, said = pieces(call.text), 0, ""
    for size in [*cuts, len(tokens)]:
        begun = len("".join(tokens[:place]))
        said += call.arguments_between(begun, begun + len("".join(tokens[place : place + size])))
        place += size
    assert said == call.arguments
