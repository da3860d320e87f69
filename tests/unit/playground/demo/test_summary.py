"""Checks that the demo fails when something was not as promised, and that a person and a machine can read the
result."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from playground.demo.account import TierAccount
from playground.demo.stage import ScaleEvent, events_of, sample_of
from playground.demo.summary import Summary, as_json, check, show

GOOD = TierAccount(
    tier="small",
    requests=100,
    failed=0,
    prompt_tokens=90_000,
    completion_tokens=10_000,
    engine_prompt_tokens=90_000,
    engine_completion_tokens=10_000,
    ttft_p50=0.25,
    ttft_p95=1.5,
    replica_seconds=400.0,
    cost=0.09,
    most_replicas=3,
    cost_of_most=0.2,
)


def _failed(account: TierAccount, *, planned: int = 100, final: int = 1, restarts: int = 0) -> list[str]:
    checks = check([account], planned, {"small": final}, restarts)
    return [each.what for each in checks if not each.holds]


def test_all_is_well() -> None:
    assert _failed(GOOD) == []


@pytest.mark.parametrize(
    ("account", "context", "what"),
    [
        (replace(GOOD, failed=1), {}, "every request was answered"),
        (GOOD, {"planned": 101}, "every request was answered"),
        (replace(GOOD, engine_prompt_tokens=88_900), {}, "tokens are the engines' own"),
        (replace(GOOD, engine_prompt_tokens=91_100), {}, "tokens are the engines' own"),
        (replace(GOOD, most_replicas=1), {}, "replicas grew"),
        (GOOD, {"final": 2}, "replicas grew"),
        (GOOD, {"restarts": 1}, "the operator never restarted"),
    ],
)
def test_each_promise_that_is_broken_is_named(account: TierAccount, context: dict[str, int], what: str) -> None:
    (failed,) = _failed(account, **context)
    assert what in failed


BOUGHT = replace(
    GOOD,
    tier="bought",
    requests=7,
    engine_prompt_tokens=0,
    engine_completion_tokens=0,
    replica_seconds=0.0,
    most_replicas=0,
    share=0.07,
    spilled=6,
    external=True,
)


def test_an_external_tier_has_no_engines_to_compare_with_and_no_replicas() -> None:
    checks = check([GOOD, BOUGHT], 107, {"small": 1, "bought": 0}, 0)
    assert [each.what for each in checks if not each.holds] == []
    out = io.StringIO()
    show(replace(_summary(), accounts=(GOOD, BOUGHT)), Console(file=out, width=120))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.getvalue().splitlines() if "│" in line]
    cells = {name: row for name, *row in rows}
    assert cells["share of all requests"] == ["0.0%", "7.0%"]
    assert cells["... that spilled or fell back to it"] == ["0", "6"]
    assert cells["replicas, at most"] == ["3", ""]
    assert cells["tokens, by the engines"] == ["100,000", ""]


def test_a_gap_from_missed_scrapes_is_shown_and_explained() -> None:
    checks = check([replace(GOOD, engine_completion_tokens=9_500)], 100, {"small": 1}, 0)
    (tokens,) = [each for each in checks if "tokens" in each.what]
    assert tokens.holds
    assert tokens.figures == (
        "100,000 and 99,500: -0.50% (500 tokens served after the last scrape of a replica that ended)"
    )


def _summary() -> Summary:
    events = (ScaleEvent(1010.0, "small", "ScaledUp", "from 1 to 3"),)
    checks = check([GOOD], 100, {"small": 1}, 0)
    return Summary(1000.0, (replace(GOOD, ttft_p95=math.nan),), events, checks, {"ok": 100}, 0.01, 9.0, 200.0)


def test_a_person_reads_figures_changes_and_checks() -> None:
    out = io.StringIO()
    show(_summary(), Console(file=out, width=120))
    text = out.getvalue()
    for words in (
        "100,000",
        "0.25 / nan",
        "replica-seconds",
        "10 s  small  ScaledUp   from 1 to 3",
        "ok    every request",
    ):
        assert words in text


def test_the_summary_ends_with_the_waterfall() -> None:
    out = io.StringIO()
    show(replace(_summary(), waterfall="chat: savings\nSaved a lot.\n"), Console(file=out, width=120))
    assert out.getvalue().rstrip().splitlines()[-2:] == ["chat: savings", "Saved a lot."]


def test_a_machine_reads_the_same() -> None:
    found = json.loads(json.dumps(as_json(_summary()), allow_nan=False))
    assert found["good"] is True
    assert found["accounts"][0]["ttft_p95"] is None
    assert found["accounts"][0]["gap"] == 0


def test_only_changes_of_replicas_are_listed_in_order() -> None:
    def event(reason: str, second: int, kind: str = "ModelTier") -> dict[str, object]:
        regarding = {"kind": kind, "name": "small"}
        time = f"2026-11-21T00:00:{second:02d}.000000Z"
        return {"reason": reason, "eventTime": time, "regarding": regarding, "note": reason}

    found = events_of([event("ScaledDown", 9), event("Created", 1), event("ScaledUp", 3), event("ScaledUp", 4, "Pod")])
    assert [(each.reason, each.tier) for each in found] == [("ScaledUp", "small"), ("ScaledDown", "small")]
    assert found[1].at - found[0].at == 6


def test_a_status_that_is_still_empty_is_a_sample_of_nothing() -> None:
    assert sample_of({}, 3.0).replicas == 0
    assert sample_of({"replicas": 2, "costPerHour": "1.60"}, 3.0).cost == 1.6
