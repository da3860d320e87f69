"""Checks that clients of a route notice nothing while what it was made by is away, or while it is changed.

API server, operator and Prometheus go away for two minutes each (`TIERWISE_AWAY_SECONDS` for less): a router knows its
replicas and connects to them itself. And the route's spec and its clients' keys change under load.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from playground.release import Release
from tests.cluster.e2e.tiers import route
from tests.cluster.kubectl import eventually, ready
from tests.faults import verdict
from tests.faults.asking import Told
from tests.faults.clients import count, quantile, whole, wrong
from tests.faults.results import Sheet
from tests.faults.routes import START, Routes, routed, told_until, wait

pytestmark = pytest.mark.cluster
AWAY_SECONDS = float(os.environ.get("TIERWISE_AWAY_SECONDS", "120"))
PROPAGATED_SECONDS = 90.0  # until the files of a mounted Secret are others, and a router has read them
USERS, STREAMS, STREAM_TOKENS = 6, 6, 500
TOOLS = {"name": "tools", "match": {"tools": True}, "tier": "large"}
CHANGES: tuple[dict[str, Any], ...] = (
    {"queue": {"maxRequests": 50}},
    {"policy": {"rules": [TOOLS]}},
    {"modelNames": ["chat", "another"]},
    {"tiers": [{"name": "small"}, {"name": "bought"}], "policy": {"rules": []}},
    {"tiers": [{"name": "small"}, {"name": "large"}, {"name": "bought", "use": "Overflow"}]},
    {"deadlines": {"tokenGapSeconds": 45}},
    {"modelNames": None, "queue": {"maxRequests": 100}},
    {"tiers": [{"name": "small"}, {"name": "large"}, {"name": "bought"}], "policy": None, "deadlines": None},
)


@pytest.fixture(scope="module")
def module_routes(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routes]:
    """Two replicas of the first tier."""
    small = {"replicas": 2, "batching": {"maxSequences": 16}, "drainSeconds": 30}
    with routed(release, "route-away", tmp_path_factory.mktemp("away"), small, {}) as made:
        yield made


@pytest.fixture
def routes(module_routes: Routes) -> Routes:
    """The route, all of it well, and its own wrong writes."""
    ready(module_routes.kubectl, "small", 2, START)
    module_routes.served()
    module_routes.ledger.restart()
    return module_routes


@contextmanager
def component(routes: Routes, name: str) -> Iterator[None]:
    """A component of the control plane is stopped."""
    routes.playground.control("stop", name)
    try:
        yield
    finally:
        routes.playground.control("start", name)


@contextmanager
def no_operator(routes: Routes) -> Iterator[None]:
    """No operator runs."""
    operators = routes.admin.within(routes.release.namespace)
    operators("scale", "deployment", routes.release.name, "--replicas=0")
    operators("wait", "pod", "-l", "app.kubernetes.io/name=tierwise", "--for=delete", "--timeout=120s", timeout=150)
    try:
        yield
    finally:
        operators("scale", "deployment", routes.release.name, "--replicas=1")


AWAY: dict[str, tuple[str, Callable[[Routes], Any]]] = {
    "api-server": ("The API server", lambda routes: component(routes, "kube-apiserver")),
    "operator": ("The operator", no_operator),
    "prometheus": ("Prometheus", lambda routes: component(routes, "prometheus")),
}


@pytest.mark.parametrize("name", AWAY)
def test_what_made_the_route_is_away_and_clients_notice_nothing(routes: Routes, faults: Sheet, name: str) -> None:
    what, away = AWAY[name]
    with routes.clients(
        users=USERS, streams=[STREAM_TOKENS] * STREAMS, tokens=20, whole_share=0.25, pause_seconds=0.2
    ) as clients:
        clients.all_open()
        before = told_until(clients, lambda told: len(whole(told)) > 4 * USERS, START, "clients are answered")
        began = time.time()
        with away(routes):
            over = wait(AWAY_SECONDS)
        routes.served()
        again = time.time() - over
        told = clients.end()
    during = [each for each in told if began < each.opened < over]
    faults.record(
        row="route away",
        fault=f"{what} is away for {AWAY_SECONDS:.0f} s",
        detect_seconds=None,
        recover_seconds=again,
        wrong=routes.wrong(),
        note=f"meanwhile {count(during)}, p95 {_slow(during):.1f} s ({_slow(before):.1f} s before); "
        "recovered: the operator says that the route is ready",
    )
    assert wrong(told) == []
    assert len(during) > 20
    assert len(whole(told)) == len(told), count(told)
    assert len([each for each in told if each.kind == "stream"]) == STREAMS


def _slow(told: list[Told]) -> float:
    return quantile((each.seconds for each in told), 0.95)


def test_a_route_is_changed_again_and_again_under_load(routes: Routes, faults: Sheet) -> None:
    """Rules, limits, tiers and names, served without a restart: every request ends where it began."""
    before = {pod["metadata"]["name"] for pod in routes.routers()}
    with (
        routes.clients(users=USERS, tokens=20, whole_share=0.25, pause_seconds=0.1) as clients,
        routes.clients("direct", model="large", users=2, tokens=60, pause_seconds=0.1) as direct,
    ):
        told_until(clients, lambda told: len(whole(told)) > 2 * USERS, START, "clients are answered")
        for change in CHANGES:
            routes.patch("modelroute", "chat", change)
            wait(6.0)
        told, named = clients.end(), direct.end()
    faults.record(
        row="route change",
        fault=f"A route's spec changes {len(CHANGES)} times under load",
        detect_seconds=None,
        recover_seconds=None,
        wrong=routes.wrong(),
        note=f"{count(told)}; of a tier that is taken out and put in again: {count(named)}",
    )
    assert wrong([*told, *named]) == []
    assert len(whole(told)) == len(told), count(told)
    gone = [each for each in named if each.verdict != verdict.WHOLE]
    assert {each.code for each in gone} == {"model_not_found"}, "it was taken out"
    assert named[-1].verdict == verdict.WHOLE
    assert {pod["metadata"]["name"] for pod in routes.routers()} == before, "no router was replaced"


def _hashed(*keys: str) -> dict[str, Any]:
    """The Secret with the hashes of these keys of one tenant."""
    lines = "\n".join(hashlib.sha256(key.encode()).hexdigest() for key in keys)
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"blue": lines}}


def test_a_clients_key_is_replaced_under_load(routes: Routes, faults: Sheet) -> None:
    """The new key is added, clients change to it, the old one is taken away: nobody is refused until then, and then
    everybody who still has the old one."""
    key = routes.folder / "key"
    old = routes.folder / "old-key"
    for file in (key, old):
        file.write_text("key-one", encoding="utf-8")
    routes.kubectl.apply(_hashed("key-one"), route("locked", "small", clients={"secretName": "keys"}))
    routes.served("locked")
    asked: dict[str, Any] = {"of": "locked", "model": "locked", "tokens": 10, "pause_seconds": 0.2}
    with (
        routes.clients(users=USERS, key_file=str(key), **asked) as clients,
        routes.clients("old", users=2, key_file=str(old), **asked) as with_old,
    ):
        told_until(clients, lambda told: len(whole(told)) > 2 * USERS, START, "clients are answered")
        routes.kubectl.apply(_hashed("key-one", "key-two"))
        added = time.time()
        _until_known(routes, "key-two", asked)
        known = time.time() - added
        whole_file = routes.folder / "new-key"  # a file that is being written is read empty by whoever asks just then
        whole_file.write_text("key-two", encoding="utf-8")
        whole_file.replace(key)
        wait(5.0)
        routes.kubectl.apply(_hashed("key-two"))
        taken = time.time()
        told_until(with_old, lambda told: _refused(told[-8:]) == 8, PROPAGATED_SECONDS, "the old key is refused")
        told, others = clients.end(), with_old.end()
    refused = [each for each in others if each.status == 401]
    last = max(each.ended for each in whole(others))
    faults.record(
        row="route change",
        fault="A client's key is replaced under load",
        detect_seconds=min(each.ended for each in refused) - taken,
        recover_seconds=last - taken,
        wrong=routes.wrong(),
        note=f"{count(told)}; both routers know the new key after {known:.0f} s; recovered: the old key is refused by "
        "both (the kubelet must write the Secret's files first)",
    )
    routes.kubectl("delete", "modelroute", "locked")
    assert wrong([*told, *others]) == []
    assert len(whole(told)) == len(told), count(told)
    assert all(each.ended > taken for each in refused)


def _refused(told: list[Told]) -> int:
    return len([each for each in told if each.status == 401])


def _until_known(routes: Routes, key: str, asked: dict[str, Any]) -> None:
    """Wait until no router refuses this key: sixteen answers, each on a connection of its own."""
    file = routes.folder / "probe-key"
    file.write_text(key, encoding="utf-8")
    with routes.clients("probe", users=1, key_file=str(file), keep=False, **asked) as probing:
        eventually(
            lambda: [each.verdict for each in probing.told()][-16:],
            lambda last: len(last) == 16 and set(last) == {verdict.WHOLE},
            PROPAGATED_SECONDS,
            "the new key is known",
        )
