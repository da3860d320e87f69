"""Asks for the log-probabilities of an answer's tokens, reads them, and takes them out again where nobody else asked.

A client that has not asked must see the bytes that it would have seen without a cascade: every choice then says
`"logprobs":null`, as vLLM and OpenAI do. The places are found by walking the JSON and not by looking for the word,
which may stand in the answer. With a parser of tool calls vLLM sends chunks that have nothing else; those go too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from json import JSONDecoder
from typing import Any, TypeGuard

import orjson

from tierwise.routing.cascade import Token
from tierwise_router.answer import BOM, has_content
from tierwise_router.json_scan import NotAnObject, Span, members
from tierwise_router.sse import EventSplitter, data_of

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
ALTERNATIVES = 2
"""So many of the most probable tokens are asked for: the margin is the difference of two."""
_SPACE = re.compile(r"[ \t\r\n]*+")
_scan = JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Asking:
    """What is written into a request so that its answer has log-probabilities: behind the opening brace, and in place
    of what the client has said. `strip`: the client has not asked for them."""

    chat: bool
    strip: bool = False
    opening: bytes = b""
    changes: Mapping[Span, bytes] = field(default_factory=dict)


def asking(path: str, raw: bytes, values: Mapping[str, Any]) -> Asking | None:
    """How to ask for them; None where that cannot be done for this request."""
    if path == CHAT:
        if values.get("logprobs") is True:
            return Asking(chat=True)
        if values.get("logprobs") not in (None, False) or values.get("top_logprobs") not in (None, 0):
            return None  # the engine will say what is wrong with it
        wanted = {"logprobs": b"true", "top_logprobs": b"%d" % ALTERNATIVES}
    elif path == COMPLETIONS:
        said = values.get("logprobs")
        if said is not None:
            return Asking(chat=False) if isinstance(said, int) and not isinstance(said, bool) else None
        wanted = {"logprobs": b"%d" % ALTERNATIVES}
    else:
        return None
    try:
        places = members(raw, values, wanted)
    except NotAnObject:
        return None
    opening = b"".join(b'"%b":%b,' % (name.encode(), wanted[name]) for name in wanted if name not in places)
    return Asking(path == CHAT, True, opening, {span: wanted[name] for name, span in places.items()})


class LogprobReader:
    """Of one answer. `tokens` are all that have come while it `listens`, `tool_call` says whether it calls a tool,
    `withheld` whether the engine says nothing of its last tokens yet, which it does where they may be such a call, and
    `silent` whether it has said something without log-probabilities."""

    __slots__ = ("_asking", "_splitter", "bytes_read", "listens", "silent", "tokens", "tool_call", "withheld")

    def __init__(self, asked: Asking) -> None:
        self._asking = asked
        self._splitter = EventSplitter()
        self.tokens: list[Token] = []
        self.tool_call = self.silent = self.withheld = False
        self.listens = True
        self.bytes_read = 0

    def feed(self, data: bytes) -> bytes:
        """Some of a stream: what the client may get of it."""
        if not (self.listens or self._asking.strip):
            return self._splitter.rest() + data
        self.bytes_read += len(data)
        torn = self._splitter.oversized
        events = self._splitter.feed(data)
        whole = slice(torn and bool(events), len(events) - self._splitter.oversized)
        events[whole] = [self._event(event) for event in events[whole]]
        return b"".join(events)

    def end(self) -> bytes:
        """What is left of a stream that has ended."""
        rest = self._splitter.rest()
        return rest if self._splitter.oversized else self._event(rest)

    def whole(self, body: bytes, values: dict[str, Any]) -> bytes:
        """An answer in one piece, which has been read as `values`."""
        self._read(values)
        return _without(body) if self._asking.strip else body

    def _event(self, event: bytes) -> bytes:
        mark = BOM if event.startswith(BOM) else b""
        data = data_of(event[len(mark) :])
        if data is None:
            return event
        try:
            values = orjson.loads(data)
        except orjson.JSONDecodeError:
            return event
        if not isinstance(values, dict):
            return event
        self._read(values)
        if not self._asking.strip:
            return event
        if _says_nothing_else(values):
            return b""
        without = _without(data)
        if without is data:
            return event
        if data in event:
            return event.replace(data, without, 1)
        return mark + b"".join(b"data: %b\n" % line for line in without.split(b"\n")) + b"\n"

    def _read(self, values: dict[str, Any]) -> None:
        if not self.listens:
            return
        self.withheld = _says_nothing_else(values)
        for choice in _choices(values):
            said = choice.get("delta", choice.get("message"))
            if isinstance(said, dict):
                self.tool_call = self.tool_call or bool(said.get("tool_calls") or said.get("function_call"))
            logprobs = choice.get("logprobs")
            if isinstance(logprobs, dict):
                content = bool(said.get("content")) if isinstance(said, dict) else True
                found = _chat_tokens(logprobs) if self._asking.chat else _completion_tokens(logprobs)
                self.tokens += (Token(value, margin, content) for value, margin in found)
            elif has_content(choice):
                self.silent = True


_Found = Iterator[tuple[float, float | None]]


def _choices(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    choices = values.get("choices")
    return [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []


def _chat_tokens(logprobs: Mapping[str, Any]) -> _Found:
    for part in ("content", "refusal"):
        entries = logprobs.get(part)
        for entry in entries if isinstance(entries, list) else ():
            if not isinstance(entry, dict) or not _number(value := entry.get("logprob")):
                continue
            tops = entry.get("top_logprobs")
            yield value, _margin([one.get("logprob") for one in tops or () if isinstance(one, dict)])


def _completion_tokens(logprobs: Mapping[str, Any]) -> _Found:
    values, tops = logprobs.get("token_logprobs"), logprobs.get("top_logprobs")
    for place, value in enumerate(values if isinstance(values, list) else ()):
        if _number(value):
            top = tops[place] if isinstance(tops, list) and place < len(tops) else None
            yield value, _margin(list(top.values()) if isinstance(top, dict) else [])


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _margin(values: list[Any]) -> float | None:
    ranked = sorted((value for value in values if _number(value)), reverse=True)
    return ranked[0] - ranked[1] if len(ranked) > 1 else None


def _says_nothing_else(values: Mapping[str, Any]) -> bool:
    """Whether a chunk was only sent because it has log-probabilities."""
    choices = _choices(values)
    return (
        len(choices) == 1
        and choices[0].get("delta") == {}
        and bool(choices[0].get("logprobs"))
        and not choices[0].get("finish_reason")
        and not values.get("usage")
    )


def _without(data: bytes) -> bytes:
    """The same JSON with null in place of the log-probabilities of every choice; the same object where it has none."""
    places: list[tuple[int, int]] = []
    try:
        text = data.decode()
        _walk(text, _after_space(text, 1 if text.startswith("\ufeff") else 0), partial(_of_answer, text, places))
    except (ValueError, RecursionError, IndexError):
        return data
    if not places:
        return data
    parts, at = [], 0
    for start, end in places:
        parts += [text[at:start], "null"]
        at = end
    return "".join([*parts, text[at:]]).encode()


def _of_answer(text: str, places: list[tuple[int, int]], name: str, at: int) -> int:
    """A member of an answer: past its value."""
    if name != "choices" or text[at] != "[":
        return _scan(text, at)[1]
    at = _after_space(text, at + 1)
    while text[at] != "]":
        if text[at] == "{":
            at = _walk(text, at, partial(_of_choice, text, places))
        else:
            _, at = _scan(text, at)
        at = _past_comma(text, at)
    return at + 1


def _of_choice(text: str, places: list[tuple[int, int]], name: str, at: int) -> int:
    value, end = _scan(text, at)
    if name == "logprobs" and value is not None:
        places.append((at, end))
    return end


def _walk(text: str, at: int, member: Callable[[str, int], int]) -> int:
    """Past the object that begins at `at`. `member` gets each key with the place where its value begins, and says where
    that ends. Raises ValueError or IndexError where it is none."""
    if text[at] != "{":
        raise ValueError("no object")
    at = _after_space(text, at + 1)
    while text[at] == '"':
        name, at = _scan(text, at)
        at = member(name, _after_space(text, _after_space(text, at) + 1))
        at = _past_comma(text, at)
    return at + 1


def _past_comma(text: str, at: int) -> int:
    at = _after_space(text, at)
    return _after_space(text, at + 1) if text[at] == "," else at


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()
