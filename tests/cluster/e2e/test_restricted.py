"""Checks that everything works under the restricted Pod Security level, and that the exceptions are reported.

The real API server admits the pods: of the operator, as the chart makes it, and of tiers whose weights the engine loads
itself (hf://) or finds mounted (pvc://). What KServe adds for s3:// and oci:// has no security context as shipped; the
tier says so, with the way out, and that way out is tried here too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import Kubectl, Object, Refused, conditions, eventually, has, ready

pytestmark = pytest.mark.cluster
SECONDS = 180.0
INITIALIZER = "clusterstoragecontainer/default"
RESTRICTED_CONTEXT = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CLAIM: Object = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "weights"},
    "spec": {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "16Gi"}}},
}


def _tier(name: str, uri: str, **spec: Any) -> Object:
    return cheap(name, model={"name": name, "uri": uri}, quantization=None, **spec)


@pytest.fixture(scope="module")
def kubectl(new_namespace: Callable[[str], Kubectl]) -> Kubectl:
    return new_namespace("enforced")


@pytest.fixture
def permitted(admin: Kubectl) -> Iterator[None]:
    """KServe's storage initializer with the security context that it lacks."""
    change: Object = {"spec": {"container": {"securityContext": RESTRICTED_CONTEXT}}}
    admin("patch", INITIALIZER, "--type=merge", "-p", json.dumps(change))
    yield
    change["spec"]["container"]["securityContext"] = None
    admin("patch", INITIALIZER, "--type=merge", "-p", json.dumps(change))


def test_the_namespaces_refuse_what_is_not_restricted(kubectl: Kubectl, operator: Kubectl) -> None:
    for place in (kubectl, operator):
        with pytest.raises(Refused, match='violates PodSecurity "restricted'):
            place("run", "plain", "--image=playground/python", "--dry-run=server")


def test_the_operator_and_engines_that_load_for_themselves_run_there(kubectl: Kubectl, operator: Kubectl) -> None:
    (pod,) = operator.find("pods", "app.kubernetes.io/name=tierwise")
    assert pod["status"]["phase"] == "Running"
    tiers = {"hub": "hf://Qwen/Qwen3-8B", "claim": "pvc://weights/qwen3-8b"}
    kubectl.apply(CLAIM, *(_tier(name, uri, replicas=1) for name, uri in tiers.items()))
    for replicas in (1, 2, 1):
        kubectl("scale", "modeltier", *tiers, f"--replicas={replicas}")
        for name in tiers:
            ready(kubectl, name, replicas)


def _refusal(kubectl: Kubectl, name: str) -> str:
    """Why no pod of this tier is made."""
    seen = eventually(
        lambda: kubectl.tier(name), lambda tier: has(tier, "Provisioned", "False", "PodRefused"), SECONDS, "PodRefused"
    )
    assert kubectl.pods(name) == []
    return str(conditions(seen)["Provisioned"]["message"])


def test_what_kserve_adds_for_other_stores_is_refused_and_the_tier_says_what_to_do(kubectl: Kubectl) -> None:
    kubectl.apply(_tier("bucket", "s3://models/qwen3-8b"), _tier("car", "oci://registry.example.com/qwen3:8b"))
    for name, container, way in (
        ("bucket", "storage-initializer", "or give KServe's ClusterStorageContainer a restricted securityContext"),
        ("car", "modelcar", "KServe's model car (oci://) does not meet it"),
    ):
        message = _refusal(kubectl, name)
        assert 'violates PodSecurity "restricted' in message
        assert container in message
        assert way in message
        assert "Use hf:// or pvc://" in message


@pytest.mark.usefixtures("permitted")
def test_a_storage_initializer_with_a_security_context_is_admitted(kubectl: Kubectl) -> None:
    kubectl.apply(_tier("fetched", "gs://models/qwen3-8b"))
    ready(kubectl, "fetched", 1)
    (pod,) = kubectl.pods("fetched")
    (initializer,) = pod["spec"]["initContainers"]
    assert initializer["name"] == "storage-initializer"
    assert initializer["securityContext"] == RESTRICTED_CONTEXT
