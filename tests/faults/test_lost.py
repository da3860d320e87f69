"""Checks what becomes of a tier when one request, answer or event is lost and everything else arrives."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import eventually, has, ready
from tests.cluster.process import Operator, service
from tests.faults.effects import Drop, Hang, Lose, about
from tests.faults.results import Sheet
from tests.faults.resynced import RESYNC_SECONDS
from tests.faults.scene import TICK
from tests.faults.stage import Stage
from tierwise_operator.informer import RESYNC_SECONDS as USUAL_SECONDS

pytestmark = pytest.mark.cluster
WAIT = 90.0
LOST = {("ADDED", "made"), ("MODIFIED", "changed"), ("DELETED", "gone")}
SOONER = f"all is compared every {RESYNC_SECONDS:.0f} s in this test, every {USUAL_SECONDS:.0f} s usually"


@pytest.fixture(scope="module")
def operator(stage: Stage) -> Iterator[Operator]:
    with stage.operator(module="tests.faults.resynced") as running:
        eventually(lambda: running.leading, bool, WAIT, "it leads")
        yield running


def told(stage: Stage, tier: str, reason: str) -> float | None:
    """When a status of the tier first gave this reason (seconds since the epoch). Some stand for a second only: the
    audit log has them all."""
    statuses = ((write.at, write.response["status"]) for write in stage.ledger.written("modeltiers/status", tier))
    return next((at for at, status in statuses if reason in {said["reason"] for said in status["conditions"]}), None)


def test_the_answer_to_a_write_that_has_landed_is_lost(stage: Stage, operator: Operator, faults: Sheet) -> None:
    """The replicas are as they should be and the operator cannot know: that is told, then seen, and written only
    once."""
    stage.kubectl.apply(cheap("unsure", replicas=1))
    ready(stage.kubectl, "unsure", 1)
    stage.ledger.restart()
    with stage.proxy.rule(
        "patch", "deployments/scale", Drop(landed=True), where=about("unsure-predictor"), times=1
    ) as rule:
        stage.kubectl("scale", "modeltier", "unsure", "--replicas=2")
        eventually(lambda: len(rule.hits), bool, WAIT, "the write whose answer is lost")
    lost = rule.hits[0].at
    noticed = eventually(lambda: told(stage, "unsure", "APIUnavailable"), bool, WAIT, "it says so")
    assert noticed is not None
    eventually(lambda: stage.kubectl.tier("unsure"), lambda tier: has(tier, "Provisioned", "True"), WAIT, "it sees")
    recovered = time.monotonic() - lost
    ready(stage.kubectl, "unsure", 2)
    time.sleep(3 * TICK)
    assert [write.response["spec"]["replicas"] for write in stage.ledger.written("deployments/scale")] == [2]
    wrong = stage.ledger.wrong()
    faults.record(
        row="2",
        fault="The answer to a change of the replicas that has landed is lost",
        detect_seconds=noticed - (time.time() - time.monotonic() + lost),
        recover_seconds=recovered,
        wrong=wrong,
        note="written once",
    )


def test_a_request_that_is_never_answered(stage: Stage, operator: Operator, faults: Sheet) -> None:
    """It is given up and told, and the other tiers are served meanwhile, if later than usual."""
    stage.kubectl.apply(cheap("beside", replicas=1))
    ready(stage.kubectl, "beside", 1)
    stage.ledger.restart()
    with stage.proxy.rule("patch", "inferenceservices", Hang(), where=about("hung")) as rule:
        stage.kubectl.apply(cheap("hung", replicas=0))
        eventually(lambda: len(rule.hits), bool, WAIT, "the request that hangs")
        changed = time.monotonic()
        stage.kubectl("scale", "modeltier", "beside", "--replicas=2")
        eventually(
            lambda: stage.kubectl.tier("hung"),
            lambda tier: has(tier, "Provisioned", "False", "KServeNotAnswering"),
            WAIT,
            "the tier says so",
        )
        noticed = time.monotonic() - rule.hits[0].at
        eventually(lambda: stage.replicas("beside"), lambda count: count == 2, WAIT, "another tier is served")
        served = time.monotonic() - changed
        assert operator.probe("/healthz")[0] == 200
    ended = time.monotonic()
    service(stage.kubectl, "hung")
    eventually(lambda: stage.kubectl.tier("hung"), lambda tier: has(tier, "Provisioned", "True"), WAIT, "healed")
    recovered = time.monotonic() - ended
    wrong = stage.ledger.wrong()
    faults.record(
        row="1",
        fault="A write of an InferenceService is never answered",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong=wrong,
        note=f"the replicas of another tier are changed after {served:.0f} s meanwhile",
    )


def losing(stage: Stage, resource: str, which: Callable[[bytes], bool]) -> Lose:
    """From now on the operator's watch of this resource, begun anew, loses these events."""
    lose = Lose(which)
    with stage.proxy.rule("watch", resource, lose) as rule:
        stage.proxy.cut()
        eventually(lambda: len(rule.hits), bool, WAIT, "a watch that loses")
    return lose


def _said(line: bytes) -> tuple[str, str]:
    """What a watch says: the type of the event, the name of the object."""
    event = json.loads(line)
    return event["type"], event["object"]["metadata"].get("name", "")


def test_single_events_of_a_watch_are_lost(stage: Stage, operator: Operator, faults: Sheet) -> None:
    """Of a tier that was made, of one that was changed and of one that was deleted; others are heard of meanwhile."""
    stage.kubectl.apply(*(cheap(name, replicas=0) for name in ("changed", "gone", "heard")))
    for name in ("changed", "gone", "heard"):
        service(stage.kubectl, name)
    stage.ledger.restart()
    lose = losing(stage, "modeltiers", lambda line: _said(line) in LOST)
    said = len(operator.text())
    lost = time.monotonic()
    stage.kubectl("scale", "modeltier", "changed", "--replicas=1")
    stage.kubectl("delete", "modeltier", "gone")
    stage.kubectl.apply(cheap("made", replicas=1))
    stage.kubectl("scale", "modeltier", "heard", "--replicas=1")
    ready(stage.kubectl, "heard", 1)
    assert len(lose.lost) == len(LOST)
    eventually(lambda: operator.text()[said:], lambda text: "made or changed unnoticed" in text, WAIT, "it is noticed")
    noticed = time.monotonic() - lost
    ready(stage.kubectl, "changed", 1)
    ready(stage.kubectl, "made", 1)
    recovered = time.monotonic() - lost
    assert "1 objects were deleted unnoticed" in operator.text()[said:]
    assert stage.kubectl.get("inferenceservice", "gone") is None
    wrong = stage.ledger.wrong()
    faults.record(
        row="4",
        fault="Single events of a watch are lost: a tier made, one changed, one deleted",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong=wrong,
        note=SOONER,
    )


def test_an_edit_of_a_child_is_lost(stage: Stage, operator: Operator, faults: Sheet) -> None:
    """And all that follows from it: it is healed when the children are listed anew."""
    stage.kubectl.apply(cheap("edited", replicas=0))
    before = service(stage.kubectl, "edited")["spec"]
    stage.ledger.restart()
    lose = losing(
        stage, "inferenceservices", lambda line: json.loads(line)["object"]["metadata"].get("name") == "edited"
    )
    lost = time.monotonic()
    edit = {"spec": {"predictor": {"minReplicas": 3}}}
    stage.kubectl("patch", "inferenceservice", "edited", "--type=merge", "-p", json.dumps(edit))
    eventually(lambda: len(lose.lost), bool, WAIT, "it is lost")
    written = eventually(
        lambda: stage.ledger.written("inferenceservices", "edited"), bool, WAIT, "it is noticed, and written"
    )
    noticed = written[0].at - (time.time() - time.monotonic() + lost)
    eventually(
        lambda: stage.kubectl.get("inferenceservice", "edited"),
        lambda found: found is not None and found["spec"] == before,
        WAIT,
        "as it was",
    )
    recovered = time.monotonic() - lost
    wrong = stage.ledger.wrong()
    faults.record(
        row="4",
        fault="An edit of an InferenceService is not heard of",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong=wrong,
        note=SOONER,
    )
    assert wrong == []
