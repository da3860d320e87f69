"""Prepares the demo: the playground, Tierwise by helm, two tiers, and an observer.

Everything goes through kubectl and helm, as a user's hands would.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

from playground.demo import questions
from playground.demo.account import TierSample
from playground.demo.scenario import (
    BOUGHT,
    CLASSIFIER,
    LABELS,
    NAMESPACE,
    PROVIDER,
    ROUTE,
    Tier,
    bought,
    helm_values,
    provider,
    route,
)
from playground.errors import PlaygroundError
from playground.handle import Playground
from playground.release import Release

READY_SECONDS = 120.0
COMMAND_SECONDS = 300.0
_RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
ROUTE_LABEL = "tierwise.io/route"
# Longer than the operator waits before it writes figures again.
SAVINGS_SECONDS, SAVINGS_LOOKS = 17.0, 4
SCALING_REASONS = ("ScaledUp", "ScaledDown")
# Counters outlive their pod in Prometheus: the highest value that was scraped.
_SERVED = 'sum by ({}) (max_over_time({}{{namespace="' + NAMESPACE + '"{}}}[1h]))'

Say = Callable[[str], None]
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ScaleEvent:
    """A change of replicas as the cluster's Events tell it; `at` in seconds since the epoch."""

    at: float
    tier: str
    reason: str
    note: str


@dataclass(frozen=True, slots=True)
class Stage:
    """The running demo as seen from outside."""

    playground: Playground
    release: Release

    def set_up(self, tiers: Sequence[Tier], say: Say) -> None:
        """Install Tierwise, apply the tiers and the route, wait until they answer. Raises PlaygroundError."""
        for name in (self.release.namespace, NAMESPACE):
            labels = {"name": name, "labels": _RESTRICTED}
            self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": labels})
        self.release.install_crds()
        say("the CRD is installed (helm, charts/tierwise-crds)")
        self.release.install(helm_values())
        say("the operator runs as a pod under its own ServiceAccount (helm, charts/tierwise)")
        self.apply(*provider(), *(dict(tier.manifest) for tier in tiers), bought())
        names = [*(tier.name for tier in tiers), BOUGHT]
        say(f"applied: {', '.join(f'modeltier {name}' for name in names)}; waiting for their first replicas")
        self._until_ready("mt", set(names))
        self._wait("deployment", PROVIDER)
        say("every tier answers")
        say(f"tierwise train: {self._train((tiers[0].name, tiers[1].name))}")
        self.apply(route())
        self._until_ready("mr", {ROUTE})
        say(f"modelroute {ROUTE}: its routers answer")

    def _train(self, tiers: tuple[str, str]) -> str:
        """Train a classifier on made labels and apply its ConfigMap; what the command says first."""
        labels, manifest = (self.playground.state / name for name in ("labels.jsonl", "classifier.yaml"))
        questions.write_labels(labels, LABELS, ROUTE, tiers)
        said = self._tierwise(
            "train", str(labels), "--route", ROUTE, "--out", str(manifest), "--name", CLASSIFIER, "-n", NAMESPACE
        )
        self.playground.kubectl("apply", "--server-side", "-f", str(manifest))
        return " ".join(said.split()).split(". ")[0] + "."

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """`kubectl apply` these manifests."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.playground.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(items))

    def table(self) -> str:
        """What `kubectl get mt` and `kubectl get mr` print."""
        tables = (self.playground.kubectl("get", kind, "-n", NAMESPACE).rstrip() for kind in ("mt", "mr"))
        return "\n\n".join(tables)

    def tiers(self) -> list[Object]:
        """The ModelTiers."""
        return self._found("mt")

    def sample(self, at: float) -> dict[str, TierSample]:
        """One look at every tier."""
        return {tier["metadata"]["name"]: sample_of(tier.get("status", {}), at) for tier in self.tiers()}

    def address(self) -> str:
        """Where a client in the cluster reaches the route: its Service's ClusterIP."""
        service = ("get", "service", "-n", NAMESPACE, ROUTE, "-o", "jsonpath={.spec.clusterIP}")
        return f"http://{self.playground.kubectl(*service)}"

    def scale_events(self) -> list[ScaleEvent]:
        """Every change of replicas, oldest first."""
        listed = self.playground.kubectl("get", "events.events.k8s.io", "-n", NAMESPACE, "-o", "json")
        return events_of(json.loads(listed)["items"])

    def served_tokens(self) -> dict[str, tuple[float, float]]:
        """Prompt and generated tokens of clients' requests per tier: those of the engines' own counters, less what the
        routers' counters say of questions in the background. As Prometheus last scraped them."""
        found = []
        for engines, routers in (("prompt", "prompt"), ("generation", "output")):
            own = self._by_tier(f"vllm:{engines}_tokens_total", "tierwise_io_tier")
            ours = self._by_tier("tierwise_router_shadow_tokens_total", "tier", f', kind="{routers}"')
            found.append({tier: tokens - ours.get(tier, 0.0) for tier, tokens in own.items()})
        prompt, generated = found
        return {tier: (prompt[tier], generated.get(tier, 0.0)) for tier in prompt}

    def operator_restarts(self) -> int:
        """How often a container of the operator has been restarted."""
        listed = self.playground.kubectl("get", "pods", "-n", self.release.namespace, "-o", "json")
        pods = json.loads(listed)["items"]
        return sum(status["restartCount"] for pod in pods for status in pod["status"].get("containerStatuses", []))

    def access_logs(self) -> list[str]:
        """What each router of the route has written so far."""
        pods = self.playground.kubectl("get", "pods", "-n", NAMESPACE, "-l", f"{ROUTE_LABEL}={ROUTE}", "-o", "name")
        return [self.playground.kubectl("logs", "-n", NAMESPACE, pod, "--tail=-1") for pod in pods.split()]

    def savings(self) -> Object:
        """What `tierwise savings` says to programs, when two looks in a row say the same: the status of a route follows
        its traffic after some seconds. Raises PlaygroundError."""
        said: Object = {}
        for _ in range(SAVINGS_LOOKS):
            before, said = said, json.loads(self.waterfall("-o", "json"))
            if said == before:
                break
            time.sleep(SAVINGS_SECONDS)
        return said

    def waterfall(self, *options: str) -> str:
        """What `tierwise savings` prints. Raises PlaygroundError."""
        kubeconfig = ("--kubeconfig", str(self.playground.kubeconfig))
        return self._tierwise("savings", ROUTE, "-n", NAMESPACE, *kubeconfig, *options)

    def quality(self) -> Object:
        """`status.quality` of the route."""
        said = json.loads(self.playground.kubectl("get", "mr", ROUTE, "-n", NAMESPACE, "-o", "json"))
        return dict(said.get("status", {}).get("quality") or {})

    def _tierwise(self, *arguments: str) -> str:
        """What a command prints. Raises PlaygroundError."""
        command = [sys.executable, "-m", "tierwise_cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        if done.returncode != 0:
            raise PlaygroundError(f"tierwise {arguments[0]} failed", done.stderr.strip())
        return done.stdout

    def _by_tier(self, metric: str, label: str, more: str = "") -> dict[str, float]:
        url = f"{self.playground.prometheus_url}/api/v1/query"
        answer = requests.get(url, params={"query": _SERVED.format(label, metric, more)}, timeout=10).json()
        if answer["status"] != "success":
            raise PlaygroundError("Prometheus refuses a query", str(answer))
        return {series["metric"][label]: float(series["value"][1]) for series in answer["data"]["result"]}

    def _found(self, kind: str) -> list[Object]:
        return list(json.loads(self.playground.kubectl("get", kind, "-n", NAMESPACE, "-o", "json"))["items"])

    def _wait(self, kind: str, name: str) -> None:
        until = ("--for=condition=Available", f"--timeout={READY_SECONDS:.0f}s")
        self.playground.kubectl("wait", f"{kind}/{name}", "-n", NAMESPACE, *until, timeout=READY_SECONDS + 10)

    def _until_ready(self, kind: str, names: set[str]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            ready = {found["metadata"]["name"] for found in self._found(kind) if _is_ready(found)}
            if names <= ready:
                return
            if time.monotonic() > deadline:
                said = self.playground.kubectl("describe", kind, "-n", NAMESPACE)
                raise PlaygroundError(f"not ready after {READY_SECONDS:.0f} s: {sorted(names - ready)}", said)
            time.sleep(0.5)


def _is_ready(found: Object) -> bool:
    conditions = found.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def sample_of(status: Mapping[str, Any], at: float) -> TierSample:
    """A status as a sample."""
    return TierSample(
        at=at,
        replicas=int(status.get("replicas", 0)),
        ready=int(status.get("readyReplicas", 0)),
        desired=int(status.get("desiredReplicas", 0)),
        cost=float(status.get("costPerHour") or 0),
    )


def events_of(events: Sequence[Object]) -> list[ScaleEvent]:
    """The changes of replicas among events.k8s.io Events, oldest first."""
    found = [
        ScaleEvent(
            at=datetime.fromisoformat(event["eventTime"].replace("Z", "+00:00")).timestamp(),
            tier=event["regarding"]["name"],
            reason=event["reason"],
            note=event.get("note", ""),
        )
        for event in events
        if event["regarding"].get("kind") == "ModelTier" and event["reason"] in SCALING_REASONS
    ]
    return sorted(found, key=lambda event: event.at)
