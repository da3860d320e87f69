"""Checks that a second installation for the same tiers changes nothing for clients, and writes nothing, under load.

`TIERWISE_AWAY_SECONDS` says for how long (120). What comes without load: tests/cluster/e2e/test_two_installations.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from playground.release import Release
from tests.cluster.e2e.audit import AuditLog
from tests.cluster.e2e.installations import advice, answering, install, said, written
from tests.cluster.kubectl import eventually, ready
from tests.faults.clients import count, whole, wrong
from tests.faults.results import Sheet
from tests.faults.routes import START, VALUES, Routes, routed, told_until, wait
from tests.faults.test_router_away import AWAY_SECONDS

pytestmark = pytest.mark.cluster
USERS, STREAMS, STREAM_TOKENS = 6, 6, 500


@pytest.fixture(scope="module")
def routes(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routes]:
    small = {"replicas": 2, "batching": {"maxSequences": 16}, "drainSeconds": 30}
    with routed(release, "route-installations", tmp_path_factory.mktemp("installations"), small, {}) as made:
        yield made


@pytest.fixture
def second(routes: Routes) -> Iterator[Release]:
    """Another installation, to be installed by the test."""
    made = Release(routes.playground, "tierwise-two", "second-system")
    yield made
    made.uninstall()
    routes.admin("delete", "namespace", made.namespace, "--wait=false")


def test_a_second_installation_writes_nothing_and_clients_notice_nothing(
    routes: Routes, second: Release, faults: Sheet
) -> None:
    """The first one goes on acting: a tier grows and shrinks meanwhile."""
    log = AuditLog(routes.playground.audit_log, second.user)
    with routes.clients(
        users=USERS, streams=[STREAM_TOKENS] * STREAMS, tokens=20, whole_share=0.25, pause_seconds=0.2
    ) as clients:
        clients.all_open()
        told_until(clients, lambda told: len(whole(told)) > 4 * USERS, START, "clients are answered")
        began = time.monotonic()
        notes = install(second, VALUES)
        eventually(
            lambda: advice(routes.kubectl, "small"),
            lambda reasons: "TwoInstallations" in reasons,
            START,
            "a tier says so",
        )
        noticed = time.monotonic() - began
        eventually(
            lambda: said(routes.admin, second), lambda text: "another installation" in text, START, "its log says so"
        )
        wait(AWAY_SECONDS / 2)
        routes.kubectl("scale", "modeltier", "small", "--replicas=3")
        ready(routes.kubectl, "small", 3, START)
        routes.kubectl("scale", "modeltier", "small", "--replicas=2")
        ready(routes.kubectl, "small", 2, START)
        wait(AWAY_SECONDS / 2)
        beside = time.monotonic() - began
        told = clients.end()
    faults.record(
        row="6",
        fault="Two installations of Tierwise for all namespaces, under load",
        detect_seconds=noticed,
        recover_seconds=None,
        wrong=routes.wrong(),
        note=f"{beside:.0f} s side by side: {count(told)}; the younger wrote {len(written(log))} objects",
    )
    assert "TWO INSTALLATIONS of Tierwise meet:" in notes
    assert written(log) == []
    assert answering(routes.admin, second) == 0, "it serves nobody, so it is not ready"
    assert beside >= AWAY_SECONDS
    assert wrong(told) == []
    assert len(whole(told)) == len(told), count(told)
