"""Can Tierwise be installed, tested and removed as any chart is?"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from playground.release import Release
from tests.cluster.e2e.tiers import tier
from tests.cluster.kubectl import Kubectl, eventually, has

pytestmark = pytest.mark.cluster


def test_the_notes_of_a_complete_cluster_name_nothing_missing(release: Release, values: dict[str, Any]) -> None:
    notes = release.install(values)
    assert "MISSING" not in notes
    assert "kubectl apply -f examples/01" in notes


def test_helm_test_passes(release: Release) -> None:
    report = release.test()
    assert "Succeeded" in report
    assert "/readyz 200" in report


def test_an_upgrade_leaves_the_replicas_that_a_person_set(
    release: Release, operator: Kubectl, values: dict[str, Any]
) -> None:
    """helm applies server-side: a chart that names replicas would conflict with `kubectl scale` here."""
    operator("scale", "deployment/tierwise", "--replicas=2")
    operator("rollout", "status", "deployment/tierwise", "--timeout=60s", timeout=90)
    release.install(values)
    deployment = operator.get("deployment", "tierwise")
    assert deployment is not None
    assert deployment["spec"]["replicas"] == 2
    operator("scale", "deployment/tierwise", "--replicas=1")
    operator("rollout", "status", "deployment/tierwise", "--timeout=60s", timeout=90)


def test_uninstalling_blocks_neither_itself_nor_a_namespace(
    release: Release, new_namespace: Callable[[str], Kubectl], operator: Kubectl, values: dict[str, Any]
) -> None:
    kubectl = new_namespace("leaving")
    kubectl.apply(tier("served"))
    eventually(lambda: kubectl.tier("served"), lambda seen: has(seen, "Ready", "True"), 90, "the tier is served")
    try:
        started = time.monotonic()
        release.uninstall()
        kubectl("delete", "namespace", kubectl.namespace, "--timeout=30s", timeout=60)
        assert time.monotonic() - started < 30
        assert operator.find("deployments", "app.kubernetes.io/name=tierwise") == []
        assert operator.get("crd", "modeltiers.tierwise.io") is not None, "no tier is lost by an uninstallation"
    finally:
        release.install(values)
