"""KServe's controller is down, and with it its webhooks: no new child and no new engine pod can be made."""

from __future__ import annotations

import time

import pytest

from playground.handle import Playground
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import eventually, has, ready
from tests.cluster.process import service
from tests.faults.conftest import Sheet
from tests.faults.stage import Stage

pytestmark = pytest.mark.cluster
WAIT = 90.0
SILENT = "KServeNotAnswering"


def test_replicas_are_still_written_and_the_rest_is_told_and_healed(
    playground: Playground, stage: Stage, faults: Sheet
) -> None:
    stage.kubectl.apply(cheap("old", replicas=1), cheap("shrinks", replicas=2))
    with stage.operator():
        ready(stage.kubectl, "old", 1)
        ready(stage.kubectl, "shrinks", 2)
        stage.ledger.restart()
        playground.control("stop", "kserve-manager")
        try:
            began = time.monotonic()
            stage.kubectl.apply(cheap("late", replicas=0))
            eventually(
                lambda: stage.kubectl.tier("late"),
                lambda tier: has(tier, "Provisioned", "False", SILENT),
                WAIT,
                "a new tier says that KServe does not answer",
            )
            noticed = time.monotonic() - began
            stage.kubectl("scale", "modeltier", "shrinks", "--replicas=1")
            ready(stage.kubectl, "shrinks", 1)
            stage.kubectl("scale", "modeltier", "old", "--replicas=2")
            eventually(lambda: stage.replicas("old"), lambda count: count == 2, WAIT, "the replicas are written")
            eventually(
                lambda: stage.kubectl.tier("old"),
                lambda tier: has(tier, "Provisioned", "False", SILENT) and has(tier, "Ready", "True"),
                WAIT,
                "pods that cannot be made are told, the tier still serves",
            )
        finally:
            playground.control("start", "kserve-manager")
        ended = time.monotonic()
        service(stage.kubectl, "late")
        told = eventually(
            lambda: stage.kubectl.tier("late"), lambda tier: has(tier, "Provisioned", "True"), WAIT, "healed"
        )
        recovered = time.monotonic() - ended
        assert told["status"]["desiredReplicas"] == 0
        # the ReplicaSet's own pauses between tries are Kubernetes': up to a few minutes
        eventually(lambda: stage.replicas("old"), lambda count: count == 2, WAIT, "still 2")
        wrong = stage.ledger.wrong()
        faults.record(
            row="18",
            fault="KServe's controller and its webhooks are down",
            detect_seconds=noticed,
            recover_seconds=recovered,
            wrong_writes=len(wrong),
        )
        assert wrong == []
