"""Prepares routes for the fault tests: Tierwise installed by helm, two served tiers, a provider, a route over all.

Every tier answers a prompt in its own words (another seed), so that an answer tells where it came from. The provider is
a pod of the namespace; whoever wants it to fail says so to it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import requests

from playground.handle import Playground
from playground.release import Release
from tests.cluster.e2e.tiers import cheap, route
from tests.cluster.kubectl import Kubectl, Object, conditions, eventually, has, ready
from tests.faults.asking import Told
from tests.faults.clients import REPO, Clients, asking
from tests.faults.ledger import Ledger, Wrong
from tests.faults.provider import Fault

START = 180.0
VALUES: Mapping[str, Any] = {
    "operator": {"tickSeconds": 3, "logFormat": "text"},
    "prometheus": {"scrapeIntervalSeconds": 2, "queryTimeoutSeconds": 2},
}
LARGE = "hf://Qwen/Qwen3-1.7B"  # the playground gives this model a seed of its own
SEEDS = {"small": [0], "large": [17], "bought": [4]}
STUB, STUB_NODE = "stub", "cpu-0"  # no test drains this node
PRICES = {"input": "2.50", "output": "10.00"}
ENGINE_PORT, METRICS_PORT = 8000, 9090


def installed(playground: Playground) -> Release:
    """Tierwise as a user installs it."""
    made = Release(playground)
    playground.helm(
        "upgrade",
        *("--install", "tierwise-crds", str(REPO / "charts" / "tierwise-crds")),
        "--wait",
        "--take-ownership",  # other tests apply the CRDs with kubectl
    )
    made.install(VALUES)
    return made


def bought(namespace: str) -> list[dict[str, Any]]:
    """A tier that the stub provider serves: its pod, its Service, our key, the ModelTier."""
    labels = {"app": STUB}
    container = {
        "name": STUB,
        "image": "playground/python:1",
        "args": ["-m", "tests.faults.provider", "0.0.0.0", str(ENGINE_PORT), str(SEEDS["bought"][0])],
        "env": [{"name": "PYTHONPATH", "value": str(REPO)}],
        "readinessProbe": {"httpGet": {"path": "/stub", "port": ENGINE_PORT}, "periodSeconds": 1},
    }
    pod = {"containers": [container], "nodeName": STUB_NODE, "terminationGracePeriodSeconds": 1}
    external = {
        "baseURL": f"http://{STUB}.{namespace}.svc.cluster.local/v1",
        "model": "frontier",
        "apiKeySecretRef": {"name": "api-key", "key": "token"},
        "prices": PRICES,
    }
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": STUB, "labels": labels}, "spec": pod},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": STUB},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": ENGINE_PORT}]},
        },
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api-key"}, "stringData": {"token": "sk-stub"}},
        {
            "apiVersion": "tierwise.io/v1alpha1",
            "kind": "ModelTier",
            "metadata": {"name": "bought"},
            "spec": {"external": external},
        },
    ]


@dataclass(frozen=True, slots=True)
class Routes:
    """A namespace with a route, and all that a test does to it."""

    playground: Playground
    release: Release
    admin: Kubectl
    kubectl: Kubectl
    folder: Path
    ledger: Ledger

    # --- clients ----------------------------------------------------------------------------------------------------

    def clients(self, name: str = "clients", of: str = "chat", **fields: Any) -> AbstractContextManager[Clients]:
        """Clients inside the cluster, of the Service of a route."""
        address = self.kubectl("get", "service", of, "-o", "jsonpath={.spec.clusterIP}")
        asked = {"model": "chat", "seeds": SEEDS, "url": f"http://{address}", **fields}
        return asking(self._new_folder(), self.playground.start, name, **asked)

    def _new_folder(self) -> Path:
        folder = self.folder / f"clients-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        return folder

    # --- what there is ----------------------------------------------------------------------------------------------

    def served(self, name: str = "chat", routers: int = 2, seconds: float = START) -> Object:
        """The route once all of its routers and tiers answer."""

        def done(seen: Object | None) -> bool:
            return seen is not None and has(seen, "Ready", "True") and seen["status"]["ready"] == f"{routers}/{routers}"

        what = f"the route {name} is ready with {routers} routers"
        found = eventually(lambda: self.kubectl.get("modelroute", name), done, seconds, what)
        assert found is not None
        return found

    def patch(self, kind: str, name: str, spec: Mapping[str, Any]) -> None:
        """Change fields of a spec."""
        self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def routers(self, name: str = "chat") -> list[Object]:
        """The pods of a route's routers that are not ending, by name."""
        return _alive(self.kubectl.find("pods", f"tierwise.io/route={name}"))

    def replicas(self, tier: str) -> list[Object]:
        """The pods of a tier that answer, by name."""
        return [
            pod for pod in _alive(self.kubectl.pods(tier)) if conditions(pod).get("Ready", {}).get("status") == "True"
        ]

    def wrong(self) -> list[Wrong]:
        """The operator's wrong writes since the test began."""
        return self.ledger.wrong()

    def metric(self, start: str) -> float:
        """The sum of all series of all routers that begin with this."""
        total = 0.0
        for pod in self.routers():
            url = f"http://{pod['status']['podIP']}:{METRICS_PORT}/metrics"
            page = requests.get(url, proxies={"http": self.playground.proxy_url}, timeout=30).text
            total += sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(start))
        return total

    # --- what goes wrong --------------------------------------------------------------------------------------------

    def tell(self, pod: Object, path: str, body: Mapping[str, Any]) -> None:
        """Turn a switch of a simulated engine, or of the provider."""
        url = f"http://{pod['status']['podIP']}:{ENGINE_PORT}{path}"
        requests.post(url, json=body, proxies={"http": self.playground.proxy_url}, timeout=30).raise_for_status()

    def state(self, pod: Object) -> dict[str, Any]:
        """What a simulated engine says of itself."""
        url = f"http://{pod['status']['podIP']}:{ENGINE_PORT}/sim/state"
        return dict(requests.get(url, proxies={"http": self.playground.proxy_url}, timeout=30).json())

    def provider(self, fault: Fault) -> None:
        """From now on this is wrong with the provider."""
        pod = self.kubectl.get("pod", STUB)
        assert pod is not None
        self.tell(pod, "/stub", asdict(fault))

    def busiest(self, tier: str) -> Object:
        """The replica of a tier that computes most answers."""
        return max(self.replicas(tier), key=lambda pod: int(self.state(pod)["running"]))

    @contextmanager
    def slow(self, pod: Object, times: float) -> Iterator[None]:
        """A replica takes so many times as long for everything."""
        self.tell(pod, "/sim/slow", {"times": times})
        try:
            yield
        finally:
            self.tell(pod, "/sim/slow", {"times": 1})


def kill(pod: Object, option: str) -> None:
    """SIGKILL the process of a pod that has this option: as a crash, of which nobody is told."""
    name, prefix = f"HOSTNAME={pod['metadata']['name']}".encode(), option.encode()
    found = [
        pid
        for pid in _processes()
        if name in _read(pid, "environ") and any(word.startswith(prefix) for word in _read(pid, "cmdline"))
    ]
    assert found, f"no process of {pod['metadata']['name']} has the option {option}"
    for pid in found:
        os.kill(pid, signal.SIGKILL)


def _processes() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]


def _read(pid: int, name: str) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().split(b"\0")
    except OSError:
        return []  # it has ended, or is not ours


def _alive(pods: list[Object]) -> list[Object]:
    found = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))


@contextmanager
def routed(
    release: Release, namespace: str, folder: Path, small: Mapping[str, Any], spec: Mapping[str, Any]
) -> Iterator[Routes]:
    """A namespace with the route `chat` over `small`, `large` and `bought`; `small` and `spec` add fields to the first
    tier and to the route."""
    playground = release.playground
    admin = Kubectl(playground.binaries / "kubectl", playground.kubeconfig)
    kubectl = admin.within(namespace)
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    ledger = Ledger(playground.audit_log, (release.namespace, release.name))
    made = Routes(playground, release, admin, kubectl, folder, ledger)
    try:
        kubectl.apply(
            *bought(namespace),
            cheap("small", **small),
            cheap(
                "large",
                model={"name": "large", "uri": LARGE},
                quantization=None,
                replicas=1,
                batching={"maxSequences": 4},
            ),
            route("chat", "small", "large", "bought", **spec),
        )
        ready(kubectl, "small", int(small["replicas"]), START)
        ready(kubectl, "large", 1, START)
        made.served()
        ledger.restart()
        yield made
    finally:
        kubectl("delete", "modelroutes,modeltiers", "--all", "--wait=false")
        admin("delete", "namespace", namespace, "--wait=false")


def restarted(routes: Routes, pod: Object, seconds: float = START) -> None:
    """Wait until the one container of a pod has been started again and answers."""

    def back(found: Object | None) -> bool:
        status = (found or {}).get("status", {}).get("containerStatuses") or [{}]
        return bool(status[0].get("ready")) and int(status[0].get("restartCount", 0)) > 0

    name = str(pod["metadata"]["name"])
    eventually(lambda: routes.kubectl.get("pod", name), back, seconds, f"{name} has started again")


def told_until(clients: Clients, done: Callable[[list[Told]], bool], seconds: float, what: str) -> list[Told]:
    """What clients have told once it is enough."""
    return eventually(clients.told, done, seconds, what)


def since(told: list[Told], moment: float) -> list[Told]:
    """Those that were asked after a moment of the epoch."""
    return [each for each in told if each.opened >= moment]


def wait(seconds: float) -> float:
    """Wait; the time of the epoch then."""
    time.sleep(seconds)
    return time.time()
