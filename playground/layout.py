"""Defines the addresses, ports, names and files of a playground.

The addresses are constants because every playground lives in a network namespace of its own, so nothing
can collide. Kubernetes refuses loopback addresses in EndpointSlices; hence a private range on `lo`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HOST_ADDRESS = "10.200.0.1"
SERVICE_RANGE = "10.201.0.0/16"
API_SERVICE_ADDRESS = "10.201.0.1"
CLUSTER_DOMAIN = "cluster.local"

API_PORT = 6443
ETCD_PORT, ETCD_PEER_PORT = 2379, 2380
CONTROLLER_MANAGER_PORT, SCHEDULER_PORT = 10257, 10259
PROMETHEUS_PORT = 9090
KSERVE_METRICS_PORT, KSERVE_HEALTH_PORT, KSERVE_WEBHOOK_PORT = 8080, 8081, 9443

KSERVE_NAMESPACE = "kserve"
KSERVE_WEBHOOK_SERVICE = "kserve-webhook-server-service"
MONITORING_NAMESPACE = "monitoring"
PROMETHEUS_SERVICE = "prometheus-operated"

API_URL = f"https://{HOST_ADDRESS}:{API_PORT}"
PROMETHEUS_URL = f"http://{HOST_ADDRESS}:{PROMETHEUS_PORT}"


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one playground under its state folder."""

    state: Path

    @property
    def pki(self) -> Path:
        """Certificates and keys that only the control plane reads."""
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        """One log file per component."""
        return self.state / "logs"

    @property
    def config(self) -> Path:
        """Configuration files that the playground writes for its components."""
        return self.state / "config"

    @property
    def images(self) -> Path:
        """This instance's own table of images, beside playground/images.yaml."""
        return self.config / "images.json"

    @property
    def data(self) -> Path:
        """What etcd and Prometheus store."""
        return self.state / "data"

    @property
    def pods(self) -> Path:
        """The kubelet's folder."""
        return self.state / "pods"

    def unplugged(self, node: str) -> Path:
        """While this file exists, the node has no power."""
        return self.state / f"node-{node}.unplugged"

    @property
    def ca(self) -> Path:
        """The one certificate authority, public part."""
        return self.state / "ca.crt"

    @property
    def admin_kubeconfig(self) -> Path:
        """Cluster administrator, address inside the playground."""
        return self.state / "admin.kubeconfig"

    @property
    def host_kubeconfig(self) -> Path:
        """Cluster administrator, address on the host's loopback."""
        return self.state / "host.kubeconfig"

    @property
    def control_socket(self) -> Path:
        """Where the supervisor listens for stop, start, pause, resume and status."""
        return self.state / "control.sock"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON object per line."""
        return self.logs / "audit.log"

    @property
    def description(self) -> Path:
        """What another process needs to find this playground: process id, addresses (JSON)."""
        return self.state / "playground.json"

    def kubeconfig(self, name: str) -> Path:
        """Return the kubeconfig of one identity."""
        return self.state / f"{name}.kubeconfig"

    def log(self, component: str) -> Path:
        """Return a component's log file."""
        return self.logs / f"{component}.log"

    def make(self) -> None:
        """Create the folders, readable by their owner alone (they hold keys). Raises OSError."""
        for folder in (self.state, self.pki, self.logs, self.config, self.data, self.pods):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
