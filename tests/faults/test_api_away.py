"""Checks that a tier under load is unaffected while the API server is gone, broken or slow, and goes on afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.cluster.e2e.load import closed_loop
from tests.cluster.e2e.prometheus import instant
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import Refused, eventually, has, ready
from tests.cluster.process import Operator
from tests.faults.effects import Answer, Delay
from tests.faults.results import Sheet
from tests.faults.scene import unreachable
from tests.faults.stage import Stage

pytestmark = pytest.mark.cluster
WAIT = 120.0
AWAY_SECONDS = 60.0
CONVERGED_SECONDS = 60.0
# On replicas of 4 sequences, which with what may wait are full at 9: the load of three. None is to go under the fault.
USERS, REPLICAS = 22, 3
SCALING = {"minReplicas": 1, "maxReplicas": REPLICAS, "scaleDownWindowSeconds": 10}


@pytest.fixture(scope="module")
def operator(stage: Stage) -> Iterator[Operator]:
    # The usual tick: how long a cycle may wait for an answer goes by it.
    with stage.operator("one", "--tick-seconds", "10") as running:
        yield running


@pytest.fixture(scope="module")
def _loaded(stage: Stage, operator: Operator) -> Iterator[None]:
    """A tier that load has brought to its maximum."""
    stage.kubectl.apply(cheap("busy", scaling=SCALING, batching={"maxSequences": 4}))
    ready(stage.kubectl, "busy", 1)
    with closed_loop(stage.playground, stage.kubectl.namespace, {"busy": USERS}):
        ready(stage.kubectl, "busy", REPLICAS)
        yield


@contextmanager
def stopped(stage: Stage) -> Iterator[None]:
    """The real API server does not run."""
    stage.playground.control("stop", "kube-apiserver")
    try:
        yield
    finally:
        stage.playground.control("start", "kube-apiserver")


def broken(stage: Stage) -> AbstractContextManager[object]:
    """Every request of the operator ends with 503."""
    return stage.proxy.rule("*", "*", Answer(503, "etcdserver: leader changed"))


def slow(stage: Stage) -> AbstractContextManager[object]:
    """Every request of the operator takes 4 s longer."""
    return stage.proxy.rule("*", "*", Delay(4.0), where=lambda request: request.verb != "watch")


def at_rest(stage: Stage) -> None:
    """The tier is at its maximum again, also after a test that has ended with one replica more just now."""
    stage.kubectl.apply(cheap("busy", scaling=SCALING, batching={"maxSequences": 4}))
    eventually(lambda: stage.replicas("busy"), lambda count: count == REPLICAS, WAIT, "it is not above its maximum")
    ready(stage.kubectl, "busy", REPLICAS)


def answers(stage: Stage) -> bool:
    try:
        return stage.kubectl("get", "--raw", "/readyz") == "ok"
    except Refused:
        return False


def generated(stage: Stage) -> float:
    """Tokens that the tier's engines have made: Prometheus goes on to scrape them without an API server."""
    query = f'sum(vllm:generation_tokens_total{{namespace="{stage.kubectl.namespace}"}})'
    [(_, value)] = instant(stage.playground.prometheus_url, query)
    return value


@pytest.mark.usefixtures("_loaded")
@pytest.mark.parametrize(
    ("fault", "said", "seconds"),
    [
        (stopped, "The API server is down for 60 s under load", AWAY_SECONDS),
        (broken, "The API server answers 503 for 30 s under load", 30.0),
    ],
    ids=["stopped", "broken"],
)
def test_replicas_stay_and_follow_again(
    stage: Stage,
    operator: Operator,
    faults: Sheet,
    fault: Callable[[Stage], AbstractContextManager[object]],
    said: str,
    seconds: float,
) -> None:
    at_rest(stage)
    stage.ledger.restart()
    told = len(operator.text())
    began = time.monotonic()
    with fault(stage):
        if fault is broken:
            stage.proxy.cut()
        eventually(lambda: operator.text()[told:], unreachable, WAIT, "the log says so")
        noticed = time.monotonic() - began
        before, at = generated(stage), time.monotonic()
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        served = (generated(stage) - before) / (time.monotonic() - at)
        assert served > 0, "the engines serve on"
        assert operator.probe("/healthz")[0] == 200
    ended = time.monotonic()
    eventually(lambda: answers(stage), bool, WAIT, "the API server answers")
    assert stage.replicas("busy") == REPLICAS
    # a change that only a working operator makes: one more than the load asks for
    stage.kubectl.apply(
        cheap("busy", scaling={**SCALING, "minReplicas": 4, "maxReplicas": 4}, batching={"maxSequences": 4})
    )
    eventually(lambda: stage.replicas("busy"), lambda count: count == 4, CONVERGED_SECONDS, "it follows again")
    recovered = time.monotonic() - ended
    wrong = stage.ledger.wrong()
    faults.record(
        row="1",
        fault=said,
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong=wrong,
        note=f"{served:.0f} tokens a second meanwhile",
    )
    assert recovered <= CONVERGED_SECONDS


@pytest.mark.usefixtures("_loaded")
def test_a_slow_server_is_waited_for(stage: Stage, operator: Operator, faults: Sheet) -> None:
    """Each answer takes 4 s: the Lease is kept, decisions are written, later than usual."""
    at_rest(stage)
    stage.ledger.restart()
    with slow(stage):
        time.sleep(15)
        began = time.monotonic()
        stage.kubectl.apply(
            cheap("busy", scaling={**SCALING, "minReplicas": 4, "maxReplicas": 4}, batching={"maxSequences": 4})
        )
        eventually(lambda: stage.replicas("busy"), lambda count: count == 4, WAIT, "it follows, slowly")
        followed = time.monotonic() - began
        assert operator.leading
        assert operator.probe("/healthz")[0] == 200
    ended = time.monotonic()
    tier = eventually(lambda: stage.kubectl.tier("busy"), lambda tier: has(tier, "Ready", "True"), WAIT, "ready")
    assert tier["status"]["desiredReplicas"] == 4
    recovered = time.monotonic() - ended
    wrong = stage.ledger.wrong()
    faults.record(
        row="1",
        fault="Every answer of the API server takes 4 s longer, under load",
        detect_seconds=None,
        recover_seconds=recovered,
        wrong=wrong,
        note=f"a change is carried out in {followed:.0f} s",
    )
