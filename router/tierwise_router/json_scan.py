"""Finds where the members of a JSON object stand in its bytes.

Bodies are passed on as they came, but for the model's name; parsing and writing them anew would change numbers, the
order of keys and whatever a client relies on. orjson tells values, not places, so the places are found here. It keeps
the last of two equal keys and an engine may keep the first: a body in which it matters is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import orjson

# Strings as a whole, so that nothing inside them counts; otherwise only what opens, closes and separates.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]', re.DOTALL)
_OPENING = b"{["
_SPACE = b" \t\r\n"


class NotAnObject(Exception):
    """The body is not one JSON object, or has the same key twice."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a value stands: `body[start:end]`."""

    start: int
    end: int


def members(body: bytes, wanted: frozenset[str]) -> dict[str, Span]:
    """The places of the top-level members in `wanted`; `body` must be valid JSON (orjson has read it).

    Raises NotAnObject where it is no object, or where a wanted key stands twice."""
    found: dict[str, Span] = {}
    depth = 0
    key: str | None = None
    start = 0
    last = b""
    for token in _TOKEN.finditer(body):
        text = token.group()
        first = text[0]
        if first in _OPENING:
            depth += 1
            if depth == 1 and first != 0x7B:
                break
        elif depth == 1 and first == 0x3A and key is None:
            key, start = orjson.loads(last), token.end()
        elif depth == 1 and first in b",}":
            if key is not None:
                _note(found, key, body, start, token.start(), wanted)
            key = None
        if first in b"}]":
            depth -= 1
        last = text
    if not body.lstrip(_SPACE).startswith(b"{"):
        raise NotAnObject("the body must be a JSON object")
    return found


def _note(found: dict[str, Span], key: str, body: bytes, start: int, end: int, wanted: frozenset[str]) -> None:
    if key not in wanted:
        return
    if key in found:
        raise NotAnObject(f"{key!r} stands twice in the body")
    while body[start] in _SPACE:
        start += 1
    while body[end - 1] in _SPACE:
        end -= 1
    found[key] = Span(start, end)


def model_span(body: bytes) -> Span | None:
    """The place of the top-level `model` of a body that has one, found quickly: None where the long way is needed.

    Where `"model"` stands once and nothing spells one of its letters as \\u006x, no other key can be it."""
    position = body.find(b'"model"')
    if position < 0 or body.find(b'"model"', position + 7) >= 0 or b"\\u006" in body:
        return None
    start = position + 7
    while body[start] in _SPACE:
        start += 1
    if body[start] != 0x3A:
        return None
    start += 1
    while body[start] in _SPACE:
        start += 1
    string = _TOKEN.match(body, start)
    return None if string is None or body[start] != 0x22 else Span(start, string.end())


def splice(body: bytes, changes: dict[Span, bytes]) -> bytes:
    """`body` with the bytes of each span replaced."""
    parts, at = [], 0
    for span in sorted(changes, key=lambda one: one.start):
        parts += [body[at : span.start], changes[span]]
        at = span.end
    return b"".join([*parts, body[at:]])
