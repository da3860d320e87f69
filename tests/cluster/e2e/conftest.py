"""Shares one playground among the end-to-end tests, with Tierwise installed by helm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from playground.handle import Playground
from playground.release import Release
from tests.cluster.e2e.audit import AuditLog
from tests.cluster.kubectl import Kubectl

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="session")
def values() -> dict[str, Any]:
    """The chart's values in the tests: a short tick and a short scrape interval, so that tests are short. Routers run
    their own image here; the demo runs them from the operator's."""
    return {
        "operator": {"tickSeconds": 3, "logFormat": "text"},
        "prometheus": {"scrapeIntervalSeconds": 2, "queryTimeoutSeconds": 2},
        "router": {"image": {"repository": "tierwise/router"}},
    }


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}


@pytest.fixture(scope="session")
def admin(playground: Playground) -> Kubectl:
    """The cluster administrator."""
    return Kubectl(playground.binaries / "kubectl", playground.kubeconfig)


@pytest.fixture(scope="session")
def restricted(admin: Kubectl) -> Callable[[str], None]:
    """Makes a namespace that admits restricted pods only."""
    return lambda name: admin.apply(_namespace(name))


@pytest.fixture(scope="session")
def release(playground: Playground, restricted: Callable[[str], None], values: dict[str, Any]) -> Release:
    """Tierwise as a user installs it, in a namespace that admits restricted pods only."""
    made = Release(playground)
    restricted(made.namespace)
    made.install_crds()
    made.install(values)
    return made


@pytest.fixture(scope="session")
def operator(release: Release, admin: Kubectl) -> Kubectl:
    """kubectl in the operator's namespace."""
    return admin.within(release.namespace)


@pytest.fixture(scope="session")
def operators_log(release: Release) -> AuditLog:
    """What the operator asks of the API server."""
    return AuditLog(release.playground.audit_log, release.user)


@pytest.fixture(scope="session")
def startup_seconds() -> float:
    """How long a simulated engine takes from its pod's creation to its first answer, generously, on two cores."""
    return 45.0


@pytest.fixture(scope="module")
def new_namespace(
    release: Release, admin: Kubectl, restricted: Callable[[str], None]
) -> Iterator[Callable[[str], Kubectl]]:
    """Makes a namespace that admits restricted pods only; it is deleted after the module."""
    made: list[str] = []

    def make(name: str) -> Kubectl:
        restricted(name)
        made.append(name)
        return admin.within(name)

    yield make
    for name in made:
        admin("delete", "namespace", name, "--wait=false", "--ignore-not-found")
