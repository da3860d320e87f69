"""Checks scores against a slow computation of them, shares and thresholds, and which files are refused and why."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.routing import score_texts
from tests.unit.routing.classifiers import WORDS, classifier, header
from tierwise.errors import Invalid
from tierwise.routing.classifier import MOST_BYTES, MOST_GROUPS, Classifier, quantiles_of, salt_check, threshold_of
from tierwise.routing.text_features import BUCKETS, SIZES, TextFacts, features_of, group_of

SCORES = Path(__file__).with_name("scores.json")
PLAIN = TextFacts()
RANDOM = classifier(seed=1, size_weights=((0.3, -0.2),) * len(SIZES), intercepts=(0.4, 0.9), gain_deviation=0.25)


def slowly(one: Classifier, text: bytes, facts: TextFacts) -> float:
    """The formula of the module's first lines, number by number."""
    found, said = features_of(text, facts, one.salt), one.header
    sizes = [
        min(4.0, max(-4.0, (float(value) - mean) / deviation))
        for value, mean, deviation in zip(found.sizes, said.size_means, said.size_deviations, strict=True)
    ]
    right = []
    for tier in (0, 1):
        logit = said.intercepts[tier]
        kinds = [each for each, count in enumerate(found.counts) for _ in range(count)]
        for bucket, kind in zip(found.buckets, kinds, strict=True):
            logit += float(one.weights[bucket, tier]) / math.sqrt(found.counts[kind])
        logit += sum(size * weights[tier] for size, weights in zip(sizes, said.size_weights, strict=True))
        right.append(1 / (1 + math.exp(-logit)))
    gain = right[1] - right[0] + said.groups.get(found.group, 0)
    return (gain - said.gain_mean) / said.gain_deviation + sizes[0] / 2


# --- scores ----------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.booleans(), st.integers(1, 9))
def test_a_score_is_what_the_formula_says(text: bytes, tools: bool, turns: int) -> None:
    facts = TextFacts(tools=tools, turns=turns)
    assert RANDOM.score(text, facts) == pytest.approx(slowly(RANDOM, text, facts), abs=1e-4)


def test_a_score_of_many_pieces_is_what_the_formula_says() -> None:
    for text in (WORDS[:5_000], b"a" * 5_000, b"?" * 5_000, b"five5", b"abc", b""):
        assert RANDOM.score(text, PLAIN) == pytest.approx(slowly(RANDOM, text, PLAIN), abs=1e-4)


@pytest.mark.parametrize(("name", "salt"), [("plain", b""), ("salted", b"salt")])
def test_a_score_is_what_it_was(name: str, salt: bytes) -> None:
    """A file of weights means what it did when it was learned, whatever is made faster (scores.json). Sums of 32-bit
    weights end in another digit where an array begins at another address: 2e-8 was seen."""
    kept = [float.fromhex(one) for one in json.loads(SCORES.read_text())[name]]
    assert score_texts.scores(salt) == pytest.approx(kept, rel=1e-6, abs=1e-6)


@given(st.binary(max_size=9000), st.binary(max_size=99))
def test_a_score_is_a_number_whatever_the_text(text: bytes, system: bytes) -> None:
    assert math.isfinite(RANDOM.score(text, TextFacts(system=system)))


def test_of_two_questions_about_which_nothing_is_known_the_longer_is_harder() -> None:
    blank = classifier()
    assert blank.score(b"a" * 20, PLAIN) < blank.score(b"a" * 200, PLAIN)


def test_one_odd_size_decides_at_most_so_much() -> None:
    blank = classifier(size_deviations=(0.001,) * len(SIZES))
    assert blank.score(b"a" * 1_000_000, PLAIN) == 0.5 * 4
    assert blank.score(b"", PLAIN) == -0.5 * 4


def test_what_is_known_of_a_system_prompt_is_added_and_strangers_count_as_average() -> None:
    known = classifier(groups={group_of(b"hard work"): 0.2, group_of(b"small talk"): -0.1}, gain_deviation=0.1)
    text = b"hello"
    base = known.score(text, PLAIN)
    assert known.score(text, TextFacts(system=b"hard work")) == pytest.approx(base + 2)
    assert known.score(text, TextFacts(system=b"small talk")) == pytest.approx(base - 1)
    assert known.score(text, TextFacts(system=b"new")) == base


def test_features_that_were_kept_have_the_score_of_their_text() -> None:
    one = classifier(salt=b"secret", seed=2)
    facts = TextFacts(tools=True, system=b"s")
    assert one.score_features(features_of(b"a question", facts, b"secret")) == one.score(b"a question", facts)
    assert one.score_features(features_of(b"a question", facts, b"other")) != one.score(b"a question", facts)


# --- shares ----------------------------------------------------------------------------------------------------------


def test_the_whole_and_nothing_need_no_scores() -> None:
    one = classifier()
    assert one.threshold(0) == math.inf
    assert one.threshold(100) == -math.inf
    assert one.threshold(25) == 1.0
    assert one.threshold(25.5) == pytest.approx(0.98)
    assert one.threshold(99.5) == pytest.approx(-1.98)


@given(st.lists(st.floats(-5, 5), min_size=20, max_size=200, unique=True), st.floats(1, 99))
def test_a_share_of_the_scores_lies_above_its_threshold(scores: list[float], share: float) -> None:
    above = sum(score >= threshold_of(scores, share) for score in scores)
    assert abs(above - len(scores) * share / 100) <= 2
    by_file = classifier(thresholds=quantiles_of(scores)).threshold(share)
    assert abs(sum(score >= by_file for score in scores) - len(scores) * share / 100) <= 2 + len(scores) / 100


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=50), st.floats(0, 100), st.floats(0, 100))
def test_a_larger_share_never_has_a_higher_threshold(scores: list[float], first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert threshold_of(scores, high) <= threshold_of(scores, low)
    one = classifier(thresholds=quantiles_of(scores))
    assert one.threshold(high) <= one.threshold(low)


def test_without_scores_nothing_goes_to_the_large_tier() -> None:
    assert threshold_of([], 50) == math.inf
    assert threshold_of([], 100) == math.inf
    assert threshold_of([1.0], 0) == math.inf
    assert threshold_of([1.0], 100) == -math.inf


def test_what_is_predicted_lies_between_the_points_of_the_curve() -> None:
    one = classifier()
    assert one.predicted(40).quality_percent == pytest.approx(94)
    assert one.predicted(41).quality_percent == pytest.approx(94.1)
    assert one.predicted(41).lower_percent == pytest.approx(92.1)
    assert one.predicted(0).lower_percent == 88
    assert one.predicted(100).quality_percent == 100
    short = classifier(curve=(one.header.curve[10], one.header.curve[20]))
    assert short.predicted(0) == one.header.curve[10]
    assert short.predicted(90) == one.header.curve[20]


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_comes_back_as_it_was_and_small_enough() -> None:
    groups = {f"{number:016x}": number / 7 for number in range(MOST_GROUPS)}
    written = classifier(salt=b"s", seed=3, groups=groups).write()
    assert len(written) < MOST_BYTES == 700_000
    back = Classifier.read(written, b"s")
    assert back.header.groups == groups
    assert np.array_equal(back.weights, classifier(seed=3).weights)
    assert back.write() == written
    assert back.score(b"q", PLAIN) == classifier(salt=b"s", seed=3, groups=groups).score(b"q", PLAIN)


def test_a_file_says_neither_its_salt_nor_a_prompt() -> None:
    salt, system = b"canary-salt-7f3a", b"canary-system-prompt"
    written = classifier(salt=salt, seed=4, groups={group_of(system, salt): 0.1}).write()
    assert salt not in written
    assert salt.hex().encode() not in written
    assert system not in written


def written(change: dict[str, Any] | None = None, weights: bytes | None = None) -> bytes:
    """A file whose header says something else, with a right checksum."""
    import hashlib

    whole = classifier(seed=5).write()
    size = struct.unpack_from("<I", whole, 8)[0]
    said = json.loads(whole[12 : 12 + size]) | (change or {})
    text = json.dumps(said).encode()
    body = whole[:8] + struct.pack("<I", len(text)) + text + (whole[12 + size : -16] if weights is None else weights)
    return body + hashlib.blake2b(body, digest_size=16).digest()


WHOLE = written()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no classifier file"),
        (b"route: chat", "no classifier file"),
        (WHOLE[:8], "broken"),
        (WHOLE[:-1], "broken"),
        (WHOLE[:5000] + b"x" + WHOLE[5001:], "broken"),
        (WHOLE + b"\0" * MOST_BYTES, "too many"),
        (written({"version": 2}), r"version 2\.1, this release reads 1\.1"),
        (written({"version": 9, "somethingNew": True}), r"version 9\.1"),
        (written({"featuresVersion": 3}), r"version 1\.3"),
        (written({"gainDeviation": 0}), "gainDeviation"),
        (written({"thresholds": [0.0] * 100}), "thresholds"),
        (written({"thresholds": [float(n) for n in range(101)]}), "must not rise"),
        (written({"curve": [{"sharePercent": 4, "qualityPercent": 1, "lowerPercent": 1}] * 2}), "must rise"),
        (written({"sizeMeans": [0.0]}), "sizeMeans"),
        (written({"unknown": 1}), "unknown"),
        (written({"largeSharePercent": 101}), "largeSharePercent"),
        (written(weights=b"\0" * (4 * BUCKETS + 2)), "another size"),
        (written(weights=np.full(2 * BUCKETS, np.nan, dtype="<f2").tobytes()), "no number"),
    ],
)
def test_what_is_no_such_file_is_refused_with_a_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        Classifier.read(data)


@given(st.binary(max_size=200), st.integers(0, len(WHOLE)))
def test_no_bytes_make_reading_fail_otherwise(junk: bytes, place: int) -> None:
    try:
        Classifier.read(WHOLE[:place] + junk + WHOLE[place + len(junk) :])
    except Invalid:
        return
    assert WHOLE[place : place + len(junk)] == junk


def test_another_salt_is_noticed() -> None:
    with pytest.raises(Invalid, match="another salt"):
        Classifier.read(classifier(salt=b"one").write(), b"two")
    with pytest.raises(Invalid, match="with a salt"):
        Classifier.read(classifier(salt=b"one").write())
    assert salt_check(b"") == ""


def test_a_file_without_a_salt_is_read_alike_on_a_route_that_has_one() -> None:
    plain = classifier(seed=6).write()
    on_salted_route = Classifier.read(plain, b"salt of the route")
    assert on_salted_route.score(b"a question", PLAIN) == Classifier.read(plain).score(b"a question", PLAIN)
    assert on_salted_route.write() == plain


def test_a_classifier_does_not_show_its_salt() -> None:
    assert "canary" not in repr(classifier(salt=b"canary-of-a-salt"))


def test_one_that_would_be_too_large_is_not_written() -> None:
    with pytest.raises(Invalid, match="classifier would have"):
        classifier(labels_hash="x" * 200_000).write()


def test_a_header_does_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        header().route = "other"
