"""Checks that an operator for some namespaces serves these and looks at no others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from playground.handle import Playground
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import Kubectl
from tests.cluster.process import alone, operating, service

pytestmark = pytest.mark.cluster
OURS, ALSO_OURS, THEIRS = "served-a", "served-b", "not-served"


@pytest.fixture
def kubectl(playground: Playground) -> Iterator[Kubectl]:
    """kubectl, with the three namespaces."""
    with alone(playground, OURS) as made, alone(playground, ALSO_OURS), alone(playground, THEIRS):
        yield made


def test_only_the_named_namespaces_are_served(playground: Playground, kubectl: Kubectl, tmp_path: Path) -> None:
    for namespace in (OURS, ALSO_OURS, THEIRS):
        kubectl.within(namespace).apply(cheap("chat", replicas=0))
    options = ("--namespaces", f"{OURS},{ALSO_OURS}", "--lease-name", "namespaced", "--lease-namespace", OURS)
    with operating(playground, tmp_path, "namespaced", *options):
        service(kubectl, "chat")
        service(kubectl.within(ALSO_OURS), "chat")
        time.sleep(5)
    assert kubectl.within(THEIRS).get("inferenceservice", "chat") is None
    assert "status" not in kubectl.within(THEIRS).tier("chat")
    for namespace in (OURS, ALSO_OURS, THEIRS):
        kubectl.within(namespace)("delete", "modeltiers", "--all", "--wait=false")
