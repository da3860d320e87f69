"""Gives each component and node an identity, and writes the token and kubeconfig files.

Each component and node is its own user with the groups that Kubernetes' bootstrap roles expect, so RBAC and
the node authorizer decide as on a real cluster. Tokens, not certificates: one line each, made in no time.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from playground.layout import API_URL, KSERVE_NAMESPACE, MONITORING_NAMESPACE, Layout
from playground.pki import write_private

KSERVE_ACCOUNT = "kserve-controller-manager"
PROMETHEUS_ACCOUNT = "prometheus"


@dataclass(frozen=True, slots=True)
class Identity:
    """A user of the API server; `file` is the stem of its kubeconfig."""

    file: str
    user: str
    groups: tuple[str, ...] = ()


def _service_account(file: str, namespace: str, name: str) -> Identity:
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return Identity(file, f"system:serviceaccount:{namespace}:{name}", groups)


def identities(nodes: Iterable[str]) -> list[Identity]:
    """Return everybody who talks to the API server, given the names of the nodes."""
    return [
        Identity("admin", "playground-admin", ("system:masters",)),
        Identity("controller-manager", "system:kube-controller-manager"),
        Identity("scheduler", "system:kube-scheduler"),
        Identity("services", "system:kube-proxy"),
        _service_account("kserve", KSERVE_NAMESPACE, KSERVE_ACCOUNT),
        _service_account("prometheus", MONITORING_NAMESPACE, PROMETHEUS_ACCOUNT),
        *(Identity(f"node-{node}", f"system:node:{node}", ("system:nodes",)) for node in nodes),
    ]


def write_identities(layout: Layout, nodes: Iterable[str], host_port: int) -> str:
    """Write the token file and every kubeconfig; return the administrator's token. Raises OSError."""
    ca = layout.ca.read_bytes()
    lines: list[str] = []
    admin = ""
    for number, identity in enumerate(identities(nodes)):
        token = secrets.token_urlsafe(24)
        groups = ",".join(identity.groups)
        lines.append(f'{token},{identity.user},{number},"{groups}"')
        write_kubeconfig(layout.kubeconfig(identity.file), API_URL, ca, token)
        if identity.file == "admin":
            admin = token
    write_private(layout.pki / "tokens.csv", ("\n".join(lines) + "\n").encode())
    write_kubeconfig(layout.host_kubeconfig, f"https://127.0.0.1:{host_port}", ca, admin)
    return admin


def write_kubeconfig(path: Path, server: str, ca: bytes, token: str) -> None:
    """Write a self-contained kubeconfig, mode 0600. Raises OSError."""
    name = "tierwise-playground"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {"server": server, "certificate-authority-data": base64.b64encode(ca).decode()},
            }
        ],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    write_private(path, yaml.safe_dump(document, sort_keys=False).encode())
