"""Checks what becomes of a decision when the API server refuses to write it: 409, 422, 429."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import eventually, has, ready
from tests.cluster.process import Operator, service
from tests.faults.effects import Answer
from tests.faults.results import Sheet
from tests.faults.scene import unreachable
from tests.faults.stage import Stage

pytestmark = pytest.mark.cluster
RETRY_AFTER = 4
REFUSED_SECONDS = 25.0
WAIT = 60.0


def replicas(low: int) -> dict[str, int]:
    return {"minReplicas": low, "maxReplicas": 4}


def test_a_conflict_is_decided_anew(stage: Stage, operator: Operator, faults: Sheet) -> None:
    """409 on the replicas, for as long as the rule stands: nothing is forced, and the tier says why nothing moves."""
    stage.kubectl.apply(cheap("clash", scaling=replicas(1)))
    ready(stage.kubectl, "clash", 1)
    stage.ledger.restart()
    with stage.proxy.rule("patch", "deployments/scale", Answer(409)) as rule:
        stage.kubectl.apply(cheap("clash", scaling=replicas(2)))
        eventually(lambda: len(rule.hits), bool, WAIT, "the first refusal")
        began = rule.hits[0].at
        eventually(
            lambda: stage.kubectl.tier("clash"),
            lambda tier: has(tier, "ScalingActive", "Unknown", "Conflict"),
            WAIT,
            "the tier says so",
        )
        noticed = time.monotonic() - began
        time.sleep(4)
    ended = time.monotonic()
    eventually(
        lambda: stage.ledger.written("deployments/scale", "clash-predictor"), bool, WAIT, "written as soon as it may be"
    )
    recovered = time.monotonic() - ended
    ready(stage.kubectl, "clash", 2)
    wrong = stage.ledger.wrong()
    faults.record(
        row="2",
        fault="Every change of the replicas is refused: 409",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong=wrong,
    )
    assert wrong == []


def test_an_invalid_child_is_reported_and_tried_again(stage: Stage, operator: Operator, faults: Sheet) -> None:
    """422 on the InferenceService and on the status: the tier says so as soon as it can, and gets its child."""
    stage.ledger.restart()
    with stage.proxy.rule("patch", "inferenceservices", Answer(422, "spec: Invalid value")) as rule:
        with stage.proxy.rule("patch", "modeltiers/status", Answer(422), times=2):
            stage.kubectl.apply(cheap("invalid", replicas=0))
            eventually(
                lambda: stage.kubectl.tier("invalid"),
                lambda tier: has(tier, "Provisioned", "False", "ApplyRefused"),
                WAIT,
                "the tier says so",
            )
        noticed = time.monotonic() - rule.hits[0].at
        time.sleep(15)
        assert len(rule.hits) <= 3, "it is not tried again at every tick"
    ended = time.monotonic()
    service(stage.kubectl, "invalid")
    recovered = time.monotonic() - ended
    wrong = stage.ledger.wrong()
    faults.record(
        row="2",
        fault="The InferenceService is refused: 422; the status twice",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong=wrong,
    )


def test_a_server_that_asks_to_wait_is_not_asked_before(stage: Stage, operator: Operator, faults: Sheet) -> None:
    """429 with Retry-After on everything: each kind of request is repeated no sooner than asked, and none is lost."""
    stage.kubectl.apply(cheap("busy", scaling=replicas(1)))
    ready(stage.kubectl, "busy", 1)
    stage.ledger.restart()
    with stage.proxy.rule("*", "*", Answer(429, retry_after=RETRY_AFTER)) as rule:
        began, told = time.monotonic(), len(operator.text())
        stage.proxy.cut()  # so that the watches are refused too
        stage.kubectl.apply(cheap("busy", scaling=replicas(2)))
        eventually(lambda: operator.text()[told:], unreachable, REFUSED_SECONDS, "the log says so")
        noticed = time.monotonic() - began
        time.sleep(max(0.0, began + REFUSED_SECONDS - time.monotonic()))
        asked: dict[tuple[str, str, str], list[float]] = {}
        for hit in rule.hits:
            asked.setdefault((hit.verb, hit.watched, hit.path), []).append(hit.at)
    ended = time.monotonic()
    assert len(asked) >= 5, "the watches and the Lease were tried"
    gaps = {kind: min((b - a for a, b in pairwise(times)), default=RETRY_AFTER) for kind, times in asked.items()}
    assert {kind: gap for kind, gap in gaps.items() if gap < RETRY_AFTER - 0.2} == {}, asked
    ready(stage.kubectl, "busy", 2)
    recovered = time.monotonic() - ended
    wrong = stage.ledger.wrong()
    faults.record(
        row="3",
        fault=f"Everything is refused for {REFUSED_SECONDS:.0f} s: 429, Retry-After {RETRY_AFTER} s",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong=wrong,
        note=f"asked {sum(map(len, asked.values())) / (ended - began):.1f} times a second meanwhile",
    )
