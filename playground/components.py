"""Describes the processes of the control plane: how each is started, and when it is ready.

Flags that are not obvious are explained where they stand. A component is only described here; the supervisor
runs it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from playground.layout import (
    API_PORT,
    API_SERVICE_ADDRESS,
    API_URL,
    CONTROLLER_MANAGER_PORT,
    ETCD_PEER_PORT,
    ETCD_PORT,
    HOST_ADDRESS,
    KSERVE_HEALTH_PORT,
    KSERVE_METRICS_PORT,
    KSERVE_NAMESPACE,
    KSERVE_WEBHOOK_PORT,
    PROMETHEUS_PORT,
    PROMETHEUS_URL,
    SCHEDULER_PORT,
    SERVICE_RANGE,
    Layout,
)

ETCD, APISERVER, CONTROLLER_MANAGER, SCHEDULER = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
)
KSERVE, PROMETHEUS, SERVICES, KUBELET = "kserve-manager", "prometheus", "services", "kubelet"

# Of the few writes that decide about replicas the bodies are kept too (who holds the Lease, what a tier asks for, what
# was scaled to what): from these a test can judge afterwards whether each write was right (tests/faults/ledger.py).
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
  - level: None
    nonResourceURLs: ["/healthz*", "/readyz*", "/livez*", "/version", "/openapi*"]
  - level: Metadata
    namespaces: [kube-node-lease]
  - level: RequestResponse
    verbs: [create, update, patch, delete, deletecollection]
    resources:
      - group: tierwise.io
        resources: [modeltiers, modeltiers/status, modeltiers/scale]
      - group: serving.kserve.io
        resources: [inferenceservices]
      - group: apps
        resources: [deployments, deployments/scale, replicasets/scale]
      - group: coordination.k8s.io
        resources: [leases]
  - level: RequestResponse
    verbs: [create]
    resources:
      - group: apps
        resources: [replicasets]
  - level: RequestResponse
    verbs: [patch]
    resources:
      - group: ""
        resources: [pods]
  - level: Metadata
"""


@dataclass(frozen=True, slots=True)
class Component:
    """One supervised process; `ready_url` answers 200 (or, for tcp://, accepts) when it can be used.

    `lease`: the component through which it would hold a Lease on a cluster where it runs more than once. Here nobody
    could take over, so there are no Leases; the supervisor does what comes of losing one (see `supervisor`)."""

    name: str
    argv: tuple[str, ...]
    ready_url: str = ""
    lease: str = ""
    env: dict[str, str] = field(default_factory=dict)


def describe(layout: Layout, binaries: Path) -> dict[str, Component]:
    """Return all components by name."""
    found = (
        _etcd(layout, binaries),
        _apiserver(layout, binaries),
        _controller_manager(layout, binaries),
        _scheduler(layout, binaries),
        _kserve(layout, binaries),
        _prometheus(layout, binaries),
        _python(
            SERVICES,
            "playground.services",
            "--kubeconfig",
            str(layout.kubeconfig("services")),
            ready_url=f"tcp://{API_SERVICE_ADDRESS}:443",
        ),
        _python(KUBELET, "playground.kubelet", "--state", str(layout.state), "--images", str(layout.images)),
    )
    return {component.name: component for component in found}


def _etcd(layout: Layout, binaries: Path) -> Component:
    client, peer = f"http://127.0.0.1:{ETCD_PORT}", f"http://127.0.0.1:{ETCD_PEER_PORT}"
    return Component(
        ETCD,
        (
            str(binaries / "etcd"),
            f"--data-dir={layout.data / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            # Nothing here outlives the playground, so no write has to wait for the disk.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ),
        ready_url=f"{client}/health",
    )


def _apiserver(layout: Layout, binaries: Path) -> Component:
    pki = layout.pki
    return Component(
        APISERVER,
        (
            str(binaries / "kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{ETCD_PORT}",
            f"--bind-address={HOST_ADDRESS}",
            # There is no default route to guess an address from.
            f"--advertise-address={HOST_ADDRESS}",
            f"--secure-port={API_PORT}",
            f"--tls-cert-file={pki / 'apiserver.crt'}",
            f"--tls-private-key-file={pki / 'apiserver.key'}",
            f"--client-ca-file={layout.ca}",
            f"--token-auth-file={pki / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki / 'service-account.pub'}",
            f"--service-account-signing-key-file={pki / 'service-account.key'}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            # Webhooks are then dialled at their endpoints, not at a ClusterIP: they work before our
            # service forwarder runs.
            "--enable-aggregator-routing=true",
            f"--kubelet-certificate-authority={layout.ca}",
            f"--kubelet-client-certificate={pki / 'kubelet-client.crt'}",
            f"--kubelet-client-key={pki / 'kubelet-client.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--audit-policy-file={layout.config / 'audit-policy.yaml'}",
            f"--audit-log-path={layout.audit_log}",
            # Megabytes. Never begun anew: who reads it remembers how far.
            "--audit-log-maxsize=100000",
        ),
        ready_url=f"{API_URL}/readyz",
    )


def _controller_manager(layout: Layout, binaries: Path) -> Component:
    return Component(
        CONTROLLER_MANAGER,
        (
            str(binaries / "kube-controller-manager"),
            f"--kubeconfig={layout.kubeconfig('controller-manager')}",
            "--bind-address=127.0.0.1",
            f"--secure-port={CONTROLLER_MANAGER_PORT}",
            "--leader-elect=false",
            # Each controller acts as its own ServiceAccount; the manager's own user may do next to nothing.
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={layout.pki / 'service-account.key'}",
            f"--root-ca-file={layout.ca}",
        ),
        ready_url=f"https://127.0.0.1:{CONTROLLER_MANAGER_PORT}/healthz",
        lease=APISERVER,
    )


def _scheduler(layout: Layout, binaries: Path) -> Component:
    return Component(
        SCHEDULER,
        (
            str(binaries / "kube-scheduler"),
            f"--kubeconfig={layout.kubeconfig('scheduler')}",
            "--bind-address=127.0.0.1",
            f"--secure-port={SCHEDULER_PORT}",
            "--leader-elect=false",
        ),
        ready_url=f"https://127.0.0.1:{SCHEDULER_PORT}/healthz",
        lease=APISERVER,
    )


def _kserve(layout: Layout, binaries: Path) -> Component:
    return Component(
        KSERVE,
        (
            str(binaries / "kserve-manager"),
            f"--kubeconfig={layout.kubeconfig('kserve')}",
            f"--metrics-addr={HOST_ADDRESS}:{KSERVE_METRICS_PORT}",
            f"--health-probe-addr=127.0.0.1:{KSERVE_HEALTH_PORT}",
            f"--webhook-port={KSERVE_WEBHOOK_PORT}",
        ),
        ready_url=f"http://127.0.0.1:{KSERVE_HEALTH_PORT}/readyz",
        lease=APISERVER,
        # There is no flag for the certificate: it is looked for under the folder for temporary files.
        env={"POD_NAMESPACE": KSERVE_NAMESPACE, "TMPDIR": str(kserve_temporary(layout))},
    )


def kserve_temporary(layout: Layout) -> Path:
    """Return the folder that KServe's manager takes for the temporary one."""
    return layout.data / "kserve"


def kserve_certificates(layout: Layout) -> Path:
    """Return where KServe's manager looks for its webhook certificate."""
    return kserve_temporary(layout) / "k8s-webhook-server" / "serving-certs"


def _prometheus(layout: Layout, binaries: Path) -> Component:
    return Component(
        PROMETHEUS,
        (
            str(binaries / "prometheus"),
            f"--config.file={layout.config / 'prometheus.json'}",
            f"--storage.tsdb.path={layout.data / 'prometheus'}",
            "--storage.tsdb.retention.time=1d",
            f"--web.listen-address={HOST_ADDRESS}:{PROMETHEUS_PORT}",
            "--log.level=warn",
        ),
        ready_url=f"{PROMETHEUS_URL}/-/ready",
    )


def _python(name: str, module: str, *arguments: str, ready_url: str = "") -> Component:
    return Component(name, (sys.executable, "-m", module, *arguments), ready_url=ready_url)
