"""Plays the scene in the playground: a real control plane, the operator by helm, and requests through the router.

Replicas are read from a watch of the Deployment, so that none is missed between two looks.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from statistics import mean
from typing import Any

from playground.demo import drive
from playground.demo.account import Answer
from playground.errors import PlaygroundError
from playground.handle import Playground, start
from playground.release import Release
from tierwise_sim.workloads import Arrival
from tools.agreement import scene
from tools.agreement.compare import Timeline

READY_SECONDS = 240.0
SETTLED_SECONDS = 30.0
AFTER_SECONDS = 90.0
_RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
Say = Callable[[str], None]
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Played:
    """What the playground did. `startup`: seconds from a pod's creation to its readiness, on average; `lag`: how late
    a request was sent at most, in seconds."""

    timeline: Timeline
    startup: float
    answered: int
    failed: int
    lag: float


@dataclass(slots=True)
class Watch:
    """Replicas of a Deployment as they change, in seconds of the monotonic clock."""

    asked: list[tuple[float, int]] = field(default_factory=list)
    ready: list[tuple[float, int]] = field(default_factory=list)

    def line(self, at: float, text: str) -> None:
        """One line of the watch: replicas asked for, and ready ones (nothing where there are none)."""
        asked, _, ready = text.strip().partition(" ")
        for steps, value in ((self.asked, int(asked or 0)), (self.ready, int(ready or 0))):
            if not steps or steps[-1][1] != value:
                steps.append((at, value))

    def since(self, began: float) -> Timeline:
        """With 0 at a moment; what held before it holds from then on."""
        return Timeline(_since(self.asked, began), _since(self.ready, began))


def _since(steps: Sequence[tuple[float, int]], began: float) -> list[tuple[float, int]]:
    before = [value for at, value in steps if at <= began]
    after = [(round(at - began, 2), value) for at, value in steps if at > began]
    return [(0.0, before[-1]), *after] if before else after


def play(requests: Sequence[Arrival], say: Say) -> Played:
    """Start the playground, install, send everything, and read replicas. Raises PlaygroundError."""
    with start(scrape_interval=scene.SCRAPE_SECONDS, engine=scene.engine_config(), progress=say) as playground:
        _install(playground, say)
        with _watched(playground) as watch:
            say("the load begins")
            began = time.monotonic()
            answers = _drive(playground, requests, say, began)
        timeline = watch.since(began)
        startup = _startup(playground)
    return Played(
        timeline=timeline,
        startup=round(startup, 1),
        answered=sum(each.ok for each in answers),
        failed=sum(not each.ok for each in answers),
        lag=round(max((each.lag for each in answers), default=0.0), 2),
    )


def _install(playground: Playground, say: Say) -> None:
    release = Release(playground)
    for name in (release.namespace, scene.NAMESPACE):
        _apply(playground, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": _RESTRICTED}})
    release.install_crds()
    release.install({"router": {"image": {"repository": "tierwise/router"}}})
    say("the operator is installed, with the chart's own values")
    tier, route = scene.documents()
    _apply(playground, tier)
    _until_ready(playground, "mt")
    _apply(playground, route)
    _until_ready(playground, "mr")
    time.sleep(SETTLED_SECONDS)


def _drive(playground: Playground, requests: Sequence[Arrival], say: Say, began: float) -> list[Answer]:
    report = playground.state / "answers.jsonl"
    orders = report.with_suffix(".orders")
    address = ("get", "service", "-n", scene.NAMESPACE, scene.ROUTE, "-o", "jsonpath={.spec.clusterIP}")
    url = f"http://{playground.kubectl(*address)}"
    drive.write_orders(orders, report, url, scene.ROUTE, requests)
    sender = playground.start(sys.executable, "-m", "playground.demo.drive", str(orders))
    try:
        while sender.poll() is None:
            if time.monotonic() - began > scene.SECONDS + AFTER_SECONDS:
                raise PlaygroundError("requests are still open long after the last was sent", str(report))
            time.sleep(1)
        time.sleep(max(0.0, began + scene.SECONDS - time.monotonic()))
        answers = drive.read_report(report)
        say(f"{len(answers)} requests are over")
        return answers
    finally:
        sender.kill()
        sender.wait()


@contextmanager
def _watched(playground: Playground) -> Iterator[Watch]:
    found, known = Watch(), threading.Event()
    path = "jsonpath={.spec.replicas} {.status.readyReplicas}{'\\n'}"
    command = [str(playground.binaries / "kubectl"), "--kubeconfig", str(playground.kubeconfig)]
    where = ["-n", scene.NAMESPACE, "get", "deployment", f"{scene.TIER}-predictor", "--watch", "-o", path]
    process = subprocess.Popen([*command, *where], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def read() -> None:
        assert process.stdout is not None  # noqa: S101
        for line in process.stdout:
            found.line(time.monotonic(), line)
            known.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        if not known.wait(READY_SECONDS):
            raise PlaygroundError("the watch of the Deployment says nothing", " ".join(where))
        yield found
    finally:
        process.terminate()
        process.wait()
        reader.join(5)


def _startup(playground: Playground) -> float:
    """Of the pods that are there: from creation to readiness."""
    listed = json.loads(playground.kubectl("get", "pods", "-n", scene.NAMESPACE, "-o", "json"))["items"]
    return mean(startups(listed) or [float(scene.LOAD_SECONDS)])


def startups(pods: Sequence[Object]) -> list[float]:
    """Seconds from creation to readiness, of the tier's pods that are ready."""
    found = []
    for pod in pods:
        ready: Object = next((each for each in pod["status"].get("conditions", []) if each["type"] == "Ready"), {})
        if ready.get("status") == "True" and pod["metadata"]["name"].startswith(f"{scene.TIER}-predictor"):
            found.append(_seconds(ready["lastTransitionTime"]) - _seconds(pod["metadata"]["creationTimestamp"]))
    return found


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _apply(playground: Playground, document: Mapping[str, Any]) -> None:
    playground.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(document))


def _until_ready(playground: Playground, kind: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        (found,) = json.loads(playground.kubectl("get", kind, "-n", scene.NAMESPACE, "-o", "json"))["items"]
        conditions = found.get("status", {}).get("conditions", [])
        if any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
            return
        if time.monotonic() > deadline:
            said = playground.kubectl("describe", kind, "-n", scene.NAMESPACE)
            raise PlaygroundError(f"{kind} is not ready after {READY_SECONDS:.0f} s", said)
        time.sleep(1)
