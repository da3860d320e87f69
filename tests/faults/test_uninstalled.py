"""Checks that nothing hangs when the operator is uninstalled while its tiers run."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from playground.handle import Playground
from playground.release import Release
from tests.cluster.e2e.tiers import cheap, external
from tests.cluster.kubectl import Kubectl, eventually, ready
from tests.cluster.process import alone
from tests.faults.ledger import Ledger
from tests.faults.results import Sheet

pytestmark = pytest.mark.cluster
NAMESPACE = "leaving"
KINDS = "modeltiers,inferenceservices,deployments,replicasets,pods,services,leases,endpointslices"
GONE_SECONDS = 30.0
VALUES = {
    "operator": {"tickSeconds": 3, "logFormat": "text"},
    "prometheus": {"scrapeIntervalSeconds": 2, "queryTimeoutSeconds": 2},
}


def finalizers(kubectl: Kubectl) -> dict[str, list[str]]:
    """All that somebody would have to take away before an object can go."""
    found: list[dict[str, Any]] = json.loads(kubectl("get", KINDS, "-o", "json"))["items"]
    named = ((f"{each['kind']}/{each['metadata']['name']}", each["metadata"].get("finalizers", [])) for each in found)
    return {name: held for name, held in named if held}


def test_nothing_waits_for_an_operator_that_is_gone(playground: Playground, faults: Sheet) -> None:
    with alone(playground, NAMESPACE) as kubectl:
        release = Release(playground)
        # the CRD is there already, applied by hand: helm is to take it over
        playground.kubectl("delete", "crd", "modeltiers.tierwise.io", "--timeout=60s", timeout=90)
        release.install_crds()
        release.install(VALUES)
        ledger = Ledger(playground.audit_log, (release.namespace, release.name))
        try:
            kubectl.apply(cheap("runs", replicas=2), cheap("stopped", replicas=0), external("bought"))
            ready(kubectl, "runs", 2)
            # KServe has one of its own on its InferenceServices, and takes it away itself.
            assert {name: held for name, held in finalizers(kubectl).items() if not name.startswith("Inference")} == {}
            assert "tierwise" not in str(list(finalizers(kubectl).values()))
            uids = {pod["metadata"]["uid"] for pod in kubectl.pods("runs")}
        finally:
            began = time.monotonic()
            release.uninstall()
        kubectl("delete", "namespace", release.namespace, f"--timeout={GONE_SECONDS:.0f}s", timeout=60)
        gone = time.monotonic() - began
        time.sleep(5)
        wrong = ledger.wrong()
        assert {pod["metadata"]["uid"] for pod in kubectl.pods("runs")} == uids, "the engines serve on"
        assert kubectl.get("crd", "modeltiers.tierwise.io") is not None, "no tier is lost"
        assert left(kubectl, release) == []
        kubectl("delete", "modeltiers", "--all", f"--timeout={GONE_SECONDS:.0f}s")
        eventually(lambda: kubectl.find("inferenceservices"), lambda found: found == [], GONE_SECONDS, "no child left")
        eventually(lambda: kubectl.find("pods"), lambda found: found == [], 2 * GONE_SECONDS, "no engine left")
        playground.helm("uninstall", "tierwise-crds", "--wait")
        kubectl("delete", "crd", "modeltiers.tierwise.io", "--ignore-not-found", "--timeout=60s", timeout=90)
    faults.record(
        row="23",
        fault="The operator is uninstalled while its tiers run",
        detect_seconds=None,
        recover_seconds=gone,
        wrong=wrong,
        note="until nothing of it is left; the engines serve on, no finalizer is ours",
    )


def left(kubectl: Kubectl, release: Release) -> list[str]:
    """What an uninstallation has left behind, apart from the CRDs."""
    kinds = "clusterroles,clusterrolebindings,roles,rolebindings,validatingwebhookconfigurations"
    found = json.loads(kubectl("get", kinds, "-A", "-l", f"app.kubernetes.io/instance={release.name}", "-o", "json"))
    return [each["metadata"]["name"] for each in found["items"]]
