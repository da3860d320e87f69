"""Checks that node labels become the kinds of GPU that a tier may get, and nothing that changes by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.nodes import NODES
from tierwise.api.modeltier import ModelTierSpec
from tierwise.observe.gpu_inventory import GPUInventory, NodeRecord, node_record
from tierwise.types.capabilities import GPU

L4 = {
    "nvidia.com/gpu.product": "NVIDIA-L4",
    "nvidia.com/gpu.memory": "23034",
    "nvidia.com/gpu.compute.major": "8",
    "nvidia.com/gpu.compute.minor": "9",
    "nvidia.com/cuda.driver-version.major": "580",
}
T4 = {
    "nvidia.com/gpu.product": "Tesla-T4",
    "nvidia.com/gpu.memory": "15360",
    "nvidia.com/gpu.compute.major": "7",
    "nvidia.com/gpu.compute.minor": "5",
    "nvidia.com/cuda.driver.major": "535",
}
AN_L4 = GPU("NVIDIA-L4", (8, 9), 23034, 580)
A_T4 = GPU("Tesla-T4", (7, 5), 15360, 535)


def body(labels: Mapping[str, str], *, capacity: Any = None, taints: Any = None, **status: Any) -> dict[str, Any]:
    """A node as the API server has it."""
    return {
        "metadata": {"name": "n", "uid": "u", "resourceVersion": "9", "labels": dict(labels)},
        "spec": {} if taints is None else {"taints": taints},
        "status": {"capacity": {"cpu": "8", "nvidia.com/gpu": "1"} if capacity is None else capacity, **status},
    }


def node(labels: Mapping[str, str], **changes: Any) -> NodeRecord:
    found = node_record(body(labels, **changes))
    assert found is not None
    return found


def kinds(nodes: Iterable[NodeRecord], asked: ModelTierSpec) -> tuple[GPU, ...]:
    return GPUInventory(nodes, [asked]).kinds(asked)


def spec(*, gpus: int = 1, resource: str = "nvidia.com/gpu", **placement: Any) -> ModelTierSpec:
    return ModelTierSpec.model_validate(
        {
            "model": {"name": "m", "uri": "hf://org/m"},
            "resources": {"gpus": gpus, "resourceName": resource},
            "parallelism": {"tensor": max(1, gpus)},
            "placement": placement,
        }
    )


def test_labels_of_gpu_feature_discovery_in_its_present_and_its_older_names() -> None:
    assert kinds([node(T4), node(L4), node(L4)], spec()) == (AN_L4, A_T4)


def term(*expressions: tuple[str, str, list[str]]) -> dict[str, Any]:
    asked = [{"key": key, "operator": operator, "values": values} for key, operator, values in expressions]
    return {"matchExpressions": asked}


@pytest.mark.parametrize(
    ("required", "found"),
    [
        ([term(("nvidia.com/gpu.product", "In", ["NVIDIA-L4", "NVIDIA-H100"]))], (AN_L4,)),
        ([term(("nvidia.com/gpu.product", "NotIn", ["NVIDIA-L4"]))], (A_T4,)),
        ([term(("spot", "NotIn", ["yes"]))], (AN_L4, A_T4)),
        ([term(("nvidia.com/cuda.driver.major", "Exists", []))], (A_T4,)),
        ([term(("nvidia.com/cuda.driver.major", "DoesNotExist", []))], (AN_L4,)),
        ([term(("nvidia.com/gpu.memory", "Gt", ["15360"]))], (AN_L4,)),
        ([term(("nvidia.com/gpu.memory", "Lt", ["15361"]))], (A_T4,)),
        ([term(("nvidia.com/gpu.product", "Gt", ["1"]))], ()),
        ([term(("absent", "Lt", ["1"]))], ()),
        ([term(("nvidia.com/gpu.memory", "Gt", ["1"]), ("nvidia.com/gpu.product", "In", ["Tesla-T4"]))], (A_T4,)),
        ([term(("absent", "Exists", [])), term(("nvidia.com/gpu.product", "In", ["NVIDIA-L4"]))], (AN_L4,)),
    ],
)
def test_required_affinity_selects_as_the_scheduler_does(required: list[Any], found: tuple[GPU, ...]) -> None:
    assert kinds([node(T4), node(L4)], spec(affinity={"required": required})) == found


def test_preferred_nodes_exclude_none() -> None:
    preferred = [{"weight": 100, **term(("nvidia.com/gpu.product", "In", ["NVIDIA-L4"]))}]
    assert kinds([node(T4), node(L4)], spec(affinity={"preferred": preferred})) == (AN_L4, A_T4)


def test_node_selector_and_affinity_must_both_fit() -> None:
    both: dict[str, Any] = {"affinity": {"required": [term(("zone", "In", ["a"]))]}, "nodeSelector": {"disk": "nvme"}}
    nodes = [node({**L4, "zone": "a"}), node({**T4, "zone": "a", "disk": "nvme"}), node({**L4, "disk": "nvme"})]
    assert kinds(nodes, spec(**both)) == (A_T4,)


def test_the_playgrounds_own_nodes() -> None:
    records = [node_record(body(each.labels(), capacity=each.capacity())) for each in NODES]
    found = kinds([each for each in records if each is not None], spec())
    assert found == (GPU("NVIDIA-H100-80GB-HBM3", (9, 0), 81559, 580), AN_L4)
    assert records.count(None) == 1, "a node without GPUs is not kept"


def test_a_node_that_says_nothing_is_a_kind_of_which_nothing_is_known() -> None:
    assert kinds([node({}), node(L4)], spec()) == (GPU(), AN_L4)
    assert kinds([node({"nvidia.com/gpu.memory": "lots", "nvidia.com/gpu.compute.major": "8"})], spec()) == (GPU(),)


def test_only_nodes_that_the_scheduler_would_consider() -> None:
    nodes = [node({**L4, "zone": "a"}), node({**T4, "zone": "b"})]
    assert kinds(nodes, spec(nodeSelector={"zone": "b"})) == (A_T4,)
    assert kinds(nodes, spec(nodeSelector={"zone": "c"})) == (), "unknown: one may be added"
    assert kinds([node(L4, capacity={"nvidia.com/gpu": "4"}), nodes[1]], spec(gpus=2)) == (AN_L4,)
    assert kinds(nodes, spec(gpus=0)) == ()


TAINT = {"key": "team", "value": "ai", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("taint", "tolerations", "counts"),
    [
        (TAINT, [], False),
        (TAINT, [{"key": "team", "value": "ai"}], True),
        (TAINT, [{"key": "team", "value": "web"}], False),
        (TAINT, [{"key": "team", "operator": "Exists"}], True),
        (TAINT, [{"operator": "Exists"}], True),
        (TAINT, [{"key": "team", "value": "ai", "effect": "NoExecute"}], False),
        ({**TAINT, "effect": "NoExecute"}, [{"key": "team", "value": "ai", "effect": "NoExecute"}], True),
        ({**TAINT, "effect": "PreferNoSchedule"}, [], True),
        ({"key": "team", "effect": "NoSchedule"}, [{"key": "team"}], True),
        ({"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}, [], True),
        ({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}, [], True),
        ({"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}, [], True),
    ],
)
def test_taints_that_last_must_be_tolerated(taint: dict[str, str], tolerations: list[Any], counts: bool) -> None:
    assert kinds([node(L4, taints=[taint])], spec(tolerations=tolerations)) == ((AN_L4,) if counts else ())


def test_slices_and_shared_gpus() -> None:
    shared = {**L4, "nvidia.com/gpu.product": "NVIDIA-L4-SHARED"}
    assert kinds([node(shared)], spec()) == (AN_L4,)
    single = {**T4, "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "nvidia.com/gpu.memory": "4864"}
    assert [(each.product, each.memory_mib) for each in kinds([node(single)], spec())] == [
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", 4864)
    ]
    mixed = {**T4, "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/mig-3g.40gb.memory": "40320"}
    capacity = {"nvidia.com/gpu": "0", "nvidia.com/mig-3g.40gb": "2"}
    found = kinds([node(mixed, capacity=capacity)], spec(resource="nvidia.com/mig-3g.40gb"))
    assert [(each.product, each.memory_mib, each.capability) for each in found] == [
        ("NVIDIA-H100-80GB-HBM3-MIG-3g.40gb", 40320, (7, 5))
    ]
    assert kinds([node(mixed, capacity=capacity)], spec()) == ()


def test_other_makers() -> None:
    labels = {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM", "amd.com/gpu.vram": "192G"}
    found = kinds([node(labels, capacity={"amd.com/gpu": "8"})], spec(resource="amd.com/gpu"))
    assert found == (GPU("AMD_Instinct_MI300X_OAM", None, 192 * 1024),)
    assert kinds([node(L4, capacity={"example.com/npu": "1"})], spec(resource="example.com/npu")) == (GPU(),)


READY = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-11-20T10:00:00Z"}


def test_what_moves_in_a_nodes_status_is_not_in_its_record() -> None:
    allocatable = {"nvidia.com/gpu": "1"}
    at_rest = node({**L4, "nvidia.com/gfd.timestamp": "1"}, conditions=[READY], allocatable=allocatable)
    heartbeat = {**READY, "lastHeartbeatTime": "2026-11-20T10:00:05Z"}
    images = [{"names": ["a"], "sizeBytes": 1}]
    labels = {**L4, "nvidia.com/gfd.timestamp": "2"}
    later = node(labels, conditions=[heartbeat], allocatable=allocatable, images=images)
    assert later == at_rest
    assert node(T4) != at_rest


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)))
def test_odd_bodies_are_no_error(odd: Any) -> None:
    for odd_body in ({"status": {"capacity": odd}}, {"metadata": odd, "spec": odd, "status": odd}):
        node_record(odd_body)
    capacity = {"capacity": {"a/b": odd}}
    made = node_record({"metadata": {"labels": {"a": odd}}, "spec": {"taints": odd}, "status": capacity})
    assert made is not None
    kinds([made], spec(resource="a/b"))


@given(st.sets(st.sampled_from([AN_L4, A_T4, GPU()]), max_size=3), st.randoms(use_true_random=False))
def test_the_order_of_nodes_does_not_matter(found: set[GPU], chance: Any) -> None:
    labels = {AN_L4: L4, A_T4: T4, GPU(): {}}
    nodes = [node(labels[each]) for each in found for _ in range(2)]
    chance.shuffle(nodes)
    assert set(kinds(nodes, spec())) == found
    assert kinds(nodes, spec()) == kinds(list(reversed(nodes)), spec())


@given(
    st.lists(
        st.builds(
            spec,
            gpus=st.integers(0, 2),
            nodeSelector=st.dictionaries(st.sampled_from(["zone", "rack"]), st.sampled_from("ab"), max_size=2),
            tolerations=st.lists(st.sampled_from([{"operator": "Exists"}, {"key": "team", "value": "ai"}]), max_size=1),
        ),
        max_size=6,
    )
)
def test_what_other_tiers_ask_makes_no_difference(specs: list[ModelTierSpec]) -> None:
    nodes = [
        node({**L4, "zone": "a"}),
        node({**L4, "zone": "b", "rack": "a"}, capacity={"nvidia.com/gpu": "2"}),
        node({**T4, "zone": "a", "rack": "b"}, taints=[TAINT]),
        node({"rack": "b"}, capacity={"nvidia.com/gpu": "2"}, taints=[TAINT]),
    ]
    fleet = GPUInventory(nodes, specs)
    assert [fleet.kinds(each) for each in specs] == [kinds(nodes, each) for each in specs]
    assert kinds(nodes, spec(nodeSelector={"zone": "b"}, gpus=2)) == (AN_L4,)
