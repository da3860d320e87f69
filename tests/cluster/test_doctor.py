"""Each trouble that `tierwise doctor` knows, provoked on a real control plane, and found with its remedy."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from playground.handle import Playground
from tests.cluster.crds import installed
from tests.cluster.kubectl import Kubectl, eventually
from tierwise.api.kinds import GPU_POOL, KINDS, MODEL_ROUTE, MODEL_TIER
from tierwise.kube import kubeconfig
from tierwise.kube.user_client import UserClient
from tierwise_cli.doctor.checks import judge
from tierwise_cli.doctor.facts import Finding
from tierwise_cli.doctor.look import Look
from tierwise_cli.doctor_command import expected
from tierwise_cli.main import main

pytestmark = pytest.mark.cluster
NAMESPACE = "doctor"
MONITORING = "monitoring.coreos.com"


@pytest.fixture(scope="module")
def kubectl(playground: Playground) -> Iterator[Kubectl]:
    admin = Kubectl(playground.binaries / "kubectl", playground.kubeconfig)
    with installed(admin, MODEL_TIER), installed(admin, MODEL_ROUTE), installed(admin, GPU_POOL):
        admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield admin.within(NAMESPACE)
        admin("delete", "namespace", NAMESPACE, "--wait=false")


def found(kubectl: Kubectl, check: str, *, user: str = "", **options: Any) -> list[Finding]:
    """What is found of one subject."""
    access = kubeconfig.access(kubectl.kubeconfig, None)
    if user:
        access = kubeconfig.acting_as(access, user)
    digests = options.pop("expected", expected())
    with UserClient(access) as client:
        findings = judge(Look(client, NAMESPACE, **options).facts(digests))
    return [each for each in findings if each.check == check]


def trouble(findings: list[Finding]) -> list[tuple[str, str]]:
    """Level and text of what is not as it should be; each has a remedy."""
    bad = [each for each in findings if each.level in ("warning", "problem")]
    assert all(each.remedy for each in bad)
    return [(each.level, each.found) for each in bad]


@contextmanager
def existing(kubectl: Kubectl, *manifests: dict[str, Any]) -> Iterator[None]:
    """Objects for a while."""
    try:
        kubectl.apply(*manifests)
        yield
    finally:
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        kubectl("delete", "--ignore-not-found", "--wait=true", "-f", "-", stdin=body)


def deployment(name: str, labels: dict[str, str], image: str, **container: Any) -> dict[str, Any]:
    """A Deployment without replicas: what it says of itself is what counts."""
    pod = {"containers": [{"name": "main", "image": image, **container}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def operator(name: str, namespaces: str, prometheus: str = "") -> dict[str, Any]:
    """An operator as the chart installs it, of which no replica runs."""
    environment = {"TIERWISE_NAMESPACES": namespaces, "TIERWISE_PROMETHEUS_URL": prometheus}
    env = [{"name": key, "value": value} for key, value in environment.items()]
    labels = {"app.kubernetes.io/part-of": "tierwise", "app.kubernetes.io/version": "0.1.0"}
    return deployment(name, labels, "example.com/tierwise/operator:0.1.0", args=["run"], env=env)


def test_what_is_there_is_found(kubectl: Kubectl) -> None:
    assert [each.level for each in found(kubectl, "Kubernetes")] == ["ok"]
    assert [each.level for each in found(kubectl, "CRDs")] == ["ok"] * len(KINDS)
    assert [each.level for each in found(kubectl, "KServe's webhook")] == ["ok"]
    assert [each.level for each in found(kubectl, "Rights")] == ["ok"]
    assert [each.level for each in found(kubectl, "GPUs")] == ["ok"]
    assert [each.level for each in found(kubectl, "Clock")] == ["ok"]


def test_an_api_server_that_is_away(kubectl: Kubectl) -> None:
    with UserClient(kubeconfig.Access("http://127.0.0.1:9")) as client:
        findings = judge(Look(client, NAMESPACE).facts(expected()))
    assert [each.check for each in findings if each.level == "problem"] == ["Kubernetes"]
    assert "cannot be reached" in findings[0].found


def test_crds_that_are_missing_or_of_another_release(kubectl: Kubectl) -> None:
    digests = expected() | {"gpufarms.tierwise.io": "x", MODEL_ROUTE.crd_name: "older"}
    other, missing = trouble(found(kubectl, "CRDs", expected=digests))
    assert other[0] == "warning"
    assert other[1].startswith("modelroutes.tierwise.io is of another release than this command")
    assert missing == ("problem", "gpufarms.tierwise.io is not installed")


def test_a_clock_that_is_wrong(kubectl: Kubectl) -> None:
    assert trouble(found(kubectl, "Clock", now=lambda: time.time() + 100))[0][0] == "problem"
    ((level, said),) = trouble(found(kubectl, "Clock", now=lambda: time.time() - 15))
    assert level == "warning"
    assert said.endswith("behind the API server")


def test_a_kserve_that_is_too_old(kubectl: Kubectl) -> None:
    labels = {"control-plane": "kserve-controller-manager"}
    with existing(kubectl, deployment("kserve-old", labels, "kserve/kserve-controller:v0.11.0")):
        assert ("problem", "v0.11.0 is too old") in trouble(found(kubectl, "KServe"))
    with existing(kubectl, deployment("kserve-down", labels, "kserve/kserve-controller:v0.19.0")):
        assert ("problem", "no replica of its controller is ready") in trouble(found(kubectl, "KServe"))


def test_a_webhook_that_does_not_answer(kubectl: Kubectl, playground: Playground) -> None:
    playground.control("pause", "kserve-manager")
    try:
        ((level, said),) = trouble(found(kubectl, "KServe's webhook"))
    finally:
        playground.control("resume", "kserve-manager")
    assert level == "problem"
    assert "failed calling webhook" in said


def test_two_installations_and_one_that_does_not_watch_this_namespace(kubectl: Kubectl) -> None:
    with existing(kubectl, operator("one", "a,b"), operator("two", "b,c")):
        said = [text for _, text in trouble(found(kubectl, "Operator"))]
    assert f"no replica of {NAMESPACE}/one is ready" in said
    assert f"{NAMESPACE}/one and {NAMESPACE}/two watch the same namespaces: only the older one acts there" in said
    assert f"nobody watches namespace {NAMESPACE}: a tier there stays as it is" in said


def test_a_prometheus_that_does_not_answer(kubectl: Kubectl, playground: Playground) -> None:
    assert [each.level for each in found(kubectl, "Prometheus", prometheus=playground.prometheus_url)] == ["ok"]
    assert trouble(found(kubectl, "Prometheus", prometheus="http://127.0.0.1:9"))[0][0] == "problem"
    with existing(kubectl, operator("one", "", "http://prometheus-operated.nowhere.svc:9090")):
        ((level, said),) = trouble(found(kubectl, "Prometheus"))
    assert level == "problem"
    assert said.startswith("http://prometheus-operated.nowhere.svc:9090 does not answer")


def crd(name: str) -> dict[str, Any]:
    """As much of a kind of the Prometheus operator as is read."""
    plural = {"PodMonitor": "podmonitors", "Prometheus": "prometheuses"}[name]
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": name, "plural": plural, "singular": name.lower(), "listKind": f"{name}List"}
    spec = {"group": MONITORING, "scope": "Namespaced", "names": names, "versions": [version]}
    metadata = {"name": f"{plural}.{MONITORING}"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": spec,
    }


def monitoring(kind: str, labels: dict[str, str], **spec: Any) -> dict[str, Any]:
    metadata = {"name": "one", "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": f"{MONITORING}/v1", "kind": kind, "metadata": metadata, "spec": spec}


def test_a_podmonitor_that_nobody_selects(kubectl: Kubectl) -> None:
    assert trouble(found(kubectl, "PodMonitor")) == [("warning", "the cluster has no PodMonitors")]
    ours = {"app.kubernetes.io/part-of": "tierwise"}
    selecting = monitoring("Prometheus", {}, podMonitorSelector={"matchLabels": {"release": "kube"}})
    with ExitStack() as stack:
        stack.enter_context(existing(kubectl, crd("PodMonitor"), crd("Prometheus")))
        kubectl(
            "wait", "--for=condition=Established", f"crd/podmonitors.{MONITORING}", f"crd/prometheuses.{MONITORING}"
        )
        stack.enter_context(existing(kubectl, selecting))
        # a kind that has just been made is not listed at once
        seen = eventually(lambda: trouble(found(kubectl, "PodMonitor")), bool, 30, "PodMonitors are looked at")
        assert seen == [("problem", "Tierwise has no PodMonitor: its engines are not measured")]
        with existing(kubectl, monitoring("PodMonitor", ours)):
            assert trouble(found(kubectl, "PodMonitor"))[0][1].endswith("they want PodMonitors with release: kube")
        with existing(kubectl, monitoring("PodMonitor", {**ours, "release": "kube"})):
            assert trouble(found(kubectl, "PodMonitor")) == []


def test_rights_that_are_missing(kubectl: Kubectl) -> None:
    user = f"system:serviceaccount:{NAMESPACE}:default"
    ((level, said),) = trouble(found(kubectl, "Rights", user=user))
    assert level == "warning"
    assert "create modeltiers" in said
    (gpus,) = found(kubectl, "GPUs", user=user)
    assert gpus.level == "unknown"
    assert gpus.found.startswith("you may not see it: list nodes: nodes is forbidden")


def test_nodes_with_gpus_that_take_no_pods(kubectl: Kubectl) -> None:
    nodes = [
        each["metadata"]["name"]
        for each in kubectl.find("nodes")
        if int(each["status"]["allocatable"].get("nvidia.com/gpu", 0))
    ]
    try:
        kubectl("cordon", *nodes)
        ((level, said),) = trouble(found(kubectl, "GPUs"))
    finally:
        kubectl("uncordon", *nodes)
    assert (level, said) == ("problem", f"no node with GPUs can take pods: {', '.join(nodes)}")


def test_a_tier_that_nobody_looks_at(
    kubectl: Kubectl, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"model": {"name": "chat", "uri": "hf://org/chat"}}
    tier = {"apiVersion": "tierwise.io/v1alpha1", "kind": "ModelTier", "metadata": {"name": "chat"}, "spec": spec}
    with existing(kubectl, {**tier, "metadata": {"name": "chat", "namespace": NAMESPACE}}):
        assert trouble(found(kubectl, "Tiers")) == [("warning", "chat is not looked at yet")]
        monkeypatch.setenv("KUBECONFIG", str(kubectl.kubeconfig))
        assert main(["doctor", "-n", NAMESPACE]) == 1  # there is no operator
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:3] == ["problem", "Operator", "no"] for line in lines)
    assert any(f"→ tierwise explain chat -n {NAMESPACE}" in line for line in lines)
