"""Checks what is counted in a pool: GPUs of its nodes, GPUs that others hold, what one is and costs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.observe import bodies
from tests.unit.observe.test_world import only
from tests.unit.observe.test_world import world as a_world
from tierwise import reasons
from tierwise.api.gpupool import GPUPoolSpec
from tierwise.observe import Observer, Samples, World, observe
from tierwise.observe.gpu_inventory import NodeRecord, Resource, node_record
from tierwise.observe.pool_records import GPUPodRecord, gpu_pod_record, pool_object
from tierwise.observe.pooled_tiers import kinds_in_pool
from tierwise.observe.pools import pool_gpu, price, with_nodes, with_pods
from tierwise.runtime.turns import at_once
from tierwise.types import GPU, PoolObject, PoolPrice, PoolView

GPUS = "nvidia.com/gpu"
L40S = GPU("NVIDIA-L40S", (8, 9), 46068, 570)
T4 = GPU("Tesla-T4", (7, 5), 15360, 570)


def pool(name: str = "gpus", *, created: float = 1.0, **spec: Any) -> PoolObject:
    body = {"metadata": {"name": name, "uid": f"uid-{name}", "generation": 1}, "spec": spec}
    return replace(pool_object(body), created_at=created)


def node(name: str, gpus: int = 4, gpu: GPU = L40S, **changes: Any) -> NodeRecord:
    labels = changes.pop("labels", {"zone": "a"})
    made = NodeRecord(labels, (), (Resource(GPUS, gpus, gpu),), name, lent=((GPUS, gpus),))
    return replace(made, **changes)


def holding(node: str, gpus: int, deployment: str = "", namespace: str = "elsewhere") -> GPUPodRecord:
    return GPUPodRecord(namespace, deployment, node, ((GPUS, gpus),))


def counted(*nodes: NodeRecord, pods: Any = (), ours: Any = frozenset(), **spec: Any) -> PoolView:
    (made,) = with_nodes([pool(**spec)], nodes)
    return with_pods(made, pods, ours)


def figures(view: PoolView) -> tuple[int | None, int | None, int, int]:
    return view.capacity, view.others, view.ready_nodes, view.nodes


def test_a_pool_has_the_gpus_of_its_ready_nodes() -> None:
    nodes = [node("a"), node("b", ready=False), node("c", labels={"zone": "b"})]
    assert figures(counted(*nodes, nodeSelector={"zone": "a"})) == (4, 0, 1, 2)
    assert figures(counted(*nodes)) == (8, 0, 2, 3)


def test_what_a_kubelet_does_not_lend_is_not_there() -> None:
    assert figures(counted(node("a", lent=((GPUS, 3),)))) == (3, 0, 1, 1)


def test_a_cordoned_node_gives_what_its_pods_hold() -> None:
    mine = frozenset({("team", "chat-predictor")})
    pods = [holding("a", 1), holding("a", 2, "chat-predictor", "team")]
    assert figures(counted(node("a", cordoned=True), pods=pods, ours=mine)) == (3, 1, 1, 1)


def test_others_are_whoever_is_no_tier_of_the_pool() -> None:
    pods = [
        holding("a", 1, "chat-predictor", "team"),
        holding("a", 1, "chat-predictor", "another-team"),
        holding("lost", 1),
        holding("not-in-the-pool", 4),
    ]
    seen = counted(node("a"), node("lost", ready=False), pods=pods, ours=frozenset({("team", "chat-predictor")}))
    assert figures(seen) == (4, 1, 1, 2)


def test_a_node_counts_to_the_oldest_pool_that_selects_it_for_the_same_resource() -> None:
    pools = [pool("new", created=2.0), pool("old", created=1.0), pool("npu", created=3.0, resourceName="a.b/npu")]
    both = node(
        "a", resources=(Resource("a.b/npu", 2, GPU()), Resource(GPUS, 4, L40S)), lent=(("a.b/npu", 2), (GPUS, 4))
    )
    found = {each.view.name: with_pods(each, (), frozenset()) for each in with_nodes(pools, [both])}
    assert {name: view.capacity for name, view in found.items()} == {"new": 0, "old": 4, "npu": 2}
    assert {name: view.overlaps for name, view in found.items()} == {"new": ("old",), "old": (), "npu": ()}


@given(st.permutations(["a", "b", "c"]), st.permutations([0, 1, 2]))
def test_the_order_of_pools_and_nodes_does_not_matter(names: list[str], order: list[int]) -> None:
    pools = [pool(name, created=float(ord(name))) for name in names]
    nodes = [node(f"node-{number}") for number in order]
    found = with_nodes(pools, nodes)
    assert [each.view.name for each in found] == ["a", "b", "c"]
    assert [sorted(each.nodes) for each in found] == [["node-0", "node-1", "node-2"], [], []]


def test_what_is_not_known_is_not_zero() -> None:
    (made,) = with_nodes([pool()], (), "list nodes: forbidden")
    seen = with_pods(made, (), frozenset())
    assert (seen.capacity, seen.others) == (None, None)
    assert seen.unknown is not None
    assert seen.unknown[0] == reasons.NODES_UNKNOWN
    assert seen.unknown[1].endswith("nothing grows: list nodes: forbidden")
    (made,) = with_nodes([pool()], [node("a")])
    seen = with_pods(made, (), frozenset(), "list pods: forbidden")
    assert (seen.capacity, seen.others) == (None, None)
    assert seen.unknown is not None
    assert seen.unknown[0] == reasons.PODS_UNKNOWN
    assert "list pods: forbidden" in seen.unknown[1]


def test_a_pool_whose_spec_cannot_be_read_says_so() -> None:
    (made,) = with_nodes([pool(budget={"gpus": -1})], [node("a")])
    assert made.view.pool.spec is None
    assert made.view.unknown is not None
    assert made.view.unknown[0] == reasons.INVALID_POOL
    assert "spec.budget.gpus" in made.view.unknown[1]
    assert with_pods(made, (), frozenset()) == made.view


def spec(**fields: Any) -> GPUPoolSpec:
    return GPUPoolSpec.model_validate(fields)


@pytest.mark.parametrize(
    ("said", "found", "gpu"),
    [
        ({}, [L40S, L40S], L40S),
        ({}, [L40S, T4], GPU("", None, None, 570)),
        ({}, [], GPU()),
        ({"memory": "40Gi"}, [L40S], replace(L40S, memory_mib=40960)),
        ({"computeCapability": "9.0"}, [L40S], replace(L40S, capability=(9, 0))),
        ({"product": "Tesla-T4"}, [], GPU("Tesla-T4", (7, 5), 15360)),
        ({"product": "Tesla-T4"}, [GPU()], GPU("Tesla-T4", (7, 5), 15360)),
        ({"product": "Unheard-of"}, [L40S], GPU("Unheard-of", None, None, 570)),
        ({"product": "AMD_Instinct_MI300X_OAM"}, [], GPU("AMD_Instinct_MI300X_OAM", None, 196592)),
    ],
)
def test_what_a_gpu_is(said: dict[str, str], found: list[GPU], gpu: GPU) -> None:
    assert pool_gpu(spec(gpu=said), found) == gpu


def test_a_price_is_declared_or_a_list_price_that_says_whose() -> None:
    assert price(spec(pricePerGPUHour="2.5"), "NVIDIA-L40S") == PoolPrice(Decimal("2.5"))
    assumed = price(spec(), "NVIDIA-L40S")
    assert assumed is not None
    assert assumed.assumed
    assert assumed.usd == Decimal("1.5484")
    assert assumed.source == "Nebius, on demand, undated"
    assert price(spec(), "") is None
    assert price(spec(), "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb") is None
    assert price(spec(), "NVIDIA-GB200") is None


def test_the_kinds_of_a_tier_are_what_its_pool_says() -> None:
    (plain,) = with_nodes([pool()], ())
    (said,) = with_nodes([pool(gpu={"memory": "10Gi"})], ())
    assert kinds_in_pool((L40S,), None) == (L40S,)
    assert kinds_in_pool((L40S,), plain.view) == (L40S,)
    assert kinds_in_pool((L40S,), said.view) == (replace(L40S, memory_mib=10240),)
    assert kinds_in_pool((), said.view) == (GPU(memory_mib=10240),)


# --- records ----------------------------------------------------------------------------------------------------------


def containers(*gpus: int, first: list[Any] | None = None) -> dict[str, Any]:
    made = [{"resources": {"limits": {GPUS: str(count), "cpu": "1"}}} for count in gpus]
    return {"nodeName": "a", "containers": made, "initContainers": first or []}


@pytest.mark.parametrize(
    ("body", "held"),
    [
        (containers(1, 2), 3),
        (containers(1, first=[{"resources": {"limits": {GPUS: 4}}}]), 4),
        (containers(1, first=[{"restartPolicy": "Always", "resources": {"requests": {GPUS: 1}}}]), 2),
        (containers(0), None),
        ({"nodeName": "a", "containers": [{}]}, None),
        ({**containers(1), "nodeName": ""}, None),
    ],
)
def test_what_a_pod_holds_is_what_the_scheduler_counts(body: dict[str, Any], held: int | None) -> None:
    record = gpu_pod_record(bodies.pod("x", spec=body))
    assert (None if record is None else record.number(GPUS)) == held


def test_a_pod_that_has_ended_holds_nothing_and_one_knows_whose_it_is() -> None:
    assert gpu_pod_record(bodies.pod("x", spec=containers(1), status={"phase": "Succeeded"})) is None
    assert gpu_pod_record(bodies.pod("x", spec=containers(1))) == holding("a", 1, "chat-predictor", "team")
    bare = bodies.pod("x", spec=containers(1), ownerReferences=[])
    assert gpu_pod_record(bare) == holding("a", 1, "", "team")


def test_a_nodes_record_says_whether_it_gives() -> None:
    body: dict[str, Any] = {
        "metadata": {"name": "a", "labels": {}},
        "spec": {"unschedulable": True},
        "status": {
            "capacity": {GPUS: "8"},
            "allocatable": {GPUS: "7"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    made = node_record(body)
    assert made is not None
    assert (made.name, made.ready, made.cordoned, made.allocatable(GPUS)) == ("a", True, True, 7)
    assert made.allocatable("other.io/gpu") == 0
    body["status"]["conditions"][0]["status"] = "Unknown"
    lost = node_record({**body, "spec": {}})
    assert lost is not None
    assert (lost.ready, lost.cordoned) == (False, False)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)))
def test_odd_pools_and_pods_are_no_error(odd: Any) -> None:
    for body in ({"metadata": odd, "spec": odd, "status": odd}, {"spec": {"budget": odd, "nodeSelector": odd}}):
        found = pool_object(body)
        assert (found.spec is None) == bool(found.invalid), "what is not understood says why"
        gpu_pod_record(body)
    gpu_pod_record({"spec": {"nodeName": "a", "containers": odd}})


# --- the world --------------------------------------------------------------------------------------------------------


def pooled(name: str = "gpus", **changes: Any) -> dict[str, Any]:
    return bodies.tier(spec={"model": {"name": "m", "uri": "hf://org/m"}, "pools": [{"name": name}], **changes})


def with_pool(seen: World, *pools: PoolObject, **changes: Any) -> World:
    return replace(seen, pools=pools, nodes=(node("gpu-0"),), **changes)


def test_a_tier_in_a_pool_has_its_nodes_its_resource_and_its_price() -> None:
    made = pool(nodeSelector={"zone": "a"}, resourceName="nvidia.com/gpu", pricePerGPUHour="2")
    view = only(with_pool(a_world(tiers=[pooled(placement={"nodeSelector": {"disk": "fast"}})]), made))
    assert view.tier.spec is not None
    assert view.tier.spec.placement.node_selector == {"zone": "a", "disk": "fast"}
    assert view.tier.spec.resources.resource_name == GPUS
    assert view.tier.spec.price is not None
    assert view.tier.spec.price.gpu_hour == "2"
    assert view.facts.gpus == ()  # no node has the tier's own label
    plain = only(with_pool(a_world(tiers=[pooled()]), pool(pricePerGPUHour="2")))
    assert plain.facts.gpus == (L40S,)


def test_a_tier_of_no_pool_or_of_one_that_is_not_there_is_as_it_was_written() -> None:
    for tier in (pooled("other"), bodies.tier()):
        seen = a_world(tiers=[tier])
        assert only(with_pool(seen, pool())).tier is next(iter(seen.tiers))


def test_its_own_pods_are_not_others() -> None:
    seen = with_pool(a_world(tiers=[pooled()]), pool(), gpu_pods=(holding("gpu-0", 1, "chat-predictor", "team"),))
    (found,) = observe(seen, Samples(), 1.0).pools.views
    assert figures(found) == (4, 0, 1, 1)
    stranger = with_pool(a_world(), pool(), gpu_pods=(holding("gpu-0", 1, "chat-predictor", "team"),))
    (found,) = observe(stranger, Samples(), 1.0).pools.views
    assert found.others == 1, "a tier of no pool holds its GPUs as anybody does"


def test_what_only_has_the_name_of_a_tiers_workload_is_somebody_elses() -> None:
    service = bodies.inference_service(owner_uid="a stranger's")
    seen = a_world(tiers=[pooled()], inference_services=[service], deployments=[], pods=[])
    pods = (holding("gpu-0", 3, "chat-predictor", "team"),)
    (found,) = observe(with_pool(seen, pool(), gpu_pods=pods), Samples(), 1.0).pools.views
    assert figures(found) == (4, 3, 1, 1)


def test_what_has_not_changed_is_not_made_again() -> None:
    observer, seen = Observer(), with_pool(a_world(tiers=[pooled()]), pool())

    def look(world: World) -> Any:
        return at_once(observer.observe_in_turns(world, Samples(), 1.0)).tiers[0].tier

    first = look(seen)
    assert look(replace(seen, nodes=(node("gpu-0", 5),))) is first
    assert look(seen) is first
    assert look(with_pool(seen, pool(pricePerGPUHour="3"))) is not first


def test_whether_pools_are_known_is_passed_on() -> None:
    seen = observe(replace(a_world(), pools_known=False, pools_problem="forbidden"), Samples(), 1.0)
    assert (seen.pools.known, seen.pools.problem, seen.pools.views) == (False, "forbidden", ())
