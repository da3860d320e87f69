"""Checks that exactly one process leads, that the fence holds, and that skewed or stopped clocks change nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.act.store import Store
from tierwise.errors import Conflict, Transient
from tierwise.ports import ObjectRef
from tierwise_operator.leader import Leader, Timing

LEASE = ObjectRef("coordination.k8s.io/v1", "leases", "tierwise-system", "tierwise")
TIMING = Timing(duration=15, deadline=10, retry=2)


class Clock:
    """One process' clocks."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.wall = now
        self.ticks = 50.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.ticks += seconds


def candidate(store: Store, name: str, clock: Clock, told: list[bool] | None = None) -> Leader:
    return Leader(store, LEASE, name, TIMING, clock, changed=(told if told is not None else []).append)


def spec(store: Store) -> dict[str, Any]:
    found: dict[str, Any] = store.seen(LEASE)["spec"]
    return found


async def test_the_first_takes_the_lease_and_the_second_waits() -> None:
    store, clock = Store(), Clock()
    first, second = candidate(store, "a", clock), candidate(store, "b", clock)
    await first.attempt()
    await second.attempt()
    assert (first.leading, second.leading) == (True, False)
    assert spec(store)["holderIdentity"] == "a"
    assert spec(store)["leaseTransitions"] == 0
    assert spec(store)["renewTime"] == "1970-01-12T13:46:40.000000Z"
    first.fence()
    with pytest.raises(Transient, match="does not hold the Lease"):
        second.fence()


async def test_renewing_keeps_it_and_costs_one_write() -> None:
    store, clock = Store(), Clock()
    first, second = candidate(store, "a", clock), candidate(store, "b", clock)
    await first.attempt()
    acquired = spec(store)["acquireTime"]
    store.reads.clear()
    for _ in range(20):
        clock.pass_(2)
        await first.attempt()
    assert store.reads == []
    await second.attempt()
    assert first.leading
    assert not second.leading
    assert spec(store)["acquireTime"] == acquired
    assert spec(store)["renewTime"] > acquired


async def test_a_dead_holder_is_followed_after_the_duration_as_we_saw_it() -> None:
    store, clock = Store(), Clock()
    dead, heir = candidate(store, "a", clock), candidate(store, "b", clock)
    await dead.attempt()
    await heir.attempt()
    clock.pass_(14.9)
    await heir.attempt()
    assert (dead.leading, heir.leading) == (False, False)
    clock.pass_(0.2)
    await heir.attempt()
    assert (dead.leading, heir.leading) == (False, True)
    assert spec(store)["leaseTransitions"] == 1


@pytest.mark.parametrize("skew", [-86400.0, 86400.0])
async def test_the_times_in_the_lease_are_for_people(skew: float) -> None:
    store, ours, theirs = Store(), Clock(), Clock(1_000_000.0 + skew)
    holder, other = candidate(store, "a", theirs), candidate(store, "b", ours)
    await holder.attempt()
    await other.attempt()
    ours.pass_(10)
    theirs.pass_(2)
    await holder.attempt()
    await other.attempt()
    ours.pass_(10)
    await other.attempt()
    assert not other.leading


async def test_a_process_that_was_stopped_writes_nothing_when_it_goes_on() -> None:
    store, clock = Store(), Clock()
    stopped = candidate(store, "a", clock)
    await stopped.attempt()
    clock.pass_(9.9)
    stopped.fence()
    clock.pass_(0.2)
    with pytest.raises(Transient):
        stopped.fence()
    await stopped.attempt()  # nobody else took it: it goes on
    stopped.fence()


async def test_the_age_counts_from_before_the_request() -> None:
    clock = Clock()

    class Slow(Store):
        async def create(self, ref: ObjectRef, manifest: Any) -> Any:
            clock.pass_(9.5)
            return await super().create(ref, manifest)

    leader = candidate(Slow(), "a", clock)
    await leader.attempt()
    assert leader.leading
    clock.pass_(0.6)
    assert not leader.leading


async def test_two_that_race_for_it_make_one_leader() -> None:
    store, clock = Store(), Clock()
    a, b = candidate(store, "a", clock), candidate(store, "b", clock)
    results = await asyncio.gather(a.attempt(), b.attempt(), return_exceptions=True)
    assert [a.leading, b.leading].count(True) == 1
    assert all(result is None or isinstance(result, Conflict) for result in results)


async def test_releasing_lets_another_in_at_once() -> None:
    store, clock = Store(), Clock()
    first, second = candidate(store, "a", clock), candidate(store, "b", clock)
    await first.attempt()
    await second.attempt()
    await first.release()
    assert not first.leading
    assert spec(store)["holderIdentity"] == ""
    await second.attempt()
    assert second.leading


async def test_releasing_what_is_not_held_writes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    store, clock = Store(), Clock()
    first, second = candidate(store, "a", clock), candidate(store, "b", clock)
    await second.release()
    assert store.writes == []
    await first.attempt()
    await second.attempt()
    await second.release()
    assert spec(store)["holderIdentity"] == "a"
    clock.pass_(20)
    await second.attempt()
    await first.release()  # taken over meanwhile
    assert spec(store)["holderIdentity"] == "b"
    assert "could not be given back" in caplog.text


class Script:
    """Runs a leader's loop step by step: each `sleep` moves the clock and runs the next action."""

    def __init__(self, clock: Clock, *actions: Any) -> None:
        self._clock = clock
        self._actions = list(actions)

    async def sleep(self, seconds: float) -> None:
        self._clock.pass_(seconds)
        if not self._actions:
            raise asyncio.CancelledError
        action = self._actions.pop(0)
        if action is not None:
            action()


async def test_the_loop_survives_an_outage_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    store, clock = Store(), Clock()
    told: list[bool] = []
    leader = candidate(store, "a", clock, told)

    def away() -> None:
        store.failing["replace"] = Transient("nobody answers")

    script = Script(clock, away, None, None, None, None, None, None, store.failing.clear, None)
    with pytest.raises(asyncio.CancelledError):
        await leader.run(script.sleep)
    assert told == [True, False, True]
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "the Lease could not be renewed: nobody answers"
    ]


async def test_a_lease_that_somebody_else_wrote_is_lost_at_once() -> None:
    store, clock = Store(), Clock()
    told: list[bool] = []
    leader = candidate(store, "a", clock, told)

    def stolen() -> None:
        taken = store.seen(LEASE)
        store.put(LEASE, {**taken, "spec": {**taken["spec"], "holderIdentity": "thief"}})

    with pytest.raises(asyncio.CancelledError):
        await leader.run(Script(clock, stolen, None, None).sleep)
    assert told == [True, False]
    assert spec(store)["holderIdentity"] == "thief"


async def test_a_lease_that_was_deleted_is_made_again() -> None:
    store, clock = Store(), Clock()
    told: list[bool] = []
    leader = candidate(store, "a", clock, told)
    with pytest.raises(asyncio.CancelledError):
        await leader.run(Script(clock, lambda: store.drop(LEASE), None, None).sleep)
    assert told == [True, False, True]


async def test_a_request_that_hangs_does_not_hold_up_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    class Hanging(Store):
        async def get(self, ref: ObjectRef) -> Any:
            await asyncio.sleep(60)

    clock = Clock()
    leader = Leader(Hanging(), LEASE, "a", Timing(duration=0.4, deadline=0.2, retry=0.1), clock)
    with pytest.raises(asyncio.CancelledError):
        await leader.run(Script(clock).sleep)
    assert "no answer in time" in caplog.text
