"""Reads of a request's body what routing needs, and makes the body that goes upstream.

Everything else is left byte for byte, fields that nobody knows included. Three things are changed: the model's name;
for a stream whose client did not ask for usage, a request for it, since without usage nothing can be counted; and for
/v1/responses the name of the response, by which it is found again (`response_ids`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from tierwise.routing.prefix import block_hashes
from tierwise_router.json_scan import NotAnObject, Span, members, splice, without_strings
from tierwise_router.openai_error import ClientError

# All other requests wait while a body is read, so its size in bytes is not the only bound: orjson takes 0.2 µs for a
# container or a key and 0.02 µs for a number. Text is cheap. A million tokens of text have fewer of each.
MOST_CONTAINERS = 100_000
MOST_QUOTES = 400_000
MOST_COMMAS = 1_000_000
MOST_PARTS = 100_000
BYTES_PER_TOKEN = 4
MOST_MODEL_CHARACTERS = 256  # it stands in logs and errors, where nothing else of a body may
IMAGE_TOKENS = 1_000  # of an image, roughly; only rules and estimates use it
MOST_ANSWERS = 128  # to one request: more is asked of no API, and a mistake must not look like all of the money
_USAGE = b'"stream_options":{"include_usage":true},'
_WANTED = ("model", "stream_options")


class Wanted(Protocol):
    """What else is asked of upstream: members behind the opening brace, each with its comma, and other values."""

    @property
    def opening(self) -> bytes:
        """Behind the opening brace."""
        ...

    @property
    def changes(self) -> Mapping[Span, bytes]:
        """In place of what the client has said."""
        ...


@dataclass(slots=True)  # not frozen: three times the time, for every request
class Body:
    """A request's body and what was read of it. `places` says where `model` and `stream_options` stand in it."""

    raw: bytes
    values: dict[str, Any]
    model: str
    stream: bool
    wants_usage: bool
    places: dict[str, Span]
    options: bytes
    """What stands in place of the `stream_options` when usage is asked for."""
    names_itself: bool = False
    """Whether the client has chosen the `request_id`."""

    def upstream(
        self, model: str, force_usage: bool, request_id: str | None = None, more: Wanted | None = None
    ) -> bytes:
        """The body to send: with the model's name of the tier, with usage asked for, with a name for the response where
        the client has chosen none, and with what else is wanted."""
        changes: dict[Span, bytes] = {} if more is None else dict(more.changes)
        opening = b"" if more is None else more.opening
        if model != self.model:
            changes[self.places["model"]] = orjson.dumps(model)
        if force_usage and "stream_options" in self.places:
            changes[self.places["stream_options"]] = self.options
        elif force_usage:
            opening += _USAGE
        elif request_id is not None and not self.names_itself:
            opening += b'"request_id":"%b",' % request_id.encode()
        if opening:
            changes[self._opening] = opening
        return splice(self.raw, changes) if changes else self.raw

    def let_go(self) -> None:
        """It will not be sent any more: forget all that may be long."""
        self.raw = self.options = b""

    @property
    def _opening(self) -> Span:
        opening = self.raw.index(b"{") + 1
        return Span(opening, opening)


def read(raw: bytes) -> Body:
    """Read a body. Raises ClientError (400) where it is no JSON object with a model's name."""
    values = _values(raw)
    model = values.get("model")
    if not isinstance(model, str) or not model:
        raise ClientError(400, "you must provide a model parameter", param="model", code="missing_required_parameter")
    if len(model) > MOST_MODEL_CHARACTERS:
        raise ClientError(400, "the model's name is too long", param="model", code="invalid_model")
    options = values.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise ClientError(400, "stream_options must be an object", param="stream_options")
    stream = values.get("stream")
    if stream is not None and not isinstance(stream, bool):
        # An engine may take 1 or "true" for a wish to stream, and its answer would be read as one piece.
        raise ClientError(400, "stream must be true or false", param="stream")
    try:
        places = members(raw, values, _WANTED)
        with_usage = orjson.dumps(_with_usage(options or {})) if "stream_options" in values else b""
    except NotAnObject as error:
        raise ClientError(400, str(error), code="duplicate_key") from None
    except orjson.JSONEncodeError:
        raise ClientError(400, "stream_options is too deep", param="stream_options") from None
    return Body(
        raw=raw,
        values=values,
        model=model,
        stream=stream is True,
        wants_usage=bool(options and options.get("include_usage")),
        places=places,
        options=with_usage,
        names_itself="request_id" in values,
    )


def _with_usage(options: dict[str, Any]) -> dict[str, Any]:
    """Usage once, at the end. In every chunk, as vLLM says it on top, the client would see it."""
    once = {"continuous_usage_stats": False} if options.get("continuous_usage_stats") else {}
    return {**options, "include_usage": True, **once}


def _values(raw: bytes) -> dict[str, Any]:
    if len(raw) > MOST_CONTAINERS and _too_complex(raw):
        raise ClientError(400, "the body has too many objects, lists, texts or numbers", code="body_too_complex")
    try:
        values = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ClientError(400, f"the body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(values, dict):
        raise ClientError(400, "the body must be a JSON object", code="invalid_json")
    return values


def _too_complex(raw: bytes) -> bool:
    if _within(raw) and raw.count(b'"') <= MOST_QUOTES:
        return False
    # A quote behind a backslash is text; where it ends a string instead, the string's other one is still counted.
    if raw.count(b'"') - raw.count(b'\\"') > MOST_QUOTES:
        return True
    return not _within(without_strings(raw))


def _within(raw: bytes) -> bool:
    return raw.count(b"{") + raw.count(b"[") <= MOST_CONTAINERS and raw.count(b",") <= MOST_COMMAS


@dataclass(slots=True)
class Shape:
    """What rules and estimates look at."""

    prompt_tokens: int
    max_tokens: int | None
    tools: bool
    images: bool
    response_format: str
    blocks: tuple[int, ...]
    answers: int = 1


def shape(values: dict[str, Any]) -> Shape:
    """The facts of a body of chat completions, completions, embeddings or responses."""
    pieces: list[str] = []
    images = tokens = 0
    messages = values.get("messages")
    if isinstance(messages, list):
        for message in messages:
            if isinstance(message, dict):
                if isinstance(role := message.get("role"), str):
                    pieces.append(role)
                images += _texts(message.get("content"), pieces)
                if calls := message.get("tool_calls"):
                    pieces.append(_compact(calls))
    else:
        if isinstance(instructions := values.get("instructions"), str):
            pieces.append(instructions)
        prompted = values.get("prompt", values.get("input"))
        tokens = _token_ids(prompted)
        images += 0 if tokens else _texts(prompted, pieces)
    prompt = "\n".join(pieces).encode("utf-8", "surrogatepass")
    tools = values.get("tools") or values.get("functions")
    seed = _compact(tools).encode() if tools else b""
    if isinstance(salt := values.get("cache_salt"), str):
        seed += salt.encode("utf-8", "surrogatepass")
    size = (len(prompt) + len(seed)) // BYTES_PER_TOKEN + images * IMAGE_TOKENS + tokens
    return Shape(
        prompt_tokens=max(1, size),
        max_tokens=_limit(values),
        tools=bool(tools),
        images=images > 0,
        response_format=_format(values),
        blocks=block_hashes(prompt, seed),
        answers=_answers(values),
    )


def _texts(content: object, pieces: list[str]) -> int:
    """Append the texts of a message's content; return the number of images."""
    if isinstance(content, str):
        pieces.append(content)
        return 0
    images = 0
    if isinstance(content, list):
        for part in content[:MOST_PARTS]:
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


def _token_ids(prompt: object) -> int:
    """How many tokens a prompt has that is given as tokens already: one list of numbers, or several."""
    if not isinstance(prompt, list) or not prompt:
        return 0
    if isinstance(prompt[0], list):
        return sum(len(one) for one in prompt if isinstance(one, list))
    return len(prompt) if isinstance(prompt[0], int) else 0


def _answers(values: dict[str, Any]) -> int:
    """How many answers are asked for, each of which costs: so many to every prompt."""
    prompts = values.get("prompt")
    several = len(prompts) if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int) else 1
    counts = [values.get(name) for name in ("n", "best_of")]
    each = max([1, *(count for count in counts if isinstance(count, int) and not isinstance(count, bool))])
    return min(MOST_ANSWERS, several * each)


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
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:
        return ""  # deeper than orjson writes; it only names a cache
