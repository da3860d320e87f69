"""Asks a judge which of two answers is better, reads what it says, and combines its verdicts.

Judges prefer what is shown first, what is longer, and their own style; GPT-4 kept its verdict after a swap in 65 % of
pairs only (arXiv 2306.05685). So the judge does not know who wrote what, gives its reasons before its verdict, sees the
gold answer where there is one, and is asked in both orders: verdicts that contradict each other are a tie. The routers
ask in the same words (`tierwise.routing.judge`).
"""

from __future__ import annotations

from collections.abc import Sequence

from tierwise.routing import judge
from tierwise_training.labels import Pair, Verdict

VERSION = judge.VERSION
"""Of the judge's instructions; labels that were judged by other ones are not compared with these."""


def judge_messages(request: str, gold: str | None, first: str, second: str) -> list[dict[str, str]]:
    """The chat that asks a judge about two answers, `first` shown as A. `gold`: a right answer, if one is known."""
    return judge.judge_messages(request, first, second, gold)


def read_verdict(text: str, swapped: bool) -> Verdict | None:
    """What a judge says of the first answer; `swapped`: it was shown as B. None where no verdict can be read."""
    found = judge.read_verdict(text, swapped=swapped)
    return None if found is None else found.value


def combine(orders: Sequence[Verdict | None]) -> Pair:
    """The verdict of both orders: what they agree on, a tie where they do not, None where one cannot be read."""
    said = tuple(orders)
    if not said or None in said:
        return Pair(verdict=None, orders=said)
    return Pair(verdict=said[0] if len(set(said)) == 1 else "tie", orders=said)


def flipped(pair: Pair) -> bool | None:
    """Whether the order changed the verdict; None where it was not asked in both, or cannot be read."""
    if len(pair.orders) < 2 or None in pair.orders:
        return None
    return len(set(pair.orders)) > 1


def first_shown(pair: Pair) -> tuple[int, int]:
    """How often the answer that was shown first was preferred, of how many verdicts that preferred one."""
    preferred = [
        (verdict == "win") == (place == 0) for place, verdict in enumerate(pair.orders) if verdict in ("win", "loss")
    ]
    return sum(preferred), len(preferred)


def of_rights(answer: bool | None, other: bool | None) -> Verdict | None:
    """The verdict that two known rights are; None where one is not known."""
    if answer is None or other is None:
        return None
    return "tie" if answer == other else "win" if answer else "loss"


def rights(verdict: Verdict | None) -> tuple[bool | None, bool | None]:
    """Whether the cheap and the reference answer count as right, by comparison: a tie is as good as the reference, so
    both are; of a win or loss only the better one is."""
    if verdict is None:
        return None, None
    return verdict != "loss", verdict != "win"
