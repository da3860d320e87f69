"""What becomes of a loaded tier when what is measured is missing, late, broken, old or forged?

One rule, seen from many sides: a number that is not known lowers nothing. Every test has a tier under a steady load
that wants three replicas and would be given one if silence were taken for idleness.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from playground.handle import Playground
from tests.cluster.kubectl import Kubectl, eventually
from tests.cluster.process import alone, operating
from tests.faults.conftest import Sheet
from tests.faults.scene import SOON, STALE, TICK, USERS, WANTED, Scene, follower, held

pytestmark = pytest.mark.cluster
NAMESPACE = "measured"
OUTAGE = 120.0


@pytest.fixture(scope="module")
def kubectl(playground: Playground) -> Iterator[Kubectl]:
    with alone(playground, NAMESPACE) as made:
        yield made


@pytest.fixture(scope="module")
def scene(playground: Playground, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One operator and one tier, `steady`, under a load that never changes."""
    folder = tmp_path_factory.mktemp("operator")
    with operating(playground, folder, "one", "--lease-name", NAMESPACE, "--lease-namespace", NAMESPACE) as operator:
        made = Scene(playground, kubectl, operator)
        kubectl.apply(follower("steady"))
        made.follows("steady", 1)
        with made.loaded(steady=USERS):
            made.follows("steady", WANTED)
            yield made


def test_prometheus_is_gone_for_two_minutes(scene: Scene, faults: Sheet) -> None:
    """Three tiers: one whose load stays, one whose load ends meanwhile, one whose load begins meanwhile."""
    scene.kubectl.apply(follower("ending"), follower("starting"))
    scene.follows("ending", 1)
    scene.follows("starting", 1)
    with (
        scene.replicas("steady") as steady,
        scene.replicas("ending") as ending,
        scene.replicas("starting") as starting,
    ):
        with scene.loaded(ending=USERS):
            scene.follows("ending", WANTED)
            scene.playground.control("stop", "prometheus")
            began = time.monotonic()
        with scene.loaded(starting=USERS):
            try:
                noticed, message = scene.says("steady", "MetricsAvailable", "False", "PrometheusError", since=began)
                time.sleep(max(0.0, OUTAGE - (time.monotonic() - began)))
            finally:
                scene.playground.control("start", "prometheus")
            back = time.monotonic()
            assert held(steady, began) == {WANTED}
            assert held(ending, began) == {WANTED}
            assert held(starting, began) == {1}
            assert "Prometheus at http://" in message
            eventually(lambda: starting.last, lambda last: last == WANTED, SOON, "what waits is served")
            recovered = time.monotonic() - back
            eventually(lambda: ending.last, lambda last: last == 1, SOON, "what nobody uses ends")
            scene.says("steady", "MetricsAvailable", "True", since=back)
            time.sleep(2 * TICK)
            assert held(steady, began) == {WANTED}
    scene.kubectl("delete", "modeltier", "ending", "starting", "--wait=false")
    assert noticed < STALE + SOON
    faults.record(
        row="7",
        fault="Prometheus is gone for 2 minutes under load",
        detect_seconds=noticed,
        recover_seconds=recovered,
        wrong_writes=0,
    )
