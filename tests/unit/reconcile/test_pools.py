"""Tiers in pools, cycle after cycle: what is written never exceeds what there is, and everybody is told why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.act.worlds import service_ref
from tests.unit.reconcile.pool_scenes import PoolScene, node, pool_ref
from tierwise import reasons
from tierwise.observe.pool_records import GPUPodRecord
from tierwise.types import Installation, Installations


async def scene(*tiers: tuple[str, int], **pool: Any) -> PoolScene:
    made = PoolScene()
    made.pool(**pool)
    for name, replicas in tiers:
        made.pooled(name, replicas)
    await made.settle()
    return made


async def test_two_tiers_share_what_the_pool_has() -> None:
    made = await scene(("a", 3), ("b", 3))
    assert made.all_replicas("a", "b") == [2, 2]
    status = made.pool_status()
    assert (status.capacity, status.used, status.others, status.free) == (4, 4, 0, 0)
    assert (status.state, status.tiers, status.nodes) == ("Full", 2, "1/1")
    for name in ("a", "b"):
        told = made.status(name)
        assert told.limited_by == reasons.POOL
        assert [(each.name, each.replicas, each.gpus, each.wanted) for each in told.pools] == [("gpus", 2, 2, 3)]


async def test_pods_get_the_nodes_and_the_resource_of_the_pool() -> None:
    made = PoolScene()
    made.pool(nodeSelector={"zone": "a"}, resourceName="nvidia.com/mig-1g.10gb")
    made.pooled("chat", 1, placement={"nodeSelector": {"disk": "fast"}})
    await made.settle()
    predictor = made.store.seen(service_ref("chat"))["spec"]["predictor"]
    assert predictor["nodeSelector"] == {"disk": "fast", "zone": "a"}
    assert predictor["containers"][0]["resources"]["requests"]["nvidia.com/mig-1g.10gb"] == "1"


async def test_priorities_weigh() -> None:
    made = PoolScene()
    made.pool()
    made.pooled("a", 4, priority=3)
    made.pooled("b", 4)
    await made.settle()
    assert made.all_replicas("a", "b") == [3, 1]


async def test_a_budget_below_the_demand_limits_and_a_higher_one_frees() -> None:
    made = await scene(("a", 3), ("b", 1), budget={"gpus": 3})
    assert sum(made.all_replicas("a", "b")) == 3
    assert made.status("a").limited_by == reasons.BUDGET
    assert made.pool_status().state == "Full"
    made.pool(budget={"gpus": 4})
    await made.settle()
    assert made.all_replicas("a", "b") == [3, 1]
    assert made.status("a").limited_by == reasons.PINNED


async def test_a_lower_price_buys_more_of_a_budget_in_dollars() -> None:
    made = await scene(("a", 4), pricePerGPUHour="2", budget={"usdPerHour": "4"})
    assert made.replicas("a") == 2
    assert made.pool_status().budget == "$4/h"
    made.pool(pricePerGPUHour="1.5", budget={"usdPerHour": "4.5"})
    await made.settle()
    assert made.replicas("a") == 3


async def test_an_installation_that_acts_nowhere_tells_of_no_pool() -> None:
    made = await scene(("a", 3))
    made.installations = Installations(everywhere=Installation("platform", "tw"), nowhere=True)
    made.nodes = [node("node-0", 8)]
    done = await made.cycle()
    assert (made.store.writes, done.pools) == ([], ())
    assert made.pool_status().capacity == 4
    made.installations = Installations()
    await made.cycle()
    assert made.pool_status().capacity == 8


async def test_what_others_hold_is_not_given_away() -> None:
    made = PoolScene()
    made.gpu_pods = [GPUPodRecord("elsewhere", "", "node-0", (("nvidia.com/gpu", 3),))]
    made.pool()
    made.pooled("a", 3)
    await made.settle()
    assert made.replicas("a") == 1
    assert made.pool_status().others == 3


@pytest.mark.parametrize(
    ("unknown", "reason"),
    [
        ({"nodes_problem": "list nodes: forbidden", "nodes": ()}, reasons.NODES_UNKNOWN),
        ({"gpu_pods_problem": "list pods: forbidden"}, reasons.PODS_UNKNOWN),
    ],
)
async def test_nothing_grows_on_what_is_not_known(unknown: dict[str, Any], reason: str) -> None:
    made = await scene(("a", 2))
    made.pin(3, "a")
    made.unknown = unknown
    await made.settle()
    assert made.replicas("a") == 2
    assert (made.pool_status().state, made.reason("CapacityKnown")) == ("Unknown", reason)
    assert made.pool_status().capacity is None
    made.unknown = {}
    await made.settle()
    assert made.replicas("a") == 3


async def test_a_lost_node_takes_no_replica_and_gives_none() -> None:
    made = PoolScene()
    made.nodes = [node("node-0", 2), node("node-1", 2)]
    made.pool()
    made.pooled("a", 2)
    made.pooled("b", 2)
    await made.settle()
    made.nodes = [node("node-0", 2), node("node-1", 2, ready=False)]
    made.pin(4, "b")
    await made.settle()
    assert made.all_replicas("a", "b") == [2, 2]
    assert (made.pool_status().capacity, made.pool_status().nodes) == (2, "1/2")
    assert reasons.POOL_CHANGED in made.told


async def test_a_pool_that_does_not_exist_is_said_and_what_runs_is_left_alone() -> None:
    made = await scene(("a", 2))
    before = made.store.seen(service_ref("a"))
    made.store.drop(pool_ref())
    await made.settle()
    assert made.store.seen(service_ref("a")) == before
    assert made.replicas("a") == 2
    condition = next(each for each in made.status("a").conditions if each.type == "Accepted")
    assert (condition.status, condition.reason) == ("False", reasons.POOL_NOT_FOUND)
    assert "there is no GPUPool gpus" in condition.message
    assert "Create the GPUPool" in condition.message


async def test_until_pools_are_known_nothing_is_written_or_told_of_their_tiers() -> None:
    made = await scene(("a", 2))
    made.pin(1, "a")
    made.unknown = {"pools_known": False, "pools": ()}
    await made.settle()
    assert made.store.writes == []
    assert made.replicas("a") == 2
    made.unknown = {"pools_known": False, "pools": (), "pools_problem": "list gpupools: forbidden"}
    await made.cycle()
    condition = next(each for each in made.status("a").conditions if each.type == "Accepted")
    assert (condition.reason, made.replicas("a")) == (reasons.POOLS_UNKNOWN, 2)


async def test_what_was_asked_for_and_is_not_seen_yet_is_not_given_away() -> None:
    made = PoolScene()
    made.pool()
    made.pooled("a", 1)
    made.pooled("b", 1)
    await made.settle()
    made.pin(3, "a")
    made.behind = made.world()
    await made.cycle()
    assert made.all_replicas("a", "b") == [3, 1]
    # The informer shows neither that growth nor why: b is what wants more now, and a nothing.
    late = made.behind
    wants = {"a": 1, "b": 3}
    made.behind = replace(
        late,
        tiers=[
            replace(each, spec=each.spec.model_copy(update={"replicas": wants[each.key.name]}))
            for each in late.tiers
            if each.spec is not None
        ],
    )
    await made.cycle()
    assert sum(made.all_replicas("a", "b")) <= 4


async def test_statuses_are_written_once_while_nothing_changes() -> None:
    made = await scene(("a", 3), ("b", 3))
    for _ in range(5):
        await made.cycle()
    assert made.store.writes == []


async def test_a_settled_tier_gives_way_when_a_budget_falls() -> None:
    made = await scene(("a", 3), budget={"gpus": 4})
    assert made.kept.settled.tiers == {} or made.replicas("a") == 3
    made.pool(budget={"gpus": 1})
    await made.settle()
    assert made.replicas("a") == 3  # pinned: its floor is what somebody fixed
    assert made.pool_status().state == "OverBudget"
    assert reasons.OVER_BUDGET in made.told


async def test_a_pool_that_shares_nodes_with_an_older_one_has_none_of_them() -> None:
    made = PoolScene()
    made.pool("old")
    made.pool("new")
    for name, at in (("old", "2026-01-01T00:00:00Z"), ("new", "2026-01-02T00:00:00Z")):
        body = made.store.seen(pool_ref(name))
        made.store.put(pool_ref(name), {**body, "metadata": {**body["metadata"], "creationTimestamp": at}})
    await made.settle()
    assert (made.pool_status("old").capacity, made.pool_status("new").capacity) == (4, 0)
    assert made.reason("Accepted", "new") == reasons.NODES_SHARED


async def test_a_list_price_is_said_to_be_assumed_wherever_it_is_shown() -> None:
    made = await scene(("a", 1))
    status = made.pool_status()
    assert status.price_per_gpu_hour == "1.5484"
    assert "Nebius" in status.price_source
    assert status.cost_per_hour == "0.00 (assumed)"
    assert made.status("a").cost_per_hour == "0.00 (assumed)"
    assert made.status("a").pools[0].price_source == status.price_source


async def test_a_standby_tells_nothing_of_pools() -> None:
    made = PoolScene()
    made.pool()
    done = await made.cycle(writing=False)
    assert done.pools is None
    assert made.store.writes == []


async def test_a_defect_in_sharing_out_changes_no_tier_of_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await scene(("a", 1))
    made.add("free", replicas=1)
    await made.settle()
    made.pin(2, "a")
    made.pin(2, "free")

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tierwise.reconcile.share", broken)
    await made.settle()
    assert made.all_replicas("a", "free") == [1, 2]
