"""Checks that ten times the load that its engines can bear takes nothing from what a route answers.

One router, two engines that decode eight requests at a time, without Kubernetes. The engines are slow (a token takes
as long as on an L4), so that clients, router and engines together need less than one core: what is measured is the
queue and not the machine. The load is an open loop, since users who wait for their answer make no overload.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.faults.asking import Told
from tests.faults.clients import Clients, asking, count, median, quantile, whole, wrong
from tests.faults.results import Sheet
from tests.unit.router.router_process import RouterProcess, router
from tests.unit.simulator.processes import Vllm, vllm

SEQUENCES, SEEDS = 8, (1, 2)
TOKENS = 20
QUEUE = 40
PEAK_SECONDS, BASE_SECONDS, TIMES = 15.0, 15.0, 10
OVERLOAD_SECONDS = float(os.environ.get("TIERWISE_OVERLOAD_SECONDS", "120"))
BACK_SECONDS = 60.0
REFUSED_SECONDS = 0.05
CALM = 200  # refusals while no process waited for a processor, of which 99 of 100 must be quick
MEMORY_BYTES = 32 << 20
LOOK_SECONDS, STOLEN_SECONDS = 0.02, 0.004
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Watched:
    """What a router used meanwhile: its memory, its processor seconds. `stolen`: from when till when the machine let it
    or its clients wait for a processor; what is slow then says nothing of a router."""

    memory: list[int] = field(default_factory=list)
    processor: float = 0.0
    stolen: list[tuple[float, float]] = field(default_factory=list)

    def disturbed(self, told: Told) -> bool:
        """Whether the machine was elsewhere while this request was under way."""
        return any(since < told.ended and told.opened < until for since, until in self.stolen)


@contextmanager
def watched(router: int, clients: int) -> Iterator[Watched]:
    """Look at both processes all the while."""
    seen, over = Watched(), threading.Event()
    began = _schedule(router)[0]

    def look() -> None:
        last, before = time.time(), _schedule(router)[1] + _schedule(clients)[1]
        while not over.wait(LOOK_SECONDS):
            waited, now = _schedule(router)[1] + _schedule(clients)[1], time.time()
            if waited - before > STOLEN_SECONDS or now - last > LOOK_SECONDS + STOLEN_SECONDS:
                seen.stolen.append((last, now))
            last, before = now, waited
            seen.memory.append(int(Path(f"/proc/{router}/statm").read_text(encoding="utf-8").split()[1]) * PAGE)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        seen.processor = _schedule(router)[0] - began


def _schedule(pid: int) -> tuple[float, float]:
    """Seconds that a process has run, and has waited to run. It has one thread that matters."""
    ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text(encoding="utf-8").split()
    return int(ran) / 1e9, int(waited) / 1e9


@dataclass(frozen=True, slots=True)
class Scene:
    """A router before its engines."""

    router: RouterProcess
    engines: list[Vllm]
    folder: Path

    def clients(self, name: str, **fields: Any) -> AbstractContextManager[Clients]:
        """Clients of the route."""
        return asking(self.folder, name=name, url=self.router.url, **{**ASK, **fields})

    def ask(self, name: str, seconds: float, **fields: Any) -> list[Told]:
        """What clients saw who asked for so long."""
        with self.clients(name, **fields) as clients:
            time.sleep(seconds)
            return clients.end()


ASK: dict[str, Any] = {"model": "chat", "tokens": TOKENS, "seeds": {"small": SEEDS}, "whole_share": 0.2}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with engine(SEEDS[0]) as one, engine(SEEDS[1]) as two:
        tier = {"name": "small", "model": "chat", "servers": [one.url, two.url], "concurrency": SEQUENCES}
        queue = {"maxRequests": QUEUE, "timeoutSeconds": 30}
        with router({"name": "chat", "tiers": [tier], "queue": queue}, tmp_path) as running:
            yield Scene(running, [one, two], tmp_path)


def engine(seed: int) -> AbstractContextManager[Vllm]:
    """A simulated engine that takes 0.7 s for an answer, however many it gives at a time."""
    return vllm(f"--max-num-seqs={SEQUENCES}", SEED=str(seed), SPEED="1", TICK_SECONDS="0.1")


def rate(told: list[Told], start: float, end: float) -> float:
    """Answers in a second between two moments."""
    return len([each for each in whole(told) if start <= each.ended < end]) / (end - start)


def first_tokens(told: list[Told]) -> list[float]:
    """Seconds to the first content of each answer."""
    return [each.first - each.opened for each in whole(told)]


def test_ten_times_the_load_costs_no_goodput_and_refusals_are_quick(scene: Scene, faults: Sheet) -> None:
    before = time.time()
    peak_of = scene.ask("peak", PEAK_SECONDS, users=3 * SEQUENCES)
    peak = rate(peak_of, before + 3, before + PEAK_SECONDS)
    base = scene.ask("base", BASE_SECONDS, rate=peak / 2)
    assert len(whole(base)) == len(base), count(base)
    base_slow = quantile([each.seconds for each in base], 0.95)
    with scene.clients("load", rate=TIMES * peak, batch_share=0.2) as load:
        started = time.time()
        with watched(scene.router.process.pid, load.process.pid) as used:
            time.sleep(OVERLOAD_SECONDS)
        stopped = time.time()
        told = load.end()
    back = back_to_base(scene, peak / 2, base_slow, stopped)
    goodput = rate(told, started + 3, stopped)
    refused = [each for each in told if each.status == 429]
    at_once = [each.seconds for each in refused if each.priority == "interactive"]
    calm = [each.seconds for each in refused if each.priority == "interactive" and not used.disturbed(each)]
    kinds = {kind: [each for each in told if each.priority == kind] for kind in ("interactive", "batch")}
    shares = {kind: len(whole(found)) / len(found) for kind, found in kinds.items()}
    displaced = [each.seconds for each in refused if each.priority == "batch"]
    faults.record(
        row="route overload",
        fault=f"{TIMES} x the load that the engines bear, {OVERLOAD_SECONDS:.0f} s",
        detect_seconds=min(each.ended for each in refused) - started,
        recover_seconds=back,
        wrong=[],
        note=f"peak {peak:.1f}/s, offered {len(told) / OVERLOAD_SECONDS:.0f}/s, goodput {goodput / peak:.0%} of peak; "
        f"refused in {ms(at_once, 0.5)} ms, p99 {ms(at_once, 0.99)} ms ({ms(calm, 0.99)} ms of the "
        f"{len(calm) / len(at_once):.0%} during which no process waited for a processor), batch that had to leave the "
        f"queue included: p99 {ms([*at_once, *displaced], 0.99)} ms; answered: {shares['interactive']:.1%} of "
        f"interactive, {shares['batch']:.1%} of batch; router {used.memory[0] >> 20} to {max(used.memory) >> 20} MiB, "
        f"{1000 * used.processor / len(told):.2f} ms of a core per request",
    )
    assert wrong(told) == []
    assert {each.verdict for each in told} == {"whole", "refused"}, count(told)
    assert len(told) > 0.9 * TIMES * peak * OVERLOAD_SECONDS, "the load was sent"
    assert goodput > 0.9 * peak
    assert median(each.seconds for each in refused) < REFUSED_SECONDS
    assert len(calm) > CALM, "a machine that is busy with something else cannot tell"
    assert quantile(calm, 0.99) < REFUSED_SECONDS
    assert all(1 <= int(each.retry_after) <= 60 for each in refused)
    assert shares["batch"] < 0.1 * shares["interactive"]
    assert max(used.memory) - used.memory[0] < MEMORY_BYTES
    assert back < BACK_SECONDS


def ms(seconds: list[float], share: float) -> str:
    """A quantile in milliseconds."""
    return f"{1000 * quantile(seconds, share):.1f}"


def back_to_base(scene: Scene, requests_a_second: float, slow: float, since: float) -> float:
    """Seconds from `since` until what is asked from then on is answered as before the load: all of it, and 95 of 100
    within 1.3 times the time that 95 of 100 took."""
    while True:
        began = time.time()
        told = scene.ask(f"back-{began:.0f}", 5.0, rate=requests_a_second)
        if len(whole(told)) == len(told) and quantile([each.seconds for each in told], 0.95) < 1.3 * slow:
            return began - since
        assert began - since < BACK_SECONDS, count(told)


def test_interactive_requests_are_answered_as_if_no_batch_were_there(scene: Scene, faults: Sheet) -> None:
    before = time.time()
    peak = rate(scene.ask("peak", PEAK_SECONDS, users=3 * SEQUENCES), before + 3, before + PEAK_SECONDS)
    alone = scene.ask("alone", BASE_SECONDS, rate=peak / 2)
    with scene.clients("batch", rate=(TIMES - 0.5) * peak, batch_share=1.0) as batch:
        time.sleep(3)
        beside = scene.ask("beside", 2 * BASE_SECONDS, rate=peak / 2)
        others = batch.end()
    before_slow, slow = (quantile(first_tokens(found), 0.95) for found in (alone, beside))
    faults.record(
        row="route overload",
        fault=f"batch requests, {TIMES - 0.5:g} x what the engines bear, beside half of that interactive",
        detect_seconds=None,
        recover_seconds=None,
        wrong=[],
        note=f"interactive: {count(beside)}; p95 of the first token {before_slow:.2f} s alone, {slow:.2f} s beside; "
        f"batch: {count(others)}",
    )
    assert wrong([*beside, *others]) == []
    assert len(whole(beside)) == len(beside), count(beside)
    assert whole(others), "what is free is given to batch"
    assert slow < before_slow + 0.5
