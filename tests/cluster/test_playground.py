"""Checks that the playground is a real cluster, ends completely, needs no root, and can install Tierwise."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

from playground.errors import PlaygroundError
from playground.handle import Playground
from playground.identities import write_kubeconfig
from playground.layout import Layout
from playground.nodes import NODES
from playground.sandbox import enter_command

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
UP_SECONDS = 120.0
SELECTOR = "serving.kserve.io/inferenceservice=hand-written"
T = TypeVar("T")
# A test before this one takes the API server away. Prometheus' watch (client-go) may then come back up to 36 s
# later, its discovery sends what is new every 5 s, and it scrapes every 10 s: 51 s without any load.
DISCOVERED_SECONDS = 90


def _service(name: str, *, low: int = 1, high: int = 1) -> str:
    ports = [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]
    container = {"name": "kserve-container", "image": "playground/http-echo", "ports": ports}
    labels = {"app.kubernetes.io/managed-by": "tierwise", "tierwise.io/tier": "small"}
    return json.dumps(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": name, "namespace": "default", "labels": labels},
            "spec": {"predictor": {"minReplicas": low, "maxReplicas": high, "containers": [container]}},
        }
    )


def _until(what: str, look: Callable[[], T], seconds: float = 30) -> T:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)
    return found


def test_all_nodes_are_ready_with_their_gpus(playground: Playground) -> None:
    nodes = json.loads(playground.kubectl("get", "nodes", "-o", "json"))["items"]
    assert {node["metadata"]["name"] for node in nodes} == {node.name for node in NODES}
    for node in nodes:
        ready = [one["status"] for one in node["status"]["conditions"] if one["type"] == "Ready"]
        assert ready == ["True"]
    gpus = {node["metadata"]["name"]: int(node["status"]["allocatable"].get("nvidia.com/gpu", "0")) for node in nodes}
    assert gpus == {node.name: node.gpu_count for node in NODES}


def test_kserve_s_defaulter_fills_in(playground: Playground) -> None:
    made = playground.kubectl(
        *("apply", "--server-side", "--dry-run=server", "-o", "json", "-f", "-"), stdin=_service("defaulted")
    )
    spec = json.loads(made)
    assert spec["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert spec["spec"]["predictor"]["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "2Gi"}


def test_kserve_s_validator_refuses(playground: Playground) -> None:
    with pytest.raises(PlaygroundError, match=r"MinReplicas.*cannot be greater than MaxReplicas"):
        playground.kubectl("apply", "--server-side", "-f", "-", stdin=_service("refused", low=3, high=2))


def test_rbac_refuses_an_account_without_rights(playground: Playground, tmp_path: Path) -> None:
    token = playground.kubectl("create", "token", "default").strip()
    server = json.loads(playground.kubectl("config", "view", "-o", "json"))["clusters"][0]["cluster"]["server"]
    nobody = tmp_path / "nobody.kubeconfig"
    write_kubeconfig(nobody, server, playground.layout.ca.read_bytes(), token)
    with pytest.raises(PlaygroundError, match=r'"system:serviceaccount:default:default" cannot list resource "pods"'):
        playground.kubectl("--kubeconfig", str(nobody), "get", "pods")


def test_a_node_may_not_touch_another_node(playground: Playground) -> None:
    as_node = ("--as=system:node:gpu-0", "--as-group=system:nodes")
    assert playground.kubectl(*as_node, "get", "node", "gpu-0", "-o", "name").strip() == "node/gpu-0"
    with pytest.raises(PlaygroundError, match="only its own Node object"):
        playground.kubectl(*as_node, "label", "node", "gpu-1", "mine=yes")


def test_every_webhook_of_kserve_is_registered(playground: Playground) -> None:
    kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations"
    found = json.loads(playground.kubectl("get", kinds, "-o", "json"))["items"]
    names = {hook["name"].rpartition(".")[2] for item in found for hook in item["webhooks"]}
    assert names >= {"defaulter", "pod-mutator", "validator"}
    assert {hook["failurePolicy"] for item in found for hook in item["webhooks"]} == {"Fail"}


def test_prometheus_answers_on_the_host_and_its_configuration_is_sound(playground: Playground) -> None:
    answer = requests.get(f"{playground.prometheus_url}/api/v1/query", params={"query": "vector(7)"}, timeout=10)
    assert answer.json()["data"]["result"][0]["value"][1] == "7"
    configuration = str(playground.layout.config / "prometheus.json")
    subprocess.run([str(playground.binaries / "promtool"), "check", "config", configuration], check=True)


def test_an_inference_service_becomes_ready_answers_and_is_scraped_under_the_podmonitor_s_labels(
    playground: Playground,
) -> None:
    playground.kubectl("apply", "--server-side", "-f", "-", stdin=_service("hand-written"))
    try:
        playground.kubectl(
            "wait", "--for=condition=Ready", "inferenceservice/hand-written", "--timeout=60s", timeout=70
        )
        pod = json.loads(playground.kubectl("get", "pods", "-l", SELECTOR, "-o", "json"))["items"][0]
        url = "http://hand-written-predictor.default.svc.cluster.local/"
        answer = requests.get(url, proxies={"http": playground.proxy_url}, timeout=10)
        assert pod["metadata"]["name"] in answer.text
        labels = _until("a scrape", lambda: _scraped(playground, pod["metadata"]["name"]), DISCOVERED_SECONDS)
        assert labels == {
            "__name__": "up",
            "container": "kserve-container",
            "endpoint": "http",
            "instance": f"{pod['status']['podIP']}:8080",
            "job": "tierwise-system/tierwise",
            "namespace": "default",
            "pod": pod["metadata"]["name"],
            "tierwise_io_tier": "small",
        }
    finally:
        playground.kubectl("delete", "inferenceservice", "hand-written")


def _scraped(playground: Playground, pod: str) -> dict[str, str] | None:
    query = {"query": f'up{{pod="{pod}"}}'}
    found = requests.get(f"{playground.prometheus_url}/api/v1/query", params=query, timeout=10).json()["data"]["result"]
    return found[0]["metric"] if found else None


@pytest.mark.parametrize("host", ["prometheus-operated.monitoring.svc", "10.200.0.1"])
def test_the_proxy_reaches_names_and_addresses_inside(playground: Playground, host: str) -> None:
    proxies = {"http": playground.proxy_url}
    answer = requests.get(f"http://{host}:9090/-/ready", proxies=proxies, timeout=10)
    assert answer.status_code == 200


def test_the_audit_log_says_who_did_what(playground: Playground) -> None:
    playground.kubectl("create", "configmap", "audited", "--namespace=default")
    playground.kubectl("delete", "configmap", "audited", "--namespace=default")

    def seen() -> list[tuple[str, str]]:
        whole, _, _ = playground.audit_log.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        found = [line for line in lines if line.get("objectRef", {}).get("name") == "audited"]
        # kubectl also watches until the object has gone.
        return [(line["user"]["username"], line["verb"]) for line in found if line["verb"] in ("create", "delete")]

    expected = [("playground-admin", "create"), ("playground-admin", "delete")]
    _until("two lines", lambda: seen() == expected)


def test_the_api_server_can_go_and_come_back(playground: Playground) -> None:
    playground.control("kill", "kube-apiserver")
    with pytest.raises(PlaygroundError, match=r"refused|EOF|reset"):
        playground.kubectl("get", "--raw=/readyz", timeout=20)
    playground.control("start", "kube-apiserver")
    assert playground.kubectl("get", "--raw=/readyz") == "ok"
    assert playground.control("status")["components"]["kube-apiserver"]["state"] == "running"


def test_a_component_that_dies_is_started_again(playground: Playground) -> None:
    before = playground.control("status")["components"]["kube-scheduler"]
    # The number is the one inside, where it must be used.
    subprocess.run([*enter_command(playground.init, ROOT), "kill", "-9", str(before["pid"])], check=True)

    def restarted() -> bool:
        now = playground.control("status")["components"]["kube-scheduler"]
        return bool(now["starts"] > before["starts"] and now["state"] == "running")

    _until("the scheduler's second start", restarted)


# --- its end, on playgrounds of their own ---------------------------------------------------------------------------


@contextmanager
def _up(
    state: Path, *before: str, options: tuple[str, ...] = ()
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A playground started from the command line, in a session of its own as a terminal would."""
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(state.parent)}
    command = [*before, sys.executable, "-m", "playground", "up", "--state", str(state), *options]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        described = Layout(state).description

        def ready() -> bool:
            assert process.poll() is None, process.communicate()[0]
            return described.exists()

        _until("the playground", ready, UP_SECONDS)
        yield process, json.loads(described.read_text())
    finally:
        process.kill()
        process.communicate()


def _namespace(process: int) -> str:
    return os.readlink(f"/proc/{process}/ns/pid")


def _members(namespace: str) -> list[int]:
    """All processes of a process namespace."""
    found = []
    for number in sorted(int(path.name) for path in Path("/proc").glob("[0-9]*")):
        with suppress(OSError):
            if _namespace(number) == namespace:
                found.append(number)
    return found


def test_with_tierwise_an_example_works_and_ctrl_c_ends_everything_in_order(tmp_path: Path) -> None:
    with _up(tmp_path / "state", options=("--tierwise", "--scrape-interval", "2")) as (process, described):
        namespace = _namespace(described["init"])
        kubectl = [f"{described['binaries']}/kubectl", "--kubeconfig", described["kubeconfig"]]
        first = ["apply", "-f", "examples/01-small-tier"]

        def applied() -> bool:
            return subprocess.run([*kubectl, *first], cwd=ROOT, capture_output=True, check=False).returncode == 0

        _until("the CRD", applied, 60)
        wait = ["wait", "modeltier/small", "--for=condition=Ready", "--timeout=150s"]
        done = subprocess.run([*kubectl, *wait], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=120)[0]
        assert process.returncode == 0, output
        assert "kubectl " + " ".join(first) in output, "what was typed here is what a user is told to type"
        assert _members(namespace) == []
        assert "Traceback" not in output
        assert (tmp_path / "state" / "logs" / "kube-apiserver.log").exists()


def test_without_root_it_comes_up_and_killing_the_starter_leaves_no_process(tmp_path: Path) -> None:
    """As a user without any capability: uid 1000 of a user namespace that has no root."""
    ordinary = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
    with _up(tmp_path / "state", *ordinary) as (process, described):
        kubectl = [f"{described['binaries']}/kubectl", "--kubeconfig", described["kubeconfig"], "get", "nodes"]
        nodes = subprocess.run([*kubectl, "-o", "name"], capture_output=True, text=True, check=True).stdout.split()
        assert sorted(nodes) == sorted(f"node/{node.name}" for node in NODES)

        namespace = _namespace(described["init"])
        assert len(_members(namespace)) >= 10
        process.send_signal(signal.SIGKILL)
        process.wait()
        _until("the last process to go", lambda: _members(namespace) == [], 60)
