"""Checks the operator, as a process, on a real control plane.

It runs here beside the playground, so that it can be stopped, doubled and looked into; that it also runs as a pod, with
no right too many, is shown by the end-to-end tests.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from playground.handle import Playground
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import Kubectl, Object, Refused, eventually, has, ready
from tests.cluster.process import READY_SECONDS, Operator, alone, operating, service
from tierwise.api.crd import definition
from tierwise.api.kinds import MODEL_ROUTE, MODEL_TIER

pytestmark = pytest.mark.cluster
NAMESPACE = "loop"
LEASE = ("--lease-name", "loop", "--lease-namespace", NAMESPACE)


@pytest.fixture(scope="module")
def kubectl(playground: Playground) -> Iterator[Kubectl]:
    """kubectl in a namespace of these tests."""
    with alone(playground, NAMESPACE) as made:
        yield made


@pytest.fixture(scope="module")
def operator(playground: Playground, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """One operator for the tests that need only one."""
    with operating(playground, tmp_path_factory.mktemp("operator"), "one", *LEASE) as running:
        yield running


@pytest.fixture
def _clean(kubectl: Kubectl) -> Iterator[None]:
    yield
    kubectl("delete", "modeltiers", "--all", "--wait=false")


usual = pytest.mark.usefixtures("operator", "_clean")


def healed(kubectl: Kubectl, tier: Object) -> list[str]:
    """What was said about healing this very tier: Events outlive the tiers that they are about."""
    uid = tier["metadata"]["uid"]
    return [
        event["message"]
        for event in kubectl.find("events")
        if (event["reason"], event["involvedObject"]["uid"]) == ("Healed", uid)
    ]


def pods_ever_made(kubectl: Kubectl, tier: str) -> list[str]:
    """Names of all pods of a tier that were ever made: the ReplicaSets' events tell, also of those that are gone."""
    events = kubectl.find("events")
    return [
        event["message"]
        for event in events
        if event["reason"] == "SuccessfulCreate" and event["message"].startswith(f"Created pod: {tier}-predictor-")
    ]


@usual
def test_a_tier_becomes_ready_pods(kubectl: Kubectl) -> None:
    kubectl.apply(cheap("chat"))
    tier = ready(kubectl, "chat", 1)
    made = service(kubectl, "chat")
    owner = made["metadata"]["ownerReferences"][0]
    assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (tier["metadata"]["uid"], True, False)
    assert len(pods_ever_made(kubectl, "chat")) == 1
    assert tier["status"]["ready"] == "1/1"
    assert "finalizers" not in tier["metadata"]
    assert set(tier["metadata"].get("annotations", {})) <= {"kubectl.kubernetes.io/last-applied-configuration"}


@usual
def test_no_pod_is_ever_made_for_a_tier_pinned_at_zero(kubectl: Kubectl) -> None:
    kubectl.apply(cheap("none", replicas=0))
    service(kubectl, "none")
    eventually(
        lambda: kubectl.tier("none"),
        lambda tier: tier["status"].get("reason") == "ScaledToZero",
        READY_SECONDS,
        "scaled to zero",
    )
    time.sleep(5)
    assert kubectl.pods("none") == []
    assert pods_ever_made(kubectl, "none") == []


@usual
def test_many_tiers_at_once_start_no_pod_too_many(kubectl: Kubectl) -> None:
    names = [f"many{number}" for number in range(6)]
    kubectl.apply(*(cheap(name, replicas=1) for name in names))
    for name in names:
        ready(kubectl, name, 1)
        assert len(pods_ever_made(kubectl, name)) == 1, name


@usual
@pytest.mark.parametrize(
    "edit",
    [
        {"spec": {"predictor": {"minReplicas": 3}}},
        {"spec": {"predictor": {"nodeSelector": {"no": "where"}}}},
        {"spec": {"predictor": {"tolerations": [{"operator": "Exists"}]}}},
        {"metadata": {"labels": {"tierwise.io/tier": "other"}}},
        {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}},
        {"metadata": {"ownerReferences": None}},
    ],
    ids=["field", "field beside ours", "list beside ours", "label", "the label that we watch by", "owner"],
)
def test_a_hand_edit_is_healed_and_told(kubectl: Kubectl, edit: dict[str, Any]) -> None:
    kubectl.apply(cheap("healed", replicas=0))
    before = service(kubectl, "healed")
    tier = eventually(
        lambda: kubectl.tier("healed"), lambda tier: has(tier, "Provisioned", "True"), READY_SECONDS, "provisioned"
    )
    assert healed(kubectl, tier) == [], "nothing was to be healed before"
    kubectl("patch", "inferenceservice", "healed", "--type=merge", "-p", json.dumps(edit))
    if edit == {"metadata": {"ownerReferences": None}}:
        eventually(
            lambda: kubectl.tier("healed"),
            lambda tier: has(tier, "Provisioned", "False", "NotOurs"),
            READY_SECONDS,
            "not ours",
        )
        return
    eventually(
        lambda: kubectl.get("inferenceservice", "healed"),
        lambda found: (
            found is not None
            and found["spec"] == before["spec"]
            and found["metadata"]["labels"] == before["metadata"]["labels"]
        ),
        READY_SECONDS,
        "as it was",
    )
    said = eventually(lambda: healed(kubectl, tier), bool, READY_SECONDS, "it is told")
    assert "InferenceService healed: healed" in said[0]


@usual
def test_a_scale_by_hand_on_the_deployment_is_taken_back(kubectl: Kubectl) -> None:
    kubectl.apply(cheap("scaled", replicas=0))
    service(kubectl, "scaled")
    before = kubectl.get("deployment", "scaled-predictor")
    assert before is not None
    kubectl("scale", "deployment", "scaled-predictor", "--replicas=2")
    after = eventually(
        lambda: kubectl.get("deployment", "scaled-predictor"),
        lambda found: found is not None and found["spec"]["replicas"] == 0,
        READY_SECONDS,
        "0 replicas again",
    )
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 2, "up by hand, and down once"


@usual
def test_a_deleted_child_is_made_again_without_a_pod(kubectl: Kubectl) -> None:
    kubectl.apply(cheap("again", replicas=0))
    uid = service(kubectl, "again")["metadata"]["uid"]
    kubectl("delete", "inferenceservice", "again")
    eventually(
        lambda: kubectl.get("inferenceservice", "again"),
        lambda found: found is not None and found["metadata"]["uid"] != uid,
        READY_SECONDS,
        "a new InferenceService",
    )
    service(kubectl, "again")
    assert pods_ever_made(kubectl, "again") == []


@usual
def test_kubectl_scale_pins_the_tier(kubectl: Kubectl) -> None:
    kubectl.apply(cheap("pinned", replicas=1))
    ready(kubectl, "pinned", 1)
    kubectl("scale", "modeltier", "pinned", "--replicas=2")
    tier = ready(kubectl, "pinned", 2)
    assert tier["status"]["limitedBy"] == "Pinned"
    kubectl("scale", "mt", "pinned", "--replicas=0")
    eventually(lambda: kubectl.pods("pinned"), lambda pods: pods == [], READY_SECONDS, "no pod left")


@usual
def test_a_deleted_tier_leaves_nothing_behind(kubectl: Kubectl) -> None:
    kubectl.apply(cheap("gone", replicas=1))
    assert "finalizers" not in ready(kubectl, "gone", 1)["metadata"]
    kubectl("delete", "modeltier", "gone", "--timeout=60s", timeout=90)
    for kind, name in (("inferenceservice", "gone"), ("deployment", "gone-predictor"), ("service", "gone-predictor")):
        eventually(partial(kubectl.get, kind, name), lambda found: found is None, READY_SECONDS, f"no {kind}")
    eventually(lambda: kubectl.pods("gone"), lambda pods: pods == [], READY_SECONDS, "no pod")


@usual
def test_a_strangers_inference_service_is_left_alone(kubectl: Kubectl) -> None:
    stranger = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "theirs", "annotations": {"serving.kserve.io/autoscalerClass": "none"}},
        "spec": {"predictor": {"minReplicas": 0, "containers": [{"name": "kserve-container", "image": "echo"}]}},
    }
    kubectl.apply(stranger)
    kubectl.apply(cheap("theirs"))
    eventually(
        lambda: kubectl.tier("theirs"),
        lambda tier: has(tier, "Provisioned", "False", "NotOurs"),
        READY_SECONDS,
        "not ours",
    )
    found = kubectl.get("inferenceservice", "theirs")
    assert found is not None
    assert "ownerReferences" not in found["metadata"]
    kubectl("delete", "inferenceservice", "theirs")
    eventually(
        lambda: kubectl.get("inferenceservice", "theirs"),
        lambda again: again is not None and "ownerReferences" in again["metadata"],
        READY_SECONDS,
        "ours, now that the name is free",
    )


@usual
def test_a_deleted_crd_is_survived(kubectl: Kubectl, operator: Operator) -> None:
    # The other kind stays, and the API group with it.
    kubectl.apply(definition(MODEL_ROUTE), cheap("before", replicas=0))
    service(kubectl, "before")
    kubectl("delete", "crd", "modeltiers.tierwise.io", timeout=90)
    eventually(
        lambda: operator.probe("/readyz"),
        lambda got: "CRD is not installed" in got[1],
        READY_SECONDS,
        "the CRD is missed",
    )
    assert operator.probe("/healthz")[0] == 200
    kubectl.apply(definition(MODEL_TIER))
    kubectl("wait", "--for=condition=Established", "crd/modeltiers.tierwise.io", "--timeout=60s", timeout=90)
    eventually(lambda: operator.probe("/readyz"), lambda got: got[0] == 200, READY_SECONDS, "ready again")
    kubectl.apply(cheap("after", replicas=0))
    service(kubectl, "after")


@usual
def test_kserve_that_does_not_answer_is_named_and_waited_for(
    playground: Playground, kubectl: Kubectl, operator: Operator
) -> None:
    playground.control("stop", "kserve-manager")
    try:
        kubectl.apply(cheap("late", replicas=0))
        eventually(
            lambda: kubectl.tier("late"),
            lambda tier: has(tier, "Provisioned", "False", "KServeNotAnswering"),
            READY_SECONDS,
            "the condition names KServe",
        )
    finally:
        playground.control("start", "kserve-manager")
    service(kubectl, "late")
    assert operator.probe("/healthz")[0] == 200


def _api_server(kubectl: Kubectl) -> str:
    try:
        return kubectl("get", "--raw", "/readyz")
    except Refused as error:
        return str(error)


@usual
def test_an_api_server_that_comes_back_is_followed(
    playground: Playground, kubectl: Kubectl, operator: Operator
) -> None:
    kubectl.apply(cheap("through", replicas=0))
    service(kubectl, "through")
    playground.control("stop", "kube-apiserver")
    try:
        time.sleep(15)  # longer than the Lease lasts
        assert operator.probe("/healthz")[0] == 200
    finally:
        playground.control("start", "kube-apiserver")
    eventually(partial(_api_server, kubectl), lambda text: text == "ok", READY_SECONDS, "the API server")
    kubectl("scale", "modeltier", "through", "--replicas=1")
    ready(kubectl, "through", 1)
