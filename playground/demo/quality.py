"""Compares the quality that Tierwise has measured with the true one, which the demo's clients know.

Tierwise sees answers and a judge's verdicts on a sample of them. The clients see all answers and can reckon: the large
model answers every question rightly, so the share of right answers is the quality in percent of the large model's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from playground.demo.account import Answer
from playground.demo.summary import Check

FEWEST = 20
CLASSIFIED = "Classified"


def check(said: Mapping[str, Any], answers: Sequence[Answer]) -> tuple[Check, ...]:
    """Whether the classifier has chosen, and whether the interval of `status.quality` holds the true quality."""
    chosen = [answer for answer in answers if answer.why == CLASSIFIED]
    tiers = sorted({answer.tier for answer in chosen})
    by_content = Check(
        "the classifier chose between the tiers",
        2 * len(chosen) > len(answers) and len(tiers) > 1,
        f"{len(chosen):,} of {len(answers):,} requests went where it said: {', '.join(tiers)}",
    )
    good = [answer for answer in answers if answer.ok]
    true = 100 * sum(answer.right for answer in good) / len(good) if good else 0.0
    samples = int(said.get("samples") or 0)
    if samples < FEWEST:
        return by_content, Check("the quality was measured", holds=False, figures=f"{samples} answers were compared")
    value, lower, upper = (float(said[f"{name}Percent"]) for name in ("parity", "lower", "upper"))
    return by_content, Check(
        "the measured quality's interval holds the true one",
        lower <= true <= upper,
        f"{value} ({lower}-{upper}) of {samples} samples, and {true:.1f} % of all answers are right",
    )
