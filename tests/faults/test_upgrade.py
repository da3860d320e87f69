"""Checks that an upgrade of the operator restarts no engine.

Two releases of the charts under running, loaded engines: first an installation as an earlier version left it (its CRD
knows less, its image has another tag), then this one. The CRD changes, the operator's pod is another one, and of the
engines nothing may change at all.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from playground.handle import Playground
from playground.release import CHARTS, Release
from tests.cluster.e2e.load import closed_loop
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import Kubectl, Object, eventually, ready
from tests.faults.ledger import Ledger
from tests.faults.results import Sheet
from tests.faults.scene import SOON, USERS, WANTED, follower

pytestmark = pytest.mark.cluster
NAMESPACE = "upgrade"
CRD = "modeltiers.tierwise.io"
TIERS = {"loaded": WANTED, "pinned": 1}
LEASE = "tierwise"


def _values(tag: str, tick: int) -> dict[str, Any]:
    return {
        "image": {"repository": "tierwise/operator", "tag": tag},
        "operator": {"tickSeconds": tick},
        "prometheus": {"scrapeIntervalSeconds": 2, "queryTimeoutSeconds": 2},
    }


def _crds_before(folder: Path) -> Path:
    """The chart of the CRDs as a release had it whose status did not tell of roll-outs yet."""
    chart = folder / "tierwise-crds"
    shutil.copytree(CHARTS / "tierwise-crds", chart)
    path = chart / "templates" / "tierwise.io_modeltiers.yaml"
    crd = yaml.safe_load(path.read_text(encoding="utf-8"))
    for version in crd["spec"]["versions"]:
        del version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["rollout"]
    path.write_text(yaml.safe_dump(crd), encoding="utf-8")
    return chart


def _install_crds(playground: Playground, chart: Path) -> None:
    # Other tests apply the CRD with kubectl: it may be there without helm's marks.
    playground.helm("upgrade", "--install", "tierwise-crds", str(chart), "--wait", "--take-ownership")


@pytest.fixture(scope="module")
def admin(playground: Playground) -> Kubectl:
    """The cluster administrator."""
    return Kubectl(playground.binaries / "kubectl", playground.kubeconfig)


@pytest.fixture(scope="module")
def release(playground: Playground, admin: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """An earlier version of both charts, and nothing of another installation."""
    admin("delete", "crd", CRD, "--ignore-not-found", f"--timeout={SOON:.0f}s", timeout=2 * SOON)
    _install_crds(playground, _crds_before(tmp_path_factory.mktemp("crds")))
    made = Release(playground, namespace="tierwise-upgrade")
    made.install(_values("before", 5))
    yield made
    made.uninstall()
    admin("delete", "namespace", made.namespace, NAMESPACE, "--wait=false", "--ignore-not-found")


def _engines(kubectl: Kubectl) -> dict[str, Any]:
    """Everything about engines that a restart, or a write, would change."""
    services = {each["metadata"]["name"]: each["metadata"] for each in kubectl.find("inferenceservices")}
    return {
        "pods": {
            pod["metadata"]["uid"]: [each["restartCount"] for each in pod["status"]["containerStatuses"]]
            for tier in TIERS
            for pod in kubectl.pods(tier)
        },
        "services": {name: (found["uid"], found["generation"]) for name, found in services.items()},
        "deployments": {
            each["metadata"]["name"]: (each["metadata"]["uid"], each["metadata"]["generation"])
            for each in kubectl.find("deployments")
        },
    }


def _operators(admin: Kubectl, namespace: str) -> set[str]:
    found = admin.within(namespace).find("pods", "app.kubernetes.io/name=tierwise")
    return {pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]}


def _remembers(tier: Object) -> bool:
    return "rendered" in tier["status"].get("rollout", {})


def test_an_upgrade_of_the_operator_restarts_no_engine(
    playground: Playground, release: Release, admin: Kubectl, faults: Sheet
) -> None:
    """Same pods, same restart counts, no write to any InferenceService, no change of replicas."""
    kubectl = admin.within(NAMESPACE)
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    kubectl.apply(follower("loaded"), cheap("pinned", replicas=1, rollout="Replace"))
    for name in TIERS:
        ready(kubectl, name, 1)
    with closed_loop(playground, NAMESPACE, {"loaded": USERS}):
        ready(kubectl, "loaded", WANTED)
        assert not any(_remembers(kubectl.tier(name)) for name in TIERS), "the CRD before knows no roll-out"
        before, old = _engines(kubectl), _operators(admin, release.namespace)
        ledger = Ledger(playground.audit_log, (release.namespace, LEASE))
        began = time.monotonic()
        _install_crds(playground, CHARTS / "tierwise-crds")
        release.install(_values("after", 3))
        for name in TIERS:
            what = f"the new operator has written the status of {name}"
            eventually(lambda name=name: kubectl.tier(name), _remembers, 2 * SOON, what)  # type: ignore[misc]
        took = time.monotonic() - began
        assert not old & _operators(admin, release.namespace), "the operator's own pod is another one"
        time.sleep(10)  # three cycles of the new one
        assert _engines(kubectl) == before
        assert ledger.written("inferenceservices") == []
        assert ledger.written("deployments/scale") == []
    wrong = ledger.wrong()
    faults.record(
        row="13",
        fault="The operator and its CRD are upgraded under load",
        detect_seconds=None,
        recover_seconds=took,
        wrong=wrong,
        note="no engine restarted, no InferenceService written; recovered: the new operator has told of every tier",
    )
