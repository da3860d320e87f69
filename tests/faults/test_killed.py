"""Checks that after an operator died in the middle of a scale the next one goes on and never goes too low."""

from __future__ import annotations

import time

import pytest

from tests.cluster.e2e.load import closed_loop
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import eventually, ready
from tests.cluster.process import Operator
from tests.faults.effects import Call, about
from tests.faults.results import Sheet
from tests.faults.stage import Stage

pytestmark = pytest.mark.cluster
WAIT = 120.0
WINDOW = 20
USERS, REPLICAS = 22, 3
COST = "controller.kubernetes.io/pod-deletion-cost"


def tier(name: str) -> dict[str, object]:
    scaling = {"minReplicas": 1, "maxReplicas": REPLICAS, "scaleDownWindowSeconds": WINDOW}
    return cheap(name, scaling=scaling, batching={"maxSequences": 4})


def leads(operator: Operator, restarted: float) -> float:
    """Seconds from the restart until the next one has the Lease of the dead one, which must run out first."""
    eventually(lambda: operator.leading, bool, WAIT, "the next one leads")
    return time.time() - restarted


def test_between_the_deletion_costs_and_the_scale(stage: Stage, faults: Sheet) -> None:
    """Killed when it has marked who is to end, before it says how many: the next one holds one window, then falls."""
    stage.kubectl.apply(tier("down"))
    with stage.operator() as first:
        ready(stage.kubectl, "down", 1)
        with closed_loop(stage.playground, stage.kubectl.namespace, {"down": USERS}):
            ready(stage.kubectl, "down", REPLICAS)
            stage.ledger.restart()
        rule = stage.proxy.rule("patch", "deployments/scale", Call(first.kill), where=about("down-predictor"), times=1)
        with rule:
            eventually(lambda: first.killed, bool, WAIT, "it is killed in the middle of a scale-down")
    assert stage.replicas("down") == REPLICAS
    marked = [pod for pod in stage.kubectl.pods("down") if COST in pod["metadata"].get("annotations", {})]
    assert len(marked) == REPLICAS, "the costs were written"
    restarted = time.time()
    with stage.operator() as second:
        noticed = leads(second, restarted)
        eventually(lambda: stage.replicas("down"), lambda count: count == 1, WAIT + WINDOW, "it falls in the end")
        recovered = time.time() - restarted
        ready(stage.kubectl, "down", 1)
    falls = stage.ledger.written("deployments/scale", "down-predictor")
    assert falls[0].at - restarted >= WINDOW, "a window is held, whatever was decided before"
    wrong = stage.ledger.wrong()
    faults.record(
        row="5",
        fault="kill -9 between deletion costs and scale-down",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong=wrong,
        note=f"a window of {WINDOW} s included",
    )


def test_right_after_the_scale(stage: Stage, faults: Sheet) -> None:
    """Killed when the replicas were written and nobody was told: under the same load the next one does not go lower."""
    stage.kubectl.apply(tier("up"))
    with stage.operator() as first:
        ready(stage.kubectl, "up", 1)
        stage.ledger.restart()
        rule = stage.proxy.rule(
            "patch", "deployments/scale", Call(first.kill, landed=True), where=about("up-predictor"), times=1
        )
        with rule, closed_loop(stage.playground, stage.kubectl.namespace, {"up": USERS}):
            eventually(lambda: first.killed, bool, WAIT, "it is killed when it has scaled up")
            reached = stage.replicas("up")
            assert reached > 1
            assert not stage.kubectl.tier("up")["status"]["scaling"]["decisions"] or (
                stage.kubectl.tier("up")["status"]["desiredReplicas"] < reached
            ), "nobody was told"
            restarted = time.time()
            with stage.operator() as second:
                noticed = leads(second, restarted)
                told = eventually(
                    lambda: stage.kubectl.tier("up"),
                    lambda seen: seen["status"]["desiredReplicas"] == REPLICAS,
                    WAIT,
                    "it knows",
                )
                recovered = time.time() - restarted
                assert told["status"]["replicas"] >= reached
                time.sleep(max(0.0, restarted + WINDOW + 5 - time.time()))
                assert stage.replicas("up") == REPLICAS
    counts = [write.response["spec"].get("replicas", 0) for write in stage.ledger.written("deployments/scale")]
    assert counts == sorted(counts), "never lower"
    wrong = stage.ledger.wrong()
    faults.record(
        row="5",
        fault="kill -9 right after a scale-up, before the status",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong=wrong,
    )
