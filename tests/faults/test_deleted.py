"""A tier, or its whole namespace, goes away while it scales: nothing is written to what is gone or to a namesake."""

from __future__ import annotations

import time

import pytest

from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import eventually, ready
from tests.cluster.process import Operator, service
from tests.faults.ledger import LAG
from tests.faults.results import Sheet
from tests.faults.stage import Stage

pytestmark = pytest.mark.cluster
WAIT = 90.0


def test_a_tier_is_deleted_while_it_scales_and_made_again(stage: Stage, operator: Operator, faults: Sheet) -> None:
    stage.kubectl.apply(cheap("phoenix", replicas=1))
    ready(stage.kubectl, "phoenix", 1)
    old = service(stage.kubectl, "phoenix")["metadata"]["uid"]
    stage.ledger.restart()
    stage.kubectl("scale", "modeltier", "phoenix", "--replicas=4")
    eventually(lambda: len(stage.kubectl.pods("phoenix")), lambda count: count > 1, WAIT, "it scales")
    stage.kubectl("delete", "modeltier", "phoenix", "--timeout=10s")
    stage.kubectl.apply(cheap("phoenix", replicas=2))
    again = time.monotonic()
    tier = stage.kubectl.tier("phoenix")
    eventually(
        lambda: stage.kubectl.get("inferenceservice", "phoenix"),
        lambda found: found is not None and found["metadata"]["ownerReferences"][0]["uid"] == tier["metadata"]["uid"],
        WAIT,
        "the child of the new tier",
    )
    assert service(stage.kubectl, "phoenix")["metadata"]["uid"] != old
    ready(stage.kubectl, "phoenix", 2)
    recovered = time.monotonic() - again
    eventually(lambda: len(stage.kubectl.pods("phoenix")), lambda count: count == 2, WAIT, "only the new one's pods")
    time.sleep(LAG)
    wrong = stage.ledger.wrong()
    faults.record(
        row="22",
        fault="A tier is deleted while it scales, and made again under its name",
        detect_seconds=None,
        recover_seconds=recovered,
        wrong=wrong,
    )


def test_a_namespace_is_deleted_while_its_tiers_scale(stage: Stage, operator: Operator, faults: Sheet) -> None:
    doomed = stage.kubectl.within("doomed")
    doomed.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "doomed"}})
    names = [f"tier-{number}" for number in range(4)]
    doomed.apply(*(cheap(name, replicas=1) for name in names))
    for name in names[:2]:
        ready(doomed, name, 1)
    stage.ledger.restart()
    told = len(operator.text())
    for name in names:
        doomed("scale", "modeltier", name, "--replicas=2")
    began = time.monotonic()
    doomed("delete", "namespace", "doomed", "--wait=false")
    doomed_kind = ("namespace", "doomed")
    eventually(lambda: doomed.get(*doomed_kind), lambda found: found is None, 2 * WAIT, "the namespace is gone")
    gone = time.monotonic() - began
    stage.kubectl.apply(cheap("beside", replicas=1))
    ready(stage.kubectl, "beside", 1)
    assert operator.probe("/healthz")[0] == 200
    lines = operator.text()[told:].splitlines()
    assert "Traceback" not in operator.text()
    assert len(lines) < 100, "it does not fill its log with what cannot be helped"
    wrong = stage.ledger.wrong()
    faults.record(
        row="22",
        fault="A namespace is deleted while its tiers scale",
        detect_seconds=None,
        recover_seconds=gone,
        wrong=wrong,
    )
