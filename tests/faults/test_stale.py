"""Checks an operator whose view is too old: expired watches, missed events, a server that is behind."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from itertools import pairwise

import pytest

from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import eventually, has, ready
from tests.cluster.process import Operator, service
from tests.faults.effects import Freeze, Record, Replay, expired
from tests.faults.ledger import LAG
from tests.faults.proxy import Rule
from tests.faults.results import Sheet
from tests.faults.stage import Stage
from tierwise_operator.kopf_handlers import RECONNECT_SECONDS
from tierwise_operator.watches import KINDS as INFORMED

pytestmark = pytest.mark.cluster
WAIT = 60.0
EXPIRED_SECONDS = 25.0
# Those that are watched through kopf are listed again every 2 s, and every 5 s beside that for what was deleted
# unnoticed: 4.2 lists a second. OURS, which we watch ourselves, back off: about 5 lists of each watch in the 25 s, so
# 1.6 a second. Of deployments and rolebindings there are two watches each.
KOPFS = frozenset(f"{kind.plural} {kind.selector}".strip() for kind in INFORMED)
OURS = {
    "deployments": 1,
    "inferenceservices": 1,
    "nodes": 1,
    "poddisruptionbudgets": 1,
    "rolebindings": 2,
    "serviceaccounts": 1,
    "services": 1,
}
MOST_LISTS_A_SECOND = 6.5


def relisted(stage: Stage, since: float) -> bool:
    return bool(stage.proxy.asked("list", "modeltiers", since=since))


def _pauses(rule: Rule, kind: str) -> list[float]:
    """Seconds between two tries of this watch."""
    return [later.at - sooner.at for sooner, later in pairwise(hit for hit in rule.hits if hit.watched == kind)]


def test_watches_that_expire_at_once_are_begun_anew_and_not_in_a_hot_loop(
    stage: Stage, operator: Operator, faults: Sheet
) -> None:
    """410 on every watch for 25 s: what is listed meanwhile is served, and nothing is asked for in a loop."""
    stage.ledger.restart()
    with stage.proxy.rule("watch", "*", expired()) as rule:
        began = time.monotonic()
        stage.proxy.cut()
        stage.kubectl.apply(cheap("expired", replicas=0))
        time.sleep(EXPIRED_SECONDS)
        noticed = stage.proxy.asked("list", "modeltiers", since=began)[0].at - began
        lists = [request for request in stage.proxy.requests if request.verb == "list" and request.at >= began]
    ended = time.monotonic()
    service(stage.kubectl, "expired")
    stage.kubectl("scale", "modeltier", "expired", "--replicas=1")
    ready(stage.kubectl, "expired", 1)
    recovered = time.monotonic() - ended
    pauses = {kind: _pauses(rule, kind) for kind in sorted({hit.watched for hit in rule.hits})}
    assert pauses.keys() >= KOPFS
    assert Counter(kind.split(" ")[0] for kind in pauses.keys() - KOPFS) == OURS
    for kind, seconds in pauses.items():
        if kind in KOPFS:
            assert min(seconds) >= 0.9 * RECONNECT_SECONDS, "kopf keeps its distance"
        else:
            assert seconds[-1] >= 2 * seconds[0], "those that we watch ourselves are asked for more and more rarely"
    assert len(lists) < EXPIRED_SECONDS * MOST_LISTS_A_SECOND
    assert operator.probe("/healthz")[0] == 200
    wrong = stage.ledger.wrong()
    faults.record(
        row="4",
        fault=f"Every watch expires at once (410) for {EXPIRED_SECONDS:.0f} s",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong=wrong,
        note=f"{len(lists) / EXPIRED_SECONDS:.1f} lists a second, of {len(pauses)} watches",
    )


def test_a_deletion_that_nobody_told_and_a_namesake(stage: Stage, operator: Operator, faults: Sheet) -> None:
    """The watch of the tiers is silent while one is deleted and made again, and is too old afterwards."""
    stage.kubectl.apply(cheap("twin", replicas=0))
    first = service(stage.kubectl, "twin")
    eventually(lambda: stage.kubectl.tier("twin"), lambda tier: has(tier, "Provisioned", "True"), WAIT, "it is settled")
    stage.ledger.restart()
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
        wrong=wrong,
        note="both from the end of the silence",
    )


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
        wrong=wrong,
    )
