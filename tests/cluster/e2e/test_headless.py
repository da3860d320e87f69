"""The URL in the status answers as it stands, from a pod: with KServe's usual Services, and with headless ones
(`serviceClusterIPNone: true`, the default of OpenShift AI)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from playground.release import Release
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import Kubectl, Object, eventually, ready

pytestmark = pytest.mark.cluster
SECONDS = 90.0
ASK = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1] + '/models', timeout=10).status)"


def _client(name: str, url: str) -> Object:
    """A pod that asks once."""
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "c",
        "image": "playground/python:1",
        "command": ["python3", "-c", ASK, url],
        "securityContext": restricted,
    }
    pod = {"runAsNonRoot": True, "runAsUser": 2000, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "containers": [container], "securityContext": pod}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def headless(admin: Kubectl) -> Iterator[None]:
    """KServe makes headless Services while the test runs."""
    kserve = admin.within("kserve")
    before = kserve.get("configmap", "inferenceservice-config")
    assert before is not None
    change = {"data": {"service": json.dumps({"serviceClusterIPNone": True})}}
    kserve("patch", "configmap", "inferenceservice-config", "--type=merge", "-p", json.dumps(change))
    yield
    kept = {"data": {"service": before["data"].get("service")}}
    kserve("patch", "configmap", "inferenceservice-config", "--type=merge", "-p", json.dumps(kept))


def _answers(kubectl: Kubectl, tier: str) -> str:
    """The URL of the tier, after a pod has got an answer there."""
    url = str(kubectl.tier(tier)["status"]["url"])
    kubectl.apply(_client(f"{tier}-client", url))

    def phase() -> str:
        pod = kubectl.get("pod", f"{tier}-client")
        return "" if pod is None else str(pod["status"].get("phase", ""))

    ended = eventually(phase, lambda said: said in ("Succeeded", "Failed"), SECONDS, f"{url} was asked")
    assert ended == "Succeeded", kubectl("logs", f"{tier}-client")
    return url


def test_the_url_of_a_headless_service_answers(
    release: Release, headless: None, new_namespace: Callable[[str], Kubectl]
) -> None:
    kubectl = new_namespace("headless")
    kubectl.apply(cheap("bare", replicas=1))
    ready(kubectl, "bare", 1, SECONDS)
    service = kubectl.get("service", "bare-predictor")
    assert service is not None
    assert service["spec"]["clusterIP"] == "None"
    assert _answers(kubectl, "bare") == "http://bare-predictor.headless.svc:8000/v1"


def test_the_url_of_a_service_answers(release: Release, new_namespace: Callable[[str], Kubectl]) -> None:
    kubectl = new_namespace("with-address")
    kubectl.apply(cheap("usual", replicas=1))
    ready(kubectl, "usual", 1, SECONDS)
    assert _answers(kubectl, "usual") == "http://usual-predictor.with-address.svc/v1"
