"""Tracks which replica holds which stream, and what became of each.

A Service of the playground takes its ready endpoints in turn, one connection after another. So one request that is
seen to arrive tells which replica is next, and a stream that shall go elsewhere is preceded by requests of one token.
What the clients saw is counted by `streams`, in the clients' own process; what the replicas hold is asked of the
simulated engines themselves.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import requests

from playground.handle import Playground
from tests.cluster.e2e.prometheus import instant
from tests.cluster.kubectl import Kubectl, Object, eventually
from tests.faults.streams import Order, Seen
from tierwise.times import seconds

TICK_SECONDS, SCRAPE_SECONDS = 3, 2
FILLER = 1  # tokens of a request that only takes its turn
OPEN_SECONDS, END_SECONDS = 90.0, 180.0


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier, its replicas and its Service."""

    playground: Playground
    kubectl: Kubectl
    name: str

    def alive(self) -> list[Object]:
        """Its pods that are not on their way out, by name."""
        found = [pod for pod in self.kubectl.pods(self.name) if "deletionTimestamp" not in pod["metadata"]]
        return sorted(found, key=_name)

    def settled(self, replicas: int, seconds_to_wait: float = 90) -> list[Object]:
        """Its pods once exactly so many exist, all of them ready."""
        return eventually(
            lambda: self.kubectl.pods(self.name),
            lambda pods: len(pods) == replicas and all(_ready(pod) for pod in pods),
            seconds_to_wait,
            f"{self.name} has {replicas} ready pods and no other",
        )

    def state(self, pod: Object) -> dict[str, Any]:
        """What the simulated engine in this pod says of itself."""
        url = f"http://{pod['status']['podIP']}:8000/sim/state"
        return dict(self._session().get(url, timeout=10).json())

    def url(self) -> str:
        """The ClusterIP of its Service: what a client in the cluster connects to."""
        path = ("get", "service", f"{self.name}-predictor", "-o", "jsonpath={.spec.clusterIP}")
        return f"http://{self.kubectl(*path)}"

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.proxies = {"http": self.playground.proxy_url}
        session.headers["Connection"] = "close"
        return session

    def turns(self, pods: Sequence[Object]) -> list[str]:
        """Names of the pods in the order in which the Service takes them, the next one first."""
        order = [_name(pod) for pod in sorted(pods, key=lambda pod: str(pod["status"]["podIP"]))]
        deadline = time.monotonic() + 30
        while True:
            before = {_name(pod): self.state(pod)["prompt_tokens"] for pod in pods}
            arrived = []
            for _ in pods:
                self._one_token()
                after = {_name(pod): self.state(pod)["prompt_tokens"] for pod in pods}
                arrived += [name for name in after if after[name] > before[name]]
                before = after
            if sorted(arrived) == sorted(order):
                start = order.index(arrived[0])
                return order[start:] + order[:start]
            assert time.monotonic() < deadline, f"the Service takes {arrived} of {order}"

    def _one_token(self) -> None:
        body = {"model": self.name, "prompt": "turn", "max_tokens": 1}
        answer = self._session().post(f"{self.url()}/v1/completions", json=body, timeout=30)
        assert answer.status_code == 200, answer.text

    def running(self) -> dict[str, float]:
        """Running requests by pod, as Prometheus has them."""
        query = f'vllm:num_requests_running{{namespace="{self.kubectl.namespace}",tierwise_io_tier="{self.name}"}}'
        return {labels["pod"]: value for labels, value in instant(self.playground.prometheus_url, query)}


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def _ready(pod: Object) -> bool:
    found = [each["status"] for each in pod["status"].get("conditions", []) if each["type"] == "Ready"]
    return found == ["True"] and "deletionTimestamp" not in pod["metadata"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Answers to ask for, in order, and which pod holds which of the long ones (by their number)."""

    tokens: list[int]
    holder: dict[int, str]


def plan(turns: Sequence[str], wanted: Mapping[str, int], first: int) -> Plan:
    """So many streams for each pod, spread over the time of opening; all of different length, `first` tokens or a few
    more."""
    left = dict(wanted)
    tokens: list[int] = []
    holder: dict[int, str] = {}
    while any(left.values()):
        name = turns[len(tokens) % len(turns)]
        if left.get(name):
            left[name] -= 1
            holder[len(tokens)] = name
            tokens.append(first + len(tokens))
        else:
            tokens.append(FILLER)
    return Plan(tokens, holder)


@dataclass(slots=True)
class Clients:
    """The clients of one plan, in a process of their own."""

    plan: Plan
    process: subprocess.Popen[bytes]
    report: Path
    stop: Path
    deleted_at: dict[str, float] = field(default_factory=dict)

    def seen(self, kind: str) -> list[Seen]:
        """What was told so far."""
        lines = self.report.read_text(encoding="utf-8").splitlines() if self.report.exists() else []
        return [seen for line in lines if (seen := Seen(**json.loads(line))).kind == kind]

    def streams(self) -> list[Seen]:
        """The long streams that have ended, without the requests that only took their turn."""
        return [seen for seen in self.seen("stream") if seen.number in self.plan.holder]

    def until_ended(self, tier: Tier) -> None:
        """Wait until every stream has, and the users have stopped; note meanwhile when pods were deleted."""
        wanted, deadline = len(self.plan.holder), time.monotonic() + END_SECONDS
        while len(self.streams()) < wanted:
            self.look(tier)
            assert time.monotonic() < deadline, f"{wanted - len(self.streams())} streams are still open"
            time.sleep(0.5)
        self.stop.touch()
        assert self.process.wait(60) == 0

    def look(self, tier: Tier) -> None:
        """Note which pods are being deleted, and since when; of one that is gone already, that it is gone by now."""
        pods = tier.kubectl.pods(tier.name)
        for name in {*self.plan.holder.values()} - {_name(pod) for pod in pods}:
            self.deleted_at.setdefault(name, time.time())
        for pod in pods:
            metadata = pod["metadata"]
            if "deletionTimestamp" in metadata:
                ends = seconds(metadata["deletionTimestamp"])
                assert ends is not None
                self.deleted_at.setdefault(_name(pod), ends - metadata["deletionGracePeriodSeconds"])

    def cut(self) -> list[Seen]:
        """The streams whose clients do not have everything."""
        return [seen for seen in self.streams() if not seen.whole]

    def refused(self) -> list[Seen]:
        """The new requests that were not answered in full."""
        return [seen for seen in self.seen("new") if not seen.whole]

    def open_at(self, name: str, moment: float) -> int:
        """How many streams this pod still held then."""
        return sum(self.plan.holder[seen.number] == name and seen.ended > moment for seen in self.streams())


@contextmanager
def streaming(tier: Tier, plan: Plan, folder: Path, users: int = 3) -> Iterator[Clients]:
    """All streams of the plan are open, each on the pod that it was meant for, and Prometheus has seen them."""
    order = Order(tier.url(), tier.name, plan.tokens, str(folder / "report"), str(folder / "stop"), users)
    process = tier.playground.start(sys.executable, "-m", "tests.faults.streams", json.dumps(asdict(order)))
    clients = Clients(plan, process, Path(order.report), Path(order.stop))
    try:
        eventually(lambda: clients.seen("all open"), bool, OPEN_SECONDS, "all streams are open")
        assert clients.streams() == [], "the streams are too short for this test"
        held = Counter(plan.holder.values())
        measured = eventually(
            tier.running, lambda seen: all(seen.get(pod, 0) >= held[pod] for pod in held), 30, f"Prometheus has {held}"
        )
        assert all(measured[pod] <= held[pod] + users for pod in held), (measured, held)
        time.sleep(TICK_SECONDS + 1)  # until the operator has asked Prometheus again
        yield clients
    finally:
        process.kill()
        process.wait()
