"""Checks that an idle tier falls to zero, and that what arrives then is answered: after its start or elsewhere at once.

The external API is played by another tier's Service. Who writes replicas is read from the audit log.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests

from playground.handle import Playground
from playground.release import Release
from tests.cluster.e2e.record import Record, recorded
from tests.cluster.e2e.tiers import cheap, external, route
from tests.cluster.kubectl import Kubectl, Object, eventually, has, ready

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("release")]
IDLE_SECONDS = int(os.environ.get("TIERWISE_IDLE_SECONDS", "12"))  # 480 takes 20 minutes
START, CLIENTS = 120.0, 20
SLEEPY = cheap(
    "sleepy",
    scaling={"minReplicas": 0, "maxReplicas": 3, "idleSeconds": IDLE_SECONDS, "scaleDownWindowSeconds": 5},
)
BOUGHT: dict[str, Any] = external("bought")
BOUGHT["spec"]["external"] |= {"baseURL": "http://always-predictor.zero.svc.cluster.local/v1", "model": "always"}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api-key"}, "stringData": {"token": "k"}}
LADDER = [{"name": "sleepy"}, {"name": "bought", "use": "Overflow"}]


@pytest.fixture(scope="module")
def kubectl(new_namespace: Callable[[str], Kubectl]) -> Kubectl:
    """A namespace with a tier that may be at zero, under a route that waits and one that spills."""
    made = new_namespace("zero")
    made.apply(
        SECRET,
        BOUGHT,
        cheap("always", replicas=1),
        SLEEPY,
        route("chat", "sleepy"),
        {**route("spilling"), "spec": {"tiers": LADDER, "drainSeconds": 60}},
    )
    for name in ("sleepy", "always"):
        ready(made, name, 1, START)
    for name in ("chat", "spilling"):
        eventually(
            lambda name=name: made.get("modelroute", name) or {},  # type: ignore[misc]
            lambda seen: has(seen, "Ready", "True", "RouteReady") and seen["status"]["ready"] == "2/2",
            START,
            f"the route {name} is ready",
        )
    return made


def idle(kubectl: Kubectl, replicas: Record) -> None:
    """The tier is at zero, and says so."""
    eventually(lambda: replicas.last, lambda value: value == 0, IDLE_SECONDS + START, "the tier falls to zero")
    eventually(lambda: kubectl.pods("sleepy"), lambda pods: not pods, START, "no pod is left")
    tier = eventually(
        lambda: kubectl.tier("sleepy"), lambda tier: has(tier, "Ready", "False", "Idle"), START, "it says why"
    )
    assert tier["status"]["state"] == "Idle"
    assert tier["status"].get("costPerHour", "") in ("", "0", "0.00")


def ask(playground: Playground, name: str, model: str = "") -> tuple[int, str, str, float]:
    """One request to a route: its status, the tier that answered and why, and the seconds that it took."""
    began = time.monotonic()
    body = {"model": model or name, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    url = f"http://{name}.zero.svc.cluster.local/v1/chat/completions"
    answer = requests.post(url, json=body, proxies={"http": playground.proxy_url}, timeout=START)
    said = answer.headers.get("x-tierwise-tier", ""), answer.headers.get("x-tierwise-reason", "")
    return answer.status_code, *said, time.monotonic() - began


def test_an_idle_tier_costs_nothing_and_nobody_who_asks_then_is_lost(
    playground: Playground, kubectl: Kubectl, release: Release
) -> None:
    with recorded(kubectl, "deployment", "sleepy-predictor", ".spec.replicas") as replicas:
        idle(kubectl, replicas)
        time.sleep(min(60, 2 * IDLE_SECONDS))
        assert replicas.last == 0, "it stays there"

        with ThreadPoolExecutor(CLIENTS + 1) as clients:
            first = clients.submit(ask, playground, "chat")
            time.sleep(1)
            others = [clients.submit(ask, playground, "chat") for _ in range(CLIENTS)]
            answers = [first.result(), *(each.result() for each in others)]
        assert Counter((status, tier) for status, tier, _, _ in answers) == {(200, "sleepy"): CLIENTS + 1}
        assert replicas.last == 1

        idle(kubectl, replicas)
        api = eventually(
            lambda: ask(playground, "spilling", "bought"),
            lambda seen: seen[0] == 200,
            START,
            "the external API answers",
        )
        assert api[1:3] == ("bought", "Direct")
        # All at once: the first of them starts the tier, which would answer one that is asked much later.
        with ThreadPoolExecutor(5) as clients:
            spilled = list(clients.map(lambda _: ask(playground, "spilling"), range(5)))
        told = spilled, kubectl.tier("sleepy")["status"]["scaling"]["decisions"], _failures(playground, kubectl)
        assert Counter((status, tier, why) for status, tier, why, _ in spilled) == {(200, "bought", "Spill"): 5}, told
        assert max(seconds for *_, seconds in spilled) < 10, "nobody waits for the start"
        eventually(lambda: replicas.last, lambda value: value == 1, START, "what spilled has started the tier")
        ready(kubectl, "sleepy", 1, START)
        eventually(lambda: ask(playground, "spilling")[1], lambda tier: tier == "sleepy", START, "it answers again")
        seen = [value for _, value in replicas.seen]
    rises = sum(1 for change in pairwise(seen) if change == (0, 1))
    assert rises == 2, seen
    writes = scalings(playground.audit_log)
    assert {user for user, _ in writes} == {release.user}, "nobody else writes replicas"
    assert sum(1 for _, to in writes if to == 1) <= rises + 1, "one write for each start, and one for the first"


def _failures(playground: Playground, kubectl: Kubectl) -> list[str]:
    """What the routers of the route that spills say of failures and refusals."""
    found = []
    for pod in kubectl.find("pods", "tierwise.io/route=spilling"):
        url = f"http://{pod['status']['podIP']}:9090/metrics"
        page = requests.get(url, proxies={"http": playground.proxy_url}, timeout=10).text
        found += [line for line in page.splitlines() if "_failures_total{" in line or "_refused_total{" in line]
    return found


def test_without_a_route_one_replica_stays(kubectl: Kubectl) -> None:
    kubectl.apply(cheap("lonely", scaling={"minReplicas": 0, "idleSeconds": 1, "scaleDownWindowSeconds": 0}))
    ready(kubectl, "lonely", 1, START)
    tier = eventually(
        lambda: kubectl.tier("lonely"),
        lambda tier: has(tier, "ScalingLimited", "True", "NotRouted"),
        START,
        "it says that nothing could start it again",
    )
    time.sleep(10)
    assert kubectl.tier("lonely")["status"]["desiredReplicas"] == tier["status"]["desiredReplicas"] == 1


def scalings(log: Path) -> list[tuple[str, int]]:
    """Who has written the replicas of the tier, and to what."""
    found = []
    for line in log.read_text().splitlines():
        event: Object = json.loads(line)
        about = event.get("objectRef") or {}
        mine = (about.get("namespace"), about.get("name"), about.get("subresource")) == (
            "zero",
            "sleepy-predictor",
            "scale",
        )
        if mine and event["verb"] in ("patch", "update") and event["stage"] == "ResponseComplete":
            if event["responseStatus"]["code"] != 200:
                continue  # somebody else wrote the Deployment's status: it is read and written again
            asked = event.get("requestObject") or {}
            found.append((event["user"]["username"], int((asked.get("spec") or {}).get("replicas", -1))))
    return found
