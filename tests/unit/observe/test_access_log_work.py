"""Checks what is read of a router's access log."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tierwise.errors import Invalid
from tierwise.observe.access_log_work import work_of_log
from tierwise.types import Answered, RouteWork, Tokens


def charge(tier: str, cost: str, what: str = "answer", tokens: int = 10) -> dict[str, Any]:
    counts = {"inputTokens": tokens, "cachedInputTokens": 1, "cacheWriteTokens": 2, "outputTokens": 3}
    return {"tier": tier, "for": what, **counts, "costUSD": cost}


def line(*charges: dict[str, Any], at: str = "2026-11-29T12:00:10Z", first: str = "small", **more: Any) -> str:
    return json.dumps({"time": at, "ms": 1500.0, "waitedMs": 500.0, "firstTier": first, "charges": charges, **more})


def test_answers_and_losses_are_added_up_by_tier_and_first_choice() -> None:
    lines = [
        line(charge("small", "0.1")),
        line(charge("small", "0.2", tokens=5)),
        line(charge("small", "0.3", "failed"), charge("large", "0.4"), at="2026-11-29T12:00:20Z"),
        line(charge("small", "0.05", "discarded"), charge("large", "0.4"), first=""),
        line(at="2026-11-29T12:00:12Z"),
    ]
    assert work_of_log(lines) == RouteWork(
        window_seconds=12,
        answers={
            Answered("large", ""): Tokens(10, 1, 2, 3),
            Answered("large", "small"): Tokens(10, 1, 2, 3),
            Answered("small", "small"): Tokens(15, 2, 4, 6),
        },
        costs={"small": Decimal("0.3"), "large": Decimal("0.8")},
        seconds={"small": Decimal(2), "large": Decimal(2)},
        failed=Decimal("0.3"),
        discarded=Decimal("0.05"),
        uncounted=("judges", "shadows"),
    )


def test_what_else_a_container_writes_is_passed_over() -> None:
    lines = ["listening on 8080", "{broken", "[1]", '{"level": "info"}', "", line(charge("small", "1"))]
    assert work_of_log(lines).costs == {"small": Decimal(1)}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "has no line of a request"),
        (["", '{"charges": []}'], "line 2 of the access log has no 'time'"),
        ([line({"tier": "small", "costUSD": "1"})], "line 1 of the access log has no 'for'"),
        ([line(charge("small", "much"))], "line 1 of the access log is not a router's"),
        ([line(charge("small", "1"), at="soon")], "'soon' is no time"),
        ([line(charge("small", "1", "fun"))], "has no 'fun'"),
    ],
)
def test_a_log_that_cannot_be_used_is_named_by_its_line(lines: list[str], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        work_of_log(lines)
