"""Has the operator exactly the rights that it uses?

Too few would be a refusal by the authorizer, somewhere in the audit log. Too many are found by comparing the chart's
rules with what was used: this test makes the operator do everything it can do (the module's name puts it last, so the
log of all other tests counts too).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from playground.release import Release
from tests.cluster.e2e.audit import AuditLog
from tests.cluster.e2e.tiers import tier
from tests.cluster.kubectl import Kubectl, eventually, has

pytestmark = pytest.mark.cluster
Right = tuple[str, str, str]
UNSEEN = {
    # Asked for by the API server when a server-side apply (a patch, as the log has it) creates the object.
    ("create", "serving.kserve.io", "inferenceservices"),
    # KEDA is not installed here: its kind is looked for, and watched only where it exists.
    ("watch", "keda.sh", "scaledobjects"),
}


def _granted(operator: Kubectl) -> set[Right]:
    names = ("tierwise", "tierwise-lease", "tierwise-nodes")
    roles = [role for role in operator.find("roles,clusterroles") if role["metadata"]["name"] in names]
    return {
        (verb, group, resource)
        for role in roles
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def _replicas(kubectl: Kubectl, name: str, count: int) -> None:
    eventually(
        lambda: kubectl.tier(name),
        lambda seen: has(seen, "Ready", "True") and seen["status"].get("readyReplicas") == count,
        90,
        f"{name} has {count} ready replicas",
    )


def _do_everything(kubectl: Kubectl) -> None:
    """Create a child, scale up, scale down by deletion cost, heal."""
    kubectl.apply(tier("all", replicas=2))
    _replicas(kubectl, "all", 2)
    kubectl("scale", "modeltier", "all", "--replicas=1")
    _replicas(kubectl, "all", 1)
    kubectl("delete", "inferenceservice", "all", "--wait=false")
    eventually(lambda: kubectl.get("inferenceservice", "all"), bool, 60, "the child is made again")
    _replicas(kubectl, "all", 1)


def test_the_rights_are_those_that_are_used(
    release: Release, operator: Kubectl, new_namespace: Callable[[str], Kubectl]
) -> None:
    _do_everything(new_namespace("rights"))
    requests = AuditLog(release.playground.audit_log, release.user, whole=True).requests()
    # An uninstallation (test_release) takes the Role away before the pod ends and gives its Lease back.
    refused = {request for request in requests if not request.allowed and request.resource != "leases"}
    assert not refused, f"rights that the chart lacks: {sorted(refused)}"
    used = {(request.verb, request.group, request.resource) for request in requests}
    needless = {right for right in _granted(operator) if right not in used}
    assert needless <= UNSEEN, f"rights that nothing uses: {sorted(needless - UNSEEN)}"
