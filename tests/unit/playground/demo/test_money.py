"""Checks the demo's second computation of what was saved, and that a difference fails the demo."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from playground.demo.money import Bill, bill, check_savings, lines_of
from tierwise.observe.access_log_work import work_of_log
from tierwise.routing.route import Tariff, TokenRates
from tierwise.routing.savings import PricedTier, Savings, savings

LADDER = ("small", "large", "bought")
TARIFFS = (
    Tariff(replica_hour=Decimal("0.8")),
    Tariff(replica_hour=Decimal("3.9")),
    Tariff(TokenRates(Decimal("2.5"), Decimal("2.5"), Decimal("2.5"), Decimal(10))),
)


def line(tier: str, first: str, cost: str, tokens: tuple[int, int, int], *failed: str) -> dict[str, Any]:
    def charge(what: str, paid: str, counts: tuple[int, int, int]) -> dict[str, Any]:
        named = dict(zip(("inputTokens", "cachedInputTokens", "outputTokens"), counts, strict=True))
        return {"tier": tier, "for": what, **named, "cacheWriteTokens": 0, "costUSD": paid}

    charges = [*(charge("failed", paid, (0, 0, 0)) for paid in failed), charge("answer", cost, tokens)]
    return {"time": "2026-11-29T12:00:00Z", "ms": 100.0, "waitedMs": 0.0, "firstTier": first, "charges": charges}


LINES = [
    line("small", "small", "0.0001", (1000, 500, 200)),
    line("large", "large", "0.0020", (800, 200, 300), "0.0004"),
    line("large", "small", "0.0010", (400, 0, 150)),
    line("bought", "large", "0.0045", (1000, 0, 200)),
]


def test_it_is_what_the_formula_says() -> None:
    found = bill(LINES, LADDER, "large")
    # 3,000 millionths for 1,200 prompt tokens and 4 x 450 of answers: one each.
    assert found.baseline == Decimal("0.000001") * (1500 + 800 + 1000 + 1200 + 400 + 600 + 1000 + 800)
    assert found.actual == Decimal("0.0080")
    assert bill(LINES, LADDER, "large", Decimal("1.5")).baseline == found.baseline + Decimal("0.0004")


@pytest.mark.parametrize("cost", ["0.0001", "0.0003", "0.002"])
def test_tierwise_computes_the_same_from_the_same_log(cost: str) -> None:
    lines = [*LINES, line("small", "small", cost, (123, 45, 678))]
    work = work_of_log(map(json.dumps, lines))
    theirs = savings(work, [PricedTier(*pair, 8) for pair in zip(LADDER, TARIFFS, strict=True)], "large")
    mine = bill(lines, LADDER, "large")
    assert isinstance(theirs, Savings)
    assert theirs.actual == mine.actual
    assert abs(theirs.baseline - mine.baseline) < Decimal("1e-11")


def test_lines_of_requests_are_found_among_others() -> None:
    log = "\n".join(["listening", json.dumps(LINES[0]), '{"time": "x", "level": "info"}', ""])
    assert lines_of([log, ""]) == [LINES[0]]


SHOWN = {
    "baseline": "10.00",
    "actual": "4.00",
    "savedPercent": 60,
    "lowerBoundPercent": 40,
    "parts": [{"tactic": "routing", "amount": "6.50"}, {"tactic": "spill", "amount": "-0.50"}],
    "notes": [],
}
MINE = Bill(Decimal("10.01"), Decimal("4.01"), 100)


def test_what_agrees_passes() -> None:
    assert [check.what for check in check_savings(SHOWN, MINE) if not check.holds] == []


def test_what_the_background_cost_is_in_no_line_and_not_compared() -> None:
    parts = [*SHOWN["parts"], {"tactic": "judges", "amount": "-1.00"}]  # type: ignore[misc]
    shown = {**SHOWN, "actual": "5.00", "parts": parts}
    assert [check.what for check in check_savings(shown, MINE) if not check.holds] == []


@pytest.mark.parametrize(
    ("changed", "mine", "what"),
    [
        ({}, Bill(Decimal("10.1"), Decimal(4), 100), "those of the access log"),
        ({}, Bill(Decimal("10.05"), Decimal("4.05"), 100), "so is what was paid"),
        ({"parts": [{"tactic": "routing", "amount": "6.01"}]}, MINE, "the parts are the whole"),
        ({"lowerBoundPercent": 60}, MINE, "the lower bound"),
        ({"lowerBoundPercent": None}, MINE, "the lower bound"),
        ({"baseline": "", "notes": ["no price"]}, MINE, "the savings are known"),
    ],
)
def test_each_difference_fails_the_demo(changed: dict[str, Any], mine: Bill, what: str) -> None:
    (failed,) = [check for check in check_savings({**SHOWN, **changed}, mine) if not check.holds]
    assert what in failed.what
