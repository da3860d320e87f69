"""From prompts to a cheaper route: `tierwise label`, `tierwise train`, the policy Classifier, and fresh prompts through
it.

The engines answer rightly by a known rule, so the share of the large tier and the quality that the training promised
can be compared with what the router really does, on prompts that nobody has seen before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from statistics import fmean, stdev
from typing import Any

import pytest

from tests.unit.training.label_stage import Stage, questions, stage, write
from tierwise.routing.classifier import Classifier, Header
from tierwise_sim.arithmetic import asked, value
from tierwise_training.extraction import number

LABELS, FRESH = 400, 400
QUALITY = 95
SMALL = {"ANSWERS_SKILL": "2", "ANSWERS_SLIP": "0.03", "ANSWERS_LUCK": "0.1"}
LARGE = {"ANSWERS_SKILL": "4", "ANSWERS_SLIP": "0.05", "SEED": "1"}


@dataclass(frozen=True)
class Asked:
    """One answer: the tier that gave it and why, and whether it is right."""

    tier: str
    reason: str
    right: bool


def truth(prompt: str) -> Decimal:
    expression = asked(prompt)
    assert expression is not None
    return Decimal(value(expression))


def asked_all(running: Stage, model: str, lines: list[dict[str, Any]]) -> list[Asked]:
    said = running.ask_all(model, lines)
    return [
        Asked(one.tier, one.reason, number(one.text) == truth(line["prompt"]))
        for one, line in zip(said, lines, strict=True)
    ]


@dataclass(frozen=True)
class Applied:
    """What was promised, and what fresh prompts got through the route and from the large tier alone."""

    header: Header
    routed: list[Asked]
    reference: list[Asked]


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applied]:
    folder = tmp_path_factory.mktemp("applied")
    with stage(folder, SMALL, LARGE) as running:
        lines = [{**line, "gold": str(truth(line["prompt"]))} for line in questions(LABELS, seed=11)]
        running.label("--prompts", str(write(folder / "prompts.jsonl", lines)), "--judge", "number", "--yes")
        classifier = running.train()
        running.serve_with(classifier, QUALITY)
        fresh = questions(FRESH, seed=12)
        assert not {line["prompt"] for line in lines} & {line["prompt"] for line in fresh}
        yield Applied(
            Classifier.read(classifier.read_bytes()).header,
            asked_all(running, "chat", fresh),
            asked_all(running, "large", fresh),
        )


def test_the_share_of_the_large_tier_is_the_one_that_was_promised(applied: Applied) -> None:
    share = fmean(one.tier == "large" for one in applied.routed)
    promised = applied.header.large_share_percent / 100
    assert 0 < promised < 1
    assert abs(share - promised) <= 2.58 * math.sqrt(promised * (1 - promised) / FRESH), (share, promised)
    assert {one.reason for one in applied.routed} == {"Classified"}


def test_the_quality_is_kept_as_it_was_promised(applied: Applied) -> None:
    regrets = [
        one.right - QUALITY / 100 * best.right for one, best in zip(applied.routed, applied.reference, strict=True)
    ]
    assert fmean(regrets) + 1.64 * stdev(regrets) / math.sqrt(FRESH) >= 0
    kept = 100 * sum(one.right for one in applied.routed) / sum(one.right for one in applied.reference)
    point = min(applied.header.curve, key=lambda one: abs(one.share_percent - applied.header.large_share_percent))
    predicted_error = (point.quality_percent - point.lower_percent) / 1.28
    measured_error = 100 * stdev(regrets) / math.sqrt(FRESH)
    assert abs(kept - point.quality_percent) <= 2.58 * math.hypot(predicted_error, measured_error), (kept, point)


def test_choosing_by_content_beats_the_same_share_by_chance(applied: Applied) -> None:
    share = fmean(one.tier == "large" for one in applied.routed)
    small_right = fmean(one.right for one in applied.routed if one.tier == "small")
    large_right = fmean(one.right for one in applied.reference)
    by_chance = share * large_right + (1 - share) * 0.55  # the small tier alone: half of the prompts, and its luck
    assert fmean(one.right for one in applied.routed) > by_chance + 0.05
    assert small_right > 0.8
