"""Reads an answer while it is passed on: when its content begins, what it cost, whether it ended well.

An answer is committed with its first content: text, reasoning, a tool call, a refusal. A role, an empty delta and a
comment are none, so that an attempt that fails before it can be made again elsewhere. `[DONE]` alone is not success:
vLLM sends it after an error too. And an end without `finish_reason` or `[DONE]` is a failure, whatever HTTP says.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import orjson

from tierwise.routing.cost import Usage, read_usage
from tierwise_router.sse import EventSplitter, data_of

_DONE = b"[DONE]"
_RESPONSE_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_RESPONSE_BEGINS = frozenset({"response.created", "response.in_progress", "response.queued"})


class Kind(Enum):
    """What one event is."""

    IDLE = 0
    """A comment, a role, an empty delta: nothing a person reads."""
    CONTENT = 1
    USAGE_ONLY = 2
    """The extra event of include_usage."""
    ERROR = 3
    END = 4


class StreamReader:
    """Of one streamed answer. `drop_usage`: the client has not asked for the event with usage."""

    __slots__ = (
        "_drop_usage",
        "_splitter",
        "committed",
        "done",
        "error",
        "finished",
        "output_events",
        "response_id",
        "usage",
    )

    def __init__(self, drop_usage: bool) -> None:
        self._drop_usage = drop_usage
        self._splitter = EventSplitter()
        self.committed = False
        self.done = False
        self.finished = False
        self.error: dict[str, Any] | None = None
        self.usage: Usage | None = None
        self.output_events = 0
        self.response_id = ""

    def feed(self, data: bytes) -> bytes:
        """What of it the client gets now."""
        events = self._splitter.feed(data)
        if not events:
            return b""
        if len(events) == 1:
            return b"" if self._read(events[0]) is Kind.USAGE_ONLY and self._drop_usage else events[0]
        return b"".join([one for one in events if not (self._read(one) is Kind.USAGE_ONLY and self._drop_usage)])

    def rest(self) -> bytes:
        """What is left at the end of the stream: the beginning of an event that never ended."""
        return self._splitter.rest()

    @property
    def well_ended(self) -> bool:
        """Whether the answer is complete."""
        return self.error is None and (self.done or self.finished)

    def _read(self, event: bytes) -> Kind:
        kind = Kind.CONTENT if self._splitter.oversized else self._kind(event)
        if kind is Kind.CONTENT:
            self.output_events += 1
            self.committed = True
        elif kind is Kind.END:
            self.committed = True
        return kind

    def _kind(self, event: bytes) -> Kind:
        data = data_of(event)
        if data is None:
            return Kind.IDLE
        if data == _DONE:
            self.done = True
            return Kind.END
        try:
            values = orjson.loads(data)
        except orjson.JSONDecodeError:
            return Kind.CONTENT  # not ours to judge: it is passed on
        if not isinstance(values, dict):
            return Kind.CONTENT
        if isinstance(values.get("type"), str) and values["type"].startswith("response."):
            return self._response_kind(values)
        if values.get("error"):
            error = values["error"]
            self.error = error if isinstance(error, dict) else {"message": str(error)}
            return Kind.ERROR
        return self._chunk_kind(values)

    def _chunk_kind(self, values: dict[str, Any]) -> Kind:
        choices = values.get("choices")
        if values.get("usage"):
            self.usage = read_usage(values["usage"], values.get("service_tier")) or self.usage
        if not isinstance(choices, list):
            return Kind.CONTENT
        if not choices:
            return Kind.USAGE_ONLY if values.get("usage") else Kind.IDLE
        kind = Kind.IDLE
        for choice in choices:
            if not isinstance(choice, dict):
                return Kind.CONTENT
            delta = choice.get("delta")
            if isinstance(delta, dict):
                if any(value for name, value in delta.items() if name != "role"):
                    kind = Kind.CONTENT
            elif choice.get("text"):
                kind = Kind.CONTENT
            if choice.get("finish_reason"):
                self.finished = True
                kind = Kind.END if kind is Kind.IDLE else kind
            if choice.get("usage"):  # inside the choice: seen of one provider
                self.usage = read_usage(choice["usage"], values.get("service_tier")) or self.usage
        return kind

    def _response_kind(self, values: dict[str, Any]) -> Kind:
        kind = values["type"]
        response = values.get("response")
        if isinstance(response, dict) and isinstance(response.get("id"), str):
            self.response_id = response["id"]
        if kind in _RESPONSE_ENDS:
            if isinstance(response, dict):
                self.usage = read_usage(response.get("usage"), response.get("service_tier")) or self.usage
            self.finished = True
            if kind == "response.failed":
                error = response.get("error") if isinstance(response, dict) else None
                self.error = error if isinstance(error, dict) else {"message": "the response has failed"}
            return Kind.END
        return Kind.IDLE if kind in _RESPONSE_BEGINS else Kind.CONTENT


def read_whole(body: bytes) -> tuple[Usage | None, dict[str, Any]]:
    """The usage of an answer that came as one JSON object, and its values ({} where it is none)."""
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, {}
    if not isinstance(values, dict):
        return None, {}
    return read_usage(values.get("usage"), values.get("service_tier")), values
