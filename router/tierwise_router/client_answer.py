"""Reads again what a client was asked and answered, to compare it: only what is text on both sides can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from tierwise_router.answer import BOM
from tierwise_router.background import text_of
from tierwise_router.sampler import Sample
from tierwise_router.sse import EventSplitter, data_of

# What makes answers differ in more than their text, or cannot be asked for a second time.
_OTHERS = ("tools", "functions", "audio", "modalities")
# What only concerned how the client was told.
_TOLD = ("stream", "stream_options", "request_id", "service_tier", "store", "user", "cache_salt")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer. `values` is the body to ask another tier with, `request` the conversation as text."""

    values: dict[str, Any]
    request: str
    text: str
    finish_reason: str


def read(sample: Sample) -> Exchange | None:
    """What was said; None where it is not text alone, so that it cannot be compared."""
    values = orjson.loads(sample.body)
    messages = values.get("messages")
    if any(values.get(name) for name in _OTHERS) or values.get("n") not in (None, 1) or not isinstance(messages, list):
        return None
    request = _conversation(messages)
    text, reason = _streamed(sample.parts) if sample.stream else _whole(sample.parts)
    if not request or not text:
        return None
    return Exchange({name: value for name, value in values.items() if name not in _TOLD}, request, text, reason)


def _conversation(messages: list[Any]) -> str:
    """All turns as text; empty where one is something else."""
    said = []
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            parts = [part.get("text") if isinstance(part, dict) else None for part in content]
            texts = [part for part in parts if isinstance(part, str)]
            content = "\n".join(texts) if len(texts) == len(parts) else None
        if not isinstance(content, str):
            return ""
        said.append(f"{message.get('role', 'user')}: {content}")
    return "\n\n".join(said)


def _whole(parts: list[bytes]) -> tuple[str, str]:
    said = _object(b"".join(parts))
    return ("", "") if said is None else text_of(said)


def _streamed(parts: list[bytes]) -> tuple[str, str]:
    splitter, text, reason = EventSplitter(), [], ""
    for event in splitter.feed(b"".join(parts).removeprefix(BOM)):
        said = _object(data_of(event) or b"")
        choices = None if said is None else said.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            delta = choice.get("delta") or {}
            if delta.get("tool_calls"):
                return "", ""
            text.append(delta.get("content") or "")
            reason = choice.get("finish_reason") or reason
    return "".join(text), reason


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        said = orjson.loads(raw.removeprefix(BOM))
    except orjson.JSONDecodeError:
        return None
    return said if isinstance(said, dict) else None
