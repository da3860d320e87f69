"""Finds what a person wants to know of a classifier before it decides anything: a value that is shown and kept as JSON.

Everything is measured on scores of models that have not seen the question. What is said about more labels is what the
interval alone would gain, if they were like these; that the classifier itself would get better is not counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tierwise.routing.promise import Step, curve, promised_share, taken
from tierwise.routing.text_features import KINDS, SIZES, TextFacts, features_of
from tierwise_training import model
from tierwise_training.evaluation import bootstrap, interval, measure
from tierwise_training.model import Model, Questions, Reals

LEARNED_AFTER = {100: 10, 300: 5, 1000: 3, 3000: 1, 10_000: 1}
"""Labels, and how many draws of so many are averaged: one draw of 100 says little."""
MORE = (300, 1000, 3000)
BOOTSTRAPS = 200
MOST_WORDS = 12
LEAST_SHARE_OF_A_WORD = 0.01
LEAST_COUNT_OF_A_WORD = 5
_WORD = re.compile(rb"[a-z0-9\x80-\xff]+")


@dataclass(frozen=True, slots=True)
class Sent:
    """How many questions go to one tier, by who answers them right."""

    both: int
    only_reference: int
    only_from: int
    neither: int


@dataclass(frozen=True, slots=True)
class Deciding:
    """A feature and what one standard deviation of it, or one more such word, adds to the reference tier's advantage (a
    difference of log odds); `count` is how many questions have the word, None for a size."""

    name: str
    weight: float
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """What so many labels gave: the APGR, and the share that could be promised (None: nothing)."""

    labels: int
    apgr: float
    share: int | None


@dataclass(frozen=True, slots=True)
class Findings:
    """All of it. Percents are of questions; `curve` runs from all questions to the reference tier down to none.
    `more` are shares that could be promised with so many more labels like these; `costs` percents of what the reference
    tier alone costs, by share, empty without prices. `naive_share` is what a threshold without a promise would take.
    `counts_as`: so many labels of one sampling rate are as certain."""

    route: str
    from_tier: str
    reference_tier: str
    labels: int
    counts_as: int
    not_known: int
    groups: int
    from_right_percent: float
    reference_right_percent: float
    quality_percent: int
    share: int | None
    refusal: str
    apgr: float
    apgr_interval: tuple[float, float]
    naive_share: int
    curve: tuple[Step, ...]
    costs: Mapping[int, float]
    to_reference: Sent
    to_from: Sent
    sizes: tuple[Deciding, ...]
    words: tuple[Deciding, ...]
    learned: tuple[Learned, ...]
    more: Mapping[int, int | None]


def sent(scores: Reals, asked: Questions, share: int) -> tuple[Sent, Sent]:
    """Who answers right, of what goes to the reference tier at this share and of what does not."""
    order = np.argsort(-scores, kind="stable")
    first = taken((np.ones(len(asked)) if asked.weights is None else asked.weights)[order], share)
    return _sent(asked, order[:first]), _sent(asked, order[first:])


def _sent(asked: Questions, rows: model.Rows) -> Sent:
    small, large = asked.small[rows] > 0, asked.large[rows] > 0
    return Sent(
        int((small & large).sum()),
        int((~small & large).sum()),
        int((small & ~large).sum()),
        int((~small & ~large).sum()),
    )


def apgr(scores: Reals, asked: Questions) -> tuple[float, tuple[float, float]]:
    """The average performance gap recovered, and an interval that holds 95 % of bootstrap samples."""
    samples = bootstrap(scores, asked.small, asked.large, BOOTSTRAPS, model.SEED, weights=asked.weights)
    values = [each.apgr for each in samples if not np.isnan(each.apgr)]
    between = interval(values) if values else (float("nan"), float("nan"))
    return measure(scores, asked.small, asked.large, weights=asked.weights).apgr, between


def learned(asked: Questions, scores: Reals, quality_percent: float) -> tuple[Learned, ...]:
    """What fewer of the labels give, drawn at random from one seed, and what all of them give (`scores`)."""
    chance = np.random.default_rng(model.SEED)
    found = []
    for count, draws in LEARNED_AFTER.items():
        if count <= 0.9 * len(asked):
            drawn = [asked.take(np.sort(chance.permutation(len(asked))[:count])) for _ in range(draws)]
            found.append(_mean([_learned(few, model.out_of_fold(few), quality_percent) for few in drawn]))
    return (*found, _learned(asked, scores, quality_percent))


def _mean(draws: Sequence[Learned]) -> Learned:
    """The mean APGR, and the median share; nothing promised counts as a share above all others."""
    shares = sorted(101 if each.share is None else each.share for each in draws)
    middle = shares[len(shares) // 2]
    apgrs = [each.apgr for each in draws if not np.isnan(each.apgr)]
    return Learned(draws[0].labels, float(np.mean(apgrs)) if apgrs else float("nan"), None if middle > 100 else middle)


def _learned(asked: Questions, scores: Reals, quality_percent: float) -> Learned:
    steps = curve(scores, asked.small, asked.large, quality_percent, weights=asked.weights)
    found = measure(scores, asked.small, asked.large, weights=asked.weights)
    return Learned(len(asked), found.apgr, promised_share(steps))


def more(asked: Questions, scores: Reals, quality_percent: float) -> dict[int, int | None]:
    """The share that could be promised with so many labels more, by the interval alone."""
    return {
        extra: promised_share(
            curve(scores, asked.small, asked.large, quality_percent, len(asked) + extra, asked.weights)
        )
        for extra in MORE
    }


def deciding_sizes(fitted: Model, asked: Questions) -> tuple[Deciding, ...]:
    """Of the sizes that vary, what a standard deviation adds; the strongest first."""
    weights = fitted.size_weights[:, 1] - fitted.size_weights[:, 0]
    varying = asked.sizes.std(axis=0) > model.LEAST_DEVIATION
    found = [Deciding(name, float(weights[place])) for place, name in enumerate(SIZES) if varying[place]]
    return tuple(sorted(found, key=lambda each: (-abs(each.weight), each.name)))


def deciding_words(fitted: Model, texts: Sequence[bytes], salt: bytes) -> tuple[Deciding, ...]:
    """The frequent words that add most and that take away most, with all pieces that come with a word; none where
    prompts were not kept."""
    counts = Counter(word for text in texts for word in set(_WORD.findall(text.lower())))
    least = max(LEAST_COUNT_OF_A_WORD, LEAST_SHARE_OF_A_WORD * len(texts))
    known = [features_of(text, TextFacts()).piece_weights for text in texts[:200]]
    usual = np.mean(known or [(0.0,) * KINDS], axis=0)
    found = []
    for word, count in counts.items():
        if count >= least:
            pieces = features_of(b" " + word + b" ", TextFacts(), salt)
            advantage = fitted.weights[pieces.buckets, 1] - fitted.weights[pieces.buckets, 0]
            weight = float(advantage @ np.repeat(usual, pieces.counts))
            found.append(Deciding(word.decode("utf-8", "replace"), weight, count))
    ordered = sorted(found, key=lambda each: (-each.weight, each.name))
    harder = [each for each in ordered if each.weight > 0][:MOST_WORDS]
    easier = [each for each in ordered if each.weight < 0][-MOST_WORDS:]
    return (*harder, *easier)
