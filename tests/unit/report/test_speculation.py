"""Checks that the state of speculation follows the rate of drafted tokens, and that a pause is told from silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.report.cases import case, sample, spec, value
from tierwise.api.modeltier_status import SpeculationStatus
from tierwise.report.report_context import ReportContext
from tierwise.report.speculation import pauses_from, speculation
from tierwise.types import MISSING, Signal, State

AUTO = {"mode": "Auto", "method": "ngram"}


def seen(*running: Signal, rate: Signal = MISSING, before: str = "", wanted: Any = None) -> ReportContext:
    """A tier with speculation Auto (K = 0 above 32) and one ready replica per signal."""
    samples = tuple(sample(f"chat-{number}", running=each) for number, each in enumerate(running))
    made = case(spec(speculation=AUTO if wanted is None else wanted))
    status = made.view.tier.status
    if before:
        status = status.model_copy(update={"speculation": SpeculationStatus.model_validate({"state": before})})
    view = replace(
        made.view,
        tier=replace(made.view.tier, status=status),
        signals=replace(made.view.signals, pods=samples, draft_tokens_per_second=rate),
        workloads=(replace(made.view.workloads[0], ready_endpoints=frozenset(each.pod for each in samples)),),
    )
    return replace(made, view=view)


def state(found: ReportContext) -> str:
    status = speculation(found)
    assert status is not None
    return status.state


CASES: dict[str, tuple[ReportContext, str]] = {
    "drafts": (seen(value(3), rate=value(42.4)), "Drafting"),
    "a large batch": (seen(value(40), rate=value(0)), "Paused"),
    "one large batch of two": (seen(value(40), value(0), rate=value(0)), "Paused"),
    "the batch has just shrunk": (
        seen(value(3), rate=value(0), before="Paused"),
        "Paused",
    ),
    "the pause is over": (seen(value(3), rate=value(1), before="Paused"), "Drafting"),
    "a small batch and no drafts": (seen(value(3), rate=value(0), before="Drafting"), "Silent"),
    "no requests": (seen(value(0), rate=value(0), before="Paused"), "Idle"),
    "drafts of the last minute": (seen(value(0), rate=value(2)), "Drafting"),
    "no rate": (seen(value(3)), "Unknown"),
    "an old rate": (seen(value(3), rate=Signal(State.STALE)), "Unknown"),
    "a replica is not measured": (seen(value(40), MISSING, rate=value(0)), "Unknown"),
    "no replica": (seen(rate=value(0)), "Unknown"),
}


@pytest.mark.parametrize(("found", "expected"), CASES.values(), ids=CASES)
def test_the_state(found: ReportContext, expected: str) -> None:
    assert state(found) == expected


def test_the_rate_is_told() -> None:
    status = speculation(seen(value(3), rate=value(42.4)))
    assert status is not None
    assert status.drafted_per_second == 42
    silent = speculation(seen(value(3)))
    assert silent is not None
    assert silent.drafted_per_second is None


@pytest.mark.parametrize(
    ("changes", "from_batch"),
    [
        (AUTO, 33),
        ({"mode": "Enabled", "method": "ngram"}, None),
        ({"mode": "Auto", "method": "suffix"}, None),
        ({"mode": "Enabled", "method": "ngram", "schedule": [{"fromBatch": 1, "tokens": 3}]}, None),
        (
            {
                "mode": "Auto",
                "method": "ngram",
                "schedule": [{"fromBatch": 1, "tokens": 3}, {"fromBatch": 9, "tokens": 0}],
            },
            9,
        ),
    ],
)
def test_where_a_schedule_pauses(changes: dict[str, Any], from_batch: int | None) -> None:
    wanted = spec(speculation=changes)
    assert pauses_from(wanted) == from_batch
    expected = "Silent" if from_batch is None else "Paused"
    assert state(seen(value(40), rate=value(0), wanted=changes)) == expected


def test_without_speculation_there_is_no_state_and_a_refused_spec_keeps_it() -> None:
    assert speculation(seen(value(3), rate=value(9), wanted={"mode": "Disabled"})) is None
    kept = seen(value(3), rate=value(9), before="Paused")
    kept = replace(kept, plan=replace(kept.plan, invalid=("InvalidSpec", "no")))
    assert state(kept) == "Paused"
