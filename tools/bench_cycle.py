"""Measures what a cycle costs in which nothing happens: `python -m tools.bench_cycle` (or `make bench-cycle`).

The loop of the real process runs against a cluster in memory until it writes nothing any more; then some of its cycles
are measured, each after a round of new measurements, and each of them must write nothing. For each number of tiers:

    CPU        of one cycle, from the world to the operator's own metrics: the median of several, in seconds of this
               thread's CPU time, so that other programs on the machine do not count
    stretch    the longest time for which nothing else could run in the event loop (the Lease is renewed there), over
               the measured cycles and the rounds of measurements between them, in CPU time as well
    round      CPU of one round of measurements in the event loop; Prometheus' answers are parsed in threads
    memory     what the process keeps between two cycles (records, measurements, decisions, metrics), by the sizes of
               all objects that are reached from there, divided by the tiers
    queries    to Prometheus in one round

Each number of tiers is measured in a process of its own. With `--pools` all of them are in GPUPools, half of which
have a budget below what their tiers ask for.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import multiprocessing
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from prometheus_client import CollectorRegistry

from tierwise.observe import World
from tierwise.observe.model_metadata_cache import ModelMetadataCache
from tierwise.observe.poller import PollConfig, Poller
from tierwise.report.metrics import OperatorMetrics
from tierwise.runtime.garbage import GarbageCollection
from tierwise.runtime.health_server import Health
from tierwise.runtime.turns import in_turns
from tierwise_operator.loop import Dependencies, Loop
from tools.settled_cluster import Clock, Hub, SettledCluster, prometheus_queries
from tools.settled_pools import PooledCluster

TIERS = (100, 1000, 10000)
NODES = 1000
TICK_SECONDS = 10.0
# A settling cycle of ten thousand tiers takes far longer than the operator would wait for it.
LIMIT_SECONDS = 100_000.0
QUIET_CYCLES = 3  # without a write: then the cluster has settled
MOST_CYCLES = 60
# What every process has, and nobody keeps.
_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType)


@dataclass(frozen=True, slots=True)
class Result:
    """The cost of a settled cycle of so many tiers."""

    tiers: int
    nodes: int
    pools: int
    cpu_seconds: float
    longest_stretch_seconds: float
    round_cpu_seconds: float
    bytes_per_tier: int
    queries_per_round: int
    cycles: int
    settled_after_cycles: int


class Bench:
    """One process' loop over a cluster of its own."""

    def __init__(self, tiers: int, nodes: int, pools: int = 0) -> None:
        self.tiers = tiers
        self.pools = pools
        self.clock = Clock()
        self.cluster = (
            PooledCluster(tiers, nodes, pools, self.clock) if pools else SettledCluster(tiers, nodes, self.clock)
        )
        self.metadata = ModelMetadataCache(Hub(), self.clock)
        self.poller = Poller(self.cluster, self.clock, prometheus_queries(), PollConfig())
        self.metrics = OperatorMetrics(CollectorRegistry(), self.clock.monotonic)
        parts = Dependencies(
            world=self._world,
            problem=lambda: "",
            samples=lambda: self.poller.samples,
            cluster=self.cluster,
            leading=lambda: True,
            metrics=self.metrics,
            health=Health(self.clock.monotonic, TICK_SECONDS),
            clock=self.clock,
            after_cycle=GarbageCollection().after_cycle,
        )
        self.loop = Loop(parts, LIMIT_SECONDS)

    async def _world(self) -> World:
        """As the process' own sources put it together."""
        await in_turns(self.metadata.want_in_turns(tuple(self.cluster.records["modeltiers"].values())))
        return self.cluster.world(self.metadata.publications)

    async def tick(self, seconds: float = TICK_SECONDS) -> None:
        """Let time pass, and measure anew."""
        self.clock.seconds += seconds
        await self.poller.round()

    async def settle(self) -> int:
        """Run cycles until none of them writes any more, and no window is open; their number."""
        await self._world()
        await self.metadata.round()
        quiet = 0
        for number in range(MOST_CYCLES):
            if quiet >= QUIET_CYCLES and not self._holding():
                return number
            before, began = self.cluster.writes, cpu_seconds()
            await self.tick(2.5 * TICK_SECONDS)
            await self.loop.once()
            written = self.cluster.writes - before
            quiet = 0 if written else quiet + 1
            say(f"{self.tiers} tiers: settling, cycle {number + 1}: {written} writes, {cpu_seconds() - began:.1f} s")
        raise AssertionError(f"{self.tiers} tiers have not settled in {MOST_CYCLES} cycles")

    def _holding(self) -> bool:
        """Whether a scale-down window still holds a target somewhere."""
        return any(each.status.scaling.memory.peaks for each in self.cluster.records["modeltiers"].values())

    async def measure(self, cycles: int) -> Result:
        """Settle, and measure so many cycles."""
        settled_after = await self.settle()
        self.check()
        rounds: list[float] = []
        costs: list[float] = []
        stretches: list[float] = []
        asked = self.cluster.queries
        for number in range(cycles):
            before = self.cluster.writes
            for costs_of, work in ((rounds, self.tick), (costs, self.loop.once)):
                cost, stretch = await observed(work)
                costs_of.append(cost)
                stretches.append(stretch)
            if self.cluster.writes != before:
                raise AssertionError(f"{self.cluster.writes - before} writes in a settled cycle")
            say(f"{self.tiers} tiers: cycle {number + 1} of {cycles}: {costs[-1]:.3f} s")
        kept = [self.cluster.records, self.cluster.nodes, self.metadata, self.poller, self.loop, self.metrics]
        return Result(
            tiers=self.tiers,
            nodes=len(self.cluster.nodes),
            pools=self.pools,
            cpu_seconds=round(statistics.median(costs), 4),
            longest_stretch_seconds=round(max(stretches), 4),
            round_cpu_seconds=round(statistics.median(rounds), 4),
            bytes_per_tier=reached(kept, without=self.cluster) // self.tiers,
            queries_per_round=(self.cluster.queries - asked) // cycles,
            cycles=cycles,
            settled_after_cycles=settled_after,
        )

    def check(self) -> None:
        """Whether these are tiers as they are meant: all ready, and measured in full."""
        states = {each.status.state for each in self.cluster.records["modeltiers"].values()}
        signals = {
            signal.state
            for each in self.cluster.records["modeltiers"].values()
            for signal in each.status.scaling.signals
            if signal.name in ("running", "waiting", "kvCacheUsage")
        }
        pods = len(self.cluster.records["pods"])
        least = self.tiers if self.pools else 2 * self.tiers
        limited = {each.status.limited_by for each in self.cluster.records["modeltiers"].values()}
        if states != {"Ready"} or signals != {"Value"} or pods < least:
            raise AssertionError(f"settled at {states}, measurements {signals}, {pods} pods")
        if self.pools > 1 and "Budget" not in limited:
            raise AssertionError(f"no budget limits a tier: {limited}")


def cpu_seconds() -> float:
    """CPU time of this thread."""
    return time.thread_time()


async def observed(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """CPU seconds of `work`, and the longest for which it let nothing else run."""
    ended = False
    longest = 0.0

    async def another() -> None:
        nonlocal longest
        while not ended:
            left = cpu_seconds()
            await asyncio.sleep(0)
            longest = max(longest, cpu_seconds() - left)

    task = asyncio.create_task(another())
    await asyncio.sleep(0)
    began = cpu_seconds()
    await work()
    cost = cpu_seconds() - began
    ended = True
    await task
    return cost, longest


def reached(roots: Iterable[Any], *, without: Any) -> int:
    """Bytes of all objects that are reached from `roots` and not only through `without`."""
    seen = {id(without), id(sys.modules), *(id(module) for module in sys.modules.values())}
    waiting: list[Any] = [*roots]
    total = 0
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, _SHARED):
            continue
        seen.add(id(each))
        total += sys.getsizeof(each)
        waiting.extend(gc.get_referents(each))
    return total


def say(text: str) -> None:
    """Progress, where it does not mix with the result."""
    print(text, file=sys.stderr, flush=True)


def bench(tiers: int, nodes: int, pools: int, cycles: int) -> Result:
    """The cost of a settled cycle of so many tiers."""
    logging.disable(logging.INFO)
    return asyncio.run(Bench(tiers, nodes, pools).measure(cycles))


def table(results: Iterable[Result]) -> str:
    """For people."""
    lines = ["  tiers   CPU s  per tier ms  stretch ms  round s  KiB per tier  queries"]
    lines += [
        f"{each.tiers:7} {each.cpu_seconds:7.3f} {1000 * each.cpu_seconds / each.tiers:12.3f} "
        f"{1000 * each.longest_stretch_seconds:11.1f} {each.round_cpu_seconds:8.3f} "
        f"{each.bytes_per_tier / 1024:13.1f} {each.queries_per_round:8}"
        for each in results
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table, and write the figures where `--out` says."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench_cycle", description=__doc__.splitlines()[0])
    parser.add_argument("--tiers", type=int, nargs="+", default=list(TIERS))
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--pools", type=int, default=0, help="GPUPools that all tiers are in (default: none)")
    parser.add_argument("--cycles", type=int, default=7, help="measured cycles (default %(default)s)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON, e.g. docs/results/cycle.json")
    asked = parser.parse_args(arguments)
    results = []
    for tiers in asked.tiers:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            results.append(process.submit(bench, tiers, asked.nodes, asked.pools, asked.cycles).result())
    print(table(results))
    if asked.out is not None:
        figures = {"python": sys.version.split()[0], "results": [asdict(each) for each in results]}
        asked.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
