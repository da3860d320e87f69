"""Checks that the operator survives a cluster without KServe, and goes on when KServe comes back.

The kind InferenceService is taken away from the running cluster, as an uninstallation would, and given back. The
operator must neither restart nor need to be restarted. (Taking the kind away takes every InferenceService with it, so
this module's name puts it last.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from playground import kserve
from playground.handle import Playground
from playground.release import Release
from tests.cluster.e2e.tiers import external, tier
from tests.cluster.kubectl import Kubectl, Object, conditions, eventually, has

pytestmark = pytest.mark.cluster
CRD = "inferenceservices.serving.kserve.io"


def _established(crd: Object | None) -> bool:
    return crd is not None and conditions(crd).get("Established", {}).get("status") == "True"


@pytest.fixture
def without_kserve(playground: Playground, operator: Kubectl) -> Iterator[Callable[[], None]]:
    """The kind InferenceService is gone; calling the value gives it back (the end of the test does so too)."""

    def give_back() -> None:
        crds = [crd for crd in kserve.crds(playground.binaries / "kserve") if crd["metadata"]["name"] == CRD]
        operator.apply(*crds)
        eventually(lambda: operator.get("crd", CRD), _established, 30, "the kind is there again")

    operator("delete", "crd", CRD, "--timeout=60s", timeout=90)
    yield give_back
    give_back()


def test_a_tier_says_that_kserve_is_missing_and_is_served_once_it_is_there(
    without_kserve: Callable[[], None],
    new_namespace: Callable[[str], Kubectl],
    release: Release,
    operator: Kubectl,
) -> None:
    kubectl = new_namespace("no-kserve")
    kubectl.apply(external("bought"), tier("served"))
    seen = eventually(
        lambda: kubectl.tier("served"),
        lambda tier: has(tier, "Provisioned", "False", "KServeMissing"),
        60,
        "the tier says that KServe is missing",
    )
    assert "KServe" in conditions(seen)["Provisioned"]["message"]
    eventually(
        lambda: kubectl.tier("bought"), lambda tier: has(tier, "Ready", "True"), 30, "an external tier needs no KServe"
    )

    without_kserve()
    eventually(lambda: kubectl.tier("served"), lambda tier: has(tier, "Ready", "True"), 120, "the tier is served")
    for pod in operator.find("pods", "app.kubernetes.io/name=tierwise"):
        assert [status["restartCount"] for status in pod["status"]["containerStatuses"]] == [0]
