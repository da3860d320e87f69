"""GPUPools in the manifests of a simulation: whose GPU and price a tier has, and what limits the tiers together."""

from __future__ import annotations

from typing import Any

import pytest

from tierwise.errors import Invalid
from tierwise_sim.replay import manifests
from tierwise_sim.replay.scenario import ServedTier

L40S = "NVIDIA-L40S"


def tier(name: str, pool: str = "", **spec: Any) -> dict[str, Any]:
    placed = {"pools": [{"name": pool}]} if pool else {}
    body = {"model": {"name": name, "uri": "hf://Qwen/Qwen3-8B"}, "contextLength": 8192, **placed, **spec}
    return {"kind": "ModelTier", "metadata": {"name": name, "namespace": "default"}, "spec": body}


def pool(name: str, **spec: Any) -> dict[str, Any]:
    selected = {"nodeSelector": {"nvidia.com/gpu.product": L40S}, **spec}
    return {"kind": "GPUPool", "metadata": {"name": name}, "spec": selected}


def read(*documents: dict[str, Any]) -> manifests.Manifests:
    return manifests.read(documents, manifests.Assumed(gpu="NVIDIA-L4"))


def test_a_tier_has_the_gpu_the_price_and_the_priority_of_its_pool() -> None:
    found = read(tier("a", "gpus", priority=3), tier("b"), pool("gpus", pricePerGPUHour="2", budget={"gpus": 4}))
    a, b = found.tiers
    assert isinstance(a, ServedTier)
    assert isinstance(b, ServedTier)
    assert (a.gpu, b.gpu) == (L40S, "NVIDIA-L4")
    assert a.spec.price is not None
    assert (a.spec.price.gpu_hour, b.spec.price) == ("2", None)
    assert (found.budget, found.priorities, found.ignored) == ({L40S: 4}, {"a": 3}, ())


@pytest.mark.parametrize(
    ("pools", "budget"),
    [
        ([pool("a"), pool("b", budget={"gpus": 2})], {}),
        ([pool("a", budget={"gpus": 3}), pool("b", budget={"gpus": 2})], {L40S: 5}),
        ([pool("a", budget={"usdPerHour": "7"}, pricePerGPUHour="2"), pool("b", budget={"gpus": 0})], {L40S: 3}),
        (
            [pool("a", budget={"usdPerHour": "7", "gpus": 2}, pricePerGPUHour="2"), pool("b", budget={"gpus": 1})],
            {L40S: 3},
        ),
        ([pool("a", gpu={"product": "NVIDIA-L4"}, budget={"gpus": 1}), pool("b")], {"NVIDIA-L4": 1}),
    ],
)
def test_budgets_are_gpus_of_a_product(pools: list[dict[str, Any]], budget: dict[str, int]) -> None:
    assert read(tier("x", "a"), tier("y", "b"), *pools).budget == budget


@pytest.mark.parametrize(
    ("documents", "says"),
    [
        ([tier("a", "gpus")], "GPUPool gpus, which is not in these files"),
        ([tier("a", "gpus"), pool("gpus"), pool("gpus")], "GPUPool gpus is in these files twice"),
        ([tier("a", "gpus"), pool("gpus", budget={"gpus": -1})], "GPUPool gpus: spec.budget.gpus"),
        (
            [
                tier("a", "gpus", placement={"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4"}}),
                pool("gpus"),
            ],
            "select different nodes by nvidia.com/gpu.product",
        ),
    ],
)
def test_what_could_not_be_placed_is_refused(documents: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        read(*documents)
