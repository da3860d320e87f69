"""From prompts to a cheaper route: `tierwise label`, `tierwise train`, the policy Classifier, and fresh prompts through
it.

The engines answer rightly by a known rule, so the share of the large tier and the quality that the training promised
can be compared with what the router really does, on prompts that nobody has seen before.
"""

from __future__ import annotations

import json
import math
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import yaml

from tests.unit.training.label_stage import Stage, questions, stage, write
from tierwise.routing.classifier import Classifier, Header
from tierwise_cli import main as cli
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


def ask(url: str, model: str, prompt: str) -> Asked:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}]}).encode()
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = json.load(answer)["choices"][0]["message"]["content"]
        said = answer.headers
    return Asked(said["x-tierwise-tier"], said["x-tierwise-reason"], number(text) == truth(prompt))


def truth(prompt: str) -> Decimal:
    expression = asked(prompt)
    assert expression is not None
    return Decimal(value(expression))


def ask_all(url: str, model: str, prompts: list[str]) -> list[Asked]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda prompt: ask(url, model, prompt), prompts))


@dataclass(frozen=True)
class Applied:
    """What was promised, and what fresh prompts got through the route and from the large tier alone."""

    header: Header
    findings: dict[str, Any]
    routed: list[Asked]
    reference: list[Asked]


def serve_with(running: Stage, classifier: Path) -> None:
    """Let the running router choose by the classifier."""
    route = yaml.safe_load((running.folder / "route.yaml").read_text())
    route["policy"] = {"type": "Classifier", "classifier": {"file": str(classifier), "qualityPercent": QUALITY}}
    running.router.rewrite(route)
    until = time.monotonic() + 60
    while ask(running.router.url, "chat", "What is 1 + 1?").reason != "Classified":
        assert time.monotonic() < until, (running.folder / "errors.log").read_text()
        time.sleep(0.2)


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applied]:
    folder = tmp_path_factory.mktemp("applied")
    with stage(folder, SMALL, LARGE) as running:
        lines = [{**line, "gold": str(truth(line["prompt"]))} for line in questions(LABELS, seed=11)]
        running.label("--prompts", str(write(folder / "prompts.jsonl", lines)), "--judge", "number", "--yes")
        classifier, report = folder / "classifier.bin", folder / "findings.json"
        with report.open("w") as out, pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdout", out)
            assert cli.main(["train", str(folder / "labels.jsonl"), "--out", str(classifier), "-o", "json"]) == 0
        serve_with(running, classifier)
        fresh = [line["prompt"] for line in questions(FRESH, seed=12)]
        assert not {line["prompt"] for line in lines} & set(fresh)
        yield Applied(
            Classifier.read(classifier.read_bytes()).header,
            json.loads(report.read_text()),
            ask_all(running.router.url, "chat", fresh),
            ask_all(running.router.url, "large", fresh),
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
