"""Defines the objects that exist in the cluster before the first user's.

Namespaces, what lets Prometheus find pods, the Service under which kube-prometheus-stack users know it, and
volumes for claims to bind to.
"""

from __future__ import annotations

from typing import Any

from playground.identities import PROMETHEUS_ACCOUNT
from playground.kserve import endpoint_slice
from playground.layout import (
    KSERVE_NAMESPACE,
    MONITORING_NAMESPACE,
    PROMETHEUS_PORT,
    PROMETHEUS_SERVICE,
)

Object = dict[str, Any]
VOLUMES = 16
_RBAC = "rbac.authorization.k8s.io"


def namespaces() -> list[Object]:
    """Return the namespaces that the other objects live in."""
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for name in (KSERVE_NAMESPACE, MONITORING_NAMESPACE)
    ]


def monitoring() -> list[Object]:
    """Return Prometheus' identity, its right to see pods, and its Service."""
    metadata = {"name": "playground-prometheus"}
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": PROMETHEUS_ACCOUNT, "namespace": MONITORING_NAMESPACE},
        },
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": metadata,
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
        },
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": metadata["name"]},
            "subjects": [
                {
                    "kind": "ServiceAccount",
                    "name": PROMETHEUS_ACCOUNT,
                    "namespace": MONITORING_NAMESPACE,
                }
            ],
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": PROMETHEUS_SERVICE, "namespace": MONITORING_NAMESPACE},
            "spec": {"ports": [{"name": "http-web", "port": PROMETHEUS_PORT, "protocol": "TCP"}]},
        },
        endpoint_slice(MONITORING_NAMESPACE, PROMETHEUS_SERVICE, PROMETHEUS_PORT, "http-web"),
    ]


def storage() -> list[Object]:
    """Return the default storage class and volumes of it: the scheduler wants claims bound.

    Nothing is ever written to the path: the kubelet gives each claim a folder of its own (DIR/pvc).
    """
    name = "playground"
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    storage_class: Object = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": default},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "Immediate",
        "reclaimPolicy": "Retain",
    }
    volumes = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{name}-{number}"},
            "spec": {
                "storageClassName": name,
                "capacity": {"storage": "4Ti"},
                "accessModes": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": "/nonexistent"},
            },
        }
        for number in range(VOLUMES)
    ]
    return [storage_class, *volumes]
