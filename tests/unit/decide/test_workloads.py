"""Replicas are divided over the workloads of a tier: the first choice grows first and shrinks last."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.decide.make import KEY, SETTLED, pod, sample, spec, view
from tierwise.api.modeltier_status import ModelTierStatus
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


def moving(staying: int, retired: int, *answering: str) -> TierView:
    """A tier that leaves the pool of `chat` for that of `chat-l4`, where these replicas answer."""
    seen = two(retired, staying)
    old, new = seen.workloads
    names = tuple(pod(name) for name in answering)
    new = replace(new, pods=names, ready_endpoints=frozenset(answering))
    return replace(seen, workloads=(new, replace(old, retired=True)))


def test_what_is_retired_ends_as_others_answer_in_its_place() -> None:
    written = {
        ready: [(each.name, each.scale_to) for each in plans]
        for ready in range(4)
        for plans in (
            workload_plans(
                moving(3, 3, *(f"b-{number}" for number in range(ready))), spec(), Decision(3, 3, "Load", ""), SETTLED
            ),
        )
    }
    assert written == {0: [], 1: [("chat", 2)], 2: [("chat", 1)], 3: [("chat", 0)]}


def test_what_is_retired_never_grows_and_ends_with_the_tier() -> None:
    grown = workload_plans(moving(2, 1), spec(), Decision(3, 5, "Load", ""), SETTLED)
    assert [(each.name, each.scale_to) for each in grown] == [("chat-l4", 5)]
    none = workload_plans(moving(2, 2, "b-1"), spec(), Decision(2, 0, "Idle", ""), SETTLED)
    assert [(each.name, each.scale_to) for each in none] == [("chat-l4", 0), ("chat", 0)]


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))
def test_those_who_answer_and_those_who_stay_are_never_fewer_than_the_target(
    staying: int, retired: int, ready: int, target: int
) -> None:
    seen = moving(staying, retired, *(f"b-{number}" for number in range(min(ready, staying))))
    answering = len(seen.staying[0].ready_endpoints)
    written = {
        each.name: each.scale_to for each in workload_plans(seen, spec(), Decision(0, target, "Load", ""), SETTLED)
    }
    left = written.get("chat", retired)
    assert left <= retired
    assert answering + left >= min(target, answering + retired)


def test_what_is_retired_in_two_pools_ends_together_as_others_answer() -> None:
    """One answers of four: three are still needed of the four that are left, in the order of the workloads."""
    seen = moving(4, 1, "b-1")
    new, old = seen.workloads
    assert old.deployment is not None
    older = replace(old, name="chat-t4", deployment=replace(old.deployment, uid="d3", spec_replicas=3))
    plans = workload_plans(replace(seen, workloads=(new, old, older)), spec(), Decision(4, 4, "Load", ""), SETTLED)
    assert [(each.name, each.scale_to) for each in plans] == [("chat-t4", 2)]


def test_a_workload_to_which_nothing_was_granted_by_name_keeps_what_it_has() -> None:
    plans = workload_plans(two(2, 1), spec(), Decision(3, 2, "Load", ""), SETTLED, {"chat": 1})
    assert [(each.name, each.scale_to) for each in plans] == [("chat", 1)]


def test_granted_replicas_are_written_where_they_are_granted() -> None:
    plans = workload_plans(two(2, 1), spec(), Decision(3, 4, "Load", ""), SETTLED, {"chat": 1, "chat-l4": 3})
    assert [(each.name, each.current, each.scale_to) for each in plans] == [("chat", 2, 1), ("chat-l4", 1, 3)]


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 12))
def test_in_a_move_replicas_count_once(staying: int, retired: int, decided: int) -> None:
    seen = moving(staying, retired)
    status = ModelTierStatus(desired_replicas=decided)
    count = replace(seen, tier=replace(seen.tier, status=status)).replicas
    assert max(staying, retired) <= count <= staying + retired
    if max(staying, retired) <= decided <= staying + retired:
        assert count == decided


@given(st.integers(0, 6), st.integers(0, 12))
def test_without_a_move_all_replicas_count(replicas: int, decided: int) -> None:
    seen = two(replicas, 1)
    status = ModelTierStatus(desired_replicas=decided)
    assert replace(seen, tier=replace(seen.tier, status=status)).replicas == replicas + 1
