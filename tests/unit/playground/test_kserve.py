"""Checks that KServe's manifests become objects that fit this cluster, with nothing else changed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from playground import kserve

NAMES = {"service_account": "ServiceAccount", "role": "ClusterRole", "leader_election_role": "Role"}
BINDINGS = {"role_binding": "ClusterRoleBinding", "leader_election_role_binding": "RoleBinding"}
WEBHOOK = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingWebhookConfiguration",
    "metadata": {"creationTimestamp": None, "name": "hook"},
    "webhooks": [
        {
            "name": "defaulter",
            "failurePolicy": "Fail",
            "clientConfig": {
                "service": {"name": "$(webhookServiceName)", "namespace": "$(kserveNamespace)", "path": "/m"}
            },
        }
    ],
}
CONFIGURATION = {
    "_example": "a page of comments",
    "deploy": '{"defaultDeploymentMode": "Serverless"}',
    "ingress": '{"ingressGateway": "a/b", "disableIngressCreation": false}',
    "storageInitializer": '{"memoryLimit": "1Gi"}',
}


def _write(path: Path, *documents: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump_all(documents))


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A module folder laid out as KServe's, with one object of each kind that is treated specially."""
    config = tmp_path / "module" / "config"
    for folder, name in (("full", "a"), ("full", "b"), ("full/clusterstoragecontainer", "c")):
        _write(config / "crd" / folder / f"serving.kserve.io_{name}.yaml", {"kind": "CRD", "metadata": {"name": name}})
    _write(config / "crd" / "full" / "kustomization.yaml", {"kind": "Kustomization"})
    _write(config / "configmap" / "inferenceservice.yaml", {"kind": "ConfigMap", "metadata": {}, "data": CONFIGURATION})
    container = {"kind": "ClusterStorageContainer", "metadata": {}, "spec": {"container": {"image": "replace"}}}
    _write(config / "storagecontainers" / "default.yaml", container)
    for name, kind in NAMES.items():
        _write(config / "rbac" / f"{name}.yaml", {"kind": kind, "metadata": {"name": name}})
    for name, kind in BINDINGS.items():
        _write(
            config / "rbac" / f"{name}.yaml", {"kind": kind, "metadata": {"name": name}, "subjects": [{"name": "x"}]}
        )
    _write(
        config / "webhook" / "service.yaml", {"kind": "Service", "metadata": {}, "spec": {"selector": {}, "ports": []}}
    )
    _write(config / "webhook" / "manifests.yaml", WEBHOOK, WEBHOOK | {"kind": "ValidatingWebhookConfiguration"})
    return tmp_path / "module"


@pytest.fixture
def found(module: Path, tmp_path: Path) -> dict[str, dict[str, Any]]:
    kserve.export_manifests(module, tmp_path / "out")
    return {item["kind"]: item for item in kserve.objects(tmp_path / "out", b"the authority")}


def test_the_crds_are_those_of_both_folders(module: Path, tmp_path: Path) -> None:
    kserve.export_manifests(module, tmp_path / "out")
    assert [crd["metadata"]["name"] for crd in kserve.crds(tmp_path / "out")] == ["a", "b", "c"]


def test_an_incomplete_module_leaves_nothing_behind(module: Path, tmp_path: Path) -> None:
    (module / "config" / "webhook" / "manifests.yaml").unlink()
    with pytest.raises(FileNotFoundError, match="manifests"):
        kserve.export_manifests(module, tmp_path / "elsewhere" / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("kind", ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"])
def test_webhooks_lead_to_the_service_and_keep_everything_else(found: dict[str, Any], kind: str) -> None:
    client = found[kind]["webhooks"][0]["clientConfig"]
    assert client["service"] == {"name": "kserve-webhook-server-service", "namespace": "kserve", "path": "/m"}
    assert base64.b64decode(client["caBundle"]) == b"the authority"
    assert found[kind]["webhooks"][0]["failurePolicy"] == "Fail"


def test_the_service_leads_to_the_manager_s_process(found: dict[str, Any]) -> None:
    assert "selector" not in found["Service"]["spec"]
    assert found["EndpointSlice"]["endpoints"][0]["addresses"] == ["10.200.0.1"]
    older = found["Endpoints"]  # where an API server before 1.33 looks for them
    assert (older["metadata"]["name"], older["metadata"]["namespace"]) == ("kserve-webhook-server-service", "kserve")
    assert older["subsets"][0]["addresses"] == [{"ip": "10.200.0.1"}]
    assert older["subsets"][0]["ports"][0]["port"] == found["EndpointSlice"]["ports"][0]["port"]
    assert found["EndpointSlice"]["metadata"]["labels"]["kubernetes.io/service-name"] == "kserve-webhook-server-service"


def test_bindings_name_the_account_s_namespace(found: dict[str, Any]) -> None:
    assert found["ClusterRoleBinding"]["subjects"] == [{"name": "x", "namespace": "kserve"}]
    assert "namespace" not in found["ClusterRoleBinding"]["metadata"]
    for kind in ("RoleBinding", "Role", "ServiceAccount"):
        assert found[kind]["metadata"]["namespace"] == "kserve"
    assert "namespace" not in found["ClusterRole"]["metadata"]


def test_the_configuration_is_for_plain_deployments(found: dict[str, Any]) -> None:
    data = {key: json.loads(value) for key, value in found["ConfigMap"]["data"].items()}
    assert data == {
        "deploy": {"defaultDeploymentMode": "Standard"},
        "ingress": {"ingressGateway": "a/b", "disableIngressCreation": True, "disableIstioVirtualHost": True},
        "storageInitializer": {"memoryLimit": "1Gi"},
    }
