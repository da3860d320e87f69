"""Makes the demo's questions: some a small model answers rightly, some it does not, and their words tell which.

A trace holds lengths and no text. So each request gets a document of its length as the system prompt, and a question of
arithmetic, which the simulated engines answer by a rule (tierwise_sim.arithmetic). Whether an answer is right can be
computed, so that the quality which Tierwise measures can be compared with the true one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from random import Random

from tierwise_sim.arithmetic import Skill, answers_rightly, asked, concludes_rightly
from tierwise_sim.load import TEMPLATE_TOKENS, prompt_text
from tierwise_sim.tokens import pieces
from tierwise_sim.workloads import Arrival

SMALL = Skill(level=2, slip=0.03, luck=0.1)
"""Of the small model: up to two operators, but for 3 %, and a tenth of what is harder."""
LARGE = Skill(level=9)
HARD_SHARE = 0.3
_MESSAGE_TOKENS = 2  # that a further message has besides its text
_EASY = ("What is", "Please add up", "Quickly, how much is")
_HARD = ("Work out step by step", "Prove your result for", "Derive with all steps")


def question(name: str) -> str:
    """What is asked; `name` decides."""
    chance = Random(f"question {name}")  # noqa: S311 - a repeatable workload, no secret
    hard = chance.random() < HARD_SHARE
    operators = chance.randint(SMALL.level + 1, SMALL.level + 3) if hard else chance.randint(1, SMALL.level)
    terms = [f" {chance.choice('+-*')} {chance.randint(2, 99)}" for _ in range(operators)]
    return f"{chance.choice(_HARD if hard else _EASY)} {chance.randint(2, 99)}{''.join(terms)}"


def messages(arrival: Arrival, name: str) -> list[dict[str, str]]:
    """The chat of a request, as long as the trace says where a document fits before the question."""
    asking = question(name)
    words = max(1 + TEMPLATE_TOKENS, arrival.prompt_tokens - len(pieces(asking)) - _MESSAGE_TOKENS)
    document = prompt_text(replace(arrival, prompt_tokens=words), name)
    return [{"role": "system", "content": document}, {"role": "user", "content": asking}]


def right(asking: str, ending: str) -> bool:
    """Whether an answer that ends so is right."""
    expression = asked(asking)
    return expression is not None and concludes_rightly(ending, expression)


def write_labels(path: Path, count: int, route: str, tiers: tuple[str, str]) -> None:
    """Write labels.jsonl as `tierwise label` finds it by asking such questions, others than the load's, of both models;
    `tiers`: the small and the large one."""
    chance = Random("labels")  # noqa: S311 - repeatable labels, no secret
    lines = []
    for number in range(count):
        asking = question(f"label {number}")
        known = answers_rightly(asked(asking) or "", SMALL, chance)
        label = {
            "id": f"label-{number}",
            "promptHash": hashlib.sha256(asking.encode()).hexdigest(),
            "prompt": asking,
            "small": {"right": known},
            "reference": {"right": True},
            "from": tiers[0],
            "referenceTier": tiers[1],
            "route": route,
            "version": 1,
        }
        lines.append(json.dumps(label) + "\n")
    path.write_text("".join(lines))
