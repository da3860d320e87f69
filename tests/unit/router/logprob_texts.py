"""Writes answers with log-probabilities as vLLM does, and the same answers as they are where nobody asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson


def entry(token: str, logprob: float) -> dict[str, Any]:
    """One token of a chat."""
    tops = [{"token": token, "logprob": logprob, "bytes": None}, {"token": "?", "logprob": logprob - 1, "bytes": None}]
    return {"token": token, "logprob": logprob, "bytes": list(token.encode()), "top_logprobs": tops}


def event(choice: dict[str, Any], **more: Any) -> bytes:
    """One event of a stream."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + orjson.dumps(head | more) + b"\n\n"


def chat_event(text: str, logprobs: Sequence[float] | None, finish: str | None = None, **delta: Any) -> bytes:
    """A piece of a chat: `text` and, asked for them, the log-probabilities of its tokens."""
    said = {"content": text, **delta} if text or not delta else delta
    found = None if logprobs is None else {"content": [entry(text[:9] or "x", value) for value in logprobs]}
    return event({"index": 0, "delta": said, "logprobs": found, "finish_reason": finish})


def completion_event(text: str, logprobs: Sequence[float] | None, finish: str | None = None) -> bytes:
    """A piece of a completion."""
    found = None
    if logprobs is not None:
        count = len(logprobs)
        tops = [{text or "x": value, "?": value - 1} for value in logprobs]
        found = {
            "text_offset": [0] * count,
            "token_logprobs": list(logprobs),
            "tokens": [text] * count,
            "top_logprobs": tops,
        }
    return event({"index": 0, "text": text, "logprobs": found, "finish_reason": finish})
