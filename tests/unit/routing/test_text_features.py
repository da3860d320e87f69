"""Checks the hashed pieces of a text against a slow reading of it, one byte after the other, and what a salt does."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.errors import Invalid
from tierwise.routing.text_features import (
    BUCKETS,
    MOST_PIECES,
    SIZES,
    WINDOW_BYTES,
    Features,
    TextFacts,
    features_of,
    features_to_score,
    group_of,
)

PLAIN = TextFacts()
WORD = re.compile(rb"[a-zA-Z0-9\x80-\xff]+")


def pieces(text: bytes) -> tuple[set[bytes], list[tuple[str, bytes]]]:
    """The words, and every piece with its kind, found slowly."""
    low = text.lower()
    words = WORD.findall(low)
    found = [("four", low[at : at + 4]) for at in range(len(low) - 3)]
    found += [("six", low[at : at + 6]) for at in range(len(low) - 5)]
    found += [("word", word) for word in words]
    found += [("pair", b" ".join(two)) for two in pairwise(words)]
    return set(words), found


def size(features: Features, name: str) -> float:
    return float(features.sizes[SIZES.index(name)])


@given(st.binary(max_size=400))
def test_equal_pieces_share_a_bucket_and_each_counts(text: bytes) -> None:
    expected = Counter(Counter(pieces(text)[1]).values())
    got = Counter(Counter(features_of(text, PLAIN).buckets.tolist()).values())
    # Different pieces may meet in a bucket; with so few that is rare, and never makes a piece more or fewer.
    assert sum(count * number for count, number in got.items()) == sum(count * n for count, n in expected.items())
    assert sum(got.values()) <= sum(expected.values())
    assert sum(got.values()) >= 0.97 * sum(expected.values()) - 3


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(["stone", "größe", "x1"]))
def test_a_word_has_its_bucket_wherever_it_stands(before: str, after: str, word: str) -> None:
    # A text of one word ends with the piece that is the word itself.
    assert (
        features_of(word.encode(), PLAIN).buckets[-1] in features_of(f"{before} {word} {after}".encode(), PLAIN).buckets
    )


def test_words_differ_by_each_letter_their_order_and_their_length() -> None:
    last = {
        word: int(features_of(word.encode(), PLAIN).buckets[-1]) for word in ("ab", "ba", "aab", "a", "aa", "b", "0")
    }
    assert len(set(last.values())) == len(last)


def test_case_does_not_count_but_for_the_share_of_capitals() -> None:
    low, high = features_of(b"the answer is four", PLAIN), features_of(b"The ANSWER is Four", PLAIN)
    assert low.buckets.tolist() == high.buckets.tolist()
    assert size(low, "capitals") == 0
    assert size(high, "capitals") == pytest.approx(8 / 18)


@given(st.integers(0, 3 * WINDOW_BYTES))
def test_of_a_long_text_the_ends_are_read(extra: int) -> None:
    head, tail = b"h" * WINDOW_BYTES, b"t" * WINDOW_BYTES
    middle = b"m" * extra
    features = features_of(head + middle + tail, PLAIN)
    assert features.buckets.size <= MOST_PIECES
    assert size(features, "length") == pytest.approx(np.log1p(2 * WINDOW_BYTES + extra), rel=1e-6)
    if extra:
        assert features.buckets.tolist() == features_of(head + b"other" * 700 + tail, PLAIN).buckets.tolist()


def test_the_sizes_of_a_text() -> None:
    text = b"Sum {1, 22}?\n```\nx = 3 + 4\n```\nOK?"
    found = features_of(text, TextFacts(tools=True, turns=3))
    window = len(text)
    assert size(found, "length") == pytest.approx(np.log1p(window))
    assert size(found, "digits") == pytest.approx(5 / window)
    assert size(found, "capitals") == pytest.approx(3 / window)
    assert size(found, "code characters") == pytest.approx(10 / window)
    assert size(found, "lines") == pytest.approx(np.log1p(4))
    assert size(found, "question marks") == pytest.approx(np.log1p(2))
    assert size(found, "code block") == 1
    assert size(found, "tools") == 1
    assert size(found, "turns") == pytest.approx(np.log1p(3))
    assert size(features_of("é".encode(), PLAIN), "not ASCII") == 1
    assert size(features_of(b"ab cd", PLAIN), "white space") == pytest.approx(1 / 5)
    assert size(features_of(b"abc cde", PLAIN), "word length") == pytest.approx(np.log1p(6 / 2))


@given(st.binary(min_size=1, max_size=3000))
def test_every_kind_of_piece_counts_alike_however_long_the_text_is(text: bytes) -> None:
    found = features_of(text, PLAIN)
    assert sum(found.counts) == found.buckets.size
    for count, weight in zip(found.counts, found.piece_weights, strict=True):
        assert count * weight**2 == pytest.approx(1 if count else 0)


@given(st.binary(max_size=300), st.binary(max_size=9))
def test_features_for_a_score_are_those_that_are_kept(text: bytes, system: bytes) -> None:
    facts = TextFacts(system=system)
    kept, used = features_of(text, facts, b"salt"), features_to_score(text, facts, b"salt")
    assert kept.buckets.dtype == np.uint32
    assert kept.buckets.tolist() == used.buckets.tolist()
    assert (kept.counts, kept.group, kept.sizes.tolist()) == (used.counts, used.group, used.sizes.tolist())
    assert kept.to_json() == used.to_json()
    assert features_to_score(text, facts, b"salt", grouped=False).group == ""


def test_an_empty_text_has_no_pieces() -> None:
    found = features_of(b"", PLAIN)
    assert found.buckets.size == 0
    assert sum(found.counts) == 0
    assert sum(found.piece_weights) == 0
    assert np.isfinite(found.sizes).all()


@given(st.binary(min_size=8, max_size=80), st.binary(min_size=1, max_size=100))
def test_a_salt_changes_the_buckets_and_not_which_pieces_are_equal(text: bytes, salt: bytes) -> None:
    plain, salted = features_of(text, PLAIN).buckets, features_of(text, PLAIN, salt).buckets
    assert plain.size == salted.size
    assert plain.tolist() != salted.tolist()
    assert salted.tolist() == features_of(text, PLAIN, salt).buckets.tolist()


def test_buckets_are_spread_evenly() -> None:
    text = b" ".join(str(number * 7919).encode() for number in range(600))
    counts = np.bincount(features_of(text, PLAIN).buckets >> 10, minlength=BUCKETS >> 10)
    assert counts.max() < 8 * counts.mean()


def test_routers_and_training_of_two_releases_find_the_same_numbers() -> None:
    """Weights stand for buckets. Whoever changes these numbers counts up VERSION, and every file is refused."""
    found = features_of(b"What is 2 + 2?", TextFacts(system=b"Be brief."), b"salt")
    assert found.buckets[:3].tolist() == [93537, 125994, 44348]
    assert int(found.buckets.astype(np.int64).sum()) == 1656033
    assert found.group == "0907c7ce23f757cf"


# --- groups, and features that are kept ------------------------------------------------------------------------------


def test_a_group_is_known_by_its_system_prompt_and_salt() -> None:
    assert group_of(b"") == ""
    assert group_of(b"", b"salt") == ""
    assert group_of(b"a") != group_of(b"b")
    assert group_of(b"a") != group_of(b"a", b"salt")
    assert len(group_of(b"a")) == 16


@given(st.binary(max_size=300), st.booleans(), st.integers(1, 40))
def test_features_come_back_as_they_were_kept(text: bytes, tools: bool, turns: int) -> None:
    made = features_of(text, TextFacts(tools=tools, turns=turns, system=b"s"), b"salt")
    back = Features.from_json(made.to_json())
    kinds = np.split(made.buckets, np.cumsum(made.counts)[:-1])
    assert back.buckets.tolist() == [bucket for kind in kinds for bucket in sorted(kind.tolist())]
    assert back.counts == made.counts
    assert back.sizes == pytest.approx(made.sizes, abs=1e-5)
    assert back.group == made.group


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"buckets": "no base64"},
        {"buckets": "AAAA"},
        {"sizes": [1.0]},
        {"sizes": [float("nan")] * len(SIZES)},
        {"sizes": None},
        {"counts": [1, 2, 3]},
        {"counts": [1, 1, 1, 1]},
        {"counts": [-1, 1, 1, 1]},
        {"counts": "many"},
    ],
)
def test_features_that_are_broken_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="features"):
        Features.from_json(features_of(b"some text", PLAIN).to_json() | change)


def test_buckets_beyond_the_last_or_too_many_are_refused() -> None:
    sizes = np.zeros(len(SIZES), dtype=np.float32)
    beyond = Features(np.array([BUCKETS], dtype=np.uint32), (0, 0, 1, 0), sizes).to_json()
    with pytest.raises(Invalid, match="beyond"):
        Features.from_json(beyond)
    many = Features(np.zeros(MOST_PIECES + 1, dtype=np.uint32), (MOST_PIECES + 1, 0, 0, 0), sizes).to_json()
    with pytest.raises(Invalid, match="at most"):
        Features.from_json(many)
