"""Renders what a route is made of: the Deployment of its routers, their Service, and what both need.

A change of the pod template replaces all routers, one after the other and each drained, so nothing may stand in it that
the routers read by themselves: policy, limits, tiers and money they take from the ModelRoute. What a router has spent
is kept beside it in the pod, so that a container that starts again goes on with the lease of its pod.

Secrets are mounted, not read: a missing one keeps the new pods from starting, which shows, while the old ones serve on.
The ConfigMap of a classifier is mounted too, and may be missing: then the rules decide, and a condition says so.

The role of a RoleBinding can never be changed, so its name has the ClusterRole's in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tierwise.act.render.digest import digest
from tierwise.api.base import API_VERSION
from tierwise.api.modelroute import ModelRouteSpec
from tierwise.api.modelroute_status import LadderTier
from tierwise.kube.objects import (
    CLASSIFIER,
    CLASSIFIER_KEY,
    CLIENTS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    PROVIDERS,
    RENDERED,
    ROLE_BINDINGS,
    ROUTE_LABEL,
    ROUTER_CHILDREN,
    ROUTER_SECRETS,
    ROUTER_SUFFIX,
    SALT,
    SERVICE_ACCOUNTS,
    SERVICES,
    TLS,
    TLS_CERTIFICATE,
    TLS_KEY,
)
from tierwise.types import RouteObject, RouterPod

Manifest = dict[str, Any]
CONTAINER = "router"
USER = 65532  # as in the image
OPENAI_PORT, METRICS_PORT = 8080, 9090
PRE_STOP_SECONDS = 5  # until every endpoint list has dropped the pod
MARGIN_SECONDS = 30  # for that, and for the end of the process
NAME_LABEL = "app.kubernetes.io/name"
_POD_UID = {"name": "POD_UID", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}}


@dataclass(frozen=True, slots=True)
class RouterParts:
    """What the objects of a route are rendered from. `spec` is the route's own.

    `account`: the UID of its ServiceAccount. Pods hold a token of the one that there was when they started, which is
    worth nothing once that was deleted, so another one replaces them."""

    route: RouteObject
    spec: ModelRouteSpec
    ladder: Sequence[LadderTier]
    pod: RouterPod
    account: str


def render_router(parts: RouterParts, plural: str) -> Manifest:
    """The object of this kind of a route, as a manifest for server-side apply. `plural` is one of ROUTER_CHILDREN,
    whose order is the one in which to apply them."""
    return _object(parts.route, plural, child_name(parts.route.key.name, plural, parts.pod), _BODIES[plural](parts))


def child_name(route: str, plural: str, pod: RouterPod) -> str:
    """The name of a route's child of this kind."""
    if plural == ROLE_BINDINGS:
        return f"{route}{ROUTER_SUFFIX}.{pod.cluster_role}"
    return route if plural == SERVICES else route + ROUTER_SUFFIX


def _object(route: RouteObject, plural: str, name: str, body: Manifest) -> Manifest:
    api_version, kind = ROUTER_CHILDREN[plural]
    metadata = {
        "labels": {MANAGED_BY_LABEL: MANAGED_BY, NAME_LABEL: "tierwise-router", ROUTE_LABEL: route.key.name},
        "name": name,
        "namespace": route.key.namespace,
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "blockOwnerDeletion": False,
                "controller": True,
                "kind": "ModelRoute",
                "name": route.key.name,
                "uid": route.uid,
            }
        ],
    }
    rendered = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}
    return {**rendered, "metadata": {**metadata, "annotations": {RENDERED: digest(rendered)}}}


def _selector(route: RouteObject) -> dict[str, str]:
    return {MANAGED_BY_LABEL: MANAGED_BY, ROUTE_LABEL: route.key.name}


def _service_account(_: RouterParts) -> Manifest:
    return {"automountServiceAccountToken": False}


def _role_binding(parts: RouterParts) -> Manifest:
    key = parts.route.key
    account = {"kind": "ServiceAccount", "name": key.name + ROUTER_SUFFIX, "namespace": key.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": parts.pod.cluster_role}
    return {"roleRef": role, "subjects": [account]}


def _service(parts: RouterParts) -> Manifest:
    name, port = ("http", 80) if parts.spec.tls is None else ("https", 443)
    ports = [{"name": name, "port": port, "protocol": "TCP", "targetPort": "http"}]
    return {"spec": {"ports": ports, "selector": _selector(parts.route), "type": "ClusterIP"}}


def _disruption_budget(parts: RouterParts) -> Manifest:
    return {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": _selector(parts.route)}}}


def _deployment(parts: RouterParts) -> Manifest:
    route = parts.route
    spec = {
        "replicas": parts.spec.replicas,
        "selector": {"matchLabels": _selector(route)},
        "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}, "type": "RollingUpdate"},
        "template": {
            "metadata": {
                "annotations": _annotations(parts.account),
                "labels": {**_selector(route), NAME_LABEL: "tierwise-router"},
            },
            "spec": _pod(parts),
        },
    }
    return {"spec": spec}


def _annotations(account: str) -> dict[str, str]:
    return {"kubectl.kubernetes.io/default-container": CONTAINER, "tierwise.io/service-account": account}


def _pod(parts: RouterParts) -> Manifest:
    route, spec, pod = parts.route, parts.spec, parts.pod
    mounted = _mounted(spec, parts.ladder)
    rendered: Manifest = {
        "automountServiceAccountToken": True,
        "containers": [_container(route, spec, mounted, pod)],
        "enableServiceLinks": False,
        "securityContext": {
            **({} if pod.namespace_user else {"fsGroup": USER, "runAsGroup": USER, "runAsUser": USER}),
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "serviceAccountName": route.key.name + ROUTER_SUFFIX,
        "terminationGracePeriodSeconds": spec.drain_seconds + MARGIN_SECONDS,
        "topologySpreadConstraints": [
            {
                "labelSelector": {"matchLabels": _selector(route)},
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
            }
        ],
        "volumes": [{"emptyDir": {}, "name": "tmp"}, *(volume for volume, _ in mounted)],
    }
    if pod.pull_secrets:
        rendered["imagePullSecrets"] = [{"name": name} for name in pod.pull_secrets]
    return rendered


def _container(
    route: RouteObject, spec: ModelRouteSpec, mounted: Sequence[tuple[Manifest, str]], pod: RouterPod
) -> Manifest:
    alive = {"httpGet": {"path": "/healthz", "port": "metrics", "scheme": "HTTP"}, "timeoutSeconds": 5}
    ready = {"httpGet": {"path": "/readyz", "port": "metrics", "scheme": "HTTP"}, "timeoutSeconds": 5}
    mounts = [{"mountPath": path, "name": volume["name"], "readOnly": True} for volume, path in mounted]
    return {
        "args": [
            "router",
            f"--route={route.key}",
            "--host=::" if pod.ipv6 else "--host=0.0.0.0",
            f"--port={OPENAI_PORT}",
            f"--metrics-port={METRICS_PORT}",
            f"--drain-seconds={spec.drain_seconds}",
            f"--secrets={ROUTER_SECRETS}",
            "--router-id=$(POD_UID)",
            "--spending-file=/tmp/spending.json",
            *_kept_verdicts(spec),
            f"--body-memory-mib={pod.body_memory_mib}",
            "--log-format=json",
        ],
        "env": [_POD_UID, *map(dict, pod.env)],
        "image": pod.image,
        "imagePullPolicy": pod.pull_policy,
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        "livenessProbe": {**alive, "failureThreshold": 3, "periodSeconds": 10},
        "name": CONTAINER,
        "ports": [
            {"containerPort": OPENAI_PORT, "name": "http", "protocol": "TCP"},
            {"containerPort": METRICS_PORT, "name": "metrics", "protocol": "TCP"},
        ],
        "readinessProbe": {**ready, "failureThreshold": 2, "periodSeconds": 2},
        "resources": dict(pod.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
        "startupProbe": {**alive, "failureThreshold": 60, "periodSeconds": 1},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"mountPath": "/tmp", "name": "tmp"}, *mounts],  # noqa: S108  (the place itself)
    }


def _kept_verdicts(spec: ModelRouteSpec) -> list[str]:
    if spec.quality is None or spec.quality.salt_secret_name is None:
        return []
    return ["--verdicts-file=/tmp/verdicts.jsonl", f"--salt-file={ROUTER_SECRETS}/{SALT}/{SALT}"]


def _mounted(spec: ModelRouteSpec, ladder: Sequence[LadderTier]) -> list[tuple[Manifest, str]]:
    """The volumes of Secrets and of a classifier, each with where it is mounted: of a provider's Secret only the key
    that is needed."""
    found: list[tuple[Manifest, str]] = []
    for tier in ladder:
        if tier.provider is not None and tier.provider.secret_key is not None:
            key = tier.provider.secret_key
            secret: Mapping[str, Any] = {
                "items": [{"key": key, "path": key}],
                "secretName": tier.provider.secret_name,
            }
            found.append(
                ({"name": f"provider-{tier.name}", "secret": secret}, f"{ROUTER_SECRETS}/{PROVIDERS}/{tier.name}")
            )
    if spec.clients.secret_name is not None:
        clients = {"name": CLIENTS, "secret": {"secretName": spec.clients.secret_name}}
        found.append((clients, f"{ROUTER_SECRETS}/{CLIENTS}"))
    if spec.tls is not None:
        items = [{"key": key, "path": key} for key in (TLS_CERTIFICATE, TLS_KEY)]
        found.append(
            ({"name": TLS, "secret": {"items": items, "secretName": spec.tls.secret_name}}, f"{ROUTER_SECRETS}/{TLS}")
        )
    if spec.quality is not None and spec.quality.salt_secret_name is not None:
        salt = {"items": [{"key": SALT, "path": SALT}], "secretName": spec.quality.salt_secret_name}
        found.append(({"name": SALT, "secret": salt}, f"{ROUTER_SECRETS}/{SALT}"))
    if spec.policy.classifier is not None:
        weights = {
            "items": [{"key": CLASSIFIER_KEY, "path": CLASSIFIER_KEY}],
            "name": spec.policy.classifier.config_map_name,
            "optional": True,
        }
        found.append(({"configMap": weights, "name": CLASSIFIER}, f"{ROUTER_SECRETS}/{CLASSIFIER}"))
    return found


_BODIES: Mapping[str, Callable[[RouterParts], Manifest]] = {
    SERVICE_ACCOUNTS: _service_account,
    ROLE_BINDINGS: _role_binding,
    SERVICES: _service,
    DISRUPTION_BUDGETS: _disruption_budget,
    DEPLOYMENTS: _deployment,
}
