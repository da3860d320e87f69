"""Checks that replicas follow a load step as the formula says, quickly and without flapping.

U users in a closed loop keep U requests in the tier, whatever the replicas do. So the number of replicas is known
beforehand: n = ceil(U / (C + q)), with C the requests that one replica runs at once (batching.maxSequences, since short
requests leave memory to spare) and q scaling.waitingPerReplica.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest

from playground.handle import Playground
from tests.cluster.e2e.load import closed_loop
from tests.cluster.e2e.record import recorded
from tests.cluster.e2e.tiers import tier
from tests.cluster.kubectl import Kubectl, eventually, has

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("release")]
USERS, SEQUENCES, WAITING = 35, 8, 2
WINDOW = 15
EXPECTED = math.ceil(USERS / (SEQUENCES + WAITING))
SLACK = 60.0


def test_a_load_step_moves_replicas_from_one_to_n_and_back(
    playground: Playground, new_namespace: Callable[[str], Kubectl], startup_seconds: float
) -> None:
    kubectl = new_namespace("step")
    scaling = {
        "minReplicas": 1,
        "maxReplicas": 8,
        "waitingPerReplica": WAITING,
        "scaleDownWindowSeconds": WINDOW,
    }
    kubectl.apply(tier("stepped", batching={"maxSequences": SEQUENCES}, scaling=scaling))
    eventually(lambda: kubectl.tier("stepped"), lambda seen: has(seen, "Ready", "True"), 180, "one replica is ready")

    with recorded(kubectl, "deployment", "stepped-predictor", ".spec.replicas") as replicas:
        eventually(lambda: replicas.last, lambda value: value == 1, 180, "one replica without load")
        with closed_loop(playground, kubectl.namespace, {"stepped": USERS}):
            started = time.monotonic()
            eventually(lambda: replicas.last, lambda value: value == EXPECTED, SLACK, f"{EXPECTED} replicas")
            ready = eventually(
                lambda: kubectl.tier("stepped"),
                lambda seen: seen["status"].get("readyReplicas") == EXPECTED,
                SLACK + startup_seconds,
                f"{EXPECTED} replicas are ready",
            )
            assert time.monotonic() - started <= SLACK + startup_seconds
            assert ready["status"]["scaling"]["decisions"][0]["to"] == EXPECTED
            time.sleep(2 * WINDOW)
            assert replicas.last == EXPECTED, f"it holds while the load does: {replicas.values}"
        eventually(lambda: replicas.last, lambda value: value == 1, WINDOW + SLACK, "back to one replica")

    assert max(replicas.values) <= EXPECTED + 1, replicas.values
    assert replicas.turns <= 2, replicas.values
