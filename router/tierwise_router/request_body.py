"""Reads of a request's body what routing needs, and makes the body that goes upstream.

Everything else is left byte for byte, fields that nobody knows included. Two things are changed: the model's name, and
for a stream whose client did not ask for usage, a request for it; without usage nothing can be counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from tierwise.routing.prefix import block_hashes
from tierwise_router.json_scan import NotAnObject, Span, members, model_span, splice
from tierwise_router.openai_error import ClientError

# orjson takes about 0.2 µs for a container; this bounds how long one body can keep the others waiting (40 ms).
MOST_CONTAINERS = 200_000
BYTES_PER_TOKEN = 4
IMAGE_TOKENS = 1_000  # of an image, roughly; only rules and estimates use it
_USAGE = b'"stream_options":{"include_usage":true},'
_OPTIONS = frozenset({"stream_options"})
_WANTED = frozenset({"model", "stream_options"})


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body and what was read of it. `prompt` is what an engine would cache, in a fixed form."""

    raw: bytes
    values: dict[str, Any]
    model: str
    stream: bool
    wants_usage: bool
    model_at: Span | None
    """Where the model's name stands, if it was found quickly."""

    def upstream(self, model: str, force_usage: bool) -> bytes:
        """The body to send: with the model's name of the tier, and with usage asked for."""
        changes: dict[Span, bytes] = {}
        options = self.values.get("stream_options")
        fast = self.model_at
        must_find = fast is None or (force_usage and options is not None)
        found = members(self.raw, _WANTED) if must_find else {}
        span = fast or found["model"]
        if model != self.model:
            changes[span] = orjson.dumps(model)
        if force_usage and options is not None:
            changes[found["stream_options"]] = orjson.dumps({**options, "include_usage": True})
        elif force_usage:
            opening = self.raw.index(b"{") + 1
            changes[Span(opening, opening)] = _USAGE
        return splice(self.raw, changes) if changes else self.raw


def read(raw: bytes) -> Body:
    """Read a body. Raises ClientError (400) where it is no JSON object with a model's name."""
    if raw.count(b"{") + raw.count(b"[") > MOST_CONTAINERS:
        raise ClientError(400, "the body has too many objects and lists", code="body_too_complex")
    try:
        values = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ClientError(400, f"the body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(values, dict):
        raise ClientError(400, "the body must be a JSON object", code="invalid_json")
    model = values.get("model")
    if not isinstance(model, str) or not model:
        raise ClientError(400, "you must provide a model parameter", param="model", code="missing_required_parameter")
    model_at = model_span(raw)
    if model_at is None:
        try:
            members(raw, _WANTED)
        except NotAnObject as error:
            raise ClientError(400, str(error), code="duplicate_key") from None
    options = values.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise ClientError(400, "stream_options must be an object", param="stream_options")
    return Body(
        raw=raw,
        values=values,
        model=model,
        stream=values.get("stream") is True,
        wants_usage=bool(options and options.get("include_usage")),
        model_at=model_at,
    )


@dataclass(frozen=True, slots=True)
class Shape:
    """What rules and estimates look at."""

    prompt_tokens: int
    max_tokens: int | None
    tools: bool
    images: bool
    response_format: str
    blocks: tuple[int, ...]


def shape(values: dict[str, Any]) -> Shape:
    """The facts of a body of chat completions, completions, embeddings or responses."""
    pieces: list[str] = []
    images = 0
    messages = values.get("messages")
    if isinstance(messages, list):
        for message in messages:
            if isinstance(message, dict):
                pieces.append(str(message.get("role", "")))
                images += _texts(message.get("content"), pieces)
                if calls := message.get("tool_calls"):
                    pieces.append(_compact(calls))
    else:
        pieces.append(str(values.get("instructions") or ""))
        images += _texts(values.get("prompt", values.get("input")), pieces)
    prompt = "\n".join(pieces).encode("utf-8", "surrogatepass")
    tools = values.get("tools") or values.get("functions")
    seed = _compact(tools).encode() if tools else b""
    if salt := values.get("cache_salt"):
        seed += str(salt).encode("utf-8", "surrogatepass")
    size = (len(prompt) + len(seed)) // BYTES_PER_TOKEN + images * IMAGE_TOKENS
    return Shape(
        prompt_tokens=max(1, size),
        max_tokens=_limit(values),
        tools=bool(tools),
        images=images > 0,
        response_format=_format(values),
        blocks=block_hashes(prompt, seed),
    )


def _texts(content: object, pieces: list[str]) -> int:
    """Append the texts of a message's content; return the number of images."""
    if isinstance(content, str):
        pieces.append(content)
        return 0
    images = 0
    if isinstance(content, list):
        for part in content:
            if isinstance(part, str):
                pieces.append(part)
            elif isinstance(part, dict):
                if isinstance(text := part.get("text"), str):
                    pieces.append(text)
                elif part.get("type") in ("image_url", "input_image"):
                    images += 1
                elif "content" in part:  # an item of /v1/responses
                    images += _texts(part["content"], pieces)
    return images


def _limit(values: dict[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        value = values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _format(values: dict[str, Any]) -> str:
    wanted = values.get("response_format")
    if wanted is None and isinstance(text := values.get("text"), dict):
        wanted = text.get("format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    return kind if isinstance(kind, str) and kind != "text" else ""


def _compact(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
