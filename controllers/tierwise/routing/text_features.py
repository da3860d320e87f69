"""Turns the text of a question into numbers that a linear classifier reads: hashed pieces of it, and a few sizes.

The pieces are byte 4-grams, byte 6-grams, words and pairs of neighbouring words, without regard to case. Each is hashed
to one of 2^17 buckets; no dictionary is kept, so that a file of weights says little about the prompts it was learned
from. Of a long text only the first and the last 2 KiB are read: a question stands at an end, and the time to read is
bounded. Everything is done in numpy on whole arrays: a loop in Python over 4,000 bytes takes 100 times as long.

With a secret salt the hashes are others: who has features but not the salt cannot look up which words they came from. A
salt is no encryption. It must stay as secret as the features are, and who has both can test whether a word was there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tierwise.errors import Invalid

VERSION = 1
"""Of what a bucket and a size mean. Whoever changes either counts it up: weights of another version are refused."""
BUCKET_BITS = 17
BUCKETS = 1 << BUCKET_BITS
WINDOW_BYTES = 2_048
MOST_PIECES = 4 * (2 * WINDOW_BYTES + 1)
MOST_KEY_BYTES = 64
SIZES = (
    "length",
    "digits",
    "capitals",
    "code characters",
    "white space",
    "not ASCII",
    "lines",
    "question marks",
    "word length",
    "code block",
    "tools",
    "turns",
)
"""The names of `Features.sizes`, in order. `length` is the natural logarithm of 1 + the bytes of the whole text."""
LENGTH = SIZES.index("length")
_GROUP_BYTES = 8
_CODE = b"{}[]()<>=;_/\\|`#$*+^&%~@"
_SHIFT = np.uint64(64 - BUCKET_BITS)
_FOLD = np.uint64(29)
_ODD = np.uint64(1)
_PRIME = 0x9E3779B97F4A7C15  # odd, so that its powers have inverses modulo 2^64
_MASK = (1 << 64) - 1
_SIX_BYTES = np.uint64((1 << 48) - 1)

Buckets = npt.NDArray[np.uint32]
Reals = npt.NDArray[np.float32]
_Words64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class TextFacts:
    """What is known of a request beside the text of its question: whether it brings tools, how many questions the
    conversation holds, and its system prompt, by which applications are told apart (empty: none)."""

    tools: bool = False
    turns: int = 1
    system: bytes = b""


@dataclass(frozen=True, eq=False, slots=True)
class Features:
    """The numbers of one text. `buckets` holds one entry per piece of text, so that a piece that comes twice counts
    twice; `sizes` are those named by `SIZES`; `group` is the hash of the system prompt, empty without one."""

    buckets: Buckets
    sizes: Reals
    group: str = ""

    @property
    def piece_weight(self) -> float:
        """What one entry of `buckets` counts for: a text of different pieces has norm 1, however long it is."""
        return 1.0 / math.sqrt(max(1, self.buckets.size))

    def to_json(self) -> dict[str, Any]:
        """For a file of labels. The buckets are sorted: the order of the text is not kept."""
        steps = np.diff(np.sort(self.buckets), prepend=np.uint32(0)).astype("<u4")
        packed = base64.b64encode(zlib.compress(steps.tobytes(), 6)).decode()
        sizes = [round(float(value), 6) for value in self.sizes]
        return {"version": VERSION, "buckets": packed, "sizes": sizes, "group": self.group}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Features:
        """What `to_json` made. Raises Invalid when it is something else, or of another version."""
        if kept.get("version") != VERSION:
            raise Invalid(f"features of version {kept.get('version')} cannot be used, this release reads {VERSION}")
        try:
            unpacker = zlib.decompressobj()
            raw = unpacker.decompress(base64.b64decode(str(kept["buckets"]), validate=True), 4 * MOST_PIECES + 4)
            buckets = np.cumsum(np.frombuffer(raw, dtype="<u4"), dtype=np.uint64)
            sizes = np.array(kept["sizes"], dtype=np.float32)
        except (KeyError, TypeError, ValueError, binascii.Error, zlib.error) as error:
            raise Invalid(f"features cannot be read: {error}") from None
        if sizes.shape != (len(SIZES),) or not np.isfinite(sizes).all():
            raise Invalid(f"features need {len(SIZES)} finite sizes")
        if buckets.size > MOST_PIECES or (buckets.size and int(buckets[-1]) >= BUCKETS):
            raise Invalid(f"features have buckets beyond {BUCKETS}, or more than {MOST_PIECES} of them")
        return cls(buckets.astype(np.uint32), sizes, str(kept.get("group", "")))


@dataclass(frozen=True, slots=True)
class _Keys:
    """The numbers that a salt makes the hashes differ by: one set per kind of piece, and the multipliers."""

    four: np.uint64
    six: np.uint64
    word: np.uint64
    pair: np.uint64
    first: np.uint64
    second: np.uint64


def features_of(text: bytes, facts: TextFacts, salt: bytes = b"") -> Features:
    """The features of a text in UTF-8. Pure: the same text, facts and salt give the same numbers."""
    window = text if len(text) <= 2 * WINDOW_BYTES else text[:WINDOW_BYTES] + b"\n" + text[-WINDOW_BYTES:]
    return Features(_buckets(window.lower(), _keys(salt)), _sizes(text, window, facts), group_of(facts.system, salt))


def group_of(system: bytes, salt: bytes = b"") -> str:
    """The hash by which a system prompt is known; empty without one."""
    return hashlib.blake2b(system, key=key_of(salt), digest_size=_GROUP_BYTES).hexdigest() if system else ""


def key_of(salt: bytes) -> bytes:
    """A salt as a key of BLAKE2b, which takes 64 bytes: a longer salt counts by its hash."""
    return salt if len(salt) <= MOST_KEY_BYTES else hashlib.blake2b(salt).digest()


@lru_cache(maxsize=8)
def _keys(salt: bytes) -> _Keys:
    raw = hashlib.blake2b(b"tierwise text features 1", key=key_of(salt), digest_size=48).digest()
    four, six, word, pair, first, second = np.frombuffer(raw, dtype="<u8").astype(np.uint64)
    return _Keys(four, six, word, pair, first | _ODD, second | _ODD)


def _buckets(text: bytes, keys: _Keys) -> Buckets:
    """The buckets of all pieces of a text that is lower case already."""
    size = len(text)
    if size == 0:
        return np.zeros(0, dtype=np.uint32)
    padded = text + b"\0" * 8
    # One 8-byte number from every place on: its low bytes are the 4-gram and the 6-gram that begin there.
    eights = np.ndarray((size,), dtype="<u8", buffer=padded, strides=(1,))
    words = _words(text)
    fours = (eights[: max(0, size - 3)] & np.uint64(0xFFFFFFFF)) ^ keys.four
    sixes = (eights[: max(0, size - 5)] & _SIX_BYTES) ^ keys.six
    pairs = (words[:-1] * keys.second + words[1:]) ^ keys.pair
    hashes = np.concatenate((fours, sixes, words ^ keys.word, pairs))
    hashes *= keys.first
    hashes ^= hashes >> _FOLD
    hashes *= keys.second
    hashes >>= _SHIFT
    return hashes.astype(np.uint32)


def _words(text: bytes) -> _Words64:
    """A hash per word: the sum of its bytes, each times a power of an odd number, modulo 2^64. Differences of one
    running sum give all of them at once; dividing by the power at the word's beginning makes it the same everywhere."""
    inside = np.frombuffer(b"\0" + text.translate(_IN_WORD) + b"\0", dtype=np.uint8)
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    begins, ends = edges[0::2], edges[1::2]
    letters = np.frombuffer(text, dtype=np.uint8)
    sums = np.empty(letters.size + 1, dtype=np.uint64)
    sums[0] = 0
    np.cumsum((letters.astype(np.uint64) + _ODD) * _POWERS[: letters.size], out=sums[1:])
    return (sums[ends] - sums[begins]) * _INVERSES[begins]


def _sizes(text: bytes, window: bytes, facts: TextFacts) -> Reals:
    """The dense features. Shares are of the bytes that are read; what can grow without bound is a logarithm."""
    read = max(1, len(window))
    counts = np.bincount(np.frombuffer(window, dtype=np.uint8), minlength=256)
    digits, capitals, code, space, foreign, in_words = (float(value) for value in counts @ _KINDS)
    sizes = np.array(
        (
            len(text),
            digits / read,
            capitals / read,
            code / read,
            space / read,
            foreign / read,
            counts[ord("\n")],
            counts[ord("?")],
            in_words / (space + 1.0),
            b"```" in window,
            facts.tools,
            max(1, facts.turns),
        ),
        dtype=np.float32,
    )
    sizes[_LOGARITHMS] = np.log1p(sizes[_LOGARITHMS])
    return sizes


_LOGARITHMS = np.array([SIZES.index(name) for name in ("length", "lines", "question marks", "word length", "turns")])


def _table(members: bytes) -> npt.NDArray[np.int64]:
    found = np.zeros(256, dtype=np.int64)
    found[list(members)] = 1
    return found


_DIGITS, _CAPITALS, _FOREIGN = bytes(range(48, 58)), bytes(range(65, 91)), bytes(range(128, 256))
_WORD_BYTES = _DIGITS + _CAPITALS + bytes(range(97, 123)) + _FOREIGN
_IN_WORD = bytes(each in _WORD_BYTES for each in range(256))
_KINDS = np.stack([_table(each) for each in (_DIGITS, _CAPITALS, _CODE, b" \t\r\n", _FOREIGN, _WORD_BYTES)], axis=1)


def _powers(base: int) -> _Words64:
    found, value = [], 1
    for _ in range(2 * WINDOW_BYTES + 1):
        found.append(value)
        value = value * base & _MASK
    return np.array(found, dtype=np.uint64)


_POWERS = _powers(_PRIME)
_INVERSES = _powers(pow(_PRIME, -1, 1 << 64))
