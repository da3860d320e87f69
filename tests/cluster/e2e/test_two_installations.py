"""Two installations that would serve the same tiers do not fight: one acts, the other writes nothing and says why."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from playground.release import CHARTS, IMAGE, Release
from tests.cluster.e2e.audit import AuditLog
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import Kubectl, Refused, eventually, ready

pytestmark = pytest.mark.cluster
SECONDS = 90.0
WATCHED_SECONDS = 20.0
OWN_LEASE = frozenset({"leases"})
_NUMBERS = itertools.count(1)


def _install(second: Release, values: dict[str, Any], namespaces: list[str]) -> str:
    """The notes; not waited for, since an installation that serves nobody is never ready."""
    merged = {"image": {"repository": IMAGE}, "hub": {"url": ""}, **values, "watch": {"namespaces": namespaces}}
    merged["rbac"] = {"aggregate": False}
    done = second.playground.helm(
        *("upgrade", "--install", second.name, str(CHARTS / "tierwise"), "--namespace", second.namespace),
        *("--create-namespace", "--values", "-"),
        stdin=json.dumps(merged),
    )
    return done.partition("NOTES:")[2]


@pytest.fixture
def second(release: Release, restricted: Callable[[str], None], admin: Kubectl) -> Iterator[Release]:
    """A second installation, to be installed by the test, in a namespace of its own: the last one's ends slowly."""
    made = Release(release.playground, "tierwise-two", f"second-system-{next(_NUMBERS)}")
    restricted(made.namespace)
    yield made
    made.uninstall()
    admin("delete", "namespace", made.namespace, "--wait=false")


def _advice(kubectl: Kubectl, name: str) -> list[str]:
    return [each["reason"] for each in kubectl.tier(name).get("status", {}).get("advice") or []]


def _written(log: AuditLog) -> list[str]:
    return [
        f"{each.verb} {each.resource} {each.name}"
        for each in log.requests()
        if each.writes and each.resource not in OWN_LEASE
    ]


def _log(admin: Kubectl, second: Release) -> str:
    try:
        return admin.within(second.namespace)("logs", f"deployment/{second.name}", "--tail=-1")
    except Refused:  # its container has not begun
        return ""


def test_the_younger_of_two_for_all_namespaces_writes_nothing(
    release: Release, second: Release, admin: Kubectl, values: dict[str, Any], new_namespace: Callable[[str], Kubectl]
) -> None:
    kubectl = new_namespace("contested")
    kubectl.apply(cheap("one", replicas=1))
    ready(kubectl, "one", 1, SECONDS)
    log = AuditLog(second.playground.audit_log, second.user)
    notes = _install(second, {**values, "prometheus": {"url": "http://nobody.example.com:9090"}}, [])
    assert "TWO INSTALLATIONS of Tierwise meet:" in notes
    assert f"{release.namespace}/{release.name} serves all namespaces" in notes
    eventually(
        lambda: _log(admin, second), lambda text: "another installation" in text, SECONDS, "it says so in its log"
    )
    eventually(lambda: _advice(kubectl, "one"), lambda said: "TwoInstallations" in said, SECONDS, "the tier says so")
    kubectl("scale", "modeltier", "one", "--replicas=2")
    ready(kubectl, "one", 2, SECONDS)
    time.sleep(WATCHED_SECONDS)
    assert _written(log) == []
    deployment = admin.within(second.namespace).get("deployment", second.name)
    assert deployment is not None
    assert deployment["status"].get("readyReplicas", 0) == 0, "it serves nobody, so it is not ready"
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
    _install(second, values, ["named-only"])
    admin.within(second.namespace)("rollout", "status", f"deployment/{second.name}", "--timeout=90s", timeout=120)
    operators_log.restart()
    mine.apply(cheap("two", replicas=1))
    ready(mine, "two", 1, SECONDS)
    written = [each for each in operators_log.requests() if each.writes and each.namespace == "named-only"]
    assert written == []
