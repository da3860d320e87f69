"""How long is waited for what does not answer, how often is asked what refuses, and who waits meanwhile?"""

from __future__ import annotations

import asyncio
from typing import Any

from tests.unit.act.store import Store, merged
from tests.unit.act.worlds import known, kserve, look, plan, run, service_ref, snapshot, tier
from tierwise import reasons
from tierwise.act.apply import PARALLEL, Memo, act
from tierwise.errors import Transient
from tierwise.model import Plan, Snapshot


class Slow(Store):
    """A store whose writes of InferenceServices hang, as they do while a webhook does not answer."""

    seconds = 0.05
    hung = 0

    async def apply(self, ref: Any, manifest: Any, **options: Any) -> Any:
        self.hung += 1
        await asyncio.sleep(self.seconds)
        raise Transient('Internal error occurred: failed calling webhook "x.kserve"')


NAMES = tuple(f"t{number:02d}" for number in range(40))


async def many(store: Store, memo: Memo) -> Snapshot:
    """Forty tiers, each of which needs its InferenceService written and a replica more."""
    for name in NAMES:
        for _ in range(2):
            await run(store, memo, look(store, tier(name)), plan(name))
            kserve(store, name)
        body = merged(store.seen(service_ref(name)), {"spec": {"predictor": {"minReplicas": 7}}})
        store.put(service_ref(name), body)
    store.writes.clear()
    return snapshot(*(look(store, known(name)) for name in NAMES))


def slowed(store: Store) -> Slow:
    slow = Slow()
    slow.__dict__.update(store.__dict__)
    return slow


async def test_a_webhook_that_hangs_is_waited_for_once_and_every_tier_is_scaled() -> None:
    memo = Memo()
    store = Store()
    seen = await many(store, memo)
    slow = slowed(store)
    outcome = await act(seen, Plan(tuple(plan(name, 1) for name in NAMES)), slow, memo)
    assert slow.hung <= PARALLEL
    assert [each.scaled_to for each in outcome.tiers] == [1] * len(NAMES)
    assert {each.error.reason for each in outcome.tiers if each.error} == {reasons.KSERVE_NOT_ANSWERING}
    assert all(each.error for each in outcome.tiers)


async def test_no_tier_waits_longer_than_the_cycle_and_each_says_so() -> None:
    memo = Memo()
    store = Store()
    seen = await many(store, memo)
    slow = slowed(store)
    slow.seconds = 600.0
    async with asyncio.timeout(20):
        outcome = await act(seen, Plan(tuple(plan(name, 1) for name in NAMES)), slow, memo, limit_seconds=4)
    assert [each.scaled_to for each in outcome.tiers] == [1] * len(NAMES)
    assert {each.error.reason for each in outcome.tiers if each.error} == {reasons.API_UNAVAILABLE}
    assert all(each.error and each.error.transient for each in outcome.tiers)


async def test_those_that_failed_are_tried_after_the_others() -> None:
    memo = Memo()
    store = Store()
    seen = await many(store, memo)
    plans = Plan(tuple(plan(name) for name in NAMES))
    slow = slowed(store)
    await act(seen, plans, slow, memo)
    failed = set(memo.failed_at)
    assert 0 < len(failed) <= PARALLEL
    order: list[str] = []

    async def apply(ref: Any, manifest: Any, **options: Any) -> Any:
        order.append(ref.name)
        return await Store.apply(slow, ref, manifest, **options)

    slow.apply = apply  # type: ignore[method-assign]
    await act(seen, plans, slow, memo)
    assert set(order[-len(failed) :]) == {key.name for key in failed}
    assert memo.failed_at == {}
