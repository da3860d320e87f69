"""Scores how much a question deserves the large tier, by weights that were learned from the user's own labels.

The score is the standardized difference of two probabilities, that the reference tier answers right and that the
cheaper one does, plus half the standardized length, plus what is known of the question's group (its system prompt). It
says which of two questions to send first, nothing more: a score becomes a decision by the share of requests that may go
to the large tier, whose threshold is a quantile of scores. A share keeps its meaning when the traffic shifts; a fixed
number does not (docs/classifier.md).

The file is one binary value of less than 700,000 bytes, so that it fits into a ConfigMap: a mark, a header in JSON, the
weights as 16-bit numbers, a checksum. It names its route, its two tiers and the hash of its labels. A file that cannot
be what it says is refused with a sentence.
"""

from __future__ import annotations

import hashlib
import math
import struct
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from tierwise.errors import Invalid
from tierwise.routing.text_features import BUCKETS, LENGTH, SIZES, Features, TextFacts, features_to_score, key_of
from tierwise.routing.text_features import VERSION as FEATURES_VERSION

MOST_BYTES = 700_000
FILE_VERSION = 1
MOST_GROUPS = 2_000
LENGTH_WEIGHT = 0.5
CONFIG_MAP_KEY = "classifier.bin"
MOST_STANDARD = 4.0
"""A size that lies further from the mean than so many standard deviations counts as if it lay there: one odd request
must not decide by one number."""
_MARK = b"TWCLASS\n"
_CHECK_BYTES = 16
_LENGTH = struct.Struct("<I")
_WEIGHT_BYTES = BUCKETS * 2 * 2
_SMALL, _LARGE = 0, 1

Weights = npt.NDArray[np.float32]
Real = Annotated[float, Field(allow_inf_nan=False)]


class _Value(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class CurvePoint(_Value):
    """What to expect when `sharePercent` of requests, those with the highest scores, go to the reference tier: percent
    of its right answers that are kept, and the value that is exceeded with 90 % confidence."""

    share_percent: Real = Field(ge=0, le=100)
    quality_percent: Real
    lower_percent: Real


class Header(_Value):
    """What a classifier file says of itself, and all its numbers but the hashed weights.

    `refusal` is the sentence why it must not be used (too few labels, or a promise that cannot be kept), empty for a
    usable one. `thresholds` are 101 scores: the share of p percent begins at `thresholds[p]`. `groups` are additions to
    the gain of known system prompts, by their hash. `saltCheck` tells whether a salt is the one that was trained with,
    and not what it is; it is empty where none was."""

    version: int
    features_version: int
    route: str
    from_tier: str
    reference_tier: str
    labels_hash: str
    labels: int = Field(ge=0)
    created_at: str
    quality_percent: int = Field(ge=1, le=100)
    large_share_percent: Real = Field(ge=0, le=100)
    refusal: str = ""
    salt_check: str = ""
    intercepts: tuple[Real, Real]
    size_means: tuple[Real, ...] = Field(min_length=len(SIZES), max_length=len(SIZES))
    size_deviations: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = Field(
        min_length=len(SIZES), max_length=len(SIZES)
    )
    size_weights: tuple[tuple[Real, Real], ...] = Field(min_length=len(SIZES), max_length=len(SIZES))
    gain_mean: Real
    gain_deviation: float = Field(gt=0, allow_inf_nan=False)
    groups: dict[str, Real] = Field(default_factory=dict, max_length=MOST_GROUPS)
    thresholds: tuple[Real, ...] = Field(min_length=101, max_length=101)
    curve: tuple[CurvePoint, ...] = Field(min_length=1, max_length=201)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        shares = [point.share_percent for point in self.curve]
        if any(after <= before for before, after in pairwise(shares)):
            raise ValueError("the shares of the curve must rise")
        if any(after > before for before, after in pairwise(self.thresholds)):
            raise ValueError("the thresholds must not rise")
        return self


@dataclass(frozen=True, eq=False, slots=True)
class Classifier:
    """A classifier in memory. `weights` (C-contiguous) has a row per bucket and a column per tier, the cheaper
    first."""

    header: Header
    weights: Weights
    salt: bytes = field(default=b"", repr=False)
    _both: npt.NDArray[np.complex64] = field(init=False, repr=False)
    """Both weights of a bucket as one complex number: one look-up and one sum instead of two."""
    _sizes: tuple[tuple[float, float, float, float], ...] = field(init=False, repr=False)
    """Of each size: mean, deviation, both weights."""

    def __post_init__(self) -> None:
        header = self.header
        sizes = zip(header.size_means, header.size_deviations, header.size_weights, strict=True)
        object.__setattr__(self, "_both", self.weights.view(np.complex64)[:, 0])
        object.__setattr__(self, "_sizes", tuple((mean, deviation, *both) for mean, deviation, both in sizes))

    @classmethod
    def read(cls, data: bytes, salt: bytes = b"") -> Classifier:
        """The classifier of a file. `salt` is the secret one of its route, if any: a file that was made without a salt
        does not use it.

        Raises Invalid, with a sentence for people, when the file is broken, too large, of another version, or made with
        another salt. Whether it belongs to a route says `content.usable`."""
        header, packed = _unpack(data)
        if not header.salt_check:
            salt = b""
        elif header.salt_check != salt_check(salt):
            wrong = "another salt" if salt else "a salt"
            raise Invalid(
                f"the classifier file was made with {wrong}: mount the Secret that its features were made with"
            )
        weights = np.frombuffer(packed, dtype="<f2").astype(np.float32).reshape(BUCKETS, 2)
        if not np.isfinite(weights).all():
            raise Invalid("the classifier file is broken: a weight is no number")
        return cls(header, weights, salt)

    def write(self) -> bytes:
        """The bytes of the file; the same classifier gives the same bytes. Raises Invalid when they would be too
        many."""
        header = self.header.model_dump_json(by_alias=True).encode()
        body = _MARK + _LENGTH.pack(len(header)) + header + self.weights.astype("<f2").tobytes()
        made = body + _check(body)
        if len(made) >= MOST_BYTES:
            raise Invalid(f"the classifier would have {len(made)} bytes, a file may have less than {MOST_BYTES}")
        return made

    def score(self, text: bytes, facts: TextFacts) -> float:
        """How much the question is worth the reference tier; higher is more. `text` is in UTF-8 (`question_of`)."""
        grouped = bool(self.header.groups)
        return self.score_features(features_to_score(text, facts, self.salt, grouped=grouped))

    def score_features(self, features: Features) -> float:
        """The same, of features that were made with the same salt."""
        header = self.header
        small_sum = large_sum = 0.0
        standard: list[float] = []
        for value, (mean, deviation, small_weight, large_weight) in zip(
            features.sizes.tolist(), self._sizes, strict=True
        ):
            size = max(-MOST_STANDARD, min(MOST_STANDARD, (value - mean) / deviation))
            standard.append(size)
            small_sum += size * small_weight
            large_sum += size * large_weight
        pieces = self._pieces(features)
        small = _probability(pieces.real + header.intercepts[_SMALL] + small_sum)
        large = _probability(pieces.imag + header.intercepts[_LARGE] + large_sum)
        gain = large - small + header.groups.get(features.group, 0.0)
        score: float = (gain - header.gain_mean) / header.gain_deviation + LENGTH_WEIGHT * standard[LENGTH]
        return score

    def _pieces(self, features: Features) -> complex:
        """What the pieces add to both logits: of each kind the sum of its weights, times what one piece counts for."""
        begins, counted, begin = [], [], 0
        for count in features.counts:
            if count:  # `reduceat` knows no empty parts
                begins.append(begin)
                counted.append(1.0 / math.sqrt(count))
            begin += count
        if not begins:
            return 0j
        sums = np.add.reduceat(self._both.take(features.buckets), begins).tolist()
        return complex(sum(each * weight for each, weight in zip(sums, counted, strict=True)))

    def threshold(self, share_percent: float) -> float:
        """The score from which on a request belongs to the `share_percent` that go to the reference tier, by the scores
        that were seen in training; infinite for 0, minus infinite for 100."""
        if share_percent <= 0:
            return math.inf
        if share_percent >= 100:
            return -math.inf
        low = int(share_percent)
        first, second = self.header.thresholds[low], self.header.thresholds[low + 1]
        return first + (second - first) * (share_percent - low)

    def predicted(self, share_percent: float) -> CurvePoint:
        """Quality to expect at a share, between the nearest two points of the curve."""
        curve = self.header.curve
        place = bisect_left(curve, share_percent, key=lambda point: point.share_percent)
        if place == 0 or place == len(curve):
            return curve[min(place, len(curve) - 1)]
        before, after = curve[place - 1], curve[place]
        part = (share_percent - before.share_percent) / (after.share_percent - before.share_percent)
        return CurvePoint(
            share_percent=share_percent,
            quality_percent=before.quality_percent + part * (after.quality_percent - before.quality_percent),
            lower_percent=before.lower_percent + part * (after.lower_percent - before.lower_percent),
        )


def threshold_of(scores: Sequence[float], share_percent: float) -> float:
    """The score from which on `share_percent` of these scores lie; infinite for 0 and for no scores.

    Scores of requests that really came, without labels, make a share mean the same when the traffic shifts."""
    if not len(scores) or share_percent <= 0:
        return math.inf
    if share_percent >= 100:
        return -math.inf
    return float(np.quantile(np.asarray(scores, dtype=np.float64), 1 - share_percent / 100))


def quantiles_of(scores: Sequence[float]) -> tuple[float, ...]:
    """The 101 `thresholds` of a header, of scores without labels (at least one)."""
    found = np.quantile(np.asarray(scores, dtype=np.float64), np.linspace(1.0, 0.0, 101))
    return tuple(float(value) for value in found)


def salt_check(salt: bytes) -> str:
    """A word that is the same for the same salt, from which the salt cannot be found if it is random; empty for
    none."""
    return hashlib.blake2b(b"tierwise salt check", key=key_of(salt), digest_size=8).hexdigest() if salt else ""


def _probability(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, logit))))


def _unpack(data: bytes) -> tuple[Header, bytes]:
    if len(data) >= MOST_BYTES:
        raise Invalid(f"the classifier file has {len(data)} bytes, {MOST_BYTES} are too many: train again")
    if not data.startswith(_MARK):
        raise Invalid("this is no classifier file: `tierwise train` writes them")
    start = len(_MARK) + _LENGTH.size
    if len(data) < start + _WEIGHT_BYTES + _CHECK_BYTES or _check(data[:-_CHECK_BYTES]) != data[-_CHECK_BYTES:]:
        raise Invalid("the classifier file is broken (its checksum is another): copy it again")
    end = start + _LENGTH.unpack_from(data, len(_MARK))[0]
    try:
        header = Header.model_validate_json(data[start:end])
    except ValidationError as error:
        raise Invalid(
            _version_first(data[start:end]) or f"the classifier file has a bad header: {_first(error)}"
        ) from None
    if problem := _other_version(header.version, header.features_version):
        raise Invalid(problem)
    if len(data) - _CHECK_BYTES - end != _WEIGHT_BYTES:
        raise Invalid("the classifier file is broken (its weights have another size): train again")
    return header, data[end:-_CHECK_BYTES]


def _version_first(header: bytes) -> str:
    """A header of another version may have other fields: its version is the better answer."""
    try:
        said = _Versions.model_validate_json(header)
    except ValidationError:
        return ""
    return _other_version(said.version, said.features_version)


class _Versions(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    version: int
    features_version: int = FEATURES_VERSION


def _other_version(file: int, features: int) -> str:
    if (file, features) == (FILE_VERSION, FEATURES_VERSION):
        return ""
    return (
        f"the classifier file is of version {file}.{features}, this release reads {FILE_VERSION}.{FEATURES_VERSION}: "
        "train again with the release that serves"
    )


def _first(error: ValidationError) -> str:
    found: dict[str, Any] = dict(error.errors(include_url=False, include_input=False)[0])
    return f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}"


def _check(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECK_BYTES).digest()
