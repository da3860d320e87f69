"""Checks that a cycle in which nothing happens stays cheap, with many tiers and many nodes.

The loop that decides also renews the Lease, so what a cycle computes is time in which nothing else happens. Seconds say
little on a machine that does something else as well: what is counted is calls, of functions in Python and in C.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

import pytest

from tests.unit.reconcile.scenes import Scene
from tierwise.observe import Samples, gpu_inventory
from tierwise.observe.gpu_inventory import NodeRecord, node_record
from tierwise.reconcile import run
from tierwise.runtime import turns

# A tier in a cycle in which nothing is written takes about 3600: 2600, and what pools, look-ahead, service levels and
# ReplicaSets added. 400 of them copy values, 450 compare what was rendered with what is there.
CALLS_PER_TIER = 4000
# A node is looked at once per cycle, however many tiers there are: about 28.
CALLS_PER_NODE = 36


@pytest.fixture(autouse=True)
def one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No turn ends by the clock: on a busy machine there are more turns, and each costs calls."""
    monkeypatch.setattr(turns, "TURN_SECONDS", 3600.0)


class Count:
    """How many calls were made."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        self.calls += event in ("call", "c_call")


@contextmanager
def counting() -> Iterator[Count]:
    count, before = Count(), sys.getprofile()
    sys.setprofile(count)
    try:
        yield count
    finally:
        sys.setprofile(before)


def a_node(number: int) -> NodeRecord:
    """One of three kinds, with as many labels as real ones have."""
    product = ("NVIDIA-H100-80GB-HBM3", "NVIDIA-A100-SXM4-80GB", "NVIDIA-L40S")[number % 3]
    labels = {f"feature.node.kubernetes.io/x{each}": "true" for each in range(60)}
    labels |= {"kubernetes.io/hostname": f"n{number}", "nvidia.com/gpu.product": product}
    found = node_record({"metadata": {"labels": labels}, "status": {"capacity": {"nvidia.com/gpu": "8"}}})
    assert found is not None
    return found


async def cost(tiers: int, node_count: int) -> int:
    """Calls of one cycle in which nothing is written."""
    scene = Scene()
    for number in range(tiers):
        scene.add(f"t{number:03d}")
    await scene.settle()
    world = replace(scene.world(), nodes=[a_node(number) for number in range(node_count)])
    scene.clock.at += 10
    with counting() as count:
        done = await run(world, Samples(), scene.store, scene.clock, scene.kept, writing=True)
    assert scene.store.writes == []
    assert len(done.report.tiers) == tiers
    assert {len(view.facts.gpus) for view in done.snapshot.tiers} == {min(3, node_count)}
    return count.calls


async def test_a_tier_costs_so_much_and_no_more() -> None:
    few, many = await cost(10, 0), await cost(30, 0)
    assert (many - few) / 20 <= CALLS_PER_TIER


async def test_nodes_are_looked_at_once_and_not_once_per_tier() -> None:
    without, with_nodes = await cost(20, 0), await cost(20, 100)
    assert with_nodes - without <= 100 * CALLS_PER_NODE + 20 * 50


async def test_tiers_that_ask_the_same_of_the_nodes_are_answered_together(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    fits = gpu_inventory._fits

    def counted(*arguments: object) -> bool:
        nonlocal asked
        asked += 1
        return fits(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(gpu_inventory, "_fits", counted)
    await cost(50, 20)
    assert 0 < asked <= 3, "three kinds of node, one question"
