"""Decides whether an answer has to be a tool call or JSON by a schema, and what it then says.

As vLLM's server does with a parser that has no grammar of its own: a named tool's answer is its arguments, a required
one's is a list with one call. Whether to call a tool at all (`auto`) is the model's choice, and this model never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from tierwise_sim import structured

_USAGE = 'Correct usage: `{"type": "function", "function": {"name": "my_function"}}`'


class BadConstraint(ValueError):
    """vLLM's words about a constraint that it refuses, and the field that is wrong."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The call that an answer is. `named`: the client asked for this very function."""

    name: str
    arguments: str
    named: bool

    @property
    def text(self) -> str:
        """What the model writes."""
        return self._before + self.arguments + self._after

    @property
    def _before(self) -> str:
        return "" if self.named else f'[{{"name":{structured.text(self.name)},"parameters":'

    @property
    def _after(self) -> str:
        return "" if self.named else "}]"

    def arguments_between(self, start: int, end: int) -> str:
        """The part of the arguments that lies in this part of the text, in characters."""
        begin = len(self._before)
        return self.arguments[max(0, start - begin) : max(0, end - begin)]

    def finish(self, engine: str) -> str:
        """The finish reason, given the engine's own: OpenAI says `stop` where one function was forced."""
        return "tool_calls" if engine == "stop" and not self.named else engine


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer has to be."""

    text: str
    call: ToolCall | None = None


def constraint(body: Mapping[str, Any], rng: Random) -> Constraint | None:
    """What the body of a chat asks for, or None where the model may say what it likes. Raises BadConstraint."""
    tool = _chosen(body)
    if tool is not None:
        function, named = tool
        arguments = _made(function.get("parameters") or {}, rng, "tools")
        call = ToolCall(str(function.get("name")), arguments, named)
        return Constraint(call.text, call)
    wanted = body.get("response_format")
    if not isinstance(wanted, Mapping):
        return None
    kind = wanted.get("type")
    if kind == "json_object":
        return Constraint(structured.text(structured.any_object(rng)))
    if kind == "json_schema":
        described = wanted.get("json_schema")
        if not isinstance(described, Mapping) or not isinstance(described.get("schema"), Mapping):
            raise BadConstraint("response_format of type json_schema needs a schema", "response_format")
        return Constraint(_made(described["schema"], rng, "response_format"))
    if kind not in (None, "text"):
        raise BadConstraint(f"response_format {kind!r} is not simulated", "response_format")
    return None


def _chosen(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool] | None:
    """The function that has to be called, and whether it was named. Raises BadConstraint."""
    tools = body.get("tools")
    if tools == []:
        raise BadConstraint(
            "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely.", "tools"
        )
    choice = body.get("tool_choice", "auto" if tools else "none")
    if choice is None or choice == "none":
        return None
    if tools is None:
        raise BadConstraint("When using `tool_choice`, `tools` must be set.", "tool_choice")
    functions = [tool.get("function") for tool in tools if isinstance(tool, Mapping)] if isinstance(tools, list) else []
    known = [function for function in functions if isinstance(function, Mapping)]
    if choice == "auto":
        return None
    if choice == "required" and known:
        return known[0], False
    if not isinstance(choice, Mapping):
        raise BadConstraint(
            f'Invalid value for `tool_choice`: {choice}! Only named tools, "none", "auto" or "required" are supported.',
            "tool_choice",
        )
    wanted = choice.get("function")
    if not isinstance(wanted, Mapping) or not wanted.get("name"):
        raise BadConstraint(
            f"Invalid value for `function`: `{wanted}` in `tool_choice`! {_USAGE}", "tool_choice.function"
        )
    for function in known:
        if function.get("name") == wanted["name"]:
            return function, True
    raise BadConstraint(
        "The tool specified in `tool_choice` does not match any of the specified `tools`", "tool_choice"
    )


def _made(schema: object, rng: Random, param: str) -> str:
    try:
        return structured.text(structured.example(schema, rng))
    except structured.UnsupportedSchema as error:
        raise BadConstraint(str(error), param) from error
