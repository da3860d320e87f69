"""KServe's controller is down, and with it its webhooks: no new child and no new engine pod can be made."""

from __future__ import annotations

import time

import pytest

from playground.handle import Playground
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import eventually, has, ready
from tests.cluster.process import service
from tests.faults.results import Sheet
from tests.faults.stage import Stage

pytestmark = pytest.mark.cluster
WAIT = 90.0
# A ReplicaSet whose pod is refused is tried again after a pause that doubles: at most about as long again as it was
# refused.
REPLICA_SET_SECONDS = 300.0
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
        provisioned = time.monotonic() - ended
        assert told["status"]["desiredReplicas"] == 0
        eventually(
            lambda: stage.kubectl.tier("old"),
            lambda tier: has(tier, "Provisioned", "True") and tier["status"].get("readyReplicas", 0) == 2,
            REPLICA_SET_SECONDS,
            "the missing replica serves",
        )
        recovered = time.monotonic() - ended
        wrong = stage.ledger.wrong()
        faults.record(
            row="18",
            fault="KServe's controller and its webhooks are down",
            detect_seconds=noticed,
            recover_seconds=recovered,
            wrong=wrong,
            note=f"the missing replica serves; the new tier has its child after {provisioned:.0f} s",
        )
