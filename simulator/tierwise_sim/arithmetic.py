"""Answers arithmetic rightly or wrongly by a known rule, so that a measured quality can be compared with the true one.

The last expression of the prompt ("17 + 4 * 3") is what is asked. Its difficulty is the number of its operators. A
model whose skill is at least that answers rightly, else wrongly; `slip` and `luck` are the shares in which it is the
other way round. Which ones follows from the prompt, the engine's seed and the request's: the same request gets the same
answer. Asked which of two such answers is better, in the words in which routers ask a judge, a model says so as far as
its skill goes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

_EXPRESSION = re.compile(r"(?<![\w.])\d{1,9}(?: ?[-+*] ?\d{1,9})+(?![\w])")
_PART = re.compile(r"\[(REQUEST|ANSWER [AB])\]\n(.*?)\n\[END OF \1\]", re.DOTALL)
_TERM = re.compile(r"([-+*]?) ?(\d+)")


@dataclass(frozen=True, slots=True)
class Skill:
    """What a model can do. `level`: the most operators; `slip`: wrong though it could, `luck`: right though it could
    not, as shares."""

    level: int
    slip: float = 0.0
    luck: float = 0.0

    def __post_init__(self) -> None:
        if self.level < 0 or not 0 <= self.slip <= 1 or not 0 <= self.luck <= 1:
            raise ValueError("the skill is at least 0, slip and luck are shares from 0 to 1")


def asked(prompt: str) -> str | None:
    """The last expression of a prompt; None where there is none."""
    found = _EXPRESSION.findall(prompt)
    return found[-1] if found else None


def difficulty(expression: str) -> int:
    """The number of operators."""
    return len(_TERM.findall(expression)) - 1


def value(expression: str) -> int:
    """The value of an expression of whole numbers with +, - and *; products first."""
    terms: list[int] = []
    for operator, digits in _TERM.findall(expression):
        number = int(digits)
        if operator == "*":
            terms[-1] *= number
        else:
            terms.append(-number if operator == "-" else number)
    return sum(terms)


def answers_rightly(expression: str, skill: Skill, rng: Random) -> bool:
    """Whether a model of this skill answers rightly; takes one number of `rng`."""
    drawn = rng.random()
    return drawn >= skill.slip if difficulty(expression) <= skill.level else drawn < skill.luck


def conclusion(prompt: str, skill: Skill, rng: Random) -> str | None:
    """What an answer ends with: its final number after `####`. None where the prompt asks for none."""
    expression = asked(prompt)
    if expression is None:
        return None
    right = answers_rightly(expression, skill, rng)
    result = value(expression) + (0 if right else rng.choice((-1, 1)) * rng.randint(1, 9))
    return f" so the result is {result}.\n#### {result}"


def concludes_rightly(text: str, expression: str) -> bool:
    """Whether an answer ends with the value of the expression, as `conclusion` says it."""
    return text.rstrip().endswith(f"#### {value(expression)}")


def judgement(prompt: str, skill: Skill, rng: Random) -> str | None:
    """What a judge's answer ends with: its verdict on the two answers that the prompt shows (`tierwise.routing.judge`).
    A question that it could not have answered is a tie. None where the prompt shows no two answers to arithmetic."""
    parts = dict(_PART.findall(prompt))
    expression = asked(parts.get("REQUEST", ""))
    if expression is None or not {"ANSWER A", "ANSWER B"} <= parts.keys():
        return None
    first, second = (concludes_rightly(parts[f"ANSWER {name}"], expression) for name in "AB")
    if first is second or not answers_rightly(expression, skill, rng):
        return "\nVERDICT: TIE"
    return f"\nVERDICT: {'A' if first else 'B'}"
