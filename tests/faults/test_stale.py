"""What does an operator do whose view is too old: watches that expire, events missed, a server that is behind?"""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import eventually, has, ready
from tests.cluster.process import Operator, service
from tests.faults.conftest import Sheet
from tests.faults.effects import Freeze, Record, Replay, expired
from tests.faults.ledger import LAG
from tests.faults.stage import Stage

pytestmark = pytest.mark.cluster
WAIT = 60.0
KINDS = 7  # modeltiers, pods, deployments, endpointslices, horizontalpodautoscalers, inferenceservices, scaledobjects


def relisted(stage: Stage, since: float) -> bool:
    return bool(stage.proxy.asked("list", "modeltiers", since=since))


def test_watches_that_expire_at_once_are_begun_anew_and_not_in_a_hot_loop(
    stage: Stage, operator: Operator, faults: Sheet
) -> None:
    """410 on every watch for 25 s: what is listed meanwhile is served, and the lists grow rarer."""
    stage.ledger.restart()
    with stage.proxy.rule("watch", "*", expired()) as rule:
        began = time.monotonic()
        stage.proxy.cut()
        stage.kubectl.apply(cheap("expired", replicas=0))
        time.sleep(25)
        noticed = stage.proxy.asked("list", "modeltiers", since=began)[0].at - began
        lists = [request for request in stage.proxy.requests if request.verb == "list" and request.at >= began]
    ended = time.monotonic()
    assert len(rule.hits) >= KINDS
    service(stage.kubectl, "expired")
    stage.kubectl("scale", "modeltier", "expired", "--replicas=1")
    ready(stage.kubectl, "expired", 1)
    recovered = time.monotonic() - ended
    assert len(lists) < 25 * KINDS * 2, "a list of each kind twice a second at most"
    assert operator.probe("/healthz")[0] == 200
    wrong = stage.ledger.wrong()
    faults.record(
        row="4",
        fault="Every watch expires at once (410) for 25 s",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong_writes=len(wrong),
        note=f"{len(lists) / 25:.1f} lists a second, of {KINDS} kinds",
    )
    assert wrong == []


def test_a_deletion_that_nobody_told_and_a_namesake(stage: Stage, operator: Operator, faults: Sheet) -> None:
    """The watch of the tiers is silent while one is deleted and made again, and is too old afterwards."""
    stage.kubectl.apply(cheap("twin", replicas=0))
    first = service(stage.kubectl, "twin")
    eventually(lambda: stage.kubectl.tier("twin"), lambda tier: has(tier, "Provisioned", "True"), WAIT, "it is settled")
    stage.ledger.restart()
    began = time.monotonic()
    with stage.proxy.rule("watch", "modeltiers", Freeze(lost=True)) as rule:
        stage.proxy.cut()
        eventually(lambda: len(rule.hits), bool, WAIT, "a silent watch")
        stage.kubectl("delete", "modeltier", "twin")
        eventually(
            lambda: stage.kubectl.get("inferenceservice", "twin"), lambda found: found is None, WAIT, "it is gone"
        )
        time.sleep(LAG + 5)
        assert stage.kubectl.get("inferenceservice", "twin") is None, "made for a tier that is gone"
        stage.kubectl.apply(cheap("twin", replicas=0))
        time.sleep(5)
    with stage.proxy.rule("watch", "modeltiers", expired(), times=1) as rule:
        ended = time.monotonic()
        stage.proxy.cut()
        eventually(lambda: relisted(stage, ended), bool, WAIT, "it lists the tiers anew")
        noticed = time.monotonic() - ended
        uid = stage.kubectl.tier("twin")["metadata"]["uid"]
        eventually(
            lambda: stage.kubectl.get("inferenceservice", "twin"),
            lambda found: found is not None and found["metadata"]["ownerReferences"][0]["uid"] == uid,
            WAIT,
            "the child of the new tier",
        )
    recovered = time.monotonic() - ended
    assert service(stage.kubectl, "twin")["metadata"]["uid"] != first["metadata"]["uid"]
    time.sleep(LAG)
    wrong = stage.ledger.wrong()
    faults.record(
        row="4",
        fault="A tier is deleted and made again while its watch is silent",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong_writes=len(wrong),
        note="both from the end of the silence",
    )
    assert wrong == [], (began, wrong)


def test_an_api_server_that_is_behind(stage: Stage, operator: Operator, faults: Sheet) -> None:
    """The tiers are listed as they were when one was pinned at 3; since then it was pinned at 1. Nothing is written on
    what is no longer true."""
    stage.kubectl.apply(cheap("behind", replicas=3))
    ready(stage.kubectl, "behind", 3)
    with ExitStack() as behind:
        record = Record()
        with (
            stage.proxy.rule("list", "modeltiers", record),
            stage.proxy.rule("watch", "modeltiers", expired(), times=1),
        ):
            began = time.monotonic()
            stage.proxy.cut()
            eventually(lambda: relisted(stage, began) and bool(record.kept), bool, WAIT, "the list is recorded")
        stage.kubectl("scale", "modeltier", "behind", "--replicas=1")
        ready(stage.kubectl, "behind", 1)
        stage.ledger.restart()
        began = time.monotonic()
        behind.enter_context(stage.proxy.rule("watch", "modeltiers", expired(), times=1))
        behind.enter_context(stage.proxy.rule("watch", "modeltiers", Freeze(lost=True)))
        replayed = behind.enter_context(stage.proxy.rule("list", "modeltiers", Replay(record.kept)))
        stage.proxy.cut()
        eventually(lambda: len(replayed.hits), bool, WAIT, "the old list is read")
        time.sleep(LAG + 10)
        deployment = stage.kubectl.get("deployment", "behind-predictor")
        assert deployment is not None
        assert deployment["spec"]["replicas"] == 1
    ended = time.monotonic()
    with stage.proxy.rule("watch", "modeltiers", expired(), times=1):
        stage.proxy.cut()
        stage.kubectl("scale", "modeltier", "behind", "--replicas=2")
        ready(stage.kubectl, "behind", 2)
    recovered = time.monotonic() - ended
    wrong = stage.ledger.wrong()
    faults.record(
        row="4",
        fault="The API server lists the tiers as they were a while ago",
        detect_seconds=None,
        recover_seconds=recovered,
        wrong_writes=len(wrong),
    )
    assert wrong == []
