"""Draws labels at random, again and again: how good is what is learned from so many, and is the promise kept.

Every draw does what `tierwise train` does, from the labels to the share, and is judged by the questions that it has not
seen. The naive threshold beside it is the smallest share that reaches the quality on the labels themselves, with the
same out-of-fold scores. Fits are made from inner products (`dual`), which changes their speed only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tierwise.routing.promise import SHARES, curve, promised_share
from tierwise_training import model
from tierwise_training.evaluation import measure, quality_by_share
from tierwise_training.model import Reals, Rows
from tools.bench_routing.dual import Products
from tools.bench_routing.results import RANDOM_SPLIT, UNSEEN, Kept, Learned

QUALITY = 95
HELD_SUBJECTS = 0.2
PROMISED, NAIVE = "promised", "naive"


def learn(name: str, products: Products, subjects: tuple[str, ...] | None, labels: int, repeats: int) -> Learned:
    """The APGR after learning from so many labels, measured on questions that were not learned from: all others, or
    with `subjects` those of subjects that no label is of."""
    found = []
    for number in range(repeats):
        chance = np.random.default_rng([model.SEED, labels, number])
        learned, held = _divide(chance, len(products.asked), subjects, labels)
        scores = products.scores(learned, held)
        found.append(measure(scores, products.asked.small[held], products.asked.large[held]).apgr)
    split = RANDOM_SPLIT if subjects is None else UNSEEN
    return Learned(name, split, labels, float(np.mean(found)), float(np.std(found)), repeats)


def promise(
    products: Products, subjects: tuple[str, ...] | None, labels: int, draws: int
) -> Iterator[tuple[int, Kept]]:
    """How often each method kept its promise so far, after every draw: (draws, kept), promised and naive in turn."""
    split = RANDOM_SPLIT if subjects is None else UNSEEN
    small, large = products.asked.small, products.asked.large
    kept: dict[str, list[bool]] = {PROMISED: [], NAIVE: []}
    shares: dict[str, list[float]] = {PROMISED: [], NAIVE: []}
    needed: list[float] = []
    for number in range(draws):
        chance = np.random.default_rng([model.SEED, 1, labels, number])
        learned, held = _divide(chance, len(products.asked), subjects, labels)
        steps = curve(products.out_of_fold(learned, number), small[learned], large[learned], QUALITY)
        naive = min(step.share_percent for step in steps if step.quality_percent >= QUALITY)
        promised = promised_share(steps)
        qualities = _qualities(products.scores(learned, held), small[held], large[held])
        needed.append(min(share for share in SHARES if qualities[share] >= QUALITY))
        for method, share in ((PROMISED, SHARES[0] if promised is None else promised), (NAIVE, naive)):
            shares[method].append(share)
            kept[method].append(qualities[share] >= QUALITY)
        for method in (PROMISED, NAIVE):
            percents = (100 * float(np.mean(kept[method])), float(np.mean(shares[method])), float(np.mean(needed)))
            yield number + 1, Kept(split, labels, method, number + 1, *percents)


def _qualities(scores: Reals, small: Reals, large: Reals) -> dict[int, float]:
    """Percent of the large model's right answers that are kept at each share of the questions without labels."""
    line = quality_by_share(scores, small, large)
    return {share: 100 * float(line[scores.size * share // 100] / line[-1]) for share in SHARES}


def _divide(
    chance: np.random.Generator, count: int, subjects: tuple[str, ...] | None, labels: int
) -> tuple[Rows, Rows]:
    """Rows to learn from, and rows to be judged by."""
    if subjects is None:
        order = chance.permutation(count)
        return order[:labels], order[labels:]
    names = sorted(set(subjects))
    held_names = set(chance.permutation(names)[: max(1, round(len(names) * HELD_SUBJECTS))].tolist())
    held = np.array([row for row in range(count) if subjects[row] in held_names])
    others = np.array([row for row in range(count) if subjects[row] not in held_names])
    return chance.permutation(others)[:labels], held
