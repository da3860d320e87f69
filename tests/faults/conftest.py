"""What every fault test shares: one playground, a stage and an operator for each file, and the sheet on which a test
writes what the fault cost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from playground.handle import Playground
from playground.release import Release
from tests.cluster.conftest import started
from tests.cluster.kubectl import eventually
from tests.cluster.process import Operator
from tests.faults.results import Sheet
from tests.faults.routes import installed
from tests.faults.scene import SOON, USERS, WANTED, Scene, follower
from tests.faults.stage import Stage, staged


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Sheet:
    """The sheet of this test."""
    return Sheet(request.node.nodeid)


@pytest.fixture(scope="session")
def playground() -> Iterator[Playground]:
    """A running control plane, shared; what a test stops it must start again."""
    with started() as running:
        yield running


@pytest.fixture(scope="session")
def release(playground: Playground) -> Release:
    """Tierwise installed by helm, for the tests of routes; the others run operators of their own."""
    return installed(playground)


@pytest.fixture(scope="module")
def stage(
    request: pytest.FixtureRequest, playground: Playground, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """The stage of a file; its namespace is called after the file."""
    namespace = request.module.__name__.rpartition("test_")[2].replace("_", "-")
    with staged(playground, namespace, tmp_path_factory.mktemp(namespace)) as made:
        yield made


@pytest.fixture(scope="module")
def operator(stage: Stage) -> Iterator[Operator]:
    """The operator of that stage, behind its proxy; it leads."""
    with stage.operator() as running:
        eventually(lambda: running.leading, bool, SOON, "it leads")
        yield running


@pytest.fixture(scope="module")
def scene(stage: Stage, operator: Operator) -> Scene:
    """The stage with its operator, and the way to its engines."""
    return Scene(stage, operator)


@pytest.fixture(scope="module")
def _steady(scene: Scene) -> Iterator[None]:
    """A tier, `steady`, under a load that never changes."""
    scene.kubectl.apply(follower("steady"))
    scene.follows("steady", 1)
    with scene.loaded(steady=USERS):
        scene.follows("steady", WANTED)
        yield


@pytest.fixture
def rested(scene: Scene, _steady: None) -> None:
    """The test begins with the tier `steady` as its load wants it, and counts its own wrong writes."""
    scene.follows("steady", WANTED, 2 * SOON)
    scene.stage.ledger.restart()
