"""Checks that the old leader never lands a write after the new one has taken over."""

from __future__ import annotations

import signal
import time

import pytest

from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import eventually, ready
from tests.cluster.process import Operator
from tests.faults.effects import Hold, about
from tests.faults.results import Sheet
from tests.faults.stage import Stage

pytestmark = pytest.mark.cluster
WAIT = 90.0
PAUSE_SECONDS = 30.0
LEASE_SECONDS = 15.0  # the default
SETTLE_SECONDS = 10.0
WATCHED = ("modeltiers", "pods", "deployments", "endpointslices", "inferenceservices")


def leads(operator: Operator) -> bool:
    """Asked anew each time."""
    return operator.leading


def takes_part(stage: Stage, since: float) -> bool:
    """Whether an operator behind the proxy asks for the Lease again, and watches again what it would have to know."""
    watches = all(stage.proxy.asked("watch", resource, since=since) for resource in WATCHED)
    return watches and bool(stage.proxy.asked("get", "leases", since=since))


def test_a_leader_that_was_stopped_in_the_middle_of_a_write_lands_nothing(stage: Stage, faults: Sheet) -> None:
    """The first is stopped when its scale is on the way, and that request arrives 30 s later, when the second has
    decided otherwise. Then the first is woken."""
    stage.kubectl.apply(cheap("shared", replicas=1))
    with stage.operator("one") as first:
        ready(stage.kubectl, "shared", 1)
        with stage.operator("two", direct=True) as second:
            assert leads(first)
            assert not leads(second)
            stage.ledger.restart()
            hold = Hold(lambda: first.signal(signal.SIGSTOP))
            rule = stage.proxy.rule("patch", "deployments/scale", hold, where=about("shared-predictor"), times=1)
            with rule as held:
                stage.kubectl("scale", "modeltier", "shared", "--replicas=3")
                eventually(lambda: len(held.hits), bool, WAIT, "the first writes, and is stopped")
                stopped = time.monotonic()
                stage.kubectl("scale", "modeltier", "shared", "--replicas=2")
                eventually(lambda: leads(second), bool, WAIT, "the second takes over")
                noticed = time.monotonic() - stopped
                ready(stage.kubectl, "shared", 2)
                time.sleep(max(0.0, stopped + PAUSE_SECONDS - time.monotonic()))
            eventually(lambda: hold.status, bool, WAIT, "the old write has arrived")
            woken = time.monotonic()
            first.signal(signal.SIGCONT)
            eventually(lambda: leads(first), lambda leads: not leads, WAIT, "the first knows that it does not lead")
            recovered = time.monotonic() - woken
            time.sleep(SETTLE_SECONDS)
            assert hold.status == 409, "the write that was on its way"
            assert stage.replicas("shared") == 2
            assert leads(second)
            wrong = stage.ledger.wrong()
            faults.record(
                row="6",
                fault="Two operators: the leader is stopped for 30 s in the middle of a write, then resumed",
                detect_seconds=noticed,
                recover_seconds=recovered,
                wrong=wrong,
            )


def test_a_leader_that_loses_the_api_server_loses_the_lease(stage: Stage, faults: Sheet) -> None:
    """Only the first is cut off: it stops to lead before the second begins, and comes back as the one that waits. When
    the second then dies, the first leads again, and knows what it has missed."""
    stage.kubectl.apply(cheap("cut-off", replicas=1))
    with stage.operator("one") as first:
        ready(stage.kubectl, "cut-off", 1)
        with stage.operator("two", direct=True) as second:
            stage.ledger.restart()
            lost = time.monotonic()
            with stage.proxy.away():
                eventually(lambda: leads(first), lambda leads: not leads, WAIT, "the first stops to lead")
                noticed = time.monotonic() - lost
                assert not leads(second), "before another begins"
                eventually(lambda: leads(second), bool, WAIT, "the second takes over")
                stage.kubectl("scale", "modeltier", "cut-off", "--replicas=2")
                ready(stage.kubectl, "cut-off", 2)
                back = time.monotonic()
            eventually(lambda: takes_part(stage, back), bool, WAIT, "the first could lead again")
            recovered = time.monotonic() - back
            time.sleep(SETTLE_SECONDS)
            assert not leads(first)
            assert first.probe("/healthz")[0] == 200
            assert stage.replicas("cut-off") == 2
            second.kill()
        died = time.monotonic()
        eventually(lambda: leads(first), bool, WAIT, "the first leads again")
        followed = time.monotonic() - died
        stage.kubectl("scale", "modeltier", "cut-off", "--replicas=1")
        ready(stage.kubectl, "cut-off", 1)
        wrong = stage.ledger.wrong()
        faults.record(
            row="6",
            fault="Two operators: the leader alone loses the API server",
            detect_seconds=noticed,
            recover_seconds=recovered,
            wrong=wrong,
            note=(
                "recovered: it watches and asks for the Lease again, which the other has; when that one is killed, it "
                f"leads after {followed:.0f} s"
            ),
        )
        assert noticed < LEASE_SECONDS
        assert followed < LEASE_SECONDS + SETTLE_SECONDS
