"""Builds prompts, answers and labels for tests."""

from __future__ import annotations

import json
from typing import Any

from tierwise_training import prompts
from tierwise_training.labels import JudgeRecord, Label, TierAnswer, Tokens
from tierwise_training.prompts import Prompt
from tierwise_training.questions import Answer, Plan

PLAN = Plan("small", "large", "number", "chat")


def prompt(text: str = "What is 2 + 2?", **more: Any) -> Prompt:
    """A prompt as its file says it."""
    return prompts.parse(json.dumps({"prompt": text, **more}), "the test")[0]


def many(count: int, **more: Any) -> list[Prompt]:
    """Different prompts."""
    return [prompt(f"What is {number} + 2?", id=f"p{number}", **more) for number in range(count)]


def answer(text: str, **more: Any) -> Answer:
    """An answer of some tokens."""
    return Answer(text, **{"input_tokens": 10, "output_tokens": 20, "finish_reason": "stop", **more})


def label(
    small: bool | None = True, reference: bool | None = True, judge: JudgeRecord | None = None, **more: Any
) -> Label:
    """A label of two answers of the same length."""
    tokens = Tokens(input=10, output=more.pop("output", 20))
    return Label(
        id=more.pop("id", "x"),
        prompt_hash=more.pop("prompt_hash", "0" * 64),
        small=TierAnswer(right=small, tokens=tokens, finish_reason="stop"),
        reference=TierAnswer(right=reference, tokens=Tokens(input=10, output=20), finish_reason="stop"),
        judge=judge,
        from_tier="small",
        reference_tier="large",
        route="chat",
        **more,
    )
