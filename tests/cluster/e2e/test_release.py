"""Checks that Tierwise can be installed, tested and removed as any chart."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from playground.release import Release
from tests.cluster.e2e.tiers import UNINSTALLED, external, tier
from tests.cluster.kubectl import Kubectl, eventually

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
    operator("rollout", "status", "deployment/tierwise", "--timeout=180s", timeout=210)
    release.install(values)
    deployment = operator.get("deployment", "tierwise")
    assert deployment is not None
    assert deployment["spec"]["replicas"] == 2
    operator("scale", "deployment/tierwise", "--replicas=1")
    operator("rollout", "status", "deployment/tierwise", "--timeout=180s", timeout=210)


def _gone(kubectl: Kubectl, seconds: float) -> None:
    kubectl("delete", "namespace", kubectl.namespace, f"--timeout={seconds:.0f}s", timeout=seconds + 30)


def test_after_an_uninstallation_every_namespace_can_be_deleted_at_once(
    release: Release,
    new_namespace: Callable[[str], Kubectl],
    operator: Kubectl,
    values: dict[str, Any],
    restricted: Callable[[str], None],
) -> None:
    """Nobody is left who could remove a finalizer, so there must be none of ours.

    (A namespace with running engines goes when they have drained: Kubernetes ends its pods first, and looks again after
    half their grace period. That is its doing, not ours.)
    """
    kubectl = new_namespace(UNINSTALLED)
    kubectl.apply(tier("stopped", replicas=0), external("bought"))
    eventually(lambda: kubectl.get("deployment", "stopped-predictor"), bool, 180, "the stopped tier has its children")
    assert all("finalizers" not in seen["metadata"] for seen in kubectl.find("modeltiers"))
    try:
        started = time.monotonic()
        release.uninstall()
        _gone(operator, 30)
        _gone(kubectl, 30)
        assert time.monotonic() - started < 30
        assert operator.get("crd", "modeltiers.tierwise.io") is not None, "no tier is lost by an uninstallation"
    finally:
        restricted(release.namespace)
        release.install(values)
