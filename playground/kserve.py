"""Prepares KServe's own manifests for this cluster.

The CRDs, the ConfigMap, the RBAC rules and the webhooks come from KServe's own module, as released. Changed
is only what its installer would change (namespace, certificate) and what its documentation says for a cluster
without Knative and Istio. The files are kept as JSON, because parsing a megabyte of YAML takes seconds.
"""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from playground.layout import (
    HOST_ADDRESS,
    KSERVE_NAMESPACE,
    KSERVE_WEBHOOK_PORT,
    KSERVE_WEBHOOK_SERVICE,
)

Object = dict[str, Any]

_CRDS = ("config/crd/full", "config/crd/full/clusterstoragecontainer")
_RBAC = ("service_account", "role", "role_binding", "leader_election_role", "leader_election_role_binding")
_FILES = (
    "config/configmap/inferenceservice.yaml",
    "config/storagecontainers/default.yaml",
    *(f"config/rbac/{name}.yaml" for name in _RBAC),
    "config/webhook/service.yaml",
    "config/webhook/manifests.yaml",
)
_STORAGE_IMAGE = "kserve/storage-initializer:latest"


def export_manifests(module: Path, target: Path) -> None:
    """Copy KServe's manifests out of its module folder into `target`, whole or not at all. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".kserve-", dir=target.parent))
    try:
        crds = [path for folder in _CRDS for path in sorted((module / folder).glob("serving.kserve.io_*.yaml"))]
        _dump(partial / "crds.json", _documents(crds))
        _dump(partial / "objects.json", _documents(module / name for name in _FILES))
        partial.chmod(0o755)
        partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _documents(paths: Iterable[Path]) -> list[Object]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: list[Object] = []
    for path in paths:
        with path.open(encoding="utf-8") as stream:
            found.extend(document for document in yaml.load_all(stream, Loader=loader) if document)
    return found


def _dump(path: Path, objects: list[Object]) -> None:
    path.write_text(json.dumps(objects, sort_keys=True), encoding="utf-8")


def crds(manifests: Path) -> list[Object]:
    """Return KServe's CRDs, as released. Raises OSError."""
    found: list[Object] = json.loads((manifests / "crds.json").read_text(encoding="utf-8"))
    return found


def objects(manifests: Path, ca: bytes) -> list[Object]:
    """Return KServe's other objects as this cluster needs them; `ca` is the authority's PEM. Raises OSError."""
    released: list[Object] = json.loads((manifests / "objects.json").read_text(encoding="utf-8"))
    return [*(_adapt(item, ca) for item in released), *_webhook_endpoints()]


def _adapt(item: Object, ca: bytes) -> Object:
    match item["kind"]:
        case "ConfigMap":
            item["data"] = _configuration(item["data"])
        case "ClusterStorageContainer":
            item["spec"]["container"]["image"] = _STORAGE_IMAGE
        case "ServiceAccount" | "Role":
            item["metadata"]["namespace"] = KSERVE_NAMESPACE
        case "RoleBinding" | "ClusterRoleBinding":
            if item["kind"] == "RoleBinding":
                item["metadata"]["namespace"] = KSERVE_NAMESPACE
            for subject in item["subjects"]:
                subject["namespace"] = KSERVE_NAMESPACE
        case "Service":
            # The manager is a process, not a pod: its endpoints are ours to name.
            item["spec"].pop("selector")
        case "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration":
            item["metadata"].pop("creationTimestamp", None)
            for webhook in item["webhooks"]:
                client = webhook["clientConfig"]
                client["service"] |= {"name": KSERVE_WEBHOOK_SERVICE, "namespace": KSERVE_NAMESPACE}
                client["caBundle"] = base64.b64encode(ca).decode()
    return item


def _configuration(data: dict[str, str]) -> dict[str, str]:
    """Return KServe's settings for plain Deployments, without Knative, Istio or a Gateway."""
    ingress = json.loads(data["ingress"])
    changed = {
        "deploy": {"defaultDeploymentMode": "Standard"},
        "ingress": ingress | {"disableIngressCreation": True, "disableIstioVirtualHost": True},
    }
    kept = {key: value for key, value in data.items() if key != "_example"}
    return kept | {key: json.dumps(value, sort_keys=True) for key, value in changed.items()}


def _webhook_endpoints() -> list[Object]:
    """Before 1.33 the API server looks for a webhook in Endpoints, later in EndpointSlices."""
    older = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": KSERVE_WEBHOOK_SERVICE,
            "namespace": KSERVE_NAMESPACE,
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{"addresses": [{"ip": HOST_ADDRESS}], "ports": [{"port": KSERVE_WEBHOOK_PORT, "protocol": "TCP"}]}],
    }
    return [older, endpoint_slice(KSERVE_NAMESPACE, KSERVE_WEBHOOK_SERVICE, KSERVE_WEBHOOK_PORT)]


def endpoint_slice(namespace: str, service: str, port: int, port_name: str = "") -> Object:
    """Return endpoints that lead a Service without selector to a process on the playground's own address."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-playground",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [HOST_ADDRESS], "conditions": {"ready": True}}],
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
    }
