"""Writes the files that must exist before anything starts.

Certificates, tokens, kubeconfigs and configuration files: all made anew for each instance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from playground.components import AUDIT_POLICY, kserve_certificates
from playground.control import ask
from playground.errors import PlaygroundError
from playground.identities import write_identities
from playground.layout import (
    API_SERVICE_ADDRESS,
    CLUSTER_DOMAIN,
    HOST_ADDRESS,
    KSERVE_NAMESPACE,
    KSERVE_WEBHOOK_SERVICE,
    Layout,
)
from playground.pki import Authority, write_signing_pair
from playground.prometheus import configuration

IMAGES = Path(__file__).parent / "images.yaml"


def write(layout: Layout, nodes: Sequence[str], api_port: int, scrape_interval: float) -> str:
    """Fill the state folder; return the administrator's token.

    `api_port` is the API server's port on the host's loopback. Raises OSError.
    """
    layout.make()
    _certificates(layout, nodes)
    token = write_identities(layout, nodes, api_port)
    (layout.config / "audit-policy.yaml").write_text(AUDIT_POLICY, encoding="utf-8")
    scraping = json.dumps(configuration(layout, scrape_interval), indent=2)
    (layout.config / "prometheus.json").write_text(scraping, encoding="utf-8")
    return token


def write_images(layout: Layout, engine: Mapping[str, Any], further: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write this instance's own table of images: `further` rows, and the simulated engine with these settings.

    Without either (see tierwise_sim.config for the settings) the rows of images.yaml alone count. Raises OSError.
    """
    rows = yaml.safe_load(IMAGES.read_text(encoding="utf-8"))["images"]
    ours = [row for row in rows if engine and row["match"][0].startswith("vllm/")]
    for row in ours:
        row["env"] = {**row.get("env", {}), "TIERWISE_SIM_CONFIG": json.dumps(engine)}
    layout.images.write_text(json.dumps({"images": [*further, *ours]}, indent=2), encoding="utf-8")


def _certificates(layout: Layout, nodes: Sequence[str]) -> None:
    authority = Authority.create()
    layout.ca.write_bytes(authority.pem)
    short = "kubernetes.default.svc"
    names = ("kubernetes", "kubernetes.default", short, f"{short}.{CLUSTER_DOMAIN}", "localhost")
    addresses = (HOST_ADDRESS, API_SERVICE_ADDRESS, "127.0.0.1")
    authority.serve(layout.pki, "apiserver", [*names, *addresses])
    authority.client(layout.pki, "kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
    authority.serve(layout.state, "kubelet", ["kubelet", HOST_ADDRESS, *nodes])
    webhook = f"{KSERVE_WEBHOOK_SERVICE}.{KSERVE_NAMESPACE}.svc"
    folder = kserve_certificates(layout)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority.serve(folder, "tls", [webhook, f"{webhook}.{CLUSTER_DOMAIN}"])
    write_signing_pair(layout.pki / "service-account.key", layout.pki / "service-account.pub")


def alive(state: Path) -> bool:
    """Tell whether a playground answers in this state folder."""
    try:
        ask(Layout(state).control_socket, "status", seconds=2)
    except PlaygroundError:
        return False
    return True
