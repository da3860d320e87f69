"""What a settled tier costs, and when it is settled no longer."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.unit.reconcile.test_cost import counting
from tierwise import engines
from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import Finding
from tierwise.types import TierKey
from tierwise.types.capabilities import UNKNOWN, Facts
from tools.bench_cycle import Bench

# From the informer's records to the operator's own metrics, with three pods: about 280.
CALLS_PER_SETTLED_TIER = 340


@pytest.fixture(autouse=True)
def usual_collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


async def cost(tiers: int) -> int:
    bench = Bench(tiers, 20)
    await bench.settle()
    await bench.tick()
    with counting() as count:
        await bench.loop.once()
    return count.calls


async def test_a_settled_tier_costs_so_much_and_no_more() -> None:
    few, many = await cost(12), await cost(36)
    assert (many - few) / 24 <= CALLS_PER_SETTLED_TIER


async def test_a_tier_that_changes_is_the_only_one_that_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(12, 20)
    await bench.settle()
    checked: list[str] = []
    check = engines.check

    def noted(spec: ModelTierSpec, facts: Facts = UNKNOWN) -> tuple[Finding, ...]:
        assert spec.model is not None
        checked.append(spec.model.name)
        return check(spec, facts)

    monkeypatch.setattr(engines, "check", noted)
    ref = next(each for each in bench.cluster.records["modeltiers"] if each.name == "tier-00004")
    tier = bench.cluster.records["modeltiers"][ref]
    spec = tier.spec.model_copy(update={"drain_seconds": 60})
    bench.cluster.records["modeltiers"][ref] = replace(tier, generation=2, resource_version="x", spec=spec)
    for _ in range(3):
        await bench.tick()
        await bench.loop.once()
    assert checked == ["model-4"], "once, however many cycles see it"
    tiers = {view.key for view in bench.cluster.records["modeltiers"].values()}
    assert tiers - bench.loop._kept.settled.tiers.keys() == {TierKey(ref.namespace, ref.name)}


async def test_a_process_that_becomes_the_leader_looks_at_every_tier() -> None:
    """What a standby made of a tier was never compared with what the cluster has."""
    bench = Bench(4, 3)
    await bench.settle()
    bench.loop._parts = replace(bench.loop._parts, leading=lambda: False)
    for _ in range(3):
        await bench.tick()
        await bench.loop.once()
    assert len(bench.loop._kept.settled.tiers) == 4
    assert all(each.outcome is None for each in bench.loop._kept.settled.tiers.values())
    bench.loop._parts = replace(bench.loop._parts, leading=lambda: True)
    await bench.tick()
    await bench.loop.once()
    assert all(each.outcome is not None for each in bench.loop._kept.settled.tiers.values())
