"""Prepares the namespaces, operators and proxy of a fault test.

A namespace for the tiers, one for the operators and their Lease, and a proxy before the API server. Each operator is a
process of its own with a ServiceAccount of its own and with the rights of the chart, no more: so the audit log tells
them apart, and a right that is missing under a fault shows.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from playground.handle import Playground
from playground.identities import write_kubeconfig
from playground.pki import Authority
from playground.release import CHARTS
from tests.cluster.kubectl import Kubectl
from tests.cluster.process import Operator, alone, operating
from tests.faults.ledger import Ledger
from tests.faults.proxy import Proxy

# What a leader needs to be gone for another to take over: shorter than by default, and in the same proportions.
SHORT_LEASE = ("--lease-seconds", "6", "--lease-renew-deadline-seconds", "4", "--lease-retry-seconds", "1")
TOKEN_SECONDS = 7200


@dataclass(slots=True)
class Stage:
    """One namespace of tiers, who serves it, and what they did."""

    playground: Playground
    kubectl: Kubectl
    operators: Kubectl
    folder: Path
    proxy: Proxy
    ledger: Ledger
    _authority: Path
    _started: int = 0

    def operator(
        self,
        identity: str = "one",
        *options: str,
        prometheus_url: str = "",
        direct: bool = False,
        module: str = "tierwise_cli",
    ) -> AbstractContextManager[Operator]:
        """Run an operator behind the proxy (`direct`: without it), once more if it ran before; `module`: see
        `operating`."""
        self._started += 1
        folder = self.folder / f"run-{self._started}"
        folder.mkdir()
        lease = ("--lease-name", "tierwise", "--lease-namespace", self.operators.namespace)
        return operating(
            self.playground,
            folder,
            identity,
            *lease,
            *options,
            kubeconfig=self._kubeconfig(identity, direct),
            prometheus_url=prometheus_url,
            module=module,
        )

    def replicas(self, tier: str) -> int:
        """How many replicas a tier is asked to have."""
        deployment = self.kubectl.get("deployment", f"{tier}-predictor")
        assert deployment is not None
        return int(deployment["spec"]["replicas"])

    def _kubeconfig(self, identity: str, direct: bool) -> Path:
        path = self.folder / f"{identity}{'-direct' if direct else ''}.kubeconfig"
        token = self.operators("create", "token", identity, f"--duration={TOKEN_SECONDS}s").strip()
        server, ca = self.proxy.url, self._authority
        if direct:
            server, ca = api_server(self.playground), self.playground.layout.ca
        write_kubeconfig(path, server, ca.read_bytes(), token)
        return path


def api_server(playground: Playground) -> str:
    """Where the API server answers on this machine."""
    document = yaml.safe_load(playground.kubeconfig.read_text(encoding="utf-8"))
    return str(document["clusters"][0]["cluster"]["server"])


@contextmanager
def staged(
    playground: Playground, namespace: str, folder: Path, identities: Sequence[str] = ("one", "two")
) -> Iterator[Stage]:
    """A stage in a new namespace, for operators of these names."""
    ours = f"{namespace}-ops"
    authority = Authority.create()
    authority.serve(folder, "proxy", ["localhost", "127.0.0.1"])
    trusted = folder / "proxy-ca.crt"
    trusted.write_bytes(authority.pem)
    with alone(playground, namespace) as kubectl:
        operators = kubectl.within(ours)
        operators.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ours}})
        operators.apply(*_accounts(ours, identities), *_rights(playground, ours, identities))
        proxy = Proxy(
            api_server(playground),
            ca=playground.layout.ca,
            certificate=(folder / "proxy.crt", folder / "proxy.key"),
        )
        try:
            with proxy:
                ledger = Ledger(playground.audit_log, (ours, "tierwise"))
                yield Stage(playground, kubectl, operators, folder, proxy, ledger, trusted)
        finally:
            kubectl("delete", "modeltiers", "--all", "--wait=false")
            operators("delete", "namespace", ours, "--wait=false")
            operators("delete", "clusterrole,clusterrolebinding", "-l", f"tierwise.io/stage={ours}")


def _accounts(namespace: str, identities: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        for name in identities
    ]


def _rights(playground: Playground, namespace: str, identities: Sequence[str]) -> list[dict[str, Any]]:
    """The chart's Roles, for these ServiceAccounts."""
    command = [str(playground.binaries / "helm"), "template", "tierwise", str(CHARTS / "tierwise"), "-n", namespace]
    command += ["--set", "image.repository=unused", "--show-only", "templates/rbac.yaml"]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    found = [each for each in yaml.safe_load_all(text) if each]
    for each in found:
        if each["kind"].startswith("Cluster"):  # several stages may stand at once
            each["metadata"]["name"] = each["metadata"]["name"].replace("tierwise", namespace, 1)
        if each["kind"] == "ClusterRoleBinding":
            each["roleRef"]["name"] = each["roleRef"]["name"].replace("tierwise", namespace, 1)
        if "subjects" in each:
            subject = each["subjects"][0]
            each["subjects"] = [{**subject, "name": name} for name in identities]
        each["metadata"]["labels"] = {"tierwise.io/stage": namespace}
    return found
