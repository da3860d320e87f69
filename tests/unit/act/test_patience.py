"""Checks how long a write waits for an answer, how often a refused one is tried again, and who waits meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.builders.workloads import only
from tests.jumping import Jumping, jumping
from tests.unit.act.store import Store, merged
from tests.unit.act.worlds import deployment_ref, known, kserve, look, plan, pod, run, service_ref, snapshot, tier
from tierwise import reasons
from tierwise.act.apply import CYCLE_SECONDS, WriteState, act
from tierwise.act.replicas import PARALLEL
from tierwise.errors import Conflict, Forbidden, TierwiseError, Transient
from tierwise.outbox import Outbox
from tierwise.types import Plan, Snapshot, TierObject, TierOutcome


class Slow(Store):
    """A store whose writes of InferenceServices hang, as they do while a webhook does not answer."""

    seconds = 5.0
    hung = 0

    async def apply(self, ref: Any, manifest: Any, **options: Any) -> Any:
        self.hung += 1
        await asyncio.sleep(self.seconds)
        raise Transient('Internal error occurred: failed calling webhook "x.kserve"')


NAMES = tuple(f"t{number:02d}" for number in range(40))


async def many(store: Store, memo: WriteState) -> Snapshot:
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


@jumping
async def test_a_webhook_that_hangs_is_waited_for_once_and_every_tier_is_scaled() -> None:
    memo = WriteState()
    store = Store()
    seen = await many(store, memo)
    slow = slowed(store)
    outcome = await act(seen, Plan(tuple(plan(name, 1) for name in NAMES)), slow, memo, Outbox())
    assert slow.hung <= PARALLEL
    assert [only(each).scaled_to for each in outcome.tiers] == [1] * len(NAMES)
    assert {each.error.reason for each in outcome.tiers if each.error} == {reasons.KSERVE_NOT_ANSWERING}
    assert all(each.error for each in outcome.tiers)


@jumping
async def test_no_tier_waits_longer_than_the_cycle_and_each_says_so() -> None:
    """A read is answered and a write is not: that is a webhook, also where its own time-out is longer than a cycle."""
    memo = WriteState()
    store = Store()
    seen = await many(store, memo)
    slow = slowed(store)
    slow.seconds = 600.0
    outcome = await act(seen, Plan(tuple(plan(name, 1) for name in NAMES)), slow, memo, Outbox())
    assert asyncio.get_running_loop().time() <= 0.75 * CYCLE_SECONDS, "time is left to tell it"
    assert [only(each).scaled_to for each in outcome.tiers] == [1] * len(NAMES)
    assert {each.error.reason for each in outcome.tiers if each.error} == {reasons.KSERVE_NOT_ANSWERING}
    assert all(each.error and each.error.transient for each in outcome.tiers)


@jumping
async def test_an_api_server_that_does_not_answer_is_not_blamed_on_kserve() -> None:
    class Hung(Store):
        async def get(self, ref: Any) -> Any:
            await asyncio.sleep(600)

    memo, store = WriteState(), Store()
    seen = await many(store, memo)
    hung = Hung()
    hung.__dict__.update(store.__dict__)
    outcome = await act(seen, Plan(tuple(plan(name, 1) for name in NAMES)), hung, memo, Outbox())
    assert asyncio.get_running_loop().time() <= 0.75 * CYCLE_SECONDS
    assert {each.error.reason for each in outcome.tiers if each.error} == {reasons.API_UNAVAILABLE}


@dataclass
class Round:
    """What became of forty tiers in one cycle in which every write takes so long."""

    written: int
    reasons: set[str]
    messages: Counter[str]


def rounds(seconds: float, number: int) -> list[Round]:
    class Steady(Store):
        async def apply(self, ref: Any, manifest: Any, **options: Any) -> Any:
            await asyncio.sleep(seconds)
            return await super().apply(ref, manifest, **options)

    async def tell() -> list[Round]:
        memo, store = WriteState(), Store()
        await many(store, memo)
        steady = Steady()
        steady.__dict__.update(store.__dict__)
        found = []
        for _ in range(number):
            seen = snapshot(*(look(steady, known(name)) for name in NAMES))
            outcome = await act(seen, Plan(tuple(plan(name) for name in NAMES)), steady, memo, Outbox())
            errors = [each.error for each in outcome.tiers if each.error]
            assert all(each.transient for each in errors)
            said = Counter(each.message for each in errors)
            found.append(
                Round(sum(only(each).applied for each in outcome.tiers), {each.reason for each in errors}, said)
            )
        return found

    with asyncio.Runner(loop_factory=Jumping) as runner:
        return runner.run(tell())


def test_a_cycle_that_is_too_short_for_all_tiers_is_not_blamed_on_kserve() -> None:
    """Every write is answered, after six seconds; there are only too many of them. The next cycles make them."""
    first, second, third = rounds(6.0, 3)
    assert (first.written, second.written, third.written) == (24, 16, 0)
    assert first.reasons == {reasons.API_UNAVAILABLE}
    late, no_turn = sorted(first.messages, key=lambda said: "no time" in said)
    assert (first.messages[late], first.messages[no_turn]) == (8, 8)
    assert "did not answer in time" in late
    assert "no time was left" in no_turn
    assert second.reasons == set()


def test_a_write_that_takes_longer_than_a_webhook_may_is_blamed_on_it() -> None:
    first, second = rounds(21.0, 2)
    assert (first.written, second.written) == (0, 0)
    assert first.reasons == second.reasons == {reasons.KSERVE_NOT_ANSWERING}


@pytest.mark.parametrize("seconds", [1.5, 600.0])
@jumping
async def test_deletion_costs_that_nobody_answers_do_not_keep_replicas_running(seconds: float) -> None:
    """As with a policy for pods that hangs: twenty costs, each of which takes long."""

    class Hanging(Store):
        async def annotate_pod(self, *args: Any, **options: Any) -> None:
            await asyncio.sleep(seconds)
            await Store.annotate_pod(self, *args, **options)

    store, memo = Hanging(), WriteState()
    for _ in range(2):
        await run(store, memo, look(store, tier()), plan())
        kserve(store, "chat", replicas_at_creation=20)
    store.put(deployment_ref(), merged(store.seen(deployment_ref()), {"spec": {"replicas": 20}}))
    pods = tuple(pod(store, f"p{number:02d}") for number in range(20))
    costs = tuple((each.name, number) for number, each in enumerate(pods))
    seen = snapshot(look(store, known(), pods))
    outcome = await act(seen, Plan((plan(scale_to=2, costs=costs),)), store, memo, Outbox())
    assert only(outcome.tiers[0]).scaled_to == 2
    error = outcome.tiers[0].error
    assert (error is not None) == (seconds > 10)
    if error is not None:
        assert (error.reason, error.transient) == (reasons.API_UNAVAILABLE, True)


@jumping
async def test_those_that_failed_are_tried_after_the_others() -> None:
    memo = WriteState()
    store = Store()
    seen = await many(store, memo)
    plans = Plan(tuple(plan(name) for name in NAMES))
    slow = slowed(store)
    await act(seen, plans, slow, memo, Outbox())
    failed = set(memo.failed_at)
    assert 0 < len(failed) <= PARALLEL
    order: list[str] = []

    async def apply(ref: Any, manifest: Any, **options: Any) -> Any:
        order.append(ref.name)
        return await Store.apply(slow, ref, manifest, **options)

    slow.apply = apply  # type: ignore[method-assign]
    await act(seen, plans, slow, memo, Outbox())
    assert set(order[-len(failed) :]) == {key.name for key in failed}
    assert memo.failed_at == {}


POLICY = Forbidden('admission webhook "policy" denied the request: no', status=403)


async def cycle(store: Store, memo: WriteState, of: TierObject, at: float) -> TierOutcome:
    seen = replace(snapshot(look(store, of)), at=at)
    return (await act(seen, Plan((plan(),)), store, memo, Outbox())).tiers[0]


async def tries(store: Store, memo: WriteState, seconds: int, *, since: int = 0) -> list[int]:
    """At which seconds a tier was read to be written, with a cycle every ten seconds."""
    found = []
    for at in range(since, since + seconds, 10):
        before = len(store.reads)
        outcome = await cycle(store, memo, known(), 1000.0 + at)
        assert outcome.error is not None, "what was refused stays reported"
        if len(store.reads) > before:
            found.append(at)
    return found


async def test_what_is_refused_is_tried_later_each_time_and_stays_reported() -> None:
    store, memo = Store(), WriteState()
    store.failing["apply"] = POLICY
    found = await tries(store, memo, 1300)
    assert found == [0, 10, 30, 70, 150, 310, 610, 910, 1210]


@pytest.mark.parametrize("change", ["spec", "namesake", "drift"])
async def test_what_is_new_is_tried_at_once(change: str) -> None:
    store, memo = Store(), WriteState()
    store.failing["apply"] = POLICY
    await tries(store, memo, 80)
    other = known()
    if change == "spec":
        other = replace(other, generation=2)
    if change == "namesake":
        other = replace(other, uid="another")
    if change == "drift":  # the cluster changed so that something else is to be written
        metadata = {"ownerReferences": [{"uid": other.uid, "controller": True}]}
        metadata["annotations"] = {"serving.kserve.io/autoscalerClass": "external"}  # type: ignore[assignment]
        store.put(service_ref(), {"metadata": metadata, "spec": {}})
    store.reads.clear()
    await cycle(store, memo, other, 1080.0)
    assert store.reads != []


@pytest.mark.parametrize("error", [Transient("nobody answers"), Conflict("modified", status=409)])
async def test_what_may_be_over_in_a_second_is_tried_in_every_cycle(error: TierwiseError) -> None:
    store, memo = Store(), WriteState()
    store.failing["apply"] = error
    assert await tries(store, memo, 50) == [0, 10, 20, 30, 40]


async def test_a_refusal_is_forgotten_once_the_write_succeeds_and_with_the_kind() -> None:
    store, memo = Store(), WriteState()
    store.failing["apply"] = POLICY
    await tries(store, memo, 40)
    store.failing.clear()
    assert only(await cycle(store, memo, known(), 1070.0)).applied
    assert memo.refused == {}
    store.drop(service_ref())
    store.failing["apply"] = POLICY
    await tries(store, memo, 10, since=100)
    seen = replace(snapshot(look(store, known()), kserve_present=False), at=1105.0)
    await act(seen, Plan((plan(),)), store, memo, Outbox())
    assert memo.refused == {}


async def test_a_clock_that_was_set_back_prolongs_no_wait() -> None:
    store, memo = Store(), WriteState()
    store.failing["apply"] = POLICY
    await tries(store, memo, 20, since=100_000)
    assert (await tries(store, memo, 10))[0] == 0


async def test_one_tiers_failure_does_not_touch_another(caplog: pytest.LogCaptureFixture) -> None:
    store, memo = Store(), WriteState()

    class Broken(Store):
        async def get(self, ref: Any) -> Any:
            if ref.name == "a":
                raise RuntimeError("a defect")
            return await store.get(ref)

    broken = Broken()
    broken.apply = store.apply  # type: ignore[method-assign]
    store.failing["apply b"] = Transient("nobody answers")
    views = [look(store, tier(name)) for name in ("a", "b", "c")]
    plans = Plan(tuple(plan(name) for name in ("a", "b", "c")))
    outcome = await act(snapshot(*views), plans, broken, memo, Outbox())
    a, b, c = outcome.tiers
    assert (a.error is not None, b.error is not None, c.error) == (True, True, None)
    assert a.error is not None
    assert a.error.reason == reasons.INTERNAL_ERROR
    assert b.error is not None
    assert b.error.reason == reasons.API_UNAVAILABLE
    assert only(c).applied
    assert "could not be carried out" in caplog.text
