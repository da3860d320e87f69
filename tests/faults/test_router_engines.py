"""Checks that no answer is put together from two replicas of one tier, whatever happens to one of them.

Replicas of a tier answer alike, so in a cluster nobody could tell. Here each engine has words of its own, and one of
them is killed, or stopped with all its connections open, under streams and answers in one piece, without Kubernetes.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.kubectl import eventually
from tests.faults import verdict
from tests.faults.clients import asking, count, recovered, whole, wrong
from tests.faults.results import Sheet
from tests.unit.router.router_process import RouterProcess, router
from tests.unit.simulator.processes import Vllm, vllm

SEEDS = (1, 2, 3)
USERS, TOKENS = 12, 40
START_SECONDS, FAULT_SECONDS = 90.0, 25.0
FIRST_TOKEN_SECONDS, GAP_SECONDS, REQUEST_SECONDS = 6, 6, 30


@dataclass(frozen=True, slots=True)
class Scene:
    """A router before three engines."""

    router: RouterProcess
    engines: list[Vllm]
    folder: Path

    def failures(self) -> float:
        """Attempts that have failed."""
        series = self.router.metrics()
        return sum(
            value for name, value in series.items() if name.startswith("tierwise_router_attempt_failures_total{")
        )


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        engines = [
            stack.enter_context(
                vllm("--max-num-seqs=8", wait_seconds=START_SECONDS, SEED=str(seed), SPEED="1", TICK_SECONDS="0.1")
            )
            for seed in SEEDS
        ]
        small = {"name": "small", "model": "chat", "servers": [each.url for each in engines], "concurrency": 8}
        deadlines = {
            "requestSeconds": REQUEST_SECONDS,
            "firstTokenSeconds": FIRST_TOKEN_SECONDS,
            "tokenGapSeconds": GAP_SECONDS,
        }
        route = {"name": "chat", "tiers": [small], "deadlines": deadlines}
        yield Scene(stack.enter_context(router(route, tmp_path)), engines, tmp_path)


def _killed(engine: Vllm) -> None:
    engine.process.kill()


def _stopped(engine: Vllm) -> None:
    os.kill(engine.process.pid, signal.SIGSTOP)


FAULTS: dict[str, tuple[str, Callable[[Vllm], None]]] = {
    "killed": ("is killed and stays away", _killed),
    "stopped": ("is stopped with its connections open", _stopped),
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_of_three_engines_fails_and_no_answer_is_of_two(scene: Scene, faults: Sheet, name: str) -> None:
    text, fail = FAULTS[name]
    with asking(
        scene.folder,
        url=scene.router.url,
        model="chat",
        seeds={"small": SEEDS},
        users=USERS,
        tokens=TOKENS,
        whole_share=0.4,
        pause_seconds=0.05,
    ) as clients:
        eventually(clients.told, lambda told: len(whole(told)) > 2 * USERS, START_SECONDS, "clients are answered")
        before = scene.failures()
        at = time.time()
        fail(scene.engines[0])
        time.sleep(FAULT_SECONDS)
        over = time.time()
        os.kill(scene.engines[0].process.pid, signal.SIGCONT)
        told = clients.end()
    failures = scene.failures() - before
    bad = [each for each in told if each.verdict != verdict.WHOLE]
    broken = [each for each in told if each.verdict == verdict.BROKEN]
    last = [each for each in told if at + 15 < each.opened < over]
    faults.record(
        row="route engine",
        fault=f"One of three engines, each with words of its own, {text}",
        detect_seconds=min([each.ended for each in bad], default=at) - at,
        recover_seconds=recovered(told, at),
        wrong=[],
        note=f"{count(told)}; {failures:.0f} attempts failed; asked 15 s later: {count(last)}",
    )
    assert wrong(told) == []
    assert failures > len(broken), "some had no byte yet, and were answered elsewhere"
    assert broken, "some had, and were told"
    assert len(whole(last)) > 0.9 * len(last)
    if name == "killed":
        assert [each for each in bad if each.verdict != verdict.BROKEN] == []
