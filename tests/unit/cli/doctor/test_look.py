"""Checks what a look makes of a cluster's answers."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.clusters import Asked, FakeCluster
from tests.unit.router.tls import contexts
from tierwise.kube import kubeconfig
from tierwise.kube.user_client import UserClient
from tierwise_cli.doctor.facts import GPUNode, Monitors, Probe, Selector
from tierwise_cli.doctor.look import Look

DEPLOYMENTS, NODES = "/apis/apps/v1/deployments", "/api/v1/nodes"
MONITORING = "/apis/monitoring.coreos.com/v1"
PROMETHEUS = "http://prometheus.monitoring.svc:9090"
SERVICE = "/api/v1/namespaces/monitoring/services/prometheus"
PROXY = "/api/v1/namespaces/monitoring/services/prometheus%3A9090/proxy/-/ready"


@pytest.fixture
def client(cluster: FakeCluster) -> Iterator[UserClient]:
    with UserClient(kubeconfig.access(cluster.kubeconfig, None)) as made:
        yield made


def look(client: UserClient, prometheus: str = PROMETHEUS) -> Look:
    return Look(client, "models", prometheus=prometheus)


@pytest.mark.parametrize(
    ("code", "said", "answered", "says"),
    [
        (200, "Prometheus Server is Ready.", True, ""),
        (401, "Unauthorized", None, "it wants a login (401)"),
        (403, "Forbidden", None, "it wants a login (403)"),
        (403, {"kind": "Status", "reason": "Forbidden", "message": "m"}, None, "you may not use services/proxy"),
        (
            503,
            {"kind": "Status", "message": "error trying to reach service: x509: certificate of unknown authority"},
            None,
            "(x509: certificate of unknown authority)",
        ),
        (
            503,
            {"kind": "Status", "message": "error trying to reach service: remote error: tls: certificate required"},
            None,
            "(tls: certificate required)",
        ),
        (503, {"kind": "Status", "message": "no endpoints available"}, False, "no endpoints available"),
    ],
)
def test_a_prometheus_behind_a_service(
    client: UserClient, monkeypatch: pytest.MonkeyPatch, code: int, said: Any, answered: bool | None, says: str
) -> None:
    def answer(_: FakeCluster, asked: Asked) -> tuple[int, Any]:
        if asked.path == SERVICE:
            return 200, {"kind": "Service", "spec": {"selector": {"app": "prometheus"}}}
        assert asked.path == PROXY
        return code, said

    monkeypatch.setattr("tests.unit.cli.clusters._answer", answer)
    found = look(client)._prometheus(())
    assert isinstance(found, Probe)
    assert found.answered is answered
    assert says in found.said


@pytest.mark.parametrize(
    ("service", "answered", "says"),
    [
        ((200, {"kind": "Service", "spec": {"ports": []}}), None, "monitoring/prometheus selects no pods"),
        ((404, {"kind": "Status", "message": 'services "prometheus" not found'}), False, "no endpoints available"),
        ((403, {"kind": "Status", "reason": "Forbidden", "message": "m"}), False, "no endpoints available"),
    ],
)
def test_a_service_that_leads_elsewhere_is_no_fault_of_prometheus(
    client: UserClient, monkeypatch: pytest.MonkeyPatch, service: tuple[int, Any], answered: bool | None, says: str
) -> None:
    def answer(_: FakeCluster, asked: Asked) -> tuple[int, Any]:
        return service if asked.path == SERVICE else (503, {"kind": "Status", "message": "no endpoints available"})

    monkeypatch.setattr("tests.unit.cli.clusters._answer", answer)
    found = look(client)._prometheus(())
    assert isinstance(found, Probe)
    assert (found.answered, says in found.said) == (answered, True)


@contextmanager
def serving(code: int, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server on loopback that answers with one code; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("code", "answered", "says"),
    [
        (200, True, ""),
        (401, None, "it wants a login (401)"),
        (403, None, "it wants a login (403)"),
        (500, False, "Internal Server Error"),
    ],
)
def test_a_prometheus_elsewhere(client: UserClient, code: int, answered: bool | None, says: str) -> None:
    with serving(code) as url:
        found = look(client, url)._prometheus(())
    assert isinstance(found, Probe)
    assert (found.answered, says in found.said) == (answered, True)


def test_a_prometheus_with_a_certificate_of_its_own(client: UserClient, tmp_path: Path) -> None:
    server, _ = contexts(tmp_path)
    with serving(200, server) as url:
        found = look(client, url)._prometheus(())
    assert isinstance(found, Probe)
    assert found.answered is None
    assert "an authority that is not known here (self-signed certificate" in found.said


def test_a_prometheus_that_speaks_no_tls_is_no_matter_of_certificates(client: UserClient) -> None:
    with serving(200) as url:
        found = look(client, url.replace("http:", "https:"))._prometheus(())
    assert isinstance(found, Probe)
    assert found.answered is False


CONTAINERS: list[dict[str, Any]] = [{"name": "proxy"}, {"name": "operator", "args": ["--verbose", "run"], "env": []}]
OTHERS: list[dict[str, Any]] = [{"name": "main", "args": ["run", "--verbose"]}]


def deployment(name: str, containers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "tierwise-system"},
        "spec": {"template": {"spec": {"containers": containers}}},
    }


def test_the_operator_is_known_by_the_name_of_its_container(client: UserClient, cluster: FakeCluster) -> None:
    router = deployment("chat-router", [{"name": "router", "args": ["router"]}])
    cluster.objects = {DEPLOYMENTS: [router, deployment("one", CONTAINERS), deployment("two", OTHERS)]}
    assert [each.name for each in look(client)._installations()] == ["one", "two"]


def test_gpus_are_quantities(client: UserClient, cluster: FakeCluster) -> None:
    status = {
        "allocatable": {"nvidia.com/gpu": "1k", "nvidia.com/mig-1g.10gb": "7", "cpu": "8"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    cluster.objects = {NODES: [{"metadata": {"name": "a"}, "status": status}]}
    assert look(client)._gpus() == (GPUNode("a", 1007, True),)


def test_selectors_that_are_absent_empty_and_by_expressions_are_told_apart(
    client: UserClient, cluster: FakeCluster
) -> None:
    by_labels = {"matchLabels": {"release": "x"}}
    more = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
    given = [{}, {"podMonitorSelector": {}}, {"podMonitorSelector": by_labels}, {"podMonitorSelector": more}]
    cluster.objects = {
        f"{MONITORING}/podmonitors": [{"metadata": {"labels": {"release": "x"}}}],
        f"{MONITORING}/prometheuses": [{"spec": each} for each in given],
    }
    found = look(client)._monitors()
    assert found == Monitors(
        ({"release": "x"},), (None, Selector(), Selector({"release": "x"}), Selector(more=True))
    )  # fmt: skip
