"""Computes the route's savings once more, from the access logs of its routers, and compares.

Nothing here comes from Tierwise's own computation: a second formula, written from docs/savings.md, over the lines that
the routers wrote. What `kubectl get mr` and `tierwise savings` show went another way: counters, Prometheus, the
operator, the status.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from playground.demo.summary import Check

GAP = Decimal("0.01")
OUTPUT_WEIGHT = 4  # a generated token of a served tier costs as much as four of a prompt


@dataclass(frozen=True, slots=True)
class Bill:
    """US dollars: of all answers on the reference tier, and of everything that was paid."""

    baseline: Decimal
    actual: Decimal
    requests: int

    @property
    def saved(self) -> Decimal:
        """By the first less the second."""
        return self.baseline - self.actual


def lines_of(logs: Iterable[str]) -> list[Mapping[str, Any]]:
    """The lines of requests among what the routers' containers have written."""
    texts = (text for log in logs for text in log.splitlines() if text.startswith('{"time"'))
    return [line for line in map(json.loads, texts) if "charges" in line]


def bill(
    lines: Sequence[Mapping[str, Any]], ladder: Sequence[str], reference: str, ratio: Decimal = Decimal(1)
) -> Bill:
    """The bill of these requests. The reference tier is served: its price is what its own answers' tokens have cost.
    `ratio`: how much longer its answers are than those of the tiers before it in the ladder."""
    answers = [(line["firstTier"], charge) for line in lines for charge in line["charges"] if charge["for"] == "answer"]
    own = [charge for _, charge in answers if charge["tier"] == reference]
    weight = sum(
        charge["inputTokens"] + charge["cacheWriteTokens"] + OUTPUT_WEIGHT * charge["outputTokens"] for charge in own
    )
    token = sum((Decimal(charge["costUSD"]) for charge in own), Decimal(0)) / (weight or 1)
    baseline = Decimal(0)
    for first, charge in answers:
        if not first:
            raise ValueError("the demo's requests name no tier")
        prompt = charge["inputTokens"] + charge["cachedInputTokens"] + charge["cacheWriteTokens"]
        cheaper = ladder.index(charge["tier"]) < ladder.index(reference)
        output = (ratio if cheaper else Decimal(1)) * charge["outputTokens"]
        baseline += token * (prompt + OUTPUT_WEIGHT * output)
    paid = sum((Decimal(charge["costUSD"]) for line in lines for charge in line["charges"]), Decimal(0))
    return Bill(baseline, paid, len(lines))


def check_savings(shown: Mapping[str, Any], mine: Bill) -> tuple[Check, ...]:
    """Whether what `tierwise savings -o json` shows is the same, and its lower bound is below it."""
    if not shown.get("baseline"):
        return (Check("the savings are known", holds=False, figures="; ".join(shown.get("notes", ()))),)
    baseline, actual = Decimal(shown["baseline"]), Decimal(shown["actual"])
    parts = sum((Decimal(part["amount"]) for part in shown["parts"]), Decimal(0))
    # Judges and shadows are in no line of the access log.
    background = -sum(
        (Decimal(part["amount"]) for part in shown["parts"] if part["tactic"] in ("judges", "shadows")), Decimal(0)
    )
    saved = baseline - actual + background
    bound, percent = shown["lowerBoundPercent"], shown["savedPercent"]
    return (
        Check(
            "the savings are those of the access log within 1 %",
            abs(saved - mine.saved) <= GAP * abs(mine.saved),
            f"{saved:.4f} and {mine.saved:.4f} US dollars, by {mine.requests:,} lines",
        ),
        Check("... and so is what was paid", abs(actual - background - mine.actual) <= GAP * mine.actual, f"{actual}"),
        Check("the parts are the whole", parts == baseline - actual, f"{parts} = {baseline} - {actual}"),
        Check("the lower bound is below it", bound is not None and bound < percent, f"{bound} % and {percent} %"),
    )
