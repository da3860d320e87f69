"""Asks a server the same thing directly and through the router, with the official client, and compares the answers.

Field by field: everything that an answer says must be equal but for what is new in every answer (ids and times). A
stream is compared as what it says, since an engine cuts it as its steps fall. The same questions go to the simulated
engine and to the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import openai
from pydantic import BaseModel

# What differs between two askings of the same thing, whoever is asked.
ANEW = {"call_id", "completed_at", "created", "created_at", "id", "item_id", "previous_response_id", "request_id"}
USER: Any = [{"role": "user", "content": "What do you say?"}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Bonn", "Oslo"]},
        "days": {"enum": [1, 2, 3]},
        "note": {"type": "string", "maxLength": 6},
        "sure": {"type": "boolean"},
    },
    "required": ["city", "days", "note", "sure"],
    "additionalProperties": False,
}
FUNCTION: dict[str, Any] = {
    "name": "weather",
    "description": "Tells the weather",
    "parameters": SCHEMA,
    "strict": True,
}
# The tiny models' greedy way through a grammar is blanks without end; a seed makes chance repeatable.
SEEDED: dict[str, Any] = {"temperature": 1, "seed": 7}
TOOLS: Any = [{"type": "function", "function": FUNCTION}]
NAMED: Any = {"type": "function", "function": {"name": "weather"}}
JSON_SCHEMA: Any = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA, "strict": True}}
TEXT_FORMAT: Any = {"format": {"type": "json_schema", "name": "weather", "schema": SCHEMA, "strict": True}}

CHAT: dict[str, dict[str, Any]] = {
    "plain": {"max_tokens": 20},
    "several messages": {
        "messages": [{"role": "system", "content": "Be short."}, *USER, {"role": "assistant", "content": "Ü"}, *USER],
        "max_completion_tokens": 9,
    },
    "logprobs": {"max_tokens": 8, "logprobs": True, "top_logprobs": 2},
    "stop, seed, user": {"max_tokens": 30, "stop": ["d", "zz"], "user": "somebody"},
    "fields that nobody knows": {
        "max_tokens": 8,
        "extra_body": {"ignore_eos": True, "a_field_that_nobody_knows": {"model": "inner", "stream_options": None}},
    },
    "tools, none of them called": {"max_tokens": 12, "tools": TOOLS},
    "tools, one is required": {**SEEDED, "max_tokens": 400, "tools": TOOLS, "tool_choice": "required"},
    "tools, this one": {**SEEDED, "max_tokens": 400, "tools": TOOLS, "tool_choice": NAMED},
    "tools, cut by the limit": {**SEEDED, "max_tokens": 40, "tools": TOOLS, "tool_choice": NAMED},
    "an object by a schema": {"max_tokens": 200, "response_format": JSON_SCHEMA},
    "any object": {"max_tokens": 40, "response_format": {"type": "json_object"}},
    "a call and what it brought": {
        "max_tokens": 8,
        "tools": TOOLS,
        "messages": [
            *USER,
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        ],
    },
}
COMPLETIONS: dict[str, dict[str, Any]] = {
    "one prompt": {"prompt": "one two", "max_tokens": 9},
    "log-probabilities": {"prompt": "one two", "max_tokens": 9, "logprobs": 2},
    "a stop": {"prompt": "one two", "max_tokens": 30, "stop": ["m", "zz"]},
}
EMBEDDINGS: dict[str, dict[str, Any]] = {
    "one text": {"input": "one two"},  # as base64, which the client asks for and reads unseen
    "several texts": {"input": ["one two", "three", "Ü"]},
    "as numbers": {"input": "one two", "encoding_format": "float"},
    "tokens": {"input": [5, 6, 7]},
}
RESPONSES: dict[str, dict[str, Any]] = {
    "plain": {"max_output_tokens": 200},
    "cut by the limit": {"max_output_tokens": 5},
    "instructions and a list": {
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}],
        "instructions": "Be short.",
        "max_output_tokens": 9,
        "metadata": {"team": "blue"},
    },
    "tools, one is required": {
        "max_output_tokens": 400,
        "tools": [{"type": "function", **FUNCTION}],
        "tool_choice": "required",
        "temperature": 1,
        "extra_body": {"seed": 7},
    },
    "an object by a schema": {"max_output_tokens": 200, "text": TEXT_FORMAT},
}


def plain(value: Any) -> Any:
    """An object of the Python client as a dictionary; what the Node client brings is one already."""
    return value.model_dump(warnings=False) if isinstance(value, BaseModel) else value


def same(value: Any) -> Any:
    """A value without what is new in every answer."""
    value = plain(value)
    if isinstance(value, dict):
        return {name: same(each) for name, each in value.items() if name not in ANEW}
    return [same(each) for each in value] if isinstance(value, list) else value


def chat_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """A question for chat completions; greedy, so that equal questions have equal answers."""
    return {"messages": USER, "temperature": 0, "seed": 7, **fields}


def response_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """A question for responses."""
    return {"input": "What do you say?", "temperature": 0, **fields}


def merged(chunks: Iterable[Any]) -> dict[str, Any]:
    """What a stream of chat completions or of completions says, choice by choice."""
    kept = [plain(chunk) for chunk in chunks]
    choices: dict[int, list[dict[str, Any]]] = {}
    for choice in (choice for chunk in kept for choice in chunk["choices"]):
        choices.setdefault(choice["index"], []).append(choice)
    return {
        "choices": {index: _merged_choice(parts) for index, parts in choices.items()},
        "usage": [same(chunk["usage"]) for chunk in kept if chunk.get("usage")],
        "of every chunk": {(chunk["object"], chunk["model"]) for chunk in kept},
        "ids": len({chunk["id"] for chunk in kept}),
        "without choices, from the end": [len(kept) - place for place, one in enumerate(kept) if not one["choices"]],
    }


def _merged_choice(parts: list[dict[str, Any]]) -> dict[str, Any]:
    deltas = [part.get("delta") or {} for part in parts]
    logprobs = [part["logprobs"] for part in parts if part.get("logprobs")]
    said = ("content", "refusal", "reasoning", "role")
    return {
        "text": "".join(part.get("text") or "" for part in parts),
        **{name: "".join(delta.get(name) or "" for delta in deltas) for name in said},
        "calls": _merged_calls([call for delta in deltas for call in delta.get("tool_calls") or ()]),
        "logprobs": [same(token) for each in logprobs for token in each.get("content") or each.get("tokens") or ()],
        "token ids": [token for part in parts for token in part.get("token_ids") or ()],
        "end": [(part["finish_reason"], part.get("stop_reason")) for part in parts if part["finish_reason"]],
        "fields": sorted({name for delta in deltas for name in delta}),
    }


def _merged_calls(parts: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    calls: dict[int, dict[str, Any]] = {}
    for part in parts:
        call = calls.setdefault(part["index"], {"ids": 0, "types": [], "names": [], "arguments": ""})
        function = part.get("function") or {}
        call["ids"] += bool(part.get("id"))
        call["types"] += [part["type"]] if part.get("type") else []
        call["names"] += [function["name"]] if function.get("name") else []
        call["arguments"] += function.get("arguments") or ""
    return calls


def merged_response(events: Iterable[Any]) -> list[Any]:
    """What a stream of a response says, its deltas joined; each event must have the number of its place."""
    kept = [plain(event) for event in events]
    assert [event["sequence_number"] for event in kept] == list(range(len(kept)))
    said: list[Any] = []
    for event in kept:
        value = same({name: each for name, each in event.items() if name != "sequence_number"})
        if said and event["type"].endswith(".delta") and said[-1]["type"] == event["type"]:
            said[-1]["delta"] += value["delta"]
            if "logprobs" in value:
                said[-1]["logprobs"] += value["logprobs"]
        else:
            said.append(value)
    return said


def refused(ask: Callable[[], object]) -> tuple[str, int, object]:
    """Of an error: which of the client's exceptions it is, its status and its body."""
    try:
        ask()
    except openai.APIStatusError as error:
        return type(error).__name__, error.status_code, error.body
    raise AssertionError("it was answered")
