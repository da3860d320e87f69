"""Plants canaries where secrets are, causes failures, and searches every place where a secret could show up.

A canary is a text that stands in a Secret (a hub token, the key of an external API), that a user wrote where no key
belongs, or that a client sent as a prompt. Tiers with them run into every trouble whose message somebody else words:
an image that cannot be pulled, an engine that dies, a Secret without the key, a spec that is refused. A route with a
client's key, a provider's key and a certificate passes the prompt on.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playground.handle import Playground
from tests.cluster.e2e.audit import AuditLog
from tests.cluster.e2e.load import service_address
from tests.cluster.e2e.tiers import L4, cheap, external, route, tier
from tests.cluster.kubectl import Kubectl, Object, eventually, has
from tests.unit.router.tls import pair

TOKEN = "hf_canaryCanaryCanaryCanaryCanary0001"
KEY = "sk-canaryCanaryCanaryCanaryCanary0002"
WRITTEN = "canary-written-into-the-spec-0003"
PROMPT = "canary prompt zero zero zero four"
CLIENT_KEY = "tw-canaryCanaryCanaryCanaryCanary0005"
CERTIFICATE, CERTIFICATE_KEY = (each.decode() for each in pair())
CANARIES = (TOKEN, KEY, WRITTEN, PROMPT, CLIENT_KEY, CERTIFICATE_KEY.splitlines()[1])
# What shows that a place was looked through; elsewhere it is the name of a tier.
WITNESSES = {"the operator's log": "DEBUG"}
_REF = {"name": "hub", "key": "token"}
_KINDS = (
    "pods,deployments,replicasets,inferenceservices,modeltiers,modelroutes,events.events.k8s.io,services,endpointslices,"
    "controllerrevisions,configmaps"
)
_ASK = """
import pathlib, ssl, sys, urllib.request
answer, url, *more = sys.argv[1:]
headers = {"Content-Type": "application/json"} | ({"Authorization": "Bearer " + more[1]} if more[1:] else {})
request = urllib.request.Request(url, more[0].encode() if more else None, headers)
anybody = ssl._create_unverified_context()  # a Service's address is in no certificate
pathlib.Path(answer).write_bytes(urllib.request.urlopen(request, timeout=30, context=anybody).read())
"""


def _secret(name: str, **values: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def plant(kubectl: Kubectl) -> None:
    """Secrets with canaries, and tiers that use them: one that works, one external, and those that cannot work."""
    gated = {"uri": "hf://Qwen/Qwen3-8B", "tokenSecretRef": _REF}
    big = {"name": "toobig", "uri": "hf://meta-llama/Llama-3.3-70B-Instruct", "tokenSecretRef": _REF}
    keyless = {**gated, "name": "keyless", "tokenSecretRef": {"name": "hub", "key": "other"}}
    kubectl.apply(
        _secret("hub", token=TOKEN),
        _secret("api-key", token=KEY),
        _secret("clients", blue=hashlib.sha256(CLIENT_KEY.encode()).hexdigest()),
        _secret("chat-tls", **{"tls.crt": CERTIFICATE, "tls.key": CERTIFICATE_KEY}),
        route("chat", "gated", "bought", clients={"secretName": "clients"}, tls={"secretName": "chat-tls"}, replicas=1),
        cheap("gated", model={**gated, "name": "gated"}),
        external("bought"),
        cheap("imageless", model={**gated, "name": "imageless"}, engine={"image": "registry.example.com/none:1"}),
        tier("toobig", model=big, placement={"nodeSelector": L4}),
        cheap("keyless", model=keyless),
        cheap("careless", model={**gated, "name": "careless"}, extraArgs=[f"--api-key={WRITTEN}"]),
        cheap("careful", model={**gated, "name": "careful"}, extraArgs=["--reasoning-parser=$(HF_TOKEN)"]),
    )


def wait_for_trouble(kubectl: Kubectl) -> None:
    """Until each of the tiers has got to where it was to get."""
    for name, type_, status, reason in (
        ("gated", "Ready", "True", ""),
        ("bought", "Accepted", "True", ""),
        ("imageless", "Provisioned", "False", "ImagePullFailed"),
        ("toobig", "Provisioned", "False", "EngineOutOfMemory"),
        ("keyless", "Provisioned", "False", "ConfigMissing"),
        ("careless", "Accepted", "False", "ArgumentNotAllowed"),
        ("careful", "Accepted", "False", "ArgumentNotAllowed"),
    ):
        eventually(
            lambda name=name: kubectl.tier(name),  # type: ignore[misc]
            lambda seen, want=(type_, status, reason): has(seen, *want),  # type: ignore[misc]
            120,
            f"{name}: {type_}={status} {reason}",
        )

    eventually(
        lambda: kubectl.get("modelroute", "chat") or {},
        lambda seen: seen.get("status", {}).get("ready") == "1/1",
        120,
        "the route's router is ready",
    )


def _inside(playground: Playground, *arguments: str) -> str:
    """What a client inside the cluster is answered."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer"
        process = playground.start(sys.executable, "-c", _ASK, str(answer), *arguments)
        assert process.wait(60) == 0, "the request failed; why is printed above"
        return answer.read_text(encoding="utf-8")


def ask(playground: Playground, kubectl: Kubectl) -> dict[str, Any]:
    """Send the prompt canary to the engine; its answer."""
    url = f"http://{service_address(playground, kubectl.namespace, 'gated')}/v1/chat/completions"
    body = {"model": "gated", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 4, "user": KEY}
    found: dict[str, Any] = json.loads(_inside(playground, url, json.dumps(body)))
    return found


def ask_route(playground: Playground, kubectl: Kubectl) -> dict[str, Any]:
    """Send the prompt canary through the route, over TLS and with the client's key; its answer."""
    address = kubectl("get", "service", "chat", "-o", "jsonpath={.spec.clusterIP}")
    body = {"model": "chat", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 4, "user": KEY}
    url = f"https://{address}:443/v1/chat/completions"
    found: dict[str, Any] = json.loads(_inside(playground, url, json.dumps(body), CLIENT_KEY))
    return found


def look(playground: Playground, kubectl: Kubectl, operator: Kubectl, log: AuditLog) -> dict[str, str]:
    """Everything that is written down somewhere, by place. Secrets themselves are left out, and what users wrote."""
    listed = json.loads(kubectl("get", _KINDS, "-o", "json"))
    for each in listed["items"]:
        each["metadata"].pop("managedFields", None)
        if each["kind"] == "ModelTier":
            each.pop("spec")  # the user's own words
    pairs = (("gated", "text"), ("imageless", "json"), ("toobig", "text"), ("keyless", "json"), ("careless", "text"))
    explained = [_explain(playground, kubectl.namespace, name, form) for name, form in pairs]
    address = operator("get", "service", "tierwise-metrics", "-o", "jsonpath={.spec.clusterIP}")
    router = kubectl.find("pods", "tierwise.io/route=chat")[0]
    return {
        "the router's metrics": _inside(playground, f"http://{router['status']['podIP']}:9090/metrics"),
        "the router's log": kubectl("logs", router["metadata"]["name"], "--tail=-1"),
        "objects and their statuses": json.dumps(listed),
        "events": kubectl("get", "events", "-o", "yaml"),
        "the operator's log": operator("logs", "deployment/tierwise", "--tail=-1"),
        "the metrics page": _inside(playground, f"http://{address}:8080/metrics"),
        "tierwise explain": "\n".join(explained),
        "the audit log of our requests": "\n".join(log.sent()),
    }


def _explain(playground: Playground, namespace: str, tier: str, form: str) -> str:
    command = [sys.executable, "-m", "tierwise_cli", "explain", tier, "-n", namespace, "-o", form]
    command += ["--kubeconfig", str(playground.kubeconfig)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=180).stdout


def assert_by_reference(kubectl: Kubectl) -> None:
    """The token reaches the engine by its name, and only the engine."""
    pods = kubectl.pods("gated")
    assert pods
    for pod in pods:
        variables = [each for container in pod["spec"]["containers"] for each in container.get("env", [])]
        (token,) = [each for each in variables if each["name"] == "HF_TOKEN"]
        assert token == {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}
