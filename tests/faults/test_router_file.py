"""Checks that a router that serves from a file loses nothing while that file changes, keys change, and it ends.

The same as behind a ModelRoute (`test_router_away`, `test_router_drain`), where nothing but the router can be at fault.
"""

from __future__ import annotations

import hashlib
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.kubectl import eventually
from tests.faults import verdict
from tests.faults.clients import Clients, asking, count, whole, wrong
from tests.faults.results import Sheet
from tests.unit.router.router_process import RouterProcess, router
from tests.unit.simulator.processes import Vllm, vllm

SEEDS = {"small": [1], "large": [2]}
START_SECONDS, READ_SECONDS = 90.0, 30.0
STREAMS, STREAM_TOKENS, USERS = 50, 600, 4


@dataclass(frozen=True, slots=True)
class Scene:
    """A router before two tiers, and its route."""

    router: RouterProcess
    route: dict[str, Any]
    keys: Path
    folder: Path

    def clients(self, name: str = "clients", **fields: Any) -> AbstractContextManager[Clients]:
        """Clients who show the key that is in the file `key`."""
        asked = {"model": "chat", "tokens": 10, "users": USERS, "pause_seconds": 0.05, "whole_share": 0.25}
        asked["key_file"] = str(self.folder / "key")
        return asking(self.folder, name=name, url=self.router.url, seeds=SEEDS, **{**asked, **fields})


def hashed(*keys: str) -> str:
    """The file of one tenant."""
    return "".join(hashlib.sha256(key.encode()).hexdigest() + "\n" for key in keys)


def engine(seed: int) -> AbstractContextManager[Vllm]:
    """A simulated engine whose streams cost little: four pieces a second."""
    return vllm("--max-num-seqs=64", wait_seconds=START_SECONDS, SEED=str(seed), SPEED="1", TICK_SECONDS="0.25")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "blue").write_text(hashed("one"), encoding="utf-8")
    (tmp_path / "key").write_text("one", encoding="utf-8")
    with engine(1) as small, engine(2) as large:
        tiers = [
            {"name": "small", "model": "chat", "servers": [small.url]},
            {"name": "large", "model": "chat", "servers": [large.url]},
        ]
        route = {"name": "chat", "tiers": tiers, "clients": {"keysDirectory": str(keys)}}
        with router(route, tmp_path, "--drain-seconds", "120", wait_seconds=START_SECONDS) as running:
            yield Scene(running, route, keys, tmp_path)


def test_a_route_file_changes_again_and_again_under_load(scene: Scene, faults: Sheet) -> None:
    tiers = scene.route["tiers"]
    changes: list[dict[str, Any]] = [
        {"queue": {"maxRequests": 50}},
        {"tiers": tiers[:1]},
        {"tiers": tiers, "deadlines": {"tokenGapSeconds": 30}},
        {"policy": {"rules": [{"name": "long", "match": {"minPromptTokens": 1}, "tier": "large"}]}},
        {"tiers": "nonsense"},
        {"modelNames": ["chat", "another"]},
    ]
    with scene.clients() as clients, scene.clients("direct", model="large", users=2) as direct:
        eventually(clients.told, lambda told: len(whole(told)) > 10, START_SECONDS, "clients are answered")
        for change in changes:
            scene.router.rewrite({**scene.route, **change})
            time.sleep(4.0)
        scene.router.rewrite(scene.route)
        time.sleep(4.0)
        told, named = clients.end(), direct.end()
    faults.record(
        row="route change",
        fault=f"A route file changes {len(changes) + 1} times under load, once to nonsense",
        detect_seconds=None,
        recover_seconds=None,
        wrong=[],
        note=f"{count(told)}; of a tier that is taken out and put in again: {count(named)}",
    )
    assert wrong([*told, *named]) == []
    assert len(whole(told)) == len(told), count(told)
    assert {each.tier for each in told} == {"small", "large"}, "the rule was followed"
    assert {each.code for each in named if each.verdict != verdict.WHOLE} == {"model_not_found"}
    assert named[-1].verdict == verdict.WHOLE


def test_the_file_of_a_clients_keys_changes_under_load(scene: Scene, faults: Sheet) -> None:
    old = scene.folder / "old"
    old.write_text("one", encoding="utf-8")
    with scene.clients() as clients, scene.clients("old", users=2, key_file=str(old)) as with_old:
        eventually(clients.told, lambda told: len(whole(told)) > 10, START_SECONDS, "clients are answered")
        (scene.keys / "blue").write_text(hashed("one", "two"), encoding="utf-8")
        time.sleep(READ_SECONDS / 2)
        new = scene.folder / "new-key"  # a file that is being written is read empty by whoever asks just then
        new.write_text("two", encoding="utf-8")
        new.replace(scene.folder / "key")
        time.sleep(3.0)
        (scene.keys / "blue").write_text(hashed("two"), encoding="utf-8")
        taken = time.time()
        eventually(
            with_old.told, lambda told: [each.status for each in told[-4:]] == [401] * 4, READ_SECONDS, "it is refused"
        )
        told, others = clients.end(), with_old.end()
    refused = [each for each in others if each.status == 401]
    faults.record(
        row="route change",
        fault="The file of a client's keys changes under load",
        detect_seconds=min(each.ended for each in refused) - taken,
        recover_seconds=max(each.ended for each in whole(others)) - taken,
        wrong=[],
        note=f"{count(told)}; recovered: the old key is refused",
    )
    assert wrong([*told, *others]) == []
    assert len(whole(told)) == len(told), count(told)
    assert all(each.opened > taken - 1 for each in refused)


@pytest.mark.parametrize("drains", [True, False], ids=["drained", "killed"])
def test_a_router_that_ends_gives_every_open_answer_whole_unless_it_is_killed(
    scene: Scene, faults: Sheet, drains: bool
) -> None:
    """Fifty open streams; SIGTERM, and SIGKILL as the control."""
    with scene.clients(users=0, streams=[STREAM_TOKENS] * STREAMS) as clients:
        clients.all_open()
        began = time.time()
        scene.router.process.send_signal(signal.SIGTERM if drains else signal.SIGKILL)
        told = clients.end()
        scene.router.process.wait(30)
    cut = [each for each in told if each.verdict != verdict.WHOLE]
    faults.record(
        row="drain route i" if drains else "drain route j",
        fault=f"A router from a file gets {'SIGTERM' if drains else 'SIGKILL, which proves the test'}",
        detect_seconds=None,
        recover_seconds=None if cut else max(each.ended for each in told) - began,
        wrong=[],
        note=f"{len(told)} open streams, {len(cut)} cut",
    )
    assert len(told) == STREAMS
    if drains:
        assert wrong(told) == []
        assert cut == []
        assert scene.router.process.returncode == 0
    else:
        assert {each.verdict for each in told} == {verdict.CUT}
