"""Checks that the operator has exactly the rights that it uses, and that no secret leaves its place.

Too few rights would be a refusal by the authorizer, somewhere in the audit log. Too many are found by comparing the
roles with what was used: these tests make the operator do everything it can do (the module's name puts it last, so the
log of all other tests counts too). Once as it is installed by default, with roles of the cluster, and once for named
namespaces, with a Role in each; there it also logs everything, and the canaries of `canaries` are looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from playground.handle import Playground
from playground.release import Release
from tests.cluster.e2e.audit import AuditLog
from tests.cluster.e2e.canaries import (
    CANARIES,
    WITNESSES,
    ask,
    ask_route,
    assert_by_reference,
    look,
    plant,
    wait_for_trouble,
)
from tests.cluster.e2e.rights import Right, granted, used
from tests.cluster.e2e.tiers import UNINSTALLED, cheap, route
from tests.cluster.kubectl import Kubectl, Object, eventually, has, ready

pytestmark = pytest.mark.cluster
OURS, SECRETS = "rights-by-name", "canaries"


def _keda() -> Object:
    """KEDA's kind, of which the operator only wants to know whether it is there."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "scaledobjects.keda.sh"},
        "spec": {
            "group": "keda.sh",
            "names": {"kind": "ScaledObject", "plural": "scaledobjects", "singular": "scaledobject"},
            "scope": "Namespaced",
            "versions": [
                {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}},
            ],
        },
    }


def _do_everything(kubectl: Kubectl) -> None:
    """Create a child, scale up, scale down by deletion cost, heal, end what a mistake left; the same of a route."""
    kubectl.apply(cheap("all", replicas=2))
    ready(kubectl, "all", 2, 120)
    kubectl("scale", "modeltier", "all", "--replicas=1")
    ready(kubectl, "all", 1, 120)
    kubectl("delete", "inferenceservice", "all", "--wait=false")
    eventually(lambda: kubectl.get("inferenceservice", "all"), bool, 90, "the child is made again")
    ready(kubectl, "all", 1, 120)
    kubectl.apply(cheap("mistaken", engine={"image": "registry.example.com/nobody/nothing:1"}))
    wrong = "its image cannot be pulled"
    eventually(
        lambda: kubectl.tier("mistaken"), lambda seen: has(seen, "Provisioned", "False", "ImagePullFailed"), 90, wrong
    )
    kubectl.apply(cheap("mistaken"))
    ready(kubectl, "mistaken", 1, 120)
    kubectl("delete", "modeltier", "mistaken", "--wait=false")
    kubectl.apply(route("routed", "all", replicas=1))
    _routed(kubectl)
    kubectl("delete", "service", "routed", "--wait=false")
    eventually(lambda: kubectl.get("service", "routed"), bool, 60, "the route's Service is made again")
    kubectl("scale", "deployment", "routed-router", "--replicas=2")
    eventually(
        lambda: kubectl("get", "deployment", "routed-router", "-o", "jsonpath={.spec.replicas}"),
        lambda replicas: replicas == "1",
        60,
        "the Deployment is put back",
    )


def _tell_of_a_pool(kubectl: Kubectl) -> None:
    pool = {"apiVersion": "tierwise.io/v1alpha1", "kind": "GPUPool", "metadata": {"name": "rights"}, "spec": {}}
    kubectl.apply(pool)
    eventually(lambda: kubectl.get("gpupool", "rights") or {}, lambda seen: "status" in seen, 60, "the pool is told of")
    kubectl("delete", "gpupool", "rights")


def _routed(kubectl: Kubectl) -> None:
    def shown() -> Object:
        found = kubectl.get("modelroute", "routed")
        assert found is not None
        return found

    eventually(shown, lambda seen: has(seen, "Ready", "True"), 90, "the route is ready")


@pytest.fixture(scope="module")
def keda(release: Release, admin: Kubectl) -> Iterator[None]:
    admin.apply(_keda())
    admin("wait", "--for=condition=Established", "crd/scaledobjects.keda.sh", "--timeout=30s")
    yield
    admin("delete", "crd", "scaledobjects.keda.sh", "--wait=false")


def _watches_keda(log: AuditLog) -> bool:
    return any((each.verb, each.resource) == ("watch", "scaledobjects") for each in log.requests())


def _differences(log: AuditLog, rights: set[Right], *, apart: str = "") -> list[str]:
    """What the roles lack, and what they have too much; requests about one namespace left out."""
    requests = [each for each in log.requests() if not apart or each.namespace != apart]
    # An uninstallation (test_release) takes the Role away before the pod ends: what it still writes then is refused.
    refused = {
        request
        for request in requests
        if not request.allowed and request.resource != "leases" and request.namespace != UNINSTALLED
    }
    needed, uncovered = used([each for each in requests if each.allowed], rights)
    return [
        *(f"refused: {request}" for request in sorted(refused)),
        *(f"allowed, but by no right of the chart: {request}" for request in sorted(uncovered)),
        *(f"a right that nothing uses: {right}" for right in sorted(rights - needed)),
    ]


def test_the_rights_are_those_that_are_used(
    release: Release, admin: Kubectl, keda: None, new_namespace: Callable[[str], Kubectl]
) -> None:
    _do_everything(new_namespace("rights"))
    _tell_of_a_pool(admin)
    log = AuditLog(release.playground.audit_log, release.user, whole=True)
    eventually(lambda: _watches_keda(log), bool, 90, "KEDA's kind is watched soon after it came")
    assert _differences(log, granted(admin, release.name, release.namespace)) == []


def test_a_router_has_exactly_the_rights_that_it_uses(release: Release, admin: Kubectl) -> None:
    user = "system:serviceaccount:rights:routed-router"
    log = AuditLog(release.playground.audit_log, user, whole=True)
    rights = granted(admin, "routed-router", "rights")
    assert {(right.place, right.resource, right.verb) for right in rights} == {
        ("rights", resource, verb) for resource in ("modelroutes", "endpointslices") for verb in ("list", "watch")
    }
    assert _differences(log, rights) == []


@pytest.fixture(scope="module")
def narrow(
    release: Release,
    admin: Kubectl,
    operator: Kubectl,
    keda: None,
    new_namespace: Callable[[str], Kubectl],
    values: dict[str, Any],
) -> Iterator[AuditLog]:
    """The operator for two namespaces, with the log of a developer; what it asks of the API server from its start."""
    for name in (OURS, SECRETS):
        new_namespace(name)
    log = AuditLog(release.playground.audit_log, release.user)
    debug = {**values["operator"], "logLevel": "DEBUG"}
    release.install({**values, "operator": debug, "watch": {"namespaces": [OURS, SECRETS]}})
    operator("scale", "deployment/tierwise", "--replicas=0")
    operator("wait", "pod", "-l", "app.kubernetes.io/name=tierwise", "--for=delete", "--timeout=180s", timeout=210)
    operator("delete", "lease", "tierwise")  # so that it is made anew, as on the first day
    log.restart()
    plant(admin.within(SECRETS))
    operator("scale", "deployment/tierwise", "--replicas=1")
    operator("rollout", "status", "deployment/tierwise", "--timeout=180s", timeout=210)
    yield log
    release.install(values)


def test_in_named_namespaces_the_rights_are_those_that_are_used(
    release: Release, admin: Kubectl, narrow: AuditLog
) -> None:
    _do_everything(admin.within(OURS))
    rights = granted(admin, release.name, release.namespace)
    assert {right.place for right in rights} == {OURS, SECRETS, release.namespace}
    twins = [{replace(right, place="") for right in rights if right.place == each} for each in (OURS, SECRETS)]
    assert twins[0] == twins[1]
    elsewhere = {right for right in rights if right.place != SECRETS}
    assert _differences(narrow, elsewhere, apart=SECRETS) == []
    assert {each.namespace for each in narrow.requests() if each.allowed} <= {OURS, SECRETS, release.namespace}


def test_no_secret_and_no_prompt_leaves_its_place(
    playground: Playground, admin: Kubectl, operator: Kubectl, narrow: AuditLog
) -> None:
    kubectl = admin.within(SECRETS)
    wait_for_trouble(kubectl)
    answer = ask(playground, kubectl)
    assert answer["choices"], "the engine answered the prompt"
    assert ask_route(playground, kubectl)["choices"], "and through the route, over TLS"
    places = look(playground, kubectl, operator, narrow)
    for place, text in places.items():
        assert WITNESSES.get(place, "gated") in text, f"nothing was collected of {place}"
        assert [canary for canary in CANARIES if canary in text] == [], place
    assert_by_reference(kubectl)
