"""From prompts to a cheaper route on two real models: `tierwise label`, `tierwise train`, the policy Classifier.

The cheap model says a wrong successor of every fourth token (make_models.py). The chat template ends with the user's
text, so its last letter decides whether the cheap model is right. Nobody says that rule to the commands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from typing import Any

import pytest

from tests.unit.training.label_stage import WORDS, Said, stage_before, write
from tests.vllm.conftest import say, told
from tests.vllm.routed import engine
from tierwise.routing.classifier import Classifier, Header

pytestmark = pytest.mark.vllm
LABELS, FRESH = 400, 300
QUALITY = 95
SMALL, LARGE = "draft", "plain"
TEMPLATE = "{{ messages[-1]['content'] }}"
LETTERS = "abcdefghijklmnop"


def prompts(count: int, seed: int) -> list[dict[str, Any]]:
    """Some words, and a letter whose successor is the answer; it stands six times, so that 400 prompts can teach it."""
    rng = Random(seed)
    texts = [f"{' '.join(rng.choices(WORDS, k=rng.randint(2, 12)))}: {6 * rng.choice(LETTERS)}" for _ in range(count)]
    request = {"max_tokens": 1, "temperature": 0}
    return [{"id": f"{seed}-{number}", "prompt": text, "request": request} for number, text in enumerate(texts)]


@dataclass(frozen=True)
class Applied:
    """What was promised, and what fresh prompts got through the route and from the reference alone."""

    header: Header
    routed: list[Said]
    reference: list[Said]

    @property
    def right(self) -> list[bool]:
        """Whether each answer through the route is the reference's."""
        return [one.text == best.text for one, best in zip(self.routed, self.reference, strict=True)]


@pytest.fixture(scope="module")
def applied(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applied]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("small", "large", "route")}
    template = folders["route"] / "template.jinja"
    template.write_text(TEMPLATE)
    with (
        engine(models / SMALL, folders["small"], [f"--chat-template={template}"]) as small,
        engine(models / LARGE, folders["large"], [f"--chat-template={template}"]) as large,
        stage_before({"small": small, "large": large}, "m", folders["route"]) as running,
    ):
        with told(f"labelling {LABELS} prompts"):
            asked = write(folders["route"] / "prompts.jsonl", prompts(LABELS, seed=1))
            said = running.label("--prompts", str(asked), "--judge", "exact", "--yes")
        say(said.stdout + said.stderr)
        agreed = fmean(line["small"]["right"] for line in running.labels())
        assert 0.6 < agreed < 0.9, "the cheap model is right for twelve of the sixteen letters"
        classifier = running.train()
        running.serve_with(classifier, QUALITY)
        fresh = prompts(FRESH, seed=2)
        with told(f"asking {FRESH} fresh prompts twice"):
            yield Applied(
                Classifier.read(classifier.read_bytes()).header,
                running.ask_all("chat", fresh),
                running.ask_all("large", fresh),
            )


def test_the_share_of_the_reference_is_the_one_that_was_promised(applied: Applied) -> None:
    share, promised = fmean(one.tier == "large" for one in applied.routed), applied.header.large_share_percent / 100
    say(f"{share:.1%} went to the reference, {promised:.1%} were promised")
    assert abs(share - promised) <= 2.58 * math.sqrt(promised * (1 - promised) / FRESH)
    assert {one.reason for one in applied.routed} == {"Classified"}


def test_the_quality_is_kept_as_it_was_promised(applied: Applied) -> None:
    kept, error = 100 * fmean(applied.right), 100 * stdev(applied.right) / math.sqrt(FRESH)
    point = min(applied.header.curve, key=lambda one: abs(one.share_percent - applied.header.large_share_percent))
    say(f"{kept:.1f} % of the answers are the reference's, {point.quality_percent:.1f} % were predicted")
    assert kept + 1.64 * error >= QUALITY
    predicted_error = (point.quality_percent - point.lower_percent) / 1.28
    assert abs(kept - point.quality_percent) <= 2.58 * math.hypot(predicted_error, error)
