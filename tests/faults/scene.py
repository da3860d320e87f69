"""Prepares the faults of measurements and strangers: tiers whose right number of replicas is known, and ways to break
what is measured.

U users in a closed loop keep U requests in a tier, whatever its replicas do, so it wants ceil(U / share) of them. The
window is short and the minimum 1: a decision that took a missing number for a small one would lower the target within
seconds, in plain sight of `recorded`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from playground.handle import Playground
from tests.cluster.e2e.load import closed_loop
from tests.cluster.e2e.record import Record, recorded
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import Kubectl, Object, conditions, eventually, has
from tests.cluster.process import Operator
from tests.faults.ledger import Blind, Wrong
from tests.faults.stage import Stage

SEQUENCES, WAITING, WINDOW = 2, 1, 10
SHARE = SEQUENCES + WAITING
USERS = 4
WANTED = math.ceil(USERS / SHARE)
MOST = 4
TICK, SCRAPE = 3.0, 2.0  # of `operating` and of the playground
STALE = 3 * TICK  # beyond this the last answers count no more
# How long a thing may take that takes seconds on a quiet machine.
SOON = 60.0
ENGINE_PORT = 8000


def follower(name: str, **spec: Any) -> dict[str, Any]:
    """A tier that follows its load between 1 and MOST."""
    scaling = {
        "minReplicas": 1,
        "maxReplicas": MOST,
        "waitingPerReplica": WAITING,
        "scaleDownWindowSeconds": WINDOW,
    }
    return cheap(name, batching={"maxSequences": SEQUENCES}, scaling=scaling, **spec)


def ready_pods(kubectl: Kubectl, tier: str) -> list[Object]:
    """The pods of a tier that answer, by name."""
    return [
        pod
        for pod in kubectl.pods(tier)
        if "deletionTimestamp" not in pod["metadata"] and conditions(pod).get("Ready", {}).get("status") == "True"
    ]


def unreachable(text: str) -> bool:
    """Whether a log tells that the API server does not answer, or not with what was asked for."""
    return "Lease could not be renewed" in text or "does not hold the Lease" in text


@dataclass(frozen=True, slots=True)
class Scene:
    """A stage with its operator, and the way to its engines and to Prometheus."""

    stage: Stage
    operator: Operator

    @property
    def playground(self) -> Playground:
        """The control plane."""
        return self.stage.playground

    @property
    def kubectl(self) -> Kubectl:
        """kubectl in the namespace of the tiers."""
        return self.stage.kubectl

    def wrong(self, *blind: Blind) -> list[Wrong]:
        """The wrong writes since the test began."""
        return self.stage.ledger.wrong(blind)

    def loaded(self, **users: int) -> Any:
        """So many users per tier while the block runs."""
        return closed_loop(self.playground, self.kubectl.namespace, users)

    def replicas(self, tier: str) -> Any:
        """Every number of replicas that is asked for while the block runs."""
        return recorded(self.kubectl, "deployment", f"{tier}-predictor", ".spec.replicas")

    def follows(self, tier: str, replicas: int, seconds: float = SOON) -> None:
        """Waits until the tier has so many ready replicas, all of them measured."""

        def done(seen: Object) -> bool:
            status = seen.get("status", {})
            counts = {status.get("readyReplicas", 0), status.get("desiredReplicas", 0)}
            return counts == {replicas} and has(seen, "MetricsAvailable", "True")

        what = f"{tier} has {replicas} ready and measured replicas"
        eventually(lambda: self.kubectl.tier(tier), done, seconds, what)

    def says(
        self, tier: str, kind: str, status: str, reason: str = "", *, since: float, word: str = ""
    ) -> tuple[float, str]:
        """Waits for a condition whose message has this word; seconds from `since` (monotonic) until then, and the
        message."""

        def message(found: Object) -> str:
            return str(conditions(found)[kind]["message"]) if has(found, kind, status, reason) else ""

        seen = eventually(
            lambda: self.kubectl.tier(tier),
            lambda found: has(found, kind, status, reason) and word in message(found),
            SOON,
            f"{tier}: {kind}={status} {reason} {word}",
        )
        return time.monotonic() - since, message(seen)

    def engine(self, pod: Object, path: str, body: Mapping[str, Any]) -> None:
        """Turn a switch of a simulated engine."""
        url = f"http://{pod['status']['podIP']}:{ENGINE_PORT}{path}"
        proxies = {"http": self.playground.proxy_url}
        requests.post(url, json=body, proxies=proxies, timeout=10).raise_for_status()

    def busiest(self, tier: str) -> Object:
        """The replica that has most requests."""
        return max(ready_pods(self.kubectl, tier), key=self._requests)

    def _requests(self, pod: Object) -> int:
        url = f"http://{pod['status']['podIP']}:{ENGINE_PORT}/sim/state"
        state = requests.get(url, proxies={"http": self.playground.proxy_url}, timeout=10).json()
        return int(state["running"]) + int(state["waiting"])

    def identities(self, tier: str) -> dict[str, str]:
        """UIDs of a tier's pods that are not ending, by name."""
        pods = [pod["metadata"] for pod in self.kubectl.pods(tier)]
        return {each["name"]: each["uid"] for each in pods if "deletionTimestamp" not in each}

    def misses(self, tier: str, replicas: int, *, since: float) -> float:
        """Waits until the tier says that fewer than these replicas answer; seconds from `since` (monotonic)."""
        eventually(
            lambda: self.kubectl.tier(tier),
            lambda found: found["status"].get("readyReplicas", 0) < replicas,
            SOON,
            f"{tier} misses a replica",
        )
        return time.monotonic() - since

    def metrics(self, pod: Object, mode: str) -> None:
        """How an engine's /metrics is from now on: ok, hang, nan, inf, error."""
        self.engine(pod, "/sim/metrics", {"mode": mode})

    @contextmanager
    def rescraped(self, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """Prometheus is restarted with another configuration, and with the old one after the block."""
        path = self.playground.layout.config / "prometheus.json"
        before = path.read_text(encoding="utf-8")
        changed = json.loads(before)
        change(changed)
        self._restart_prometheus(json.dumps(changed))
        try:
            yield
        finally:
            self._restart_prometheus(before)

    def _restart_prometheus(self, configuration: str) -> None:
        path = self.playground.layout.config / "prometheus.json"
        self.playground.control("stop", "prometheus")
        try:
            path.write_text(configuration, encoding="utf-8")
        finally:
            self.playground.control("start", "prometheus")


def held(record: Record, since: float) -> set[int]:
    """All numbers asked for since then, the one that stood at that moment included."""
    before = [value for at, value in record.seen if at <= since]
    return {*before[-1:], *(value for at, value in record.seen if at > since)}
