"""Replicas are divided over the workloads of a tier: the first choice grows first and shrinks last."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.decide.make import KEY, SETTLED, pod, sample, spec, view
from tierwise.decide.workloads import spread, workload_plans
from tierwise.types import Decision, TierView

counts = st.lists(st.integers(0, 8), min_size=1, max_size=4)


@given(counts, st.integers(0, 40))
def test_all_replicas_are_placed_and_none_moves_without_need(current: list[int], target: int) -> None:
    there = spread(current, target)
    assert sum(there) == target
    assert min(there) >= 0
    if target >= sum(current):
        assert list(there[1:]) == current[1:]
    else:
        assert all(after <= before for after, before in zip(there, current, strict=True))
        lowered = [index for index, before in enumerate(current) if there[index] < before]
        assert all(after == 0 for after in there[lowered[0] + 1 :]), "a later choice is given up before an earlier one"


def test_without_a_deployment_nothing_is_placed() -> None:
    assert spread([], 3) == ()


def test_replicas_of_a_deployment_without_its_inference_service_are_not_ours_to_write() -> None:
    lone = view(spec(), (sample("a", 3),), inference_service=None)
    assert workload_plans(lone, spec(), Decision(1, 3, "Load", ""), SETTLED) == ()


def two(first: int, second: int) -> TierView:
    seen = view(spec(), (sample("a-1", 3), sample("b-1", 1)), current=first)
    (here,) = seen.workloads
    assert here.deployment is not None
    other = replace(here.deployment, name="chat-l4-predictor", uid="d2", spec_replicas=second)
    pods = (replace(here, pods=(pod("a-1"),), ready_endpoints=frozenset({"a-1"})),)
    more = replace(here, name="chat-l4", deployment=other, pods=(pod("b-1"),), ready_endpoints=frozenset({"b-1"}))
    return replace(seen, workloads=(*pods, more))


def test_a_tier_on_two_kinds_of_gpu_counts_and_changes_both() -> None:
    seen = two(2, 1)
    assert (seen.tier.key, seen.replicas, len(seen.pods)) == (KEY, 3, 2)
    assert seen.ready_endpoints == {"a-1", "b-1"}
    grown = workload_plans(seen, spec(), Decision(3, 5, "Load", ""), SETTLED)
    assert [(each.name, each.current, each.scale_to) for each in grown] == [("chat", 2, 4)]
    shrunk = workload_plans(seen, spec(), Decision(3, 1, "Load", ""), SETTLED)
    assert [(each.name, each.scale_to, each.deletion_costs) for each in shrunk] == [
        ("chat", 1, (("a-1", 3),)),
        ("chat-l4", 0, (("b-1", 1),)),
    ]
