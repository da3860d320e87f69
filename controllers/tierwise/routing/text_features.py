"""Turns the text of a question into numbers that a linear classifier reads: hashed pieces of it, and a few sizes.

The pieces are byte 4-grams, byte 6-grams, words and pairs of neighbouring words, without regard to case. Each is hashed
to one of 2^17 buckets; no dictionary is kept, so that a file of weights says little about the prompts it was learned
from. Of a long text only the first and the last 2 KiB are read: a question stands at an end, and the time to read is
bounded. Everything is done in numpy on whole arrays: a loop in Python over 4,000 bytes takes 100 times as long. What is
left is counted in passes over these arrays and in calls, 1 µs each: so results are written where they are needed, and
in place.

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
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from tierwise.errors import Invalid

VERSION = 1
"""Of what a bucket and a size mean. Whoever changes either counts it up: weights of another version are refused."""
BUCKET_BITS = 17
BUCKETS = 1 << BUCKET_BITS
WINDOW_BYTES = 2_048
KINDS = 4  # of pieces
MOST_PIECES = KINDS * (2 * WINDOW_BYTES + 1)
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

Buckets = npt.NDArray[np.uint32] | npt.NDArray[np.int64]
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
    twice: first all 4-grams, then 6-grams, words and pairs, `counts` of each. `sizes` are those named by `SIZES`;
    `group` is the hash of the system prompt, empty without one."""

    buckets: Buckets
    counts: tuple[int, ...]
    sizes: Reals
    group: str = ""

    @property
    def piece_weights(self) -> tuple[float, ...]:
        """What one piece of each kind counts for. If no piece came twice, every kind would have norm 1, however long
        the text is: there are five times as many 4-grams as words, and they must not drown them."""
        return tuple(1.0 / math.sqrt(count) if count else 0.0 for count in self.counts)

    def to_json(self) -> dict[str, Any]:
        """For a file of labels. The buckets of each kind are sorted: the order of the text is not kept."""
        kinds = np.split(self.buckets, np.cumsum(self.counts)[:-1])
        steps = np.concatenate([np.diff(np.sort(kind), prepend=np.uint32(0)) for kind in kinds]).astype("<u4")
        packed = base64.b64encode(zlib.compress(steps.tobytes(), 6)).decode()
        sizes = [round(float(value), 6) for value in self.sizes]
        return {
            "version": VERSION,
            "buckets": packed,
            "counts": list(self.counts),
            "sizes": sizes,
            "group": self.group,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Features:
        """What `to_json` made. Raises Invalid when it is something else, or of another version."""
        if kept.get("version") != VERSION:
            raise Invalid(f"features of version {kept.get('version')} cannot be used, this release reads {VERSION}")
        try:
            unpacker = zlib.decompressobj()
            raw = unpacker.decompress(base64.b64decode(str(kept["buckets"]), validate=True), 4 * MOST_PIECES + 4)
            steps = np.frombuffer(raw, dtype="<u4")
            counts = tuple(int(count) for count in kept["counts"])
            sizes = np.array(kept["sizes"], dtype=np.float32)
        except (KeyError, TypeError, ValueError, binascii.Error, zlib.error) as error:
            raise Invalid(f"features cannot be read: {error}") from None
        if sizes.shape != (len(SIZES),) or not np.isfinite(sizes).all():
            raise Invalid(f"features need {len(SIZES)} finite sizes")
        if len(counts) != KINDS or min(counts) < 0 or sum(counts) != steps.size or steps.size > MOST_PIECES:
            raise Invalid(f"features need {KINDS} counts of their buckets, {MOST_PIECES} in all at most")
        kinds = np.split(steps, np.cumsum(counts)[:-1])
        buckets = np.concatenate([np.cumsum(kind, dtype=np.uint64) for kind in kinds])
        if buckets.size and int(buckets.max()) >= BUCKETS:
            raise Invalid(f"features have buckets beyond {BUCKETS}")
        return cls(buckets.astype(np.uint32), counts, sizes, str(kept.get("group", "")))


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
    found = features_to_score(text, facts, salt)
    return replace(found, buckets=found.buckets.astype(np.uint32))


def features_to_score(text: bytes, facts: TextFacts, salt: bytes = b"", *, grouped: bool = True) -> Features:
    """The same, for one look at each weight: the buckets are as wide as indices, twice as much to keep. Without
    `grouped` the system prompt is not hashed."""
    window = text if len(text) <= 2 * WINDOW_BYTES else text[:WINDOW_BYTES] + b"\n" + text[-WINDOW_BYTES:]
    buckets, counts = _buckets(window.lower(), _keys(salt))
    group = group_of(facts.system, salt) if grouped else ""
    return Features(buckets, counts, _sizes(text, window, facts), group)


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


def _buckets(text: bytes, keys: _Keys) -> tuple[npt.NDArray[np.int64], tuple[int, ...]]:
    """The buckets of all pieces of a text that is lower case already, and how many there are of each kind."""
    size = len(text)
    if size == 0:
        return np.zeros(0, dtype=np.int64), (0,) * KINDS
    words = _words(text)
    counts = (max(0, size - 3), max(0, size - 5), words.size, max(0, words.size - 1))
    ends = tuple(accumulate(counts))
    hashes = np.empty(ends[-1], dtype=np.uint64)
    # One number from every place on: of 4 bytes, and of 8 whose low ones are the 6-gram that begins there.
    padded = text + b"\0" * 8
    fours, sixes = hashes[: ends[0]], hashes[ends[0] : ends[1]]
    fours[:] = np.ndarray((counts[0],), dtype="<u4", buffer=padded, strides=(1,))
    fours ^= keys.four
    sixes[:] = np.ndarray((counts[1],), dtype="<u8", buffer=padded, strides=(1,))
    sixes &= _SIX_BYTES
    sixes ^= keys.six
    np.bitwise_xor(words, keys.word, out=hashes[ends[1] : ends[2]])
    pairs = hashes[ends[2] :]
    np.multiply(words[:-1], keys.second, out=pairs)
    pairs += words[1:]
    pairs ^= keys.pair
    hashes *= keys.first
    hashes ^= hashes >> _FOLD
    hashes *= keys.second
    hashes >>= _SHIFT
    return hashes.view(np.int64), counts


def _words(text: bytes) -> _Words64:
    """A hash per word: the sum of its bytes, each times a power of an odd number, modulo 2^64. Differences of one
    running sum give all of them at once; dividing by the power at the word's beginning makes it the same everywhere."""
    inside = np.frombuffer(b"\0" + text.translate(_IN_WORD) + b"\0", dtype=np.uint8)
    edges = (inside[1:] != inside[:-1]).nonzero()[0]
    letters = np.add(np.frombuffer(text, dtype=np.uint8), _ODD, dtype=np.uint64)
    letters *= _POWERS[: letters.size]
    sums = np.empty(letters.size + 1, dtype=np.uint64)
    sums[0] = 0
    np.add.accumulate(letters, out=sums[1:])
    there = sums.take(edges)
    words: _Words64 = (there[1::2] - there[0::2]) * _INVERSES.take(edges[0::2])
    return words


def _sizes(text: bytes, window: bytes, facts: TextFacts) -> Reals:
    """The dense features. Shares are of the bytes that are read; what can grow without bound is a logarithm."""
    read = max(1, len(window))
    counts = np.bincount(np.frombuffer(window, dtype=np.uint8), minlength=256)
    digits, capitals, code, space, foreign, in_words = counts.dot(_BYTES).tolist()
    unbounded = (len(text), counts[_NEW_LINE], counts[_QUESTION_MARK], in_words / (space + 1.0), max(1, facts.turns))
    length, lines, marks, word_length, turns = np.log1p(np.array(unbounded, dtype=np.float32)).tolist()
    return np.array(
        (
            length,
            digits / read,
            capitals / read,
            code / read,
            space / read,
            foreign / read,
            lines,
            marks,
            word_length,
            b"```" in window,
            facts.tools,
            turns,
        ),
        dtype=np.float32,
    )


def _table(members: bytes) -> npt.NDArray[np.int64]:
    found = np.zeros(256, dtype=np.int64)
    found[list(members)] = 1
    return found


_NEW_LINE, _QUESTION_MARK = b"\n?"
_DIGITS, _CAPITALS, _FOREIGN = bytes(range(48, 58)), bytes(range(65, 91)), bytes(range(128, 256))
_WORD_BYTES = _DIGITS + _CAPITALS + bytes(range(97, 123)) + _FOREIGN
_IN_WORD = bytes(each in _WORD_BYTES for each in range(256))
_BYTES = np.stack([_table(each) for each in (_DIGITS, _CAPITALS, _CODE, b" \t\r\n", _FOREIGN, _WORD_BYTES)], axis=1)


def _powers(base: int) -> _Words64:
    found, value = [], 1
    for _ in range(2 * WINDOW_BYTES + 1):
        found.append(value)
        value = value * base & _MASK
    return np.array(found, dtype=np.uint64)


_POWERS = _powers(_PRIME)
_INVERSES = _powers(pow(_PRIME, -1, 1 << 64))
