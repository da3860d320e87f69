"""Understands requests for /v1/responses and builds their answers.

As vLLM's server does (vllm/entrypoints/openai/responses, 0.33): a request becomes a chat, with the messages of the
response that it goes on from before its own. Messages and function calls are simulated; reasoning, built-in tools and
background requests are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tierwise_sim.openai_api import ApiError, Call, JsonObject, bad_request

_ECHOED: JsonObject = {
    "instructions": None,
    "metadata": None,
    "parallel_tool_calls": True,
    "tools": [],
    "background": False,
    "max_tool_calls": None,
    "previous_response_id": None,
    "prompt": None,
    "reasoning": None,
    "service_tier": "auto",
    "text": None,
    "top_logprobs": None,
    "truncation": "disabled",
    "user": None,
}
_SAME = ("model", "stream", "temperature", "top_p", "seed", "stop", "ignore_eos", "cache_salt")


def as_chat(body: Mapping[str, Any], stored: Mapping[str, Sequence[JsonObject]]) -> JsonObject:
    """The request as one for chat completions. `stored` has the messages up to each kept response. Raises ApiError."""
    if body.get("background"):
        raise bad_request("background responses are not simulated", "background")
    messages = list(_before(body, stored))
    if isinstance(body.get("instructions"), str):
        # Those of the response before are not carried over.
        messages = [{"role": "system", "content": body["instructions"]}] + [
            message for message in messages if message.get("role") != "system"
        ]
    messages += _messages(body.get("input"))
    chat: JsonObject = {name: body[name] for name in _SAME if name in body}
    chat |= {"messages": messages, "max_completion_tokens": body.get("max_output_tokens")}
    if body.get("tools"):
        chat |= {"tools": [_tool(tool) for tool in body["tools"]], "tool_choice": _choice(body.get("tool_choice"))}
    text = body.get("text")
    wanted = text.get("format") if isinstance(text, Mapping) else None
    if isinstance(wanted, Mapping):
        chat["response_format"] = {"type": wanted.get("type"), "json_schema": wanted}
    return chat


def _before(body: Mapping[str, Any], stored: Mapping[str, Sequence[JsonObject]]) -> Sequence[JsonObject]:
    previous = body.get("previous_response_id")
    if previous is None:
        return ()
    if previous not in stored:
        raise ApiError(404, "invalid_request_error", f"Response with id '{previous}' not found.", param="response_id")
    return stored[previous]


def _messages(given: object) -> list[JsonObject]:
    if isinstance(given, str) and given:
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not all(isinstance(item, Mapping) for item in given):
        raise bad_request("1 validation error:\n  {'loc': 'body.input', 'msg': 'Field required'}", "input")
    return [_message(item) for item in given]


def _message(item: Mapping[str, Any]) -> JsonObject:
    kind = item.get("type", "message")
    if kind == "function_call":
        return {"role": "assistant", "content": f"{item.get('name')}({item.get('arguments')})"}
    if kind == "function_call_output":
        return {"role": "tool", "content": item.get("output")}
    if kind != "message":
        raise bad_request(f"input items of type {kind!r} are not simulated", "input")
    content = item.get("content")
    if isinstance(content, list):
        texts = ("input_text", "output_text")
        content = [{**part, "type": "text"} if part.get("type") in texts else part for part in content]
    return {"role": item.get("role"), "content": content}


def _tool(tool: Mapping[str, Any]) -> JsonObject:
    if tool.get("type") != "function":
        raise bad_request(f"tools of type {tool.get('type')!r} are not simulated", "tools")
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


def _choice(choice: object) -> object:
    if isinstance(choice, Mapping):
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice or "auto"


@dataclass(slots=True)
class ResponseAnswer:
    """An answer to one request for a response. It counts its events, so it is of one stream."""

    id: str
    created: int
    model: str
    body: Mapping[str, Any]
    max_tokens: int
    item_id: str
    _events: int = field(default=0, init=False)

    @property
    def last_event(self) -> bytes:
        """vLLM sends no `[DONE]` here."""
        return b""

    def whole(self, call: Call, finish: str, used: JsonObject) -> JsonObject:
        """The response."""
        status = "incomplete" if finish == "length" else "completed"
        return self._object(status, [self._item(call, "completed")], _usage(used))

    def opening(self) -> Sequence[JsonObject]:
        """The response without output, twice."""
        empty = self._object("in_progress", [], None)
        return [self._event(f"response.{name}", response=empty) for name in ("created", "in_progress")]

    def piece(self, call: Call, start: int, end: int, finish: str | None) -> Sequence[JsonObject]:
        """Tokens start..end, the first of them with the item that they are of, the last with its end."""
        return [
            *([] if start else self._begin(call)),
            *self._deltas(call, start, end),
            *([] if finish is None else self._end(call)),
        ]

    def closing(self, call: Call, used: JsonObject) -> Sequence[JsonObject]:
        """The whole response."""
        response = self.whole(call, call.finish, used)
        return [self._event(f"response.{response['status']}", response=response)]

    def messages(self, call: Call) -> list[JsonObject]:
        """What a response that goes on from this one has after this one's prompt."""
        item = self._item(call, "completed")
        return [_message(item)]

    def _begin(self, call: Call) -> list[JsonObject]:
        added = self._event("response.output_item.added", output_index=0, item=self._item(call, "in_progress"))
        if call.tool is not None:
            return [added]
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return [added, self._event("response.content_part.added", **self._place, content_index=0, part=part)]

    def _deltas(self, call: Call, start: int, end: int) -> list[JsonObject]:
        if call.tool is None:
            said = call.text_between(start, end)
            event = "response.output_text.delta"
            return [self._event(event, **self._place, content_index=0, delta=said, logprobs=[])] if said else []
        said = call.arguments_between(start, end)
        return [self._event("response.function_call_arguments.delta", **self._place, delta=said)] if said else []

    def _end(self, call: Call) -> list[JsonObject]:
        item = self._item(call, "completed")
        if call.tool is None:
            part: JsonObject = item["content"][0]
            place = {**self._place, "content_index": 0}
            ends = [
                self._event("response.output_text.done", **place, text=part["text"], logprobs=[]),
                self._event("response.content_part.done", **place, part=part),
            ]
        else:
            said = {"name": call.tool.name, "arguments": item["arguments"]}
            ends = [self._event("response.function_call_arguments.done", **self._place, **said)]
        return [*ends, self._event("response.output_item.done", output_index=0, item=item)]

    @property
    def _place(self) -> JsonObject:
        return {"item_id": self.item_id, "output_index": 0}

    def _item(self, call: Call, status: str) -> JsonObject:
        begun = status == "in_progress"
        item: JsonObject = {"id": self.item_id, "status": status}
        if call.tool is not None:
            arguments = "" if begun else call.arguments_between(0, len(call.answer))
            called = {"call_id": f"call_{self.item_id}", "name": call.tool.name, "arguments": arguments}
            return {**item, **called, "type": "function_call"}
        said = call.text_between(0, len(call.answer))
        part: JsonObject = {"type": "output_text", "text": said, "annotations": [], "logprobs": None}
        return {**item, "type": "message", "role": "assistant", "content": [] if begun else [part]}

    def _object(self, status: str, output: list[JsonObject], used: JsonObject | None) -> JsonObject:
        body = self.body
        echoed = {name: default if body.get(name) is None else body[name] for name, default in _ECHOED.items()}
        choice = body.get("tool_choice") or "auto" if body.get("tools") else "none"
        temperature, top_p = body.get("temperature"), body.get("top_p")
        return {
            **echoed,
            "id": self.id,
            "created_at": self.created,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "model": self.model,
            "object": "response",
            "output": output,
            "temperature": 1.0 if temperature is None else float(temperature),
            "tool_choice": choice,
            "top_p": 1.0 if top_p is None else float(top_p),
            "max_output_tokens": self.max_tokens,
            "status": status,
            "usage": used,
        }

    def _event(self, kind: str, **fields: object) -> JsonObject:
        event = {**fields, "sequence_number": self._events, "type": kind}
        self._events += 1
        return event


def _usage(used: JsonObject) -> JsonObject:
    cached = (used["prompt_tokens_details"] or {}).get("cached_tokens", 0)
    return {
        "input_tokens": used["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": used["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0, "tool_output_tokens": 0},
        "total_tokens": used["total_tokens"],
    }
