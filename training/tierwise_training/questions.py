"""Says what has to be asked about a prompt, and names every question by a hash of all that it says.

An answer is kept under the name of its question. So a run that was killed goes on where it was, another run asks only
what has changed, and nothing is asked twice. Which prompts get second samples follows from their hashes, not from
chance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tierwise_training import extraction
from tierwise_training.prompts import Prompt
from tierwise_training.verdicts import judge_messages

Use = Literal["small", "reference", "small again", "reference again", "judge"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run wants. `judge` is one of `extraction.KINDS` or tier:NAME; the percentages are of prompts."""

    small: str
    reference: str
    judge: str
    route: str
    request: Mapping[str, Any] = field(default_factory=dict)
    ceiling_percent: int = 10
    again_percent: int = 10
    ties: Literal["right", "unknown"] = "right"

    @property
    def judge_tier(self) -> str | None:
        """The tier that judges; None where a rule does."""
        kind, colon, name = self.judge.partition(":")
        return name if kind == "tier" and colon else None


@dataclass(frozen=True, slots=True)
class Question:
    """One request to one tier. `key` names it; `body` is what is sent."""

    key: str
    tier: str
    use: Use
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `refused` is the status and code of a request that no retry would help; then `text` is empty."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int | None = None
    cached_tokens: int = 0
    finish_reason: str = ""
    model: str = ""
    cost: str | None = None
    refused: str = ""


Answers = Mapping[str, Answer]


def shuffled(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts in the order of their hashes: whatever part of them is asked is a random sample."""
    return sorted(prompts, key=lambda prompt: hashlib.sha256(f"order {prompt.digest}".encode()).digest())


def sampled(prompt: Prompt, purpose: str, percent: int) -> bool:
    """Whether a prompt is among those of a sample."""
    drawn = hashlib.sha256(f"{purpose} {prompt.digest}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") * 100 < percent << 64


def answer_questions(prompt: Prompt, plan: Plan) -> list[Question]:
    """The questions whose answers are judged: both tiers, and second samples where the prompt is in the sample."""
    found = [_asked(prompt, plan, "small"), _asked(prompt, plan, "reference")]
    if sampled(prompt, "again", plan.again_percent):
        found.append(_asked(prompt, plan, "small again"))
    if sampled(prompt, "ceiling", plan.ceiling_percent):
        found.append(_asked(prompt, plan, "reference again"))
    return found


def _asked(prompt: Prompt, plan: Plan, use: Use) -> Question:
    again = use.endswith("again")
    tier = plan.small if use.startswith("small") else plan.reference
    body = {**plan.request, **prompt.request, "messages": list(prompt.messages)}
    if again and isinstance(body.get("seed"), int):
        body["seed"] += 1  # with the same seed the second sample would be the first
    return _question(tier, use, body, again)


def _question(tier: str, use: Use, body: Mapping[str, Any], again: bool, salt: str = "") -> Question:
    body = {"model": tier, **body}
    said = json.dumps([body, again, salt], ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return Question(hashlib.sha256(said.encode()).hexdigest()[:32], tier, use, body)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers for a judge: the first is the one that the verdict is about."""

    first: str
    second: str

    @property
    def identical(self) -> bool:
        """Whether there is nothing to judge."""
        return extraction.exact(self.first) == extraction.exact(self.second)


def comparisons(prompt: Prompt, plan: Plan, answers: Answers) -> dict[Use, Comparison]:
    """The pairs that a prompt's answers make, by whose answer is compared with the reference tier's first one. A pair
    is left out where one of its answers is missing, was refused or is empty."""
    said = {question.use: answers.get(question.key) for question in answer_questions(prompt, plan)}
    other = said.get("reference")
    found: dict[Use, Comparison] = {}
    for use in ("small", "small again", "reference again"):
        first = said.get(use)
        if first is not None and other is not None and first.text.strip() and other.text.strip():
            found[use] = Comparison(first.text, other.text)
    return found


def judge_questions(prompt: Prompt, plan: Plan, pair: Comparison) -> list[Question]:
    """What to ask the judge about a pair: both orders, or nothing where a rule judges or both answers are the same."""
    if plan.judge_tier is None or pair.identical:
        return []
    gold = None if prompt.gold is None else gold_text(prompt.gold)
    orders = ((pair.first, pair.second), (pair.second, pair.first))
    return [
        _question(
            plan.judge_tier, "judge", {"messages": judge_messages(prompt.text, gold, *order)}, False, str(swapped)
        )
        for swapped, order in enumerate(orders)
    ]


def gold_text(gold: object) -> str:
    """A gold answer as a text: for a judge, or to read the wanted value from."""
    return gold if isinstance(gold, str) else json.dumps(gold, ensure_ascii=False)
