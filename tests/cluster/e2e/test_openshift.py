"""A policy like OpenShift's restricted-v2 admits a tier that leaves its user to the namespace.

It refuses one that names its own, and the message says which number is wrong. An imitation: nobody fills in the numbers
here, as OpenShift does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from playground.release import Release
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import Kubectl, Object, conditions, eventually, has, ready

pytestmark = pytest.mark.cluster
NAMESPACE, SECONDS = "ocp", 90.0
USER = "object.spec.securityContext.runAsUser"
MESSAGE = ".spec.securityContext.runAsUser: Invalid value: must be in the ranges: [1000770000, 1000779999]"


def _policy() -> tuple[Object, Object]:
    where = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    inside = f"!has({USER}) || ({USER} >= 1000770000 && {USER} < 1000780000)"
    group = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "restricted-v2-range"}}
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [where]},
        "validations": [{"expression": inside, "message": MESSAGE}],
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
    binding = {
        "policyName": "restricted-v2-range",
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": selector},
    }
    return (
        {**group, "kind": "ValidatingAdmissionPolicy", "spec": policy},
        {**group, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    )


@pytest.fixture
def restricted_range(admin: Kubectl) -> Iterator[None]:
    admin.apply(*_policy())
    yield
    admin("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "restricted-v2-range")


def test_the_users_of_the_namespace_are_left_to_the_cluster(
    release: Release, restricted_range: None, new_namespace: Callable[[str], Kubectl]
) -> None:
    kubectl = new_namespace(NAMESPACE)
    kubectl.apply(cheap("fixed", replicas=1), cheap("left", replicas=1, securityContext="Namespace"))
    seen = eventually(
        lambda: kubectl.tier("fixed"), lambda tier: has(tier, "Provisioned", "False", "PodRefused"), SECONDS, "refused"
    )
    assert "runAsUser: Invalid value" in conditions(seen)["Provisioned"]["message"]
    ready(kubectl, "left", 1, SECONDS)
    kubectl.apply(cheap("fixed", replicas=1, securityContext="Namespace"))
    ready(kubectl, "fixed", 1, SECONDS)


def test_a_tier_is_restarted_by_an_annotation(release: Release, new_namespace: Callable[[str], Kubectl]) -> None:
    """One new pod, after which the old one ends; taking the annotation away changes nothing."""
    kubectl = new_namespace("restarted")
    kubectl.apply(cheap("again", replicas=1))
    ready(kubectl, "again", 1, SECONDS)
    (before,) = kubectl.pods("again")
    annotation = "kubectl.kubernetes.io/restartedAt"
    kubectl("annotate", "modeltier", "again", f"{annotation}=2026-11-30T09:00:00Z")

    def names() -> list[str]:
        return [pod["metadata"]["name"] for pod in kubectl.pods("again")]

    eventually(names, lambda found: len(found) == 1 and found[0] != before["metadata"]["name"], SECONDS, "another pod")
    (after,) = kubectl.pods("again")
    assert after["metadata"]["annotations"][annotation] == "2026-11-30T09:00:00Z"
    kubectl("annotate", "modeltier", "again", f"{annotation}-")
    ready(kubectl, "again", 1, SECONDS)
    assert names() == [after["metadata"]["name"]]
