"""Lets a person judge pairs in the terminal, as blind as the judge: who wrote what is not shown, nor what the judge
said.

Which pairs and which answer is shown first follows from the prompts' hashes. The pairs are a random sample of those
with a verdict, so the judge's sensitivity and specificity among them are those among all. What is said is kept at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from tierwise_training.labels import Verdict
from tierwise_training.make_labels import make_label, open_questions
from tierwise_training.prompts import Prompt
from tierwise_training.questions import Answers, Plan, comparisons, gold_text

HELP = "a: A is better   b: B is better   t: neither   s: skip   q: stop"


@dataclass(frozen=True, slots=True)
class AuditPair:
    """What is shown of one prompt. `swapped`: the cheap tier's answer is shown as B."""

    digest: str
    request: str
    gold: str | None
    first: str
    second: str
    swapped: bool

    def verdict(self, word: str) -> Verdict:
        """What a, b or t says of the cheap tier's answer. Raises KeyError for another word."""
        plain: dict[str, Verdict] = {"a": "win", "b": "loss", "t": "tie"}
        turned: dict[str, Verdict] = {"a": "loss", "b": "win", "t": "tie"}
        return (turned if self.swapped else plain)[word]


def pairs(
    prompts: Sequence[Prompt], plan: Plan, answers: Answers, audits: Mapping[str, Verdict], wanted: int
) -> list[AuditPair]:
    """The pairs that are still to be judged by a person so that `wanted` are."""
    order = sorted(prompts, key=lambda prompt: hashlib.sha256(f"audit {prompt.digest}".encode()).digest())
    known = [prompt for prompt in order if _has_verdict(prompt, plan, answers)]
    done = sum(prompt.digest in audits for prompt in known)
    left = [prompt for prompt in known if prompt.digest not in audits]
    return [_pair(prompt, plan, answers) for prompt in left[: max(0, wanted - done)]]


def _has_verdict(prompt: Prompt, plan: Plan, answers: Answers) -> bool:
    if open_questions(prompt, plan, answers) or "small" not in comparisons(prompt, plan, answers):
        return False
    label = make_label(prompt, plan, answers)
    return label is not None and label.judge is not None and label.judge.verdict is not None


def _pair(prompt: Prompt, plan: Plan, answers: Answers) -> AuditPair:
    pair = comparisons(prompt, plan, answers)["small"]
    swapped = hashlib.sha256(f"shown {prompt.digest}".encode()).digest()[0] % 2 == 1
    first, second = (pair.second, pair.first) if swapped else (pair.first, pair.second)
    gold = None if prompt.gold is None else gold_text(prompt.gold)
    return AuditPair(prompt.digest, prompt.text, gold, first, second, swapped)


def ask(
    shown: Sequence[AuditPair], console: Console, read: Callable[[], str], keep: Callable[[str, Verdict], None]
) -> int:
    """Show each pair and keep what the person says; how many were judged. `read` gives a line, "" at the end of
    input."""
    judged = 0
    for number, pair in enumerate(shown, start=1):
        console.rule(f"pair {number} of {len(shown)}")
        console.print(Panel(Text(pair.request), title="request"))
        if pair.gold is not None:
            console.print(Panel(Text(pair.gold), title="a correct answer"))
        console.print(Panel(Text(pair.first), title="A"))
        console.print(Panel(Text(pair.second), title="B"))
        word = _word(console, read)
        if word == "q":
            break
        if word == "s":
            continue
        keep(pair.digest, pair.verdict(word))
        judged += 1
    return judged


def _word(console: Console, read: Callable[[], str]) -> str:
    while True:
        console.print(HELP, end="\n> ")
        line = read()
        if not line:
            return "q"
        word = line.strip().lower()[:1]
        if word and word in "abtsq":
            return word
