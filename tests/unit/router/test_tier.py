"""Checks the places of a tier: who gets one, who waits, and that nobody waits for what will not come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tierwise.routing.prefix import home
from tierwise.routing.route import Budget, Overflow, Priority, Provider, QueueLimits, Route, RouteTier
from tierwise_router.purse import Purse
from tierwise_router.router_state import SATURATION_SECONDS, Clocks, RouterState
from tierwise_router.tier import REFUSALS, STARTUP_SECONDS, QueueFull, QueueTimeout, Slot, Tier, Wish

LIMITS = QueueLimits(max_requests=2, timeout_seconds=1.0, startup_timeout_seconds=1.0)
PATIENT = QueueLimits(timeout_seconds=99.0)


def tier(*urls: str, concurrency: int = 1) -> Tier:
    spec = RouteTier("small", "m", urls=tuple(urls), concurrency=concurrency)
    return Tier(spec, asyncio.get_running_loop().time)


def tier_spec(name: str) -> RouteTier:
    return RouteTier(name, "m")


def running_state(*tiers: RouteTier) -> RouterState:
    loop = asyncio.get_running_loop()
    served = Route("chat", ("auto",), tiers, tiers[0].name)
    clocks = Clocks(loop.time, lambda: datetime.now(UTC), lambda: "id")
    return RouterState.of(served, clocks, Purse(None, served.overflow, clocks.now, loop.time))


def until() -> float:
    return asyncio.get_running_loop().time() + 5


async def started(found: Tier, wish: Wish, limits: QueueLimits = LIMITS, *, again: bool = False) -> asyncio.Task[Slot]:
    task = asyncio.create_task(found.take(wish, limits, until(), again=again))
    await asyncio.sleep(0)
    return task


async def test_who_waits_for_one_replica_holds_nobody_up() -> None:
    found = tier("http://a", "http://b")
    first = found.try_take(Wish(only="http://a"))
    assert first is not None
    bound = await started(found, Wish(only="http://a"))
    other = await found.take(Wish(), LIMITS, until())
    assert other.pick.replica.key == "http://b"
    unbound = await started(found, Wish())
    found.release(other)
    assert (await unbound).pick.replica.key == "http://b"
    found.release(first)
    assert (await bound).pick.replica.key == "http://a"


async def test_who_has_failed_at_one_replica_and_waits_for_the_others_holds_nobody_up() -> None:
    found = tier("http://a", "http://b")
    one, two = found.try_take(Wish()), found.try_take(Wish())
    assert one is not None
    assert two is not None
    retried = await started(found, Wish(without=(one.pick.replica,)), again=True)
    next_one = await started(found, Wish())
    found.release(one)
    assert (await next_one).pick.replica is one.pick.replica
    found.release(next_one.result())
    assert found.try_take(Wish()) is not None
    behind = await started(found, Wish())
    found.release(two)
    assert (await retried).pick.replica is two.pick.replica
    assert not behind.done()
    found.release(retried.result())
    assert (await behind).pick.replica is two.pick.replica
    assert found.waiting == 0


async def test_who_waits_for_a_replica_that_goes_is_told_at_once() -> None:
    found = tier("http://a", "http://b")
    assert found.try_take(Wish(only="http://a")) is not None
    bound = await started(found, Wish(only="http://a"))
    found.set_replicas({"http://b": "http://b", "http://c": "http://c"})
    with pytest.raises(QueueTimeout):
        await bound
    assert found.waiting == 0


async def test_nobody_waits_for_a_tier_that_the_route_has_no_more() -> None:
    state = running_state(tier_spec("small"), tier_spec("large"))
    small = state.tiers["small"]
    waiting = [await started(small, wish) for wish in (Wish(), Wish(priority=Priority.BATCH))]
    state.replace(replace(state.route, tiers=(tier_spec("large"),), default_tier="large"), {})
    late = await started(small, Wish(), again=True)
    done, _ = await asyncio.wait([*waiting, late], timeout=0.3)
    assert done == {*waiting, late}
    for one in done:
        with pytest.raises(QueueTimeout):
            await one
    assert small.waiting == 0


async def test_who_has_failed_once_comes_before_those_that_had_no_place() -> None:
    found = tier("http://a")
    held = found.try_take(Wish())
    assert held is not None
    late = await started(found, Wish())
    again = await started(found, Wish(), again=True)
    found.release(held)
    slot = await again
    assert not late.done()
    found.release(slot)
    await late


async def test_a_full_queue_refuses_but_for_who_had_a_place() -> None:
    found = tier("http://a")
    assert found.try_take(Wish()) is not None
    waiting = [await started(found, Wish()) for _ in range(2)]
    with pytest.raises(QueueFull):
        await found.take(Wish(), LIMITS, until())
    waiting.append(await started(found, Wish(), again=True))
    assert found.waiting == 3
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert found.waiting == 0


async def test_an_interactive_request_displaces_the_youngest_batch_request() -> None:
    found = tier("http://a")
    assert found.try_take(Wish()) is not None
    batch = [await started(found, Wish(Priority.BATCH)) for _ in range(2)]
    interactive = await started(found, Wish())
    with pytest.raises(QueueFull):
        await batch[1]
    assert not batch[0].done()
    interactive.cancel()
    batch[0].cancel()
    await asyncio.gather(interactive, batch[0], return_exceptions=True)


async def test_a_batch_request_whose_client_goes_as_it_is_displaced_harms_nobody() -> None:
    found = tier("http://a")
    assert found.try_take(Wish()) is not None
    batch = [await started(found, Wish(Priority.BATCH)) for _ in range(2)]
    batch[1].cancel()  # its future is cancelled now, its task runs later
    interactive = await started(found, Wish())
    assert not interactive.done()
    interactive.cancel()
    batch[0].cancel()
    await asyncio.gather(interactive, *batch, return_exceptions=True)
    assert found.waiting == 0


async def test_a_tier_is_full_when_five_wait_for_each_replica_whom_any_replica_may_answer() -> None:
    found = tier("http://a", concurrency=8)
    found.set_replicas({"http://b": "http://b"})  # new, so that it gets one request at a time
    assert found.try_take(Wish()) is not None
    waiting = [await started(found, Wish(only="http://b"), PATIENT)]
    assert found.fullness(PATIENT) == 0.5 / 8
    waiting += [await started(found, Wish(), PATIENT) for _ in range(4)]
    assert found.fullness(PATIENT) == 0.8
    waiting.append(await started(found, Wish(), PATIENT))
    assert found.fullness(PATIENT) == 1.0
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_batch_requests_in_line_make_no_tier_full_whose_places_are_free() -> None:
    """A quarter of the places is for them: a client that sends `flex` must not send everybody to a dearer tier."""
    found = tier("http://a", concurrency=96)
    on_it = [found.try_take(Wish(Priority.BATCH)) for _ in range(24)]
    assert None not in on_it
    waiting = [await started(found, Wish(Priority.BATCH), PATIENT) for _ in range(10)]
    assert found.fullness(PATIENT) == 0.5 * 24 / 96
    few = QueueLimits(max_requests=10, timeout_seconds=99.0)
    assert found.fullness(few) == 0.5 * 24 / 96, "an interactive request takes the place in line of one"
    assert found.try_take(Wish()) is not None
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize("most", [0, 3])
async def test_a_tier_is_full_when_nobody_else_may_wait_however_few_may(most: int) -> None:
    state = running_state(replace(tier_spec("small"), urls=("http://a",), concurrency=4), tier_spec("large"))
    few = QueueLimits(max_requests=most, timeout_seconds=99.0)
    state.replace(replace(state.route, queue=few), {})
    small = state.tiers["small"]
    for _ in range(4):
        assert not state.saturated()["small"]
        assert small.try_take(Wish()) is not None
        await asyncio.sleep(2 * SATURATION_SECONDS)
    waiting = [await started(small, Wish(), few) for _ in range(most)]
    await asyncio.sleep(2 * SATURATION_SECONDS)
    assert state.saturated()["small"]
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


@dataclass
class Watch:
    """The loop's clock, put forward by so many seconds."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead


async def four_in_line(wish: Wish, apart: float) -> tuple[Tier, Watch, Slot, list[asyncio.Task[Slot]]]:
    """A tier with one place, which is held, and four that have come one after the other and wait for it."""
    found, watch = tier("http://a"), Watch()
    found._monotonic = watch
    held = found.try_take(wish)
    assert held is not None
    waiting = []
    for _ in range(4):
        waiting.append(await started(found, wish, PATIENT))
        watch.ahead += apart
    return found, watch, held, waiting


async def test_the_first_is_answered_first_until_a_long_line_has_stood_for_long_then_the_last() -> None:
    found, watch, held, waiting = await four_in_line(Wish(), 0.1)
    found.release(held)
    held = await waiting[0]
    watch.ahead += 1
    found.release(held)
    held = await waiting[3]
    assert [one.done() for one in waiting] == [True, False, False, True]
    watch.ahead += 0.1
    found.release(held)
    found.release(await waiting[1])
    await waiting[2]


async def test_batch_requests_are_answered_in_the_order_of_their_arrival_whatever_they_wait() -> None:
    found, _, held, waiting = await four_in_line(Wish(Priority.BATCH), 0.9)
    for place, one in enumerate(waiting):
        found.release(held)
        held = await asyncio.wait_for(one, 1)
        assert [each.done() for each in waiting] == [other <= place for other in range(len(waiting))]


async def test_as_many_may_wait_as_the_replicas_work_on_where_the_route_does_not_say() -> None:
    found = tier("http://a", "http://b", concurrency=60)
    assert found.places == 120
    for _ in range(120):
        assert found.try_take(Wish()) is not None
    waiting = [await started(found, Wish(), QueueLimits()) for _ in range(120)]
    with pytest.raises(QueueFull):
        await found.take(Wish(), QueueLimits(), until())
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_batch_request_has_a_quarter_of_the_places() -> None:
    found = tier("http://a", concurrency=8)
    assert found.try_take(Wish(Priority.BATCH)) is not None
    assert found.try_take(Wish()) is not None
    assert found.try_take(Wish(Priority.BATCH)) is None
    assert found.try_take(Wish()) is not None


def test_what_is_spent_in_a_new_period_is_written_down_as_well(tmp_path: Path) -> None:
    now = datetime(2026, 11, 1, 12, tzinfo=UTC)
    path, budget = tmp_path / "spent", Budget(Decimal(100), "Day")

    def purse() -> Purse:
        return Purse(budget, Overflow(), lambda: now, lambda: 0.0, path)

    first = purse()
    hold = first.hold(Decimal(90), spilled=False)
    assert hold is not None
    first.settle(hold, Decimal(90))
    now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    hold = first.hold(Decimal(80), spilled=False)
    assert hold is not None
    again = purse()
    assert again.account is not None
    assert again.account.spent >= 80
    assert again.hold(Decimal(30), spilled=False) is None


def test_a_changed_cap_of_spilling_counts_from_now_on() -> None:
    purse = Purse(None, Overflow(), lambda: datetime.now(UTC), lambda: 0.0)
    assert purse.hold(Decimal(5), spilled=True) is not None
    purse.serve(None, Overflow(max_cost_per_hour=Decimal(1)))
    assert purse.hold(Decimal(5), spilled=True) is None
    assert purse.hold(Decimal(5), spilled=False) is not None


async def test_when_to_ask_again_is_how_long_a_start_takes_while_no_replica_is_ready() -> None:
    found = Tier(RouteTier("small", "m", service="s", startup_seconds=300), asyncio.get_running_loop().time)
    assert found.retry_after_seconds() == 300
    found.set_replicas({"a": "http://a"})
    assert found.retry_after_seconds() == 1
    unknown = Tier(RouteTier("small", "m", service="s"), asyncio.get_running_loop().time)
    assert unknown.retry_after_seconds() == STARTUP_SECONDS


async def test_refusals_are_counted_from_the_start_on() -> None:
    """The increase of a counter that appears at 1 is 0 to Prometheus."""
    found = tier("http://a")
    assert found.counts.refused == dict.fromkeys(REFUSALS, 0)
    found.counts.want(spilled=True)
    found.counts.want(spilled=False)
    assert (found.counts.wanted, found.counts.refused["spilled"]) == (2, 1)


def heard(found: Tier, number: int = 0) -> float:
    return found.replicas[number].work


async def test_a_place_counts_as_work_until_its_first_token_or_its_end() -> None:
    found = tier("http://a", concurrency=9)
    slots = [found.try_take(Wish(blocks=blocks)) for blocks in ((1, 2, 3), (1, 2, 3, 4, 5), ())]
    assert heard(found) == 64 * (3 + 2 + 1), "three blocks, two that are not cached, and at least one"
    first, second, third = (slot for slot in slots if slot is not None)
    first.pick.replica.computed(first.mark)
    assert heard(found) == 64 * 3
    found.release(second)
    found.release(first)
    assert heard(found) == 64
    found.release(third)
    assert heard(found) == 0


async def test_an_answer_in_one_piece_is_work_until_the_engine_has_nothing_waiting() -> None:
    found = tier("http://a", concurrency=9)
    found.try_take(Wish(blocks=(1, 2)))
    found.try_take(Wish(blocks=(7, 8, 9), streamed=False))
    found.replicas[0].said(0, 0.0)
    assert heard(found) == 64 * 2


async def test_a_providers_work_is_its_own_affair() -> None:
    spec = RouteTier("far", "m", provider=Provider("https://api.example.com/v1"))
    found = Tier(spec, asyncio.get_running_loop().time)
    assert found.try_take(Wish(blocks=(1, 2))) is not None
    assert heard(found) == 0


@pytest.mark.parametrize("routers", [1, 2])
async def test_only_routers_that_have_others_beside_them_send_new_prompts_home(routers: int) -> None:
    urls = ("http://a", "http://b", "http://c")
    spec = RouteTier("small", "m", urls=urls, concurrency=100, routers=routers)
    picks = []
    for block in range(20):
        found = Tier(spec, asyncio.get_running_loop().time)
        slot = found.try_take(Wish(blocks=(block,)))
        assert slot is not None
        picks.append(slot.pick.replica.key == home(block, urls))
    assert all(picks) == (routers > 1)
