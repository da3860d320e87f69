"""Finds where members of a JSON object stand in its bytes.

Bodies are passed on as they came, but for the model's name; parsing and writing them anew would change numbers, the
order of keys and whatever a client relies on. orjson tells values, not places. A key that stands once in the bytes is
found by looking for it. Where it stands several times, all are given names of their own and orjson says which of these
it finds at the top: no scanning of brackets in Python, which took five seconds for a body of 32 MB. orjson keeps the
last of two equal keys and an engine may keep the first: a body in which it matters is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

import orjson

MOST_KEYS = 10_000
MOST_TOKENS = 10_000

# Strings as a whole, so that nothing inside them counts; otherwise only what opens and closes.
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_STRINGS = re.compile(_STRING, re.DOTALL)
_VALUE = re.compile(_STRING + rb"|[^\[\]{},\s]++", re.DOTALL)
_TOKEN = re.compile(_STRING + rb"|[{}\[\]]", re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*+")
# Every lower-case letter and the underscore begin like this where they are written as an escape.
_ESCAPES = (b"\\u005", b"\\u006", b"\\u007")
_ESCAPE = b"\\u00"


class NotAnObject(Exception):
    """The body is not one JSON object whose members can be told apart."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a value stands: `body[start:end]`."""

    start: int
    end: int


def members(body: bytes, values: Mapping[str, object], wanted: Collection[str]) -> dict[str, Span]:
    """The places of those of the top-level members `wanted` that there are. `values` is what orjson has read of `body`;
    names are of lower-case letters and underscores.

    Raises NotAnObject where a wanted key stands twice, or too often further down."""
    asked = [name for name in wanted if name in values]
    found = {}
    hard = []
    for name in asked:
        at = _only_place(body, name)
        if at is None:
            hard.append(name)
        else:
            found[name] = _span(body, at)
    for name, at in _top_places(body, values, hard):
        if name in found:
            raise NotAnObject(f"{name!r} stands twice in the body")
        found[name] = _span(body, at)
    return found


def splice(body: bytes, changes: dict[Span, bytes]) -> bytes:
    """`body` with the bytes of each span replaced."""
    parts, at = [], 0
    for span in sorted(changes, key=lambda one: one.start):
        parts += [body[at : span.start], changes[span]]
        at = span.end
    return b"".join([*parts, body[at:]])


def without_strings(body: bytes) -> bytes:
    """What opens, closes and separates, and numbers and words, but no text."""
    return _STRINGS.sub(b"", body)


def _only_place(body: bytes, name: str) -> int | None:
    """Where the value of the key begins, if the name stands once in the body, and nothing else can spell it.

    It is then the top-level one, since there is one. A string that ends with `"name` looks the same and counts too."""
    quoted = b'"%b"' % name.encode()
    position = body.find(quoted)
    if position < 0 or body.find(quoted, position + 1) >= 0:
        return None
    if _ESCAPE in body and any(one in body for one in _ESCAPES):
        return None
    colon = _after_space(body, position + len(quoted))
    return _after_space(body, colon + 1) if body[colon : colon + 1] == b":" else None


def _top_places(body: bytes, values: Mapping[str, object], names: list[str]) -> list[tuple[str, int]]:
    if not names:
        return []
    keys = []
    for key in _key_pattern(tuple(names)).finditer(body):
        keys.append((names[(key.lastindex or 1) - 1], key.start(), key.end()))
        if len(keys) > MOST_KEYS:
            raise NotAnObject(f"{names[0]!r} stands too often in the body")
    prefix = "\x01" * (1 + max(len(name) - len(name.lstrip("\x01")) for name in values))
    parts, at = [], 0
    for number, (_, start, end) in enumerate(keys):
        parts += [body[at:start], orjson.dumps(f"{prefix}{number}"), b":"]
        at = end
    renamed = orjson.loads(b"".join([*parts, body[at:]]))
    return [
        (name, _after_space(body, end)) for number, (name, _, end) in enumerate(keys) if f"{prefix}{number}" in renamed
    ]


@cache
def _key_pattern(names: tuple[str, ...]) -> re.Pattern[bytes]:
    """A key with one of these names, however its letters are escaped. A quote behind a backslash begins no string."""
    spelled = ["(" + "".join(f"(?:{letter}|\\\\u00(?i:{ord(letter):02x}))" for letter in name) + ")" for name in names]
    return re.compile(rf'"(?<!\\")(?:{"|".join(spelled)})"[ \t\r\n]*+:'.encode())


def _span(body: bytes, start: int) -> Span:
    value = _VALUE.match(body, start)
    if value is not None:
        return Span(start, value.end())
    depth = 0
    for number, token in enumerate(_TOKEN.finditer(body, start)):
        first = token.group()[0]
        depth += 1 if first in b"{[" else -1 if first in b"}]" else 0
        if depth == 0:
            return Span(start, token.end())
        if number > MOST_TOKENS:
            break
    raise NotAnObject("a member of the body is too large")


def _after_space(body: bytes, start: int) -> int:
    if body[start : start + 1] == b" ":  # as almost every client writes it
        start += 1
    if start < len(body) and body[start] > 0x20:
        return start
    space = _SPACE.match(body, start)
    return start if space is None else space.end()
