"""Hand-written pods for the tests of the playground itself, and how to look at them."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from playground.handle import Playground
from tests.cluster.kubectl import Kubectl, Object, eventually

# How long a thing may take that takes a second or two on a quiet machine: a pod that imports a large library, say.
PATIENCE = 120.0
ECHO, PYTHON = "playground/http-echo", "playground/python"


def pod(name: str, *containers: Mapping[str, Any], **spec: Any) -> Object:
    """A pod that is killed soon after its SIGTERM unless the test says otherwise."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 2, "containers": list(containers), **spec},
    }


def script(code: str, name: str = "main", **fields: Any) -> Object:
    """A container that runs Python code."""
    return {"name": name, "image": PYTHON, "command": ["python3", "-I", "-c", code], **fields}


def echo(name: str = "main", **fields: Any) -> Object:
    """A container that serves HTTP on port 8080."""
    return {"name": name, "image": ECHO, "ports": [{"name": "http", "containerPort": 8080}], **fields}


def service(name: str, port: int = 80, **spec: Any) -> Object:
    """A Service in front of the pods with this label."""
    ports = [{"port": port, "targetPort": "http"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


@dataclass(frozen=True, slots=True)
class Room:
    """A namespace of the playground, made for one test module."""

    playground: Playground
    kubectl: Kubectl

    def get(self, name: str) -> Object:
        """The pod, which must exist."""
        found = self.kubectl.get("pod", name)
        assert found is not None, f"pod {name} does not exist"
        return found

    def wait(self, name: str, condition: str, seconds: float = PATIENCE) -> Object:
        """Wait for a condition of a pod; the pod."""
        self.kubectl("wait", f"--for={condition}", f"pod/{name}", f"--timeout={seconds}s", timeout=seconds + 30)
        return self.get(name)

    def ready(self, *pods: Object) -> None:
        """Make pods and wait until they are Ready."""
        self.kubectl.apply(*pods)
        for item in pods:
            self.wait(item["metadata"]["name"], "condition=Ready")

    def output(self, item: Object) -> str:
        """Run a pod to its end, which must be a good one; what it wrote."""
        name = item["metadata"]["name"]
        item["spec"]["restartPolicy"] = "Never"
        self.kubectl.apply(item)
        ended = self.phase(name, "Succeeded", "Failed")
        written = self.kubectl("logs", name, "--all-containers")
        assert ended["status"]["phase"] == "Succeeded", f"{ended['status']}\n{written}"
        return written

    def phase(self, name: str, *phases: str, seconds: float = PATIENCE) -> Object:
        """Wait for one of these phases; the pod."""
        return eventually(lambda: self.get(name), lambda p: p["status"]["phase"] in phases, seconds, f"{name} {phases}")

    def state(self, name: str, reason: str, seconds: float = PATIENCE) -> Object:
        """Wait until the first container waits or ended for this reason; its status."""

        def look() -> Object:
            statuses = self.get(name)["status"].get("containerStatuses") or [{"state": {}}]
            return dict(statuses[0])

        def done(status: Object) -> bool:
            return any(part.get("reason") == reason for part in status["state"].values())

        return eventually(look, done, seconds, f"{name}: {reason}")

    def fetch(self, host: str, path: str = "/") -> tuple[int, str]:
        """GET from a Service, by its short name, through the playground's proxy; status and body. 0 and the error where
        the connection ends without an answer, as while a container begins."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": self.playground.proxy_url}))
        try:
            with opener.open(f"http://{host}.{self.kubectl.namespace}.svc{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except ConnectionError as error:
            return 0, str(error)

    def from_pod(self, name: str, url: str) -> tuple[int, str]:
        """GET a URL from inside an echo pod that has a Service of its own name."""
        return self.fetch(name, f"/get?{quote(url, safe='')}")

    def gone(self, name: str, seconds: float = PATIENCE) -> None:
        """Wait until a pod does not exist."""
        eventually(lambda: self.kubectl.get("pod", name), lambda p: p is None, seconds, f"{name} gone")

    def follow(self, name: str) -> subprocess.Popen[str]:
        """`kubectl logs --follow` as a process."""
        command = [str(self.kubectl.binary), "--kubeconfig", str(self.kubectl.kubeconfig)]
        command += ["--namespace", self.kubectl.namespace, "logs", "--follow", name]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})


def config_map(name: str, **data: str) -> Object:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name: str, **data: str) -> Object:
    """A Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


@contextmanager
def new_room(playground: Playground, prefix: str) -> Iterator[Room]:
    """A namespace that is deleted afterwards, with everything in it."""
    name = f"{prefix}-{uuid.uuid4().hex[:6]}"
    admin = Kubectl(playground.binaries / "kubectl", playground.kubeconfig)
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    room = Room(playground, admin.within(name))
    # Pods are refused until the controller has made the namespace's own ServiceAccount.
    eventually(lambda: room.kubectl.get("serviceaccount", "default"), bool, PATIENCE, "the default ServiceAccount")
    try:
        yield room
    finally:
        admin("delete", "namespace", name, "--wait=false")


def parsed(text: str) -> Any:
    """What a pod printed as JSON."""
    return json.loads(text)
