"""Checks that nothing that is replaced under a route cuts a stream: replicas, routers, a node, the whole release.

Fifty clients hold a stream open through two routers, and others send new requests all the while. Each stream must end
with all its tokens and [DONE]; no new request may fail. The same with drainSeconds: 0 does cut streams, or these tests
would prove nothing.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from playground.release import Release
from tests.cluster.kubectl import Object, eventually, ready
from tests.faults import verdict
from tests.faults.asking import Told
from tests.faults.clients import Clients, count, wrong
from tests.faults.results import Sheet
from tests.faults.routes import ENGINE_PORT, LARGE, METRICS_PORT, START, STUB_NODE, VALUES, Routes, routed
from tests.faults.test_drain import budget

pytestmark = pytest.mark.cluster
STREAMS, USERS = 50, 3
TOKENS, MANY_TOKENS = 5000, 8000  # 80 s, and 2 minutes where one thing is replaced after another
# On a busy machine they took three times as long. A drain that ends before them cuts all of them, and must not: so it
# lasts longer than a test waits.
DRAIN_SECONDS, END_SECONDS = 600, 420.0
SEEDS = {"small": [17, 0]}  # before and after the change of the model
_STREAMS = re.compile(r"^tierwise_router_streams (\d+)", re.MULTILINE)


@pytest.fixture(scope="module")
def module_routes(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routes]:
    """Three replicas of a model whose streams cost little of this machine."""
    small = {
        "replicas": 3,
        "model": {"name": "small", "uri": LARGE},
        "quantization": None,
        "batching": {"maxSequences": 64},
        "drainSeconds": DRAIN_SECONDS,
    }
    with routed(
        release, "route-drain", tmp_path_factory.mktemp("drain"), small, {"drainSeconds": DRAIN_SECONDS}
    ) as made:
        yield made


@pytest.fixture
def routes(module_routes: Routes) -> Routes:
    """The route with three replicas, nothing of it on its way out, and its own wrong writes."""
    module_routes.patch("modeltier", "small", {"replicas": 3})
    ready(module_routes.kubectl, "small", 3, START)
    eventually(
        lambda: [pod["metadata"]["name"] for pod in _leaving(module_routes)],
        lambda left: not left,
        START,
        "all settled",
    )
    module_routes.served()
    module_routes.ledger.restart()
    return module_routes


def _leaving(routes: Routes) -> list[Object]:
    return [pod for pod in routes.kubectl.find("pods") if "deletionTimestamp" in pod["metadata"]]


@dataclass(frozen=True, slots=True)
class Drained:
    """What was seen: `held` are the most streams that each pod still had while it was on its way out."""

    told: list[Told]
    held: Mapping[str, int]
    seconds: float

    @property
    def streams(self) -> list[Told]:
        """The long ones."""
        return [each for each in self.told if each.kind == "stream"]

    @property
    def cut(self) -> list[Told]:
        """Those that did not end whole."""
        return [each for each in self.streams if each.verdict != verdict.WHOLE]


def drained(routes: Routes, change: Callable[[], object], tokens: int = TOKENS) -> Drained:
    """Fifty open streams, then the change; all that the clients told."""
    with (
        routes.clients(
            model="small", seeds=SEEDS, streams=[tokens] * STREAMS, users=USERS, tokens=20, pause_seconds=0.3
        ) as clients,
        ThreadPoolExecutor(1) as beside,
    ):
        clients.all_open()
        began = time.time()
        changing = beside.submit(change)
        held = _watched(routes, clients)
        changing.result()
        told = clients.end()
    return Drained(told, held, max(each.ended for each in told if each.kind == "stream") - began)


def _watched(routes: Routes, clients: Clients) -> dict[str, int]:
    """Look at what is on its way out until every stream has ended."""
    held: dict[str, int] = {}
    deadline = time.monotonic() + END_SECONDS
    while len([each for each in clients.told() if each.kind == "stream"]) < STREAMS:
        for pod in _leaving(routes):
            name = str(pod["metadata"]["name"])
            held[name] = max(held.get(name, 0), _open(routes, pod))
        assert time.monotonic() < deadline, "streams are still open"
        time.sleep(1.0)
    return held


def _open(routes: Routes, pod: Object) -> int:
    """Answers that a replica or a router still gives; 0 for one that does not say."""
    address, proxies = pod["status"].get("podIP"), {"http": routes.playground.proxy_url}
    try:
        if "tierwise.io/route" in pod["metadata"]["labels"]:
            page = requests.get(f"http://{address}:{METRICS_PORT}/metrics", proxies=proxies, timeout=5).text
            found = _STREAMS.search(page)
            return int(found[1]) if found else 0
        state = requests.get(f"http://{address}:{ENGINE_PORT}/sim/state", proxies=proxies, timeout=5).json()
        return int(state["running"])
    except (requests.RequestException, ValueError):
        return 0


def record(faults: Sheet, routes: Routes, seen: Drained, row: str, fault: str) -> None:
    """Write the row, see `Row`: seconds until the last stream had ended, or none where streams were cut."""
    new = [each for each in seen.told if each.kind == "user"]
    failed = [each for each in new if each.verdict != verdict.WHOLE]
    faults.record(
        row=f"drain route {row}",
        fault=f"Through a route: {fault}",
        detect_seconds=None,
        recover_seconds=None if seen.cut else seen.seconds,
        wrong=routes.wrong(),
        note=f"{len(seen.streams)} open streams, {len(seen.cut)} cut; {len(new)} new requests, {len(failed)} failed; "
        f"{sum(seen.held.values())} streams were open on {len(seen.held)} pods that were leaving",
    )
    assert len(seen.streams) == STREAMS
    assert len(new) > 20, "new requests were sent all the while"


def all_whole(seen: Drained) -> None:
    """Every stream has all its tokens and [DONE], and no new request failed."""
    assert wrong(seen.told) == []
    assert count(seen.told) == f"{len(seen.told)} requests: {len(seen.told)} whole"


def held_by(seen: Drained, word: str) -> list[int]:
    """Streams that pods with this word in their name had while they were leaving."""
    return [streams for name, streams in seen.held.items() if word in name]


def test_three_replicas_become_one(routes: Routes, faults: Sheet) -> None:
    seen = drained(routes, lambda: routes.patch("modeltier", "small", {"replicas": 1}))
    record(faults, routes, seen, "a", "3 replicas become 1")
    all_whole(seen)
    assert len([streams for streams in held_by(seen, "small") if streams]) == 2


def test_the_model_changes(routes: Routes, faults: Sheet) -> None:
    change = {"model": {"name": "small", "uri": "hf://Qwen/Qwen3-0.6B"}}
    seen = drained(routes, lambda: routes.patch("modeltier", "small", change), MANY_TOKENS)
    record(faults, routes, seen, "c", "the model changes under rollout: Surge")
    all_whole(seen)
    assert any(held_by(seen, "small"))
    routes.patch("modeltier", "small", {"model": {"name": "small", "uri": LARGE}})


@contextmanager
def _draining(routes: Routes, node: str) -> Iterator[Callable[[], None]]:
    """Draining this node, as an administrator does; it takes pods again afterwards."""
    processes: list[subprocess.Popen[bytes]] = []
    kubectl = routes.kubectl

    def drain() -> None:
        command = [str(kubectl.binary), "--kubeconfig", str(kubectl.kubeconfig), "drain", node]
        command += ["--delete-emptydir-data", "--ignore-daemonsets", "--force", f"--timeout={END_SECONDS:.0f}s"]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    try:
        yield drain
        assert [process.wait(END_SECONDS) for process in processes] == [0]
    finally:
        for process in processes:
            process.kill()
        kubectl("uncordon", node)


def _node_of(pod: Object) -> str:
    """Where it is; "" while it has no node."""
    return str(pod["spec"].get("nodeName", ""))


def _gathered(routes: Routes) -> str:
    """The node on which all replicas and all routers are, once they are: the worst that a drain can find."""
    kubectl = routes.kubectl

    def all_of_it() -> list[Object]:
        return [*routes.replicas("small"), *routes.routers()]

    counts = Counter(map(_node_of, routes.replicas("small")))
    node = max(sorted(set(counts) - {STUB_NODE, ""}), key=lambda name: counts[name])
    others = [name for each in kubectl.find("nodes") if (name := str(each["metadata"]["name"])) != node]
    kubectl("cordon", *others)
    try:
        away = [str(pod["metadata"]["name"]) for pod in all_of_it() if _node_of(pod) != node]
        if away:
            kubectl("delete", "pod", "--wait=false", *away)
        eventually(
            lambda: ([_node_of(pod) for pod in all_of_it()], len(_leaving(routes))),
            lambda seen: seen == ([node] * 5, 0),
            2 * START,
            f"all replicas and routers are on {node}",
        )
    finally:
        kubectl("uncordon", *others)
    routes.served()
    return node


def test_a_node_is_drained(routes: Routes, faults: Sheet) -> None:
    """It holds everything that serves the route, and all of it leaves under the budgets that the pages recommend."""
    routes.kubectl.apply(budget("small"))
    node = _gathered(routes)
    with _draining(routes, node) as drain:
        seen = drained(routes, drain, MANY_TOKENS)
    record(faults, routes, seen, "d", "the node that holds all replicas and all routers is drained")
    all_whole(seen)
    assert len([streams for streams in held_by(seen, "small") if streams]) == 3
    assert len([streams for streams in held_by(seen, "router") if streams]) == 2
    routes.kubectl("delete", "poddisruptionbudget", "small")


def test_the_routers_are_replaced(routes: Routes, faults: Sheet) -> None:
    before = routes.routers()
    seen = drained(routes, lambda: routes.kubectl("rollout", "restart", "deployment", "chat-router"))
    record(faults, routes, seen, "f", "its routers are replaced")
    all_whole(seen)
    assert len([streams for streams in held_by(seen, "router") if streams]) == len(before)
    assert sum(held_by(seen, "router")) >= STREAMS


def test_the_release_is_upgraded(routes: Routes, faults: Sheet) -> None:
    """Another image for operator and routers, and other resources: all of them are replaced, no engine is."""
    engines = {pod["metadata"]["uid"] for pod in routes.replicas("small")}
    values: dict[str, Any] = {
        **VALUES,
        "image": {"repository": "tierwise/operator", "tag": "after"},
        "router": {"resources": {"requests": {"cpu": "120m", "memory": "128Mi"}}},
    }
    seen = drained(routes, lambda: routes.release.install(values), MANY_TOKENS)
    record(faults, routes, seen, "g", "the release is upgraded with helm")
    all_whole(seen)
    assert sum(held_by(seen, "router")) > 0
    assert {pod["metadata"]["uid"] for pod in routes.replicas("small")} == engines


def test_without_the_drain_settings_streams_are_cut(routes: Routes, faults: Sheet) -> None:
    """The control: the same replacement of routers, and the same end of two replicas, with drainSeconds: 0."""
    before = {pod["metadata"]["uid"] for pod in routes.replicas("small")}
    routes.patch("modeltier", "small", {"drainSeconds": 0})
    routes.patch("modelroute", "chat", {"drainSeconds": 0})
    eventually(
        lambda: {pod["metadata"]["uid"] for pod in routes.kubectl.pods("small")},
        lambda now: len(now) == 3 and not now & before,
        2 * START,
        "all replicas are without a drain",
    )
    routes.served()
    eventually(lambda: _leaving(routes), lambda left: not left, START, "nothing is on its way out")

    def change() -> None:
        routes.patch("modeltier", "small", {"replicas": 1})
        time.sleep(15)
        routes.kubectl("rollout", "restart", "deployment", "chat-router")

    seen = drained(routes, change)
    record(faults, routes, seen, "h", "the same with drainSeconds: 0, which proves the test")
    assert {each.verdict for each in seen.cut} == {verdict.BROKEN}, "each is told that it was cut"
    codes = {each.code for each in seen.cut}
    assert "router_ending" in codes, "routers left their clients"
    assert codes - {"router_ending"}, "replicas left their streams"
