"""What is told of a pool: figures, money, one word, conditions, Events, series."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry

from tests.builders.pools import CASES, LIST, NOW, pool, use
from tierwise import reasons
from tierwise.api.gpupool import GPUPoolStatus
from tierwise.report.costs import assumed, number
from tierwise.report.pool_metrics import PoolMetrics
from tierwise.report.pools import PoolReport, evaluate_pool, report_pool, should_write_pool
from tierwise.types import PoolUse, PoolView


def told(view: PoolView, held: PoolUse | None = None, old: GPUPoolStatus | None = None, at: float = NOW) -> PoolReport:
    seen = view if old is None else replace(view, pool=replace(view.pool, status=old))
    return report_pool(seen, held or use(), 2, at)


@pytest.mark.parametrize("name", sorted(CASES))
def test_one_word_and_its_reason(name: str) -> None:
    view, held, word = CASES[name]
    status = told(view, held).status
    assert (status.state, status.reason) == word
    assert status.observed_generation == 3
    # What the API server accepts is what the model does.
    assert GPUPoolStatus.model_validate(status.model_dump(by_alias=True)) == status


def test_figures() -> None:
    status = told(pool({"budget": {"gpus": 6, "usdPerHour": "20"}}), use(3, 1)).status
    assert (status.capacity, status.used, status.pending, status.others, status.free) == (8, 3, 1, 1, 4)
    assert (status.nodes, status.tiers, status.budget) == ("2/2", 2, "6 GPUs, $20/h")
    assert status.gpu.model_dump() == {
        "product": "NVIDIA-H100-80GB-HBM3",
        "memory": "81559Mi",
        "compute_capability": "9.0",
    }
    assert told(pool({"budget": {"gpus": 1}})).status.budget == "1 GPU"
    assert told(pool()).status.budget == ""


def test_more_held_than_there_is_leaves_nothing_free() -> None:
    assert told(pool(), use(9)).status.free == 0
    assert told(pool(capacity=None, others=None), use(9)).status.free is None


def test_what_is_pending_costs_nothing_and_an_assumed_price_is_marked() -> None:
    status = told(pool(), use(3, 1)).status
    assert (status.price_per_gpu_hour, status.price_source, status.cost_per_hour) == ("2.5", "", "5.00")
    status = told(pool(price=LIST), use(3, 1)).status
    assert (status.price_per_gpu_hour, status.cost_per_hour) == ("6.88", "13.76 (assumed)")
    assert status.price_source == LIST.source
    status = told(pool(price=None), use(3)).status
    assert (status.price_per_gpu_hour, status.price_source, status.cost_per_hour) == ("", "", "")


def test_an_assumed_amount_is_a_number_still() -> None:
    assert assumed("", True) == ""
    assert assumed("1.20", False) == "1.20"
    assert number(assumed("1.20", True)) == number("1.20") == Decimal("1.20")


def test_conditions_say_what_to_do() -> None:
    said = {each.type: each for each in told(pool({"budget": {"gpus": 2}}, price=LIST), use(3)).status.conditions}
    assert [*said] == ["Accepted", "CapacityKnown", "Priced", "WithinBudget", "Ready"]
    assert said["WithinBudget"].message.removesuffix(".").endswith("lower scaling.minReplicas, or raise the budget")
    assert "the tiers use 3 GPUs, the budget is 2" in said["WithinBudget"].message
    assert LIST.source in said["Priced"].message
    assert "Set pricePerGPUHour" in said["Priced"].message
    overlapping = {each.type: each for each in evaluate_pool(pool(overlaps=("old", "older")), use())}
    assert "old, older" in overlapping["Accepted"].message


@pytest.mark.parametrize(
    ("name", "reason", "said"),
    [
        ("no node", reasons.NO_NODES, "No node has the labels"),
        ("no node is Ready", reasons.NODES_NOT_READY, "0 of 2 nodes are Ready"),
        ("all nodes are cordoned", reasons.NODES_LEND_NOTHING, "2 of 2 nodes are Ready"),
    ],
)
def test_a_pool_without_a_gpu_is_not_ready_and_says_why(name: str, reason: str, said: str) -> None:
    view, held, _ = CASES[name]
    conditions = {each.type: each for each in told(view, held).status.conditions}
    ready, known = conditions["Ready"], conditions["CapacityKnown"]
    assert (ready.status, ready.reason, known.status, known.reason) == ("False", reason, "True", reason)
    assert said in ready.message
    assert said in known.message


def test_events_tell_what_changed_and_nothing_else() -> None:
    first = told(pool(), use(3))
    assert first.events == ()
    assert told(pool(), use(4), first.status).events == ()
    smaller = told(pool(capacity=4, ready_nodes=1), use(3), first.status)
    (event,) = smaller.events
    assert (event.reason, event.message, event.warning) == (
        reasons.POOL_CHANGED,
        "8 → 4 GPUs: 1/2 nodes are Ready",
        False,
    )
    assert (event.kind, event.namespace, event.name, event.uid) == ("GPUPool", "default", "h100", "uid-h100")
    unknown = CASES["nodes not known"][0]
    (event,) = told(unknown, use(3), first.status).events
    assert (event.reason, event.warning) == (reasons.NODES_UNKNOWN, True)
    (event,) = told(pool(), use(3), told(unknown, use(3), first.status).status).events
    assert (event.reason, event.warning) == (reasons.COUNTED, False)


def test_a_status_that_says_the_same_is_not_written_and_what_follows_the_load_waits() -> None:
    first = told(pool(), use(3)).status
    assert not should_write_pool(first, told(pool(), use(3), first, NOW + 60).status, 1.0)
    busier = told(pool(), use(4), first, NOW + 60).status
    assert not should_write_pool(first, busier, 1.0)
    assert should_write_pool(first, busier, 15.0)
    assert should_write_pool(first, busier, None)
    assert should_write_pool(first, told(pool(capacity=7), use(3), first, NOW + 60).status, 1.0)
    assert should_write_pool(first, told(pool(), use(7), first, NOW + 60).status, 1.0), "it is full now"


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    first = told(pool(), use(3)).status
    later = told(pool(), use(4), first, NOW + 60).status
    assert later.conditions == first.conditions


def series(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"tierwise_gpupool_{name}", {"gpupool": "h100", **labels})


def test_series_of_a_pool_come_and_go_with_it() -> None:
    registry = CollectorRegistry()
    metrics = PoolMetrics(registry)
    metrics.update([told(pool(), use(3, 1))])
    shown = [series(registry, f"{name}_gpus") for name in ("capacity", "used", "pending", "others", "free")]
    assert shown == [8, 3, 1, 1, 4]
    assert series(registry, "tiers") == 2
    assert series(registry, "cost_usd_per_hour", price="declared") == 5.0
    assert series(registry, "condition", type="CapacityKnown", status="true") == 1
    metrics.update([told(CASES["nodes not known"][0], use(3))])
    assert series(registry, "capacity_gpus") is None
    assert series(registry, "used_gpus") == 3
    assert series(registry, "condition", type="CapacityKnown", status="true") == 0
    metrics.update([told(pool(price=LIST), use(1))])
    assert series(registry, "cost_usd_per_hour", price="declared") is None
    assert series(registry, "cost_usd_per_hour", price="assumed") == 6.88
    metrics.update([])
    assert [sample for family in registry.collect() for sample in family.samples] == []
