"""Checks that ten times the load that its engines can bear takes nothing from what a route answers.

One router, two engines that decode eight requests at a time, without Kubernetes. The engines are slow (a token takes
as long as on an L4), so that clients, router and engines together need less than one core: what is measured is the
queue and not the machine. The load is an open loop, since users who wait for their answer make no overload. How long
refusals take is measured by a process that does nothing else (`prober`): the clients that make the load are busy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.faults import prober
from tests.faults.asking import Told
from tests.faults.clients import REPO, Clients, asking, count, median, quantile, whole, wrong
from tests.faults.prober import Probed
from tests.faults.results import Sheet
from tests.unit.router.router_process import RouterProcess, router
from tests.unit.simulator.processes import Vllm, vllm

SEQUENCES, SEEDS = 8, (1, 2)
TOKENS = 20
QUEUE = 40
PLACES = SEQUENCES * len(SEEDS)
PEAK_USERS = PLACES + 3 * QUEUE // 4  # some always wait, and none is refused
PEAK_SECONDS, SETTLE_SECONDS, BASE_SECONDS, TIMES = 30.0, 3.0, 15.0, 10
OVERLOAD_SECONDS = float(os.environ.get("TIERWISE_OVERLOAD_SECONDS", "120"))
BACK_SECONDS = 60.0
REFUSED_SECONDS = 0.05
ENOUGH_PROBES = 100
MEMORY_BYTES = 32 << 20
CLIENTS_SHARE = 0.75
"""Of one core: what needs more is a measurement of the clients."""
STARVED_SHARE = 0.05
LOOK_SECONDS = 0.1
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Seconds in which a process ran, and in which it was ready to run and the machine had no processor for it."""

    ran: float
    waited: float


@dataclass(slots=True)
class Watched:
    """What processes did meanwhile, and the memory of the router."""

    memory: list[int] = field(default_factory=list)
    seconds: float = 0.0
    router: Schedule = Schedule(0.0, 0.0)
    clients: Schedule = Schedule(0.0, 0.0)
    engines: tuple[Schedule, ...] = ()

    @property
    def starved(self) -> float:
        """The share of the time in which the machine kept an engine waiting: it then answers less than at its peak,
        whatever a router does."""
        return max(each.waited for each in self.engines) / self.seconds


@contextmanager
def watched(router: int, clients: int, engines: list[int]) -> Iterator[Watched]:
    """Look at these processes all the while."""
    seen, over = Watched(), threading.Event()
    pids = [router, clients, *engines]
    began, before = time.monotonic(), [_schedule(pid) for pid in pids]

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            seen.memory.append(int(Path(f"/proc/{router}/statm").read_text(encoding="utf-8").split()[1]) * PAGE)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        seen.seconds = time.monotonic() - began
        pairs = zip([_schedule(pid) for pid in pids], before, strict=True)
        seen.router, seen.clients, *rest = [
            Schedule(now.ran - then.ran, now.waited - then.waited) for now, then in pairs
        ]
        seen.engines = tuple(rest)


def _schedule(pid: int) -> Schedule:
    """Of its first thread, which is the one that matters, since it began."""
    ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text(encoding="utf-8").split()
    return Schedule(int(ran) / 1e9, int(waited) / 1e9)


@dataclass(frozen=True, slots=True)
class Asked:
    """What clients saw, who asked from `began` to `stopped` (of the epoch)."""

    told: list[Told]
    began: float
    stopped: float

    @property
    def rate(self) -> float:
        """Answers in a second, once all is settled."""
        since = self.began + SETTLE_SECONDS
        return len([each for each in whole(self.told) if since <= each.ended < self.stopped]) / (self.stopped - since)


@dataclass(frozen=True, slots=True)
class Scene:
    """A router before its engines."""

    router: RouterProcess
    engines: list[Vllm]
    folder: Path

    def clients(self, name: str, **fields: Any) -> AbstractContextManager[Clients]:
        """Clients of the route."""
        return asking(self.folder, name=name, url=self.router.url, **{**ASK, **fields})

    def ask(self, name: str, seconds: float, **fields: Any) -> Asked:
        """What clients saw who asked for so long, counted from when they had started."""
        with self.clients(name, **fields) as clients:
            clients.all_open()
            began = time.time()
            time.sleep(seconds)
            stopped = time.time()
            return Asked(clients.end(), began, stopped)

    def peak(self) -> float:
        """The most that the engines answer in a second, as clients see it; what the engines count must agree."""
        before, since = self._made(), time.time()
        peak = self.ask("peak", PEAK_SECONDS, users=PEAK_USERS)
        assert len(whole(peak.told)) == len(peak.told), count(peak.told)
        made = (self._made() - before) / TOKENS
        assert made == pytest.approx(len(peak.told), rel=0.02), "the engines made these answers and no others"
        assert made / (time.time() - since) <= 1.05 * peak.rate, "the peak is not less than the average"
        return peak.rate

    def _made(self) -> float:
        return sum(one.metric("vllm:generation_tokens_total") for one in self.engines)

    @contextmanager
    def probed(self) -> Iterator[list[Probed]]:
        """What the prober saw, when the block has ended."""
        report, stop = self.folder / "probes", self.folder / "probes.stop"
        order = prober.Order(self.router.url, "chat", self.router.process.pid, str(report), str(stop), TOKENS)
        command = [sys.executable, "-m", "tests.faults.prober", json.dumps(asdict(order))]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=REPO)
        seen: list[Probed] = []
        try:
            yield seen
            stop.touch()
            assert process.wait(60) == 0, "the prober has failed"
            seen += [Probed(**json.loads(line)) for line in report.read_text(encoding="utf-8").splitlines()]
        finally:
            process.kill()
            process.wait()


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


def first_tokens(told: list[Told]) -> list[float]:
    """Seconds to the first content of each answer."""
    return [each.first - each.opened for each in whole(told)]


def test_ten_times_the_load_costs_no_goodput_and_refusals_are_quick(scene: Scene, faults: Sheet) -> None:
    peak = scene.peak()
    base = scene.ask("base", BASE_SECONDS, rate=peak / 2).told
    assert len(whole(base)) == len(base), count(base)
    base_slow = quantile([each.seconds for each in base], 0.95)
    with scene.clients("load", rate=TIMES * peak, batch_share=0.2) as load:
        load.all_open()
        started = time.time()
        engines = [one.process.pid for one in scene.engines]
        with watched(scene.router.process.pid, load.process.pid, engines) as used, scene.probed() as probes:
            time.sleep(OVERLOAD_SECONDS)
            stopped = time.time()
        seen = Asked(load.end(), started, stopped)
    back = back_to_base(scene, peak / 2, base_slow, stopped)
    told, goodput = seen.told, seen.rate
    refused = [each for each in told if each.status == 429]
    probed = [each for each in probes if each.status == 429 and started + SETTLE_SECONDS <= each.opened < stopped]
    kinds = {kind: [each for each in told if each.priority == kind] for kind in ("interactive", "batch")}
    shares = {kind: len(whole(found)) / len(found) for kind, found in kinds.items()}
    clients_share = used.clients.ran / used.seconds
    faults.record(
        row="route overload",
        fault=f"{TIMES} x the load that the engines bear, {OVERLOAD_SECONDS:.0f} s",
        detect_seconds=min(each.ended for each in refused) - min(each.opened for each in told),
        recover_seconds=back,
        wrong=[],
        note=f"peak {peak:.1f}/s, offered {len(told) / OVERLOAD_SECONDS:.0f}/s, goodput {goodput / peak:.0%} of peak; "
        f"{len(probed)} refusals, seen by a process beside the load: {ms([each.seconds for each in probed], 0.5)} ms, "
        f"p99 {ms([each.seconds for each in probed], 0.99)} ms, of which the machine's (no processor free) all but "
        f"{ms([each.router_seconds for each in probed], 0.99)} ms; answered: {shares['interactive']:.1%} of "
        f"interactive, {shares['batch']:.1%} of batch; router {used.memory[0] >> 20} to {max(used.memory) >> 20} MiB, "
        f"{1000 * used.router.ran / len(told):.2f} ms of a core per request; clients {clients_share:.0%} of a core; "
        f"an engine waited for a processor {used.starved:.0%} of the time",
    )
    assert wrong(told) == []
    assert {each.verdict for each in told} == {"whole", "refused"}, count(told)
    assert len(told) > 0.9 * TIMES * peak * OVERLOAD_SECONDS, "the load was sent"
    assert clients_share < CLIENTS_SHARE, "the clients need a core of their own"
    assert used.starved < STARVED_SHARE, "the machine is busy with something else: nothing can be told of goodput"
    assert 0.9 * peak < goodput < 1.1 * peak, "more than the peak would be no peak"
    assert len(probed) >= ENOUGH_PROBES
    assert median(each.seconds for each in probed) < REFUSED_SECONDS
    assert quantile([each.router_seconds for each in probed], 0.99) < REFUSED_SECONDS
    waits = [*(each.retry_after for each in refused), *(each.retry_after for each in probed)]
    assert all(1 <= int(each) <= 60 for each in waits)
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
        told = scene.ask(f"back-{began:.0f}", 5.0, rate=requests_a_second).told
        if len(whole(told)) == len(told) and quantile([each.seconds for each in told], 0.95) < 1.3 * slow:
            return began - since
        assert began - since < BACK_SECONDS, count(told)


def test_interactive_requests_are_answered_as_if_no_batch_were_there(scene: Scene, faults: Sheet) -> None:
    peak = scene.peak()
    alone = scene.ask("alone", BASE_SECONDS, rate=peak / 2).told
    with scene.clients("batch", rate=(TIMES - 0.5) * peak, batch_share=1.0) as batch:
        batch.all_open()
        time.sleep(SETTLE_SECONDS)
        beside = scene.ask("beside", 2 * BASE_SECONDS, rate=peak / 2).told
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
