"""Texts of many kinds, and their scores by one classifier: what no change of the code that reads them may move."""

from __future__ import annotations

import random

from tests.unit.routing.classifiers import classifier
from tierwise.routing.text_features import SIZES, WINDOW_BYTES, TextFacts, group_of

SYSTEM = b"You answer questions about invoices."
_ALPHABETS = (
    "abcdefghij klmnop",
    "ABC abc 0123456789?",
    "def f(x): return {x[0]}\n\t;#`",
    "äöüß éè 漢字 かな 🙂 ",
    "0123456789.,+-*/= ",
    "   \n\r\t",
)


def texts() -> list[bytes]:
    """The short ones, where pieces begin to exist; of each alphabet all lengths up to the two windows and beyond; and
    bytes that are no UTF-8."""
    drawn = random.Random(7)
    found = [b"x a1 b"[:size] for size in range(7)] + [b"```", b"a b", b"\xff\xfe\xff", bytes(range(256)) * 3]
    for alphabet in _ALPHABETS:
        for size in (5, 17, 80, 333, WINDOW_BYTES, 2 * WINDOW_BYTES, 2 * WINDOW_BYTES + 1, 20_000):
            found.append("".join(drawn.choices(alphabet, k=size)).encode()[:size])
    return found


def scores(salt: bytes) -> list[float]:
    """With random weights, sizes that count for both tiers and a group."""
    one = classifier(
        salt=salt,
        seed=11,
        size_means=tuple(0.3 * place for place in range(len(SIZES))),
        size_deviations=tuple(0.5 + 0.1 * place for place in range(len(SIZES))),
        size_weights=tuple((0.2 - 0.03 * place, 0.01 * place) for place in range(len(SIZES))),
        intercepts=(0.3, -0.2),
        groups={group_of(SYSTEM, salt): 0.07},
        gain_mean=0.01,
        gain_deviation=0.2,
    )
    facts = [TextFacts(), TextFacts(tools=True, turns=7, system=SYSTEM)]
    return [one.score(text, facts[number % 2]) for number, text in enumerate(texts())]
