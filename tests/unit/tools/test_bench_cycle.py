"""The benchmark of the cycle settles a cluster of its own, and measures it."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import bench_cycle
from tools.bench_cycle import Bench, observed, reached


@pytest.fixture(autouse=True)
def usual_collector() -> Iterator[None]:
    """The benchmark tunes the collector of its process; this one is the tests'."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


async def test_a_few_tiers_settle_and_are_measured() -> None:
    bench = Bench(8, 6)
    result = await bench.measure(2)
    assert (result.tiers, result.nodes, result.queries_per_round, result.cycles) == (8, 6, 6, 2)
    assert 0 < result.cpu_seconds < 1
    assert 0 < result.longest_stretch_seconds < 1
    assert 10_000 < result.bytes_per_tier < 1_000_000
    assert bench.loop._kept.settled.tiers.keys() == {view.key for view in bench.cluster.records["modeltiers"].values()}


async def test_tiers_in_pools_settle_too_those_included_that_a_budget_limits() -> None:
    bench = Bench(50, 40, 2)
    result = await bench.measure(1)
    assert (result.tiers, result.nodes, result.pools) == (50, 40, 2)
    tiers = bench.cluster.records["modeltiers"].values()
    assert "Budget" in {each.status.limited_by for each in tiers}
    assert bench.loop._kept.settled.tiers.keys() == {view.key for view in tiers}
    pools = {ref.name: each.status for ref, each in bench.cluster.records["gpupools"].items()}
    assert pools["pool-1"].budget == "60 GPUs"
    assert pools["pool-1"].used is not None
    assert pools["pool-1"].used <= 60
    assert pools["pool-0"].others == 20


async def test_a_cycle_that_writes_is_not_settled() -> None:
    bench = Bench(4, 3)
    await bench.settle()
    tick = bench.tick

    async def busy(seconds: float = 10.0) -> None:
        bench.cluster.writes += 1
        await tick(seconds)

    bench.tick = busy  # type: ignore[method-assign]
    bench.settle = lambda: asyncio.sleep(0, 0)  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="1 writes in a settled cycle"):
        await bench.measure(1)


async def test_a_stretch_is_what_lets_nothing_else_run() -> None:
    async def work() -> None:
        sum(range(2_000_000))
        await asyncio.sleep(0)
        sum(range(100_000))

    cost, longest = await observed(work)
    assert 0.8 * cost < longest <= cost


def test_what_is_kept_is_counted_once_and_without_what_is_shared() -> None:
    shared = ["x" * 10_000]
    assert 10_000 < reached([shared, [shared, int]], without=None) < 11_000
    assert reached([[shared]], without=shared) < 200


def test_the_figures_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench_cycle.main(["--tiers", "4", "--nodes", "3", "--cycles", "1", "--out", str(tmp_path / "cycle.json")])
    written = json.loads((tmp_path / "cycle.json").read_text())
    assert [each["tiers"] for each in written["results"]] == [4]
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "4"
