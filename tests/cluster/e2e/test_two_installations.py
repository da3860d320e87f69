"""Two installations that would serve the same tiers do not fight: one acts, the other writes nothing and says why."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from playground.release import Release
from tests.cluster.e2e.audit import AuditLog
from tests.cluster.e2e.installations import advice, answering, install, said, written
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import Kubectl, eventually, ready

pytestmark = pytest.mark.cluster
SECONDS = 90.0
WATCHED_SECONDS = 20.0
_NUMBERS = itertools.count(1)


@pytest.fixture
def second(release: Release, restricted: Callable[[str], None], admin: Kubectl) -> Iterator[Release]:
    """A second installation, to be installed by the test, in a namespace of its own: the last one's ends slowly."""
    made = Release(release.playground, "tierwise-two", f"second-system-{next(_NUMBERS)}")
    restricted(made.namespace)
    yield made
    made.uninstall()
    admin("delete", "namespace", made.namespace, "--wait=false")


def test_the_younger_of_two_for_all_namespaces_writes_nothing(
    release: Release, second: Release, admin: Kubectl, values: dict[str, Any], new_namespace: Callable[[str], Kubectl]
) -> None:
    kubectl = new_namespace("contested")
    kubectl.apply(cheap("one", replicas=1))
    ready(kubectl, "one", 1, SECONDS)
    log = AuditLog(second.playground.audit_log, second.user)
    notes = install(second, {**values, "prometheus": {"url": "http://nobody.example.com:9090"}}, [])
    assert "TWO INSTALLATIONS of Tierwise meet:" in notes
    assert f"{release.namespace}/{release.name} serves all namespaces" in notes
    eventually(
        lambda: said(admin, second), lambda text: "another installation" in text, SECONDS, "it says so in its log"
    )
    eventually(
        lambda: advice(kubectl, "one"), lambda reasons: "TwoInstallations" in reasons, SECONDS, "the tier says so"
    )
    kubectl("scale", "modeltier", "one", "--replicas=2")
    ready(kubectl, "one", 2, SECONDS)
    time.sleep(WATCHED_SECONDS)
    assert written(log) == []
    assert answering(admin, second) == 0, "it serves nobody, so it is not ready"
    assert kubectl.tier("one")["status"]["state"] != "Unmeasured"


def test_one_for_a_named_namespace_comes_before_one_for_all(
    release: Release,
    second: Release,
    admin: Kubectl,
    operators_log: AuditLog,
    values: dict[str, Any],
    new_namespace: Callable[[str], Kubectl],
) -> None:
    mine = new_namespace("named-only")
    install(second, values, ["named-only"])
    admin.within(second.namespace)("rollout", "status", f"deployment/{second.name}", "--timeout=90s", timeout=120)
    operators_log.restart()
    mine.apply(cheap("two", replicas=1))
    ready(mine, "two", 1, SECONDS)
    assert [each for each in operators_log.requests() if each.writes and each.namespace == "named-only"] == []
