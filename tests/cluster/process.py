"""The operator as a process on this machine, against the playground: as `tierwise run` starts it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playground.handle import Playground
from tests.cluster.kubectl import Kubectl, Object, eventually
from tierwise.api.crd import definition
from tierwise.api.kinds import MODEL_TIER

READY_SECONDS = 180.0
START_SECONDS = 180.0
END_SECONDS = 30.0
_PORT = re.compile(r"probes and metrics on port (\d+)")


@dataclass(slots=True)
class Operator:
    """One running operator. Its log is a file, its Events bear `identity`."""

    process: subprocess.Popen[bytes]
    log: Path
    identity: str
    port: int = 0
    killed: bool = False

    def text(self) -> str:
        """What it has logged."""
        return self.log.read_text(encoding="utf-8")

    def probe(self, path: str) -> tuple[int, str]:
        """An answer of its HTTP server; 0 when there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as when its node dies: it gives nothing back."""
        self.killed = True
        self.process.kill()
        self.process.wait(END_SECONDS)

    @property
    def leading(self) -> bool:
        """Whether it says that it holds the Lease."""
        told = [line for line in self.text().splitlines() if " hold" in line and "the Lease" in line]
        return bool(told) and "this process holds" in told[-1]


@contextmanager
def operating(
    playground: Playground,
    folder: Path,
    identity: str,
    *options: str,
    kubeconfig: Path | None = None,
    prometheus_url: str = "",
    module: str = "tierwise_cli",
) -> Iterator[Operator]:
    """Run one operator; it is ready, and it ends by SIGTERM with exit code 0. By default it is the administrator, and
    nothing stands between it and the playground; `module` may be one that is the operator but for a change."""
    log = folder / f"{identity}.log"
    command = [sys.executable, "-W", "error::RuntimeWarning", "-m", module, "run"]
    command += ["--kubeconfig", str(kubeconfig or playground.kubeconfig)]
    command += ["--prometheus-url", prometheus_url or playground.prometheus_url]
    command += ["--identity", identity, "--metrics-host", "127.0.0.1", "--metrics-port", "0"]
    command += ["--tick-seconds", "3", "--scrape-seconds", "2", "--query-timeout-seconds", "2"]
    command += ["--hub-url", "none", *options]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        operator = Operator(process, log, identity)
        try:
            _until_ready(operator)
            yield operator
            if not operator.killed:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                assert process.wait(END_SECONDS) == 0, operator.text()
            assert "Traceback" not in operator.text(), operator.text()
        finally:
            process.kill()


def _until_ready(operator: Operator) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        found = _PORT.search(operator.text())
        operator.port = int(found[1]) if found else 0
        if operator.port and operator.probe("/readyz")[0] == 200:
            return
        assert operator.process.poll() is None, operator.text()
        assert time.monotonic() < deadline, operator.text()
        time.sleep(0.2)


@contextmanager
def alone(playground: Playground, namespace: str) -> Iterator[Kubectl]:
    """kubectl in a new namespace, on a cluster that has the CRD. An operator that was installed with helm is paused."""
    admin = Kubectl(playground.binaries / "kubectl", playground.kubeconfig)
    admin.apply(definition(MODEL_TIER), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    admin("wait", "--for=condition=Established", "crd/modeltiers.tierwise.io", "--timeout=30s")
    installed = _installed(admin)
    for name, where in installed:
        admin("scale", "deployment", name, "-n", where, "--replicas=0")
        admin("wait", "pod", "-n", where, "-l", "app.kubernetes.io/name=tierwise", "--for=delete", "--timeout=60s")
    try:
        yield admin.within(namespace)
    finally:
        admin("delete", "namespace", namespace, "--wait=false")
        for name, where in installed:
            admin("scale", "deployment", name, "-n", where, "--replicas=1")


def _installed(admin: Kubectl) -> list[tuple[str, str]]:
    text = admin("get", "deployments", "-A", "-l", "app.kubernetes.io/name=tierwise", "-o", "json")
    return [(each["metadata"]["name"], each["metadata"]["namespace"]) for each in json.loads(text)["items"]]


def class_of(found: Object) -> str | None:
    """Who scales it, by KServe's annotation."""
    annotations: dict[str, str] = found["metadata"].get("annotations", {})
    return annotations.get("serving.kserve.io/autoscalerClass")


def service(kubectl: Kubectl, name: str) -> Object:
    """The InferenceService once it is settled: class external, also in its Deployment, which KServe changes later."""

    def look() -> Object | None:
        made = kubectl.get("deployment", f"{name}-predictor")
        told = made is not None and class_of(made["spec"]["template"]) == "external"
        return kubectl.get("inferenceservice", name) if told else None

    def done(found: Object | None) -> bool:
        return found is not None and class_of(found) == "external"

    found = eventually(look, done, READY_SECONDS, f"InferenceService {name} of class external")
    assert found is not None
    return found
