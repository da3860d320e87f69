"""Checks that nothing is written for a tier that has changed since the decision."""

from __future__ import annotations

import pytest

from tests.builders.workloads import only
from tests.unit.act.store import Store
from tests.unit.act.worlds import deployment_ref, known, kserve, look, plan, pod, run, service_ref, tier, tier_ref
from tierwise import reasons
from tierwise.act.apply import WriteState
from tierwise.act.guarded_client import GuardedClient
from tierwise.errors import Conflict


async def serving(store: Store, memo: WriteState) -> None:
    for _ in range(2):
        await run(store, memo, look(store, tier()), plan())
        kserve(store)
    store.writes.clear()


CHANGES = {
    "spec": {"uid": "tier-chat", "generation": 2},
    "namesake": {"uid": "another", "generation": 1},
    "deleted": {"uid": "tier-chat", "generation": 1, "deletionTimestamp": "2026-11-20T12:00:00Z"},
    "gone": None,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("target", [0, 3])
async def test_no_replicas_are_written_on_a_view_that_is_too_old(change: str, target: int) -> None:
    store, memo = Store(), WriteState()
    await serving(store, memo)
    ends = pod(store, "chat-1")
    store.put(deployment_ref(), {**store.seen(deployment_ref()), "spec": {"replicas": 1}})
    seen = look(store, known(), (ends,))
    store.drop(tier_ref())
    metadata = CHANGES[change]
    if metadata is not None:
        store.put(tier_ref(), {"metadata": metadata})
    outcome = await run(store, memo, seen, plan(scale_to=target, costs=((ends.name, 0),)))
    assert (store.writes, only(outcome).scaled_to) == ([], None)
    assert outcome.error is not None
    assert (outcome.error.reason, outcome.error.transient) == (reasons.CONFLICT, True)


@pytest.mark.parametrize("change", CHANGES)
async def test_no_child_is_made_or_healed_on_a_view_that_is_too_old(change: str) -> None:
    store, memo = Store(), WriteState()
    seen = look(store, tier())
    store.drop(tier_ref())
    metadata = CHANGES[change]
    if metadata is not None:
        store.put(tier_ref(), {"metadata": metadata})
    outcome = await run(store, memo, seen, plan())
    assert (store.writes, only(outcome).applied) == ([], False)
    assert outcome.error is not None
    assert outcome.error.reason == reasons.CONFLICT
    with pytest.raises(KeyError):
        store.seen(service_ref())


async def test_a_tier_is_read_once_for_all_of_its_writes() -> None:
    store = Store()
    look(store, tier())
    port = GuardedClient(tier(), store)
    one = pod(store, "chat-1")
    for cost in ("1", "2"):
        await port.annotate_pod("default", one.name, uid=one.uid, annotations={"cost": cost})
    assert store.reads == ["modeltiers/chat"]
    store.drop(tier_ref())
    with pytest.raises(Conflict, match="ModelTier default/chat has changed"):
        await GuardedClient(tier(), store).scale(deployment_ref(), 1, resource_version="1")
