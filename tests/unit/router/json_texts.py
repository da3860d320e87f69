"""Makes JSON texts as no library would write them, and reads the members of one by rules of its own.

Whitespace everywhere it may stand, letters spelled as escapes, the same key twice, keys and strings that look like
`"model":` where it is not: what a body must survive on its way through the router.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

KEYS = [
    "model",
    "stream_options",
    "include_usage",
    "models",
    'x"model',
    'x\\"model',
    "mode",
    "Model",
    "é",
    "",
    "\x010",
    "a",
]
STRINGS = ["model", '"model":"x"', "stream_options", "{", "}", '\\"', "\\", "é", "\U0001f600", "a,b", "\n", "auto", ""]
SPACES = ["", "", "", " ", "\n", "\t \r\n"]
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "/": "\\/"}


@dataclass(frozen=True)
class Pairs:
    """An object, with its members in order; a key may stand twice."""

    members: tuple[tuple[str, Any], ...]


LETTERS = st.characters(exclude_categories=["Cs"])
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(STRINGS),
    st.text(LETTERS, max_size=8),
)
_KEYS = st.one_of(st.sampled_from(KEYS), st.text(LETTERS, max_size=4))
VALUES: st.SearchStrategy[Any] = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(st.tuples(_KEYS, inner), max_size=4).map(lambda pairs: Pairs(tuple(pairs))),
    ),
    max_leaves=12,
)


def objects(*members: tuple[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Pairs]:
    """Objects with these members and others, in any order."""
    given = st.tuples(*(st.tuples(st.just(name), value) for name, value in members))
    others = st.lists(st.tuples(_KEYS, VALUES), max_size=5)
    return st.builds(lambda a, b: [*a, *b], given, others).flatmap(st.permutations).map(lambda all_: Pairs(tuple(all_)))


def text(value: Any, seed: int) -> bytes:
    """One of the ways to write it."""
    return _text(value, random.Random(seed)).encode()


def _text(value: Any, rng: random.Random) -> str:
    def space() -> str:
        return rng.choice(SPACES)

    if isinstance(value, Pairs):
        written = [f"{space()}{_string(k, rng)}{space()}:{_text(v, rng)}" for k, v in value.members]
        return f"{space()}{{{','.join(written)}{space()}}}{space()}"
    if isinstance(value, list):
        return f"{space()}[{','.join(_text(one, rng) for one in value)}{space()}]{space()}"
    written_leaf = _string(value, rng) if isinstance(value, str) else json.dumps(value)
    return f"{space()}{written_leaf}{space()}"


def _string(value: str, rng: random.Random) -> str:
    how = rng.choice(["plain", "plain", "some", "all"])
    out = []
    for letter in value:
        code = ord(letter)
        escape = how == "all" or (how == "some" and rng.random() < 0.3)
        if letter in _SHORT and (letter != "/" or escape) and rng.random() < 0.7:
            out.append(_SHORT[letter])
        elif code < 0x20 or letter in '"\\' or (escape and code < 0x10000):
            digits = f"{code:04x}"
            out.append("\\u" + (digits.upper() if rng.random() < 0.5 else digits))
        else:
            out.append(letter)
    return '"' + "".join(out) + '"'


_BLANK = re.compile(rb"[ \t\r\n]*")
_SCALAR = re.compile(rb"[-+.0-9a-zA-Z]+")


def places(body: bytes) -> list[tuple[str, int, int]]:
    """Key, start and end of the value of every top-level member of a valid JSON object, found by descending."""
    at = _skip(body, 0)
    assert body[at : at + 1] == b"{"
    found = []
    at = _skip(body, at + 1)
    while body[at : at + 1] != b"}":
        end = _end(body, at)
        key = json.loads(body[at:end])
        at = _skip(body, _skip(body, end) + 1)
        end = _end(body, at)
        found.append((key, at, end))
        at = _skip(body, end)
        if body[at : at + 1] == b",":
            at = _skip(body, at + 1)
    return found


def _skip(body: bytes, at: int) -> int:
    match = _BLANK.match(body, at)
    assert match is not None
    return match.end()


def _end(body: bytes, at: int) -> int:
    first = body[at : at + 1]
    if first == b'"':
        at += 1
        while body[at : at + 1] != b'"':
            at += 2 if body[at : at + 1] == b"\\" else 1
        return at + 1
    if first not in (b"{", b"["):
        match = _SCALAR.match(body, at)
        assert match is not None
        return match.end()
    at = _skip(body, at + 1)
    while body[at : at + 1] not in (b"}", b"]"):
        at = _skip(body, _end(body, at))
        if body[at : at + 1] in (b",", b":"):
            at = _skip(body, at + 1)
    return at + 1
